"""`shoptalk ask` at the command line: a person at a terminal, a file that answers, and what is printed."""

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoptalk.adaptation import adapt
from shoptalk.cli.ask_terminal import drawn
from shoptalk.commands.ask_session import open_session
from tests.command_line import call
from tests.commands.test_ask import config_for, truth, written_bank
from tests.conftest import Listener, SmallWorld

Shoptalk = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_bank(tmp_path_factory.mktemp("bank") / "bank.csv", 150)


@pytest.fixture(scope="module")
def finished(tiny_base: Path, bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    world = SmallWorld(folder, labels_per_class=12)
    adapt(
        [world.conversations], out=folder / "run", config=config_for(tiny_base), report=Listener(), labels=world.labels
    )
    with open_session(folder / "run", bank=bank):
        pass
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def shoptalk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shoptalk:
    return lambda *words: call(capsys, monkeypatch, *words)


class Typed(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


def test_a_file_answers_and_the_result_is_printed_as_json(run: Path, bank: Path, shoptalk: Shoptalk) -> None:
    oracle = run.parent / "oracle.jsonl"
    texts = [line.rpartition(",")[0] for line in bank.read_text(encoding="utf-8").splitlines()[1:]]
    oracle.write_text("".join(json.dumps({"text": text, "label": truth(text)}) + "\n" for text in texts))
    status, output, _ = shoptalk("ask", run, "--bank", bank, "--answers", oracle, "--most", 30, "--json")
    assert status == 0
    result = json.loads(output)
    assert list(result) == ["choice", "gain", "interval", "asked", "bank", "disagree", "sentence"]
    assert result["asked"] <= 30
    verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["asked"]["sentence"] == result["sentence"]
    status, output, _ = shoptalk("ask", run, "--bank", bank, "--answers", oracle, "--most", 30)
    assert status == 0
    assert output == f"choice: {result['choice']}\n{result['sentence']}\n"


def test_a_person_answers_with_numbers_searches_among_labels_skips_and_takes_back(
    run: Path, bank: Path, shoptalk: Shoptalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["what?", "99", "n", "ref", "1", "0", "s", "u", "u", "2", "q"]
    monkeypatch.setattr(sys, "stdin", Typed("\n".join(typed) + "\n"))
    status, output, told = shoptalk("ask", run, "--bank", bank)
    assert status == 0
    assert "No label has 'what?' in it." in told
    assert "Expected a number" in told
    assert "more would settle it" in told or "open" in told
    rows: list[dict[str, Any]] = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows][:1] == ["refund"]
    assert len(rows) == 2
    assert output.startswith("choice: inconclusive")
    assert "base" not in told.partition("What is right?")[2]


def test_the_lines_of_a_text_stay_lines_and_control_characters_are_escaped(
    tmp_path: Path, shoptalk: Shoptalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a conversation whose roles another program wrote too: what a terminal would obey is shown."""
    turns = [{"role": "agent", "text": "Was\u202e it that?\nYes."}]
    listed = "Bring:\n- a ticket\n\n- a bag"
    for name, text in (("old", listed), ("new", "Bring a ticket and a bag.")):
        row = {"prompt": "Sum\u2066 it up.\nIn two lines.", "turns": turns, "text": text}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", Typed("q\n"))
    status, _, told = shoptalk("ask", tmp_path / "old.jsonl", tmp_path / "new.jsonl", "--out", tmp_path / "out")
    assert status == 0, told
    assert "1. Sum\\u2066 it up.\nIn two lines.\nWhich of these" in told
    assert "  agent: Was\\u202e it that? Yes.\n" in told and "\u202e" not in told
    assert " Bring:\n    - a ticket\n\n    - a bag\n" in told


def test_where_nobody_can_type_that_is_said_with_what_to_do(
    run: Path, bank: Path, shoptalk: Shoptalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, _, error = shoptalk("ask", run, "--bank", bank)
    assert status == 2
    assert "--answers FILE" in error
    assert not (run / "answers.jsonl").exists()


def test_the_interval_is_drawn_on_a_scale_that_stays_the_same(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank, most=40) as session:
        lines = [drawn(session)]
        while (question := session.question()) is not None:
            session.answer(question.key, truth(question.text))
            lines.append(drawn(session))
    bars = [line.partition("|")[2].rpartition("|")[0] for line in lines]
    assert len({len(bar) for bar in bars}) == 1
    widths = [bar.index("]") - bar.index("[") for bar in bars]
    assert widths[0] == max(widths)
    assert widths[-1] < widths[0]
    assert lines[-1].endswith(("settled", "open", "would settle it"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--systems", "base"], "expected two"),
        (["--bank", "nothing.csv"], "nothing.csv"),
        (["--most", "0"], "most"),
        (["--answers", "nothing.jsonl"], "do not exist"),
    ],
)
def test_wrong_input_is_told_with_status_2(
    run: Path, bank: Path, shoptalk: Shoptalk, words: list[str], message: str
) -> None:
    given = [] if "--bank" in words else ["--bank", bank]
    status, _, error = shoptalk("ask", run, *given, *words)
    assert status == 2
    assert message in error
