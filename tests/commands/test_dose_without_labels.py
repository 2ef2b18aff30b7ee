"""Dose curves of tasks that need no labels: a tiny language model's, in bits per byte of documents, and others'."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.adaptation import adapt
from shoptalk.cli import printed
from shoptalk.commands.dose import dose
from shoptalk.commands.dose_texts import FEWEST_TEXTS, FRACTIONS, parts_of
from shoptalk.config import Budget, load
from shoptalk.nn.precision import Precision
from shoptalk.nn.scratch_lm import LM_SIZES, LmSize
from shoptalk.objectives.autoregressive.clm import ClmSpec
from shoptalk.report import render, render_markdown
from shoptalk.stages.candidate import PreparedCandidate
from shoptalk.telling.facts import open_facts
from shoptalk.text.corpus import Corpus
from tests.conftest import Listener, SmallWorld
from tests.report.report_pages import parse, untraced
from tests.tasks.test_answer import AnsweredWorld
from tests.test_adaptation import config_for
from tests.test_picture_runs import QUAY, SMALL

DOCUMENTS, PASSAGES = 110, 3
SCORES = "scores.language_model.npy"


@pytest.fixture(scope="module")
def finished(precision: Precision, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of a tiny language model on documents of three passages each; its merges are no doses."""
    folder, rng = tmp_path_factory.mktemp("documents"), random.Random(0)
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as file:
        for number in range(DOCUMENTS):
            text = "\n\n".join(_passage(rng, number) for _ in range(PASSAGES))
            file.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")
    overrides = ["objectives.clm.batch=4", "objectives.clm.context=64", "objectives.clm.lr=5e-3"]
    config = load(overrides=overrides, task="language_model", base="scratch:gpt-nano", budget="15ktok")
    tiny = LmSize("scratch:gpt-nano", layers=1, width=32, heads=2, hidden=64, vocabulary=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LM_SIZES, "scratch:gpt-nano", tiny)
        adapt([folder / "documents.jsonl"], out=folder / "run", config=config, report=Listener())
        yield folder / "run"


def _passage(rng: random.Random, number: int) -> str:
    return (
        f"The early ferry {number} of the company goes from the old pier {rng.randint(100, 999)} to the harbour "
        f"{rng.randint(100, 999)} and costs {rng.randint(10, 99)} euros for each person who holds a card of the line."
    )


@pytest.fixture(scope="module")
def dosed(finished: Path) -> dict[str, Any]:
    return dose(finished, budget=None, report=Listener()).told()


def level(scores: Path) -> float:
    """Bits per byte, from what a judge left of its looks."""
    return -float(np.load(scores).mean())


# --- a language model


def test_a_language_models_curves_are_of_training_and_of_documents_and_there_is_none_of_labels(
    finished: Path, dosed: dict[str, Any]
) -> None:
    assert dosed == json.loads((finished / "dose.json").read_text())
    assert list(dosed["curves"]) == ["tokens", "texts"] and "shots" not in dosed
    assert (dosed["task"], dosed["measure"]["difference"], dosed["looked"]) == (
        "language_model", "bits", "bits per byte",
    )  # fmt: skip
    assert not (finished / "dose" / "labels").exists()


