"""Finished runs of language models from before general text was asked: they are opened as they are."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shoptalk.adaptation import adapt
from shoptalk.artifact import open_artifact
from shoptalk.commands.dose import dose
from shoptalk.config import Config, load
from shoptalk.evaluate.bench import Bench
from shoptalk.nn.precision import Precision
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.stages import baseline
from shoptalk.tasks.general_cloze import KEY
from tests.conftest import Listener

KEPT = ("baseline/manifest.json", "decision/manifest.json", "plan.json", "verdict.json")


def config(base: Path, *more: str) -> Config:
    overrides = ["objectives.clm.batch=4", "objectives.clm.context=64", "merges=[]", *more]
    return load(overrides=overrides, task="language_model", base=str(base), budget="15ktok")


def texts(folder: Path) -> Path:
    """Documents of three passages."""
    rng, path = random.Random(0), folder / "documents.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(110):
            passages = (
                f"The early ferry {number} of the company goes from the old pier {rng.randint(100, 999)} to the "
                f"harbour {rng.randint(100, 999)} and costs {rng.randint(10, 99)} euros for each person on board."
                for _ in range(3)
            )
            file.write(json.dumps({"id": f"d{number}", "text": "\n\n".join(passages)}) + "\n")
    return path


@pytest.fixture(scope="module")
def earlier(precision: Precision, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was finished by a version without general text, its base and its documents."""
    folder = tmp_path_factory.mktemp("earlier")
    tiny_language_model().save(folder / "base", card="# tiny\n")

    def without(_: object, bench: Bench, *_more: object) -> Bench:
        return replace(bench, general=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline, "_as_earlier", without)
        adapt([texts(folder)], out=folder / "run", config=config(folder / "base"), report=Listener())
    return folder


def kept(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in KEPT}


def beside(run: Path) -> Any:
    artifact = open_artifact(run / "baseline")
    assert artifact is not None
    return artifact.config["beside"]


def test_a_finished_run_of_an_earlier_version_is_dosed_and_adapted_again_and_nothing_of_it_is_made_anew(
    earlier: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(earlier / "run", tmp_path / "run"))
    before, listener = kept(run), Listener()
    assert KEY not in beside(run)
    assert "tokens" in dose(run, budget=None, report=listener).told()["curves"]
    assert kept(run) == before and not any("as it is" in line for line in listener.said)
    verdict = adapt([earlier / "documents.jsonl"], out=run, config=config(earlier / "base"), report=listener)
    assert kept(run) == before and verdict.general_cloze is None
    # Where a decision is made again, it is that of the baseline which is there.
    shutil.rmtree(run / "decision")
    again = adapt([earlier / "documents.jsonl"], out=run, config=config(earlier / "base"), report=listener)
    assert (again.choice, again.gain, again.general_cloze) == (verdict.choice, verdict.gain, None)
    assert (run / KEPT[0]).read_bytes() == before[KEPT[0]]
    assert "baseline: general text was not asked when this run began, and is not asked now" in listener.said


def test_a_guard_that_is_set_by_hand_is_asked_in_a_folder_of_an_earlier_version_too(
    earlier: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(earlier / "run", tmp_path / "run"))
    (run / "question.json").unlink()
    wanted = config(earlier / "base", f"guards.{KEY}=-50")
    verdict = adapt([earlier / "documents.jsonl"], out=run, config=wanted, report=Listener(), force=True)
    assert KEY in beside(run) and verdict.general_cloze is not None and verdict.general_cloze.limit == -50


def test_the_guard_of_the_cloze_is_kept_with_a_decision_only_where_it_is_set_and_asked(tmp_path: Path) -> None:
    plain, own = config(tmp_path), config(tmp_path, f"guards.{KEY}=-50")
    assert own.of_decision(asks_general=True) == own.model_dump()
    for one, asks in ((plain, True), (plain, False), (own, False)):
        told = one.of_decision(asks_general=asks)
        assert KEY not in told["guards"] and Config.model_validate(told) == plain
        assert {**told, "guards": None} == {**one.model_dump(), "guards": None}
