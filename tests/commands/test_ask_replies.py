"""Asking about replies, where a run has no labels: which of the two that rank first fits?"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from shoptalk.adaptation import adapt
from shoptalk.commands.ask import answer_from
from shoptalk.commands.ask_session import open_session
from shoptalk.config import load
from shoptalk.errors import InputError, SourceError
from tests.conftest import Listener, SmallWorld


def talks(path: Path, n: int, *, seed: int) -> Path:
    """Conversations of four turns about one of the topics."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        topic = SmallWorld.topics[number % 4]
        turns = [{"role": ("user", "assistant")[i % 2], "text": SmallWorld._text(rng, topic)} for i in range(4)]
        rows.append(json.dumps({"id": f"t{seed}-{number}", "turns": turns}))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talks(tmp_path_factory.mktemp("bank") / "later.jsonl", 80, seed=5)


@pytest.fixture(scope="module")
def finished(tiny_base: Path, bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replies")
    overrides = ["objectives.turns.batch=8", "objectives.turns.lr=0.005", "merges=[]", "task=reply"]
    config = load(overrides=overrides, base=str(tiny_base), budget="12000tok", candidates=("turns", "none"))
    adapt([talks(folder / "talks.jsonl", 60, seed=2)], out=folder / "run", config=config, report=Listener())
    with open_session(folder / "run", bank=bank):
        pass
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(copytree(finished, tmp_path / "run"))


def test_both_first_replies_are_shown_with_what_was_said_before_and_nothing_tells_whose_they_are(
    run: Path, bank: Path
) -> None:
    turns = {
        turn["text"] for line in bank.read_text(encoding="utf-8").splitlines() for turn in json.loads(line)["turns"]
    }
    with open_session(run, bank=bank, most=1_000) as session:
        assert session.labels == ()
        assert 100 <= session.standing.bank <= 160
        first_is_old = []
        while (question := session.question()) is not None:
            old, new = session._rows[question.key].answers
            assert set(question.options) == {old, new} <= turns
            assert [role for role, _ in question.context][-1] == "user"
            first_is_old.append(question.options[0] == old)
            session.answer(question.key, new)
    assert 0.2 < sum(first_is_old) / len(first_is_old) < 0.8
    row: dict[str, Any] = json.loads((run / "answers.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert row["label"] == row["systems"]["adapted"]
    assert row["text"].startswith("user: ")


def test_answers_about_replies_settle_the_verdict_as_those_about_labels_do(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank, most=1_000) as session:
        oracle = {row.text: row.answers[1] for row in session._asking.rows}
        assert answer_from(session, oracle) == 0
        session.conclude()
    verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["choice"] == verdict["asked"]["choice"] == "adopt"
    encoder, candidate = (
        json.loads((run / name / "manifest.json").read_text(encoding="utf-8"))
        for name in ("encoder", "candidate/encoder")
    )
    assert encoder["parents"] == candidate["parents"]


def test_a_run_without_labels_has_no_heads_to_name_and_wants_conversations_as_a_bank(
    run: Path, bank: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no head answers in it"), open_session(run, systems="base:plain,adapted"):
        pass
    with pytest.raises(InputError, match="had no labels, so that replies are asked about"), open_session(run):
        pass
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "\n".join(f"only text {i}" for i in range(200)), encoding="utf-8")
    with pytest.raises(InputError, match="has no replies to ask about"), open_session(run, bank=texts):
        pass


def test_conversations_that_the_run_has_read_are_refused_as_a_bank(run: Path, finished: Path) -> None:
    with (
        pytest.raises(SourceError, match="its systems have seen them"),
        open_session(run, bank=finished.parent / "talks.jsonl"),
    ):
        pass