def test_points_are_bits_per_byte_as_the_judge_has_them_and_gains_are_bits_saved(
    finished: Path, dosed: dict[str, Any]
) -> None:
    base = level(finished / "baseline" / SCORES)
    entries = sorted(finished.glob("menu/clm-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    tokens = dosed["curves"]["tokens"]["points"]
    assert len(tokens) == len(entries) > 1
    for point, folder in zip(tokens, entries, strict=True):
        assert point["dose"] == json.loads((folder / "progress.json").read_text())["tokens"]
        assert point["base"] == pytest.approx(base) and point["adapted"] == pytest.approx(level(folder / SCORES))
        assert point["gain"] == pytest.approx(base - level(folder / SCORES))
        assert point["interval"][0] <= point["gain"] <= point["interval"][1]
    for point in dosed["curves"]["texts"]["points"][:-1]:
        trained = next(
            folder
            for folder in finished.glob("dose/texts-*/menu/clm-*")
            if level(folder / SCORES) == pytest.approx(point["adapted"])
        )
        assert point["gain"] == pytest.approx(base - level(trained / SCORES))
    assert tokens[-1]["gain"] > 0.5  # over random weights


def test_the_interval_is_that_of_documents_drawn_anew(finished: Path, dosed: dict[str, Any]) -> None:
    """Of one point the band's half-width is c standard errors of a resampled mean, and c is over 1.96."""
    base, last = (np.load(folder / SCORES)[0] for folder in (finished / "baseline", _best(finished, dosed)))
    saved = last - base
    rng = np.random.default_rng(5)
    spread = np.std([saved[rng.integers(len(saved), size=len(saved))].mean() for _ in range(2000)])
    low, high = dosed["curves"]["tokens"]["points"][-1]["interval"]
    assert 1.9 * spread < (high - low) / 2 < 5 * spread


def _best(finished: Path, dosed: dict[str, Any]) -> Path:
    return finished / "menu" / dosed["entry"].replace("@", "-")


def test_the_texts_curve_counts_documents_which_are_trained_on_whole_for_the_winners_steps(
    finished: Path, dosed: dict[str, Any]
) -> None:
    curve = dosed["curves"]["texts"]
    assert curve["unit"] == "unlabelled documents"
    whole = curve["points"][-1]["dose"]
    kept = json.loads((finished / "decision" / "facts.json").read_text())["kept"]["texts"]
    assert PASSAGES * whole == kept < PASSAGES * DOCUMENTS  # the others are held out
    shares = [point["dose"] / whole for point in curve["points"]]
    assert shares == pytest.approx([*sorted(FRACTIONS), 1.0], abs=0.02)
    for folder in (finished / "dose").glob("texts-*/menu/*"):
        assert json.loads((folder / "progress.json").read_text())["step"] == curve["steps"]


def test_sentences_tables_and_pictures_speak_of_bits_and_documents_alone(finished: Path, dosed: dict[str, Any]) -> None:
    facts = open_facts(finished)
    assert facts.told()["dose"] == dosed
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page == render(facts)
    assert untraced(page, facts) == []
    section = next(part for part in parse(page).all("section") if part.attributes.get("id") == "dose").text
    printed_too = printed.dose(dosed, finished)
    for told in (section, printed_too, render_markdown(facts).partition("## How much is enough")[2].partition("##")[0]):
        assert "The saving in bits per byte is " in told and "unlabelled documents" in told
        assert "labels per class" not in told and "in points" not in told and " points (" not in told
    assert "gain in bits" in section and "Of unlabelled documents" in section and "Of labels" not in section
    assert "gain in bits over the base" in printed_too and " bits   +" in printed_too and " %   " not in printed_too


def test_a_smaller_budget_trains_on_fewer_parts_and_the_same_command_trains_nothing_again(
    finished: Path, dosed: dict[str, Any], tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(finished, tmp_path / "run"))
    again = Listener()
    assert dose(copied, budget=None, report=again).told() == dosed
    assert not [line for line in again.said if "/" in line]
    little = dose(copied, budget=Budget(tokens=1), report=Listener()).told()["curves"]["texts"]
    assert len(little["points"]) == 1 and len(little["left_out"]) == len(dosed["curves"]["texts"]["points"]) - 1


def test_the_run_advises_the_dose_of_training_and_text_and_promises_no_labels(finished: Path) -> None:
    advised = [step for step in open_facts(finished).next if "shoptalk dose" in (step.command or "")]
    assert [step.say for step in advised] == ["Measure how much is enough: the gain against training and texts."]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 1000))
def test_parts_of_a_corpus_hold_whole_documents_lie_in_each_other_and_are_no_size_twice(
    passages: list[int], seed: int
) -> None:
    whole = Corpus(
        items=tuple(f"text {number}" for number in range(sum(passages))),
        conversation=np.repeat(np.arange(len(passages)), passages),
        turn=np.full(sum(passages), -1),
        digest="made up",
    )
    parts = parts_of(whole, PreparedCandidate("clm", ClmSpec(), None), seed=seed)
    sizes = [len(parts[fraction]) for fraction in sorted(parts)]
    assert sizes == sorted({*sizes}) and all(FEWEST_TEXTS <= size < len(whole) for size in sizes)
    before: set[int] = set()
    for fraction in sorted(parts):
        documents, held = np.unique(parts[fraction].conversation, return_counts=True)
        assert held.tolist() == [passages[document] for document in documents.tolist()]
        assert before < {*documents.tolist()}
        before = {*documents.tolist()}


