"""The live panel, drawn to text at several sizes."""

import math
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console as RichConsole

from shoptalk.config import Budget
from shoptalk.progress.panel import clock, panel, sparkline
from shoptalk.progress.state import CandidateState, Outlook, State, TrainingState
from shoptalk.records import Look
from tests.progress.steps import Taken

STAGES = ("curate", "baseline", "plan", "choose", "pretrain", "decide", "finetune")
NOW = 200.0


def look(candidate: str, step: int, gain: float | None, *, tokens: int = 4000, **more: object) -> Look:
    interval = None if gain is None else (gain - 1.0, gain + 1.0)
    told = {"candidate": candidate, "step": step, "tokens": tokens, "seconds": 20.0, "gain": gain}
    return Look.model_validate(told | {"interval": interval, "measure": "5-shot accuracy"} | more)


def halfway(**more: object) -> State:
    """Three candidates in the middle of the winner's training."""
    state = State(begun=0.0, planned=STAGES)
    for name, begun in (("curate", 0.0), ("baseline", 2.0), ("plan", 14.0), ("choose", 30.0), ("pretrain", 100.0)):
        state = state.entered(name, begun)
    candidates = (
        CandidateState("neighbours", (look("neighbours", 60, 1.2), look("neighbours", 180, 2.1))),
        CandidateState("mlm", (look("mlm", 60, -3.0),), eliminated=True),
        CandidateState("simcse"),
    )
    training = TrainingState("neighbours", 240)
    for number in range(181, 201):
        training = training.after(Taken(number, loss=4.0 - number / 100))
    outlook = Outlook(seconds=500.0, before=30.0, budget=Budget.parse("10m"), since=180.0)
    said = ("choose: a short pilot", "choose: neighbours goes on")
    return replace(state, candidates=candidates, training=training, outlook=outlook, said=said, **more)


def drawn(state: State, *, width: int = 80, height: int = 24, **more: bool) -> list[str]:
    """The lines that a terminal of that size gets."""
    rich = RichConsole(file=StringIO(), force_terminal=True, width=width, height=height, record=True)
    rich.print(panel(state, NOW, width=width, height=height, **more))
    return rich.export_text().splitlines()


def line(lines: list[str], part: str) -> str:
    return next(one for one in lines if part in one)


def test_stages_stand_in_a_line_with_their_seconds_and_the_current_one_in_brackets() -> None:
    text = " ".join(part.strip("│ ") for part in drawn(halfway()))
    assert "curate 2 s > baseline 12 s > plan 16 s > choose 1.2 min > [pretrain 1.7 min] > decide > finetune" in text


def test_a_stage_that_was_not_foreseen_comes_last() -> None:
    text = " ".join(part.strip("│ ") for part in drawn(halfway().entered("evidence", 190.0)))
    assert "decide > finetune > [evidence 10 s]" in text


def test_each_candidate_has_a_curve_on_one_scale_its_last_gain_and_its_fate() -> None:
    lines = drawn(halfway())
    assert "▅▇█  +2.1 (+1.1 to +3.1) at step 180" in line(lines, "step 180")
    assert "▅▁   -3.0 (-4.0 to -2.0) at step 60  eliminated" in line(lines, "mlm")
    assert "not measured yet" in line(lines, "simcse")


def test_eliminated_candidates_are_dim_and_others_are_not() -> None:
    file = StringIO()
    rich = RichConsole(file=file, force_terminal=True, width=80, height=24, color_system="standard")
    rich.print(panel(halfway(), NOW, width=80, height=24))
    lines = file.getvalue().splitlines()
    assert "\x1b[2mmlm" in line(lines, "mlm ")
    assert "\x1b[2mneighbours" not in line(lines, "step 180")


def test_the_training_shows_its_step_its_rate_and_its_falling_loss() -> None:
    lines = drawn(halfway())
    assert "neighbours  step 200 of 240  loss 2.000  1,000 tokens/s  20% padding" in line(lines, "of 240")
    bars = line(lines, "loss  ").split("loss  ")[1].strip("│ ")
    assert bars[0] == "█" and bars[-1] == "▁" and len(bars) == 20


