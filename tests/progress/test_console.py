"""The command line's reporter: a panel in a terminal, plain lines elsewhere, and a sane terminal afterwards."""

import re
from io import StringIO

import pytest
from rich.console import Console as RichConsole

from shoptalk.config import Budget
from shoptalk.progress import Console
from shoptalk.records import Look
from shoptalk.training.reporter import Reporter, Silent
from tests.progress.steps import steps

SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def terminal(*, width: int = 80, **more: object) -> tuple[RichConsole, StringIO]:
    file = StringIO()
    settings = {"force_terminal": True, "width": width, "height": 30, "highlight": False} | more
    return RichConsole(file=file, **settings), file  # type: ignore[arg-type]


def pipe() -> tuple[RichConsole, StringIO]:
    file = StringIO()
    return RichConsole(file=file, force_terminal=False, width=200, highlight=False), file


LOOK = Look(
    candidate="neighbours", step=60, tokens=9000, seconds=3.0, gain=1.2, interval=(0.2, 2.2), measure="5-shot accuracy"
)


def told(console: Console, clock: Clock) -> None:
    """A small run, as the stages tell it."""
    console.stage("curate")
    console.say("curate: reading chats.jsonl")
    clock.time = 4.0
    console.stage("choose")
    console.planned(["neighbours", "mlm"], seconds=90.0, before=4.0, budget=Budget.parse("2m"))
    for _ in console.track(steps(1, 60), done=0, total=60, name="neighbours"):
        clock.time += 0.125
    console.looked(LOOK)
    console.looked(LOOK.model_copy(update={"candidate": "mlm", "gain": -1.0, "interval": (-2.0, 0.0)}))
    console.chosen("neighbours")
    console.say("choose: neighbours goes on")


def last_drawing(text: str) -> str:
    """The panel as it was drawn last."""
    return text[text.rindex("╭") : text.rindex("╯")]


def test_console_and_silence_are_both_reporters() -> None:
    assert isinstance(Console(pipe()[0]), Reporter) and isinstance(Silent(), Reporter)


def test_in_a_terminal_a_panel_shows_the_run_and_closes_with_all_that_was_said() -> None:
    rich, file = terminal()
    clock = Clock()
    with Console(rich, now=clock) as console:
        told(console, clock)
        assert console._live is not None
        console._live.refresh()
        shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", last_drawing(file.getvalue()))
        assert "[choose 8 s]" in shown and "+1.2 (+0.2 to +2.2) at step 60" in shown
        assert "eliminated" in next(line for line in shown.splitlines() if "mlm" in line)
        assert "budget:" in shown and "left" in shown
    after = file.getvalue()[file.getvalue().rindex("╯") :]
    assert "0:00  curate: reading chats.jsonl" in after
    assert "0:11  look: neighbours@60, +1.2 (+0.2 to +2.2) points of 5-shot accuracy over the base so far" in after
    assert after.index("curate: reading") < after.index("neighbours goes on")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, None])
def test_the_cursor_is_back_and_nothing_draws_any_more_however_the_run_ends(error: type[BaseException] | None) -> None:
    rich, file = terminal()

    def run() -> None:
        with Console(rich, now=Clock()) as console:
            console.stage("curate")
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(error):
            run()
    text = file.getvalue()
    assert text.count(HIDE) == text.count(SHOW) == 1
    rich.print("afterwards")
    assert file.getvalue().endswith("afterwards\n")


def test_in_a_pipe_there_are_plain_lines_with_one_at_each_look() -> None:
    rich, file = pipe()
    clock = Clock()
    with Console(rich, now=clock) as console:
        told(console, clock)
    assert file.getvalue().splitlines() == [
        "  0:00  curate: reading chats.jsonl",
        "  0:11  neighbours: step 60 of 60, loss 0.017, 1,000 tokens/s, 20% padding, about 0 s left",
        "  0:11  look: neighbours@60, +1.2 (+0.2 to +2.2) points of 5-shot accuracy over the base so far",
        "  0:11  look: mlm@60, -1.0 (-2.0 to +0.0) points of 5-shot accuracy over the base so far",
        "  0:11  choose: neighbours goes on",
    ]


def test_without_labels_a_look_tells_the_label_free_score_or_that_there_is_none() -> None:
    rich, file = pipe()
    with Console(rich, now=Clock()) as console:
        console.looked(LOOK.model_copy(update={"interval": None, "measure": "label-free score"}))
        console.looked(LOOK.model_copy(update={"interval": None, "gain": None}))
    assert "label-free score +1.2 against the base so far" in file.getvalue()
    assert "neighbours@60, too little to measure a gain on" in file.getvalue()


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    rich, file = terminal()
    clock = Clock()
    with Console(rich, now=clock) as console:
        told(console, clock)
    assert "\x1b" not in file.getvalue() and "╭" not in file.getvalue()
    assert "look: neighbours@60" in file.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    rich, file = terminal()
    clock = Clock()
    with Console(rich, now=clock) as console:
        told(console, clock)
        assert console._live is not None
        console._live.refresh()
    colours = {code for codes in re.findall(r"\x1b\[([\d;]*)m", file.getvalue()) for code in codes.split(";")}
    assert not {code for code in colours if code[:1] in ("3", "4", "9") and len(code) > 1}
    assert "╭" in file.getvalue()


def test_a_training_outside_of_adapt_has_a_line_and_no_panel() -> None:
    rich, file = terminal()
    with Console(rich, now=Clock()) as console:
        console.say("plan: 3 steps")
        assert [step.number for step in console.track(steps(1, 3), done=0, total=3, name="mlm")] == [1, 2, 3]
    assert "plan: 3 steps" in file.getvalue() and "3/3" in file.getvalue() and "╭" not in file.getvalue()


def test_a_line_in_a_pipe_comes_every_fifteen_seconds_with_the_time_left() -> None:
    rich, file = pipe()
    clock = Clock()
    with Console(rich, now=clock) as console:
        for _ in console.track(steps(1, 40), done=0, total=40, name="mlm"):
            clock.time += 1.0
    lines = file.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "  0:15  mlm: step 16 of 40",
        "  0:30  mlm: step 31 of 40",
        "  0:39  mlm: step 40 of 40",
    ]
    assert lines[0].endswith("about 24 s left")


def test_text_of_the_users_is_not_read_as_markup() -> None:
    rich, file = terminal(width=120)
    with Console(rich, now=Clock()) as console:
        console.stage("curate")
        console.say("curate: reading [bold]odd[/name].txt")
    assert "[bold]odd[/name].txt" in file.getvalue()


def test_a_look_at_a_measure_that_names_its_unit_says_it_once_with_the_decimals_that_it_has() -> None:
    bits = LOOK.model_copy(update={"measure": "bits per byte", "unit": "bits", "decimals": 3})
    console, file = pipe()
    with Console(console) as shown:
        shown.looked(bits)
    assert "+1.200 (+0.200 to +2.200) better in bits per byte over the base so far" in file.getvalue()
    console, file = pipe()
    with Console(console) as shown:
        shown.looked(bits.model_copy(update={"gain": -0.3, "interval": (-0.4, -0.2)}))
    assert "-0.300 (-0.400 to -0.200) worse in bits per byte over the base so far" in file.getvalue()


def test_of_several_bases_a_look_names_the_one_that_its_gain_is_over() -> None:
    rich, file = pipe()
    Console(rich).looked(LOOK.model_copy(update={"base": "scratch:resnet-mini"}))
    assert "points of 5-shot accuracy over scratch:resnet-mini so far" in file.getvalue()