@pytest.mark.slow
def test_a_winner_that_replays_general_text_is_dosed_from_what_the_run_has_kept_of_it(
    finished: Path, tmp_path: Path
) -> None:
    general, moved = tmp_path / "general.txt", tmp_path / "moved.txt"
    rng = random.Random(3)
    general.write_text("\n\n".join(f"A river has {rng.randint(10, 99)} bends and a mill." for _ in range(60)))
    overrides = ["objectives.clm.batch=4", "objectives.clm.context=64", f"replay.sources={json.dumps([str(general)])}"]
    config = load(
        overrides=overrides, task="language_model", base="scratch:gpt-nano", budget="10ktok",
        candidates=("clm-replay-40", "none"),
    )  # fmt: skip
    adapt([finished.parent / "documents.jsonl"], out=tmp_path / "run", config=config, report=Listener())
    general.rename(moved)
    told = dose(tmp_path / "run", budget=None, report=Listener()).told()
    assert told["objective"] == "clm-replay-40" and len(told["curves"]["texts"]["points"]) == 4


# --- other tasks without labels


def check_other(run: Path, *, key: str, unit: str, curves: dict[str, Any]) -> None:
    """Curves of training and texts whose last points are the best entry's gain by the task's own scores, in points."""
    assert list(curves) == ["tokens", "texts"] and curves["texts"]["unit"] == unit
    entry = run / "menu" / json.loads((run / "dose.json").read_text())["entry"].replace("@", "-")
    base, adapted = (float(np.load(folder / f"scores.{key}.npy").mean()) for folder in (run / "baseline", entry))
    last = curves["texts"]["points"][-1]
    assert (last["base"], last["adapted"]) == pytest.approx((100 * base, 100 * adapted), abs=1e-3)
    assert last["gain"] == pytest.approx(100 * (adapted - base), abs=1e-3)
    for curve in curves.values():
        assert " points (" in curve["sentence"] and "bits" not in curve["sentence"]


@pytest.mark.slow
def test_curves_of_replies_are_of_training_and_texts(tiny_base: Path, world: SmallWorld, tmp_path: Path) -> None:
    run, config = tmp_path / "run", config_for(tiny_base, task="reply", candidates=("turns", "none"))
    adapt([world.conversations], out=run, config=config, report=Listener())
    check_other(
        run, key="reply", unit="unlabelled texts", curves=dose(run, budget=None, report=Listener()).told()["curves"]
    )


@pytest.mark.slow
def test_curves_of_answers_are_of_training_and_texts(tiny_base: Path, tmp_path: Path) -> None:
    asked = AnsweredWorld(tmp_path)
    run, config = tmp_path / "run", config_for(tiny_base, task="answer", candidates=("neighbours", "none"))
    adapt(asked.sources, out=run, config=config, report=Listener(), pairs=asked.pairs)
    check_other(
        run, key="answer", unit="unlabelled texts", curves=dose(run, budget=None, report=Listener()).told()["curves"]
    )


@pytest.mark.slow
def test_curves_of_captions_count_pictures_and_not_their_captions(tiny_base: Path, tmp_path: Path) -> None:
    run, base = tmp_path / "run", f"scratch:resnet-mini+{tiny_base}"
    config = load(overrides=SMALL, task="caption", base=base, budget="12ktok", candidates=("clip", "none"))
    adapt([QUAY / "captions.csv"], out=run, config=config, report=Listener())
    curves = dose(run, budget=None, report=Listener()).told()["curves"]
    check_other(run, key="caption", unit="unlabelled pictures", curves=curves)
    kept = json.loads((run / "decision" / "facts.json").read_text())["kept"]
    assert curves["texts"]["points"][-1]["dose"] < kept["texts"] / 2  # each has a caption or two