def test_best_so_far_budget_and_time_left_are_told() -> None:
    lines = drawn(halfway())
    assert "best so far neighbours@180: +2.1 points of 5-shot accuracy" in line(lines, "best")
    # 30 s before the plan, three looks of 20 s, 20 s since the last.
    assert "budget: 1.8 min of 10 min used; about 6.5 min left" in line(lines, "budget")


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (Budget.parse("100ktok"), "28 k of 100 k tokens used"),
        (Budget.parse("0.50eur@1.20"), "0.037 EUR of 0.50 EUR used"),
    ],
)
def test_a_budget_is_told_in_its_own_unit(budget: Budget, told: str) -> None:
    outlook = Outlook(seconds=500.0, before=30.0, budget=budget, since=180.0)
    assert told in line(drawn(replace(halfway(), outlook=outlook)), "budget")


def test_a_run_that_takes_longer_than_forecast_says_so() -> None:
    outlook = Outlook(seconds=60.0, before=30.0, budget=Budget.parse("10m"), since=180.0)
    assert "longer than forecast" in line(drawn(replace(halfway(), outlook=outlook)), "budget")


def test_the_last_sayings_are_shown_and_only_as_many_as_fit() -> None:
    state = replace(halfway(), said=tuple(f"saying {number}" for number in range(9)))
    assert [part.strip("│ ") for part in drawn(state)][-6:-1] == [f"saying {number}" for number in range(4, 9)]
    for height in (14, 16, 18, 24):
        assert len(drawn(state, height=height)) < height
    assert not any("saying" in part for part in drawn(state, height=14))


@pytest.mark.parametrize("width", [24, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_the_gains_are_there(width: int) -> None:
    state = replace(halfway(), said=("a very long saying " * 20,))
    lines = drawn(state, width=width)
    assert max(map(len, lines)) <= width
    if width >= 40:
        assert "+2.1" in line(lines, "neighb") or any("+2.1" in part for part in lines)
        assert any("eliminated" in part for part in lines)
        assert any("left" in part for part in lines)


def test_without_block_characters_the_panel_is_plain_ascii() -> None:
    lines = drawn(halfway(), ascii_only=True)
    inside = "".join(part.strip("│╭╮╰╯─") for part in lines)
    assert inside.isascii() and "%##" not in inside and "=*#" not in inside.replace("%", "")


def test_before_anything_is_known_there_is_only_the_line_of_stages() -> None:
    lines = drawn(State(begun=0.0, planned=STAGES).entered("curate", 199.0))
    assert "[curate 1 s] > baseline > plan" in lines[1] and len(lines) == 3


def test_a_gain_that_could_not_be_measured_is_a_dash() -> None:
    state = replace(halfway(), candidates=(CandidateState("mlm", (look("mlm", 9, None),)),))
    lines = drawn(state)
    assert "–" in line(lines, "mlm") and not any("best" in part for part in lines)


def test_sparklines_run_from_the_lowest_to_the_highest_block() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1.0, 1.0], 8) == "▁▁"
    assert sparkline([0.0, 5.0], 8, low=0.0, high=10.0) == "▁▅"
    assert sparkline([], 8) == "" and sparkline([1.0], 0) == ""
    assert sparkline([math.nan], 8) == ""
    assert sparkline([0.0, math.inf, 1.0], 8) == "▁ █"


def test_a_series_longer_than_the_line_is_averaged_and_keeps_its_shape() -> None:
    bars = sparkline([float(number) for number in range(1000)], 10)
    assert len(bars) == 10 and bars == "".join(sorted(bars)) and bars[0] == "▁" and bars[-1] == "█"


def test_clocks_count_hours_only_where_there_are_some() -> None:
    assert [clock(5.0), clock(125.0), clock(3725.0)] == ["0:05", "2:05", "1:02:05"]
