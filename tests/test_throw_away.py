"""A new objective and a new task take one file each and a line where they are listed; all else finds them there."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field

from shoptalk.commands.pretrain import pretrain
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.product import TEXT, Embedder, Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives import OBJECTIVES
from shoptalk.records import Measure
from shoptalk.stages.world import World
from shoptalk.tasks import TASKS
from shoptalk.tasks.judge import Final, Ground, Judge, Score
from shoptalk.text.batching import TextBatch
from shoptalk.text.corpus import Corpus
from tests.conftest import Listener, SmallWorld
from tests.test_adaptation import config_for


class SpreadSpec(Spec):
    """Vectors are pushed away from each other, and that is all."""

    kind: Literal["spread"] = "spread"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=8, ge=2)
    passes: float = Field(default=3.0, gt=0)

    def examples(self, corpus: Corpus) -> Examples:
        return range(len(corpus)) if len(corpus) > 1 else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], TextBatch]:
        return lambda examples, key: TextBatch(material.product.batch([material.inputs[i] for i in examples]))

    def build(self, product: TextEncoder) -> "Spread":
        return Spread(product)


class Spread(Objective[TextEncoder, TextBatch]):
    def __init__(self, product: TextEncoder) -> None:
        super().__init__()
        self.product, self.encoder = product, product.network

    def forward(self, batch: TextBatch) -> Loss:
        vectors = self.encoder(batch.texts)
        return Loss(total=(vectors @ vectors.T).square().mean(), terms={})


class Evenness(Judge):
    """How far texts lie from each other: of every text its mean distance to the others, a number and not a share."""

    key = "evenness"
    measure = Measure(
        name="distance",
        unit="",
        difference="units",
        finding="keeps texts {adapted} apart against {base}",
        examples="texts",
    )

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.tested, self.cluster = np.ones((1, len(texts)), dtype=bool), np.arange(len(texts))

    def look(self, product: Embedder) -> Score:
        vectors = product.embed(self.texts)
        return (1 - vectors @ vectors.T).mean(axis=1)[None]

    def final(self, product: Embedder, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        return Final(self.look(product))


def evenness(ground: Ground) -> Evenness | None:
    return Evenness(list(ground.train.texts)) if len(ground.train) else None


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "spread", SpreadSpec)
    monkeypatch.setitem(TASKS, "evenness", evenness)


@pytest.mark.slow
@pytest.mark.parametrize("candidate", ["spread", "0.5*spread+mlm", "spread-then-mlm"])
def test_candidates_sums_and_curricula_pick_a_new_objective_up(
    candidate: str, tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    from shoptalk.adaptation import adapt

    config = config_for(tiny_base, candidates=(candidate, "none"))
    verdict = adapt([world.conversations], out=tmp_path / "run", config=config, report=listener, labels=world.labels)
    assert verdict.objective == candidate
    assert candidate in (tmp_path / "run" / "report.html").read_text()


def test_pretrain_picks_a_new_objective_up(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    inside = World(run=tmp_path / "run", config=config_for(tiny_base), report=listener)
    pretrain(inside, [world.conversations], objective="spread", steps=4, card="")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert (tmp_path / "run" / "encoder" / "model.safetensors").is_file()


def told(world: SmallWorld, base: Path, out: Path, listener: Listener, **settings: Any) -> dict[str, Any]:
    from shoptalk.adaptation import adapt

    config = config_for(base, candidates=("spread", "none"), **settings)
    return adapt([world.conversations], out=out, config=config, report=listener, labels=world.labels).told()


def test_a_verdict_is_about_the_task_that_was_asked_for_in_its_own_words_and_units(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    verdict = told(world, tiny_base, tmp_path / "run", listener, task="evenness")
    assert (verdict["metric"], verdict["shots"], verdict["n_draws"]) == ("distance", None, 1)
    assert "keeps texts" in verdict["sentence"] and "units" in verdict["sentence"]
    assert "points" not in verdict["sentence"] and "%" not in verdict["sentence"].replace("95 %", "")


def test_a_second_task_guards_the_first(tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener) -> None:
    verdict = told(world, tiny_base, tmp_path / "run", listener, other_tasks=("evenness",), guards={"tasks": 0.0})
    assert verdict["metric"] == "accuracy"
    assert all({"intent", "evenness"} <= set(row["readings"]) for row in verdict["candidates"])
    before = json.loads((tmp_path / "run" / "baseline" / "manifest.json").read_text())["readings"]["evenness"]
    for row in verdict["candidates"]:
        fell = row["readings"]["evenness"] < before
        assert ("it loses at evenness" in row["why_not"]) == fell or "collapsed" in row["why_not"]


class Falling(Evenness):
    """Whatever is measured, each measurement is worse than the one before."""

    key = "falling"
    measured = 0

    def look(self, product: Embedder) -> Score:
        Falling.measured += 1
        return np.full(self.tested.shape, -0.02 * Falling.measured)


def test_an_entry_that_loses_at_another_task_is_never_adopted(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "falling", lambda ground: Falling(list(ground.train.texts[:5])))
    verdict = told(
        world, tiny_base, tmp_path / "run", listener, other_tasks=("falling",), guards={"forgetting": -1000.0}
    )
    assert verdict["choice"] != "adopt"
    assert all("it loses at falling" in row["why_not"] for row in verdict["candidates"])


def test_without_labels_another_task_is_no_stand_in_for_the_goal(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    from shoptalk.adaptation import adapt

    config = config_for(tiny_base, candidates=("spread", "none"), other_tasks=("evenness",))
    verdict = adapt([world.conversations], out=tmp_path / "run", config=config, report=listener).told()
    assert (verdict["choice"], verdict["gain"]) == ("inconclusive", None)
    assert "needs labelled messages, and this run has none" in verdict["sentence"]
    assert all("evenness" in row["readings"] for row in verdict["candidates"])


def test_a_finished_run_of_a_task_without_labels_stands(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    from shoptalk.adaptation import adapt

    config = config_for(tiny_base, candidates=("spread", "none"), task="evenness")
    for _ in range(2):
        adapt([world.conversations], out=tmp_path / "run", config=config, report=listener)
    assert not any("made anew" in line for line in listener.said)
    assert sum("as it would be shipped" in line for line in listener.said) == 1


def test_scores_that_are_no_numbers_eliminate_the_candidate(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    class Broken(Evenness):
        key = "broken"

        def look(self, product: Embedder) -> Score:
            return np.full(self.tested.shape, 1.0 if next(calls) < 2 else np.nan)

    monkeypatch.setitem(TASKS, "broken", lambda ground: Broken(list(ground.train.texts[:5])))
    verdict = told(world, tiny_base, tmp_path / "run", listener, task="broken")
    assert verdict["candidates"] == []
    assert "scores at broken are NaN or infinite" in verdict["left_out"]["spread"]


@pytest.mark.slow
def test_dose_curves_of_a_new_task_without_labels_are_in_its_own_units(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    from shoptalk.commands.dose import dose
    from shoptalk.config import Budget

    told(world, tiny_base, tmp_path / "run", listener, task="evenness")
    found = dose(tmp_path / "run", budget=Budget(tokens=1), report=listener).told()
    assert list(found["curves"]) == ["tokens", "texts"] and found["looked"] == "distance"
    assert all(" units (" in curve["sentence"] for curve in found["curves"].values())


def test_a_task_that_there_is_not_is_refused_with_those_that_there_are(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    from shoptalk.errors import ConfigError

    with pytest.raises(ConfigError, match=r"No task 'evennes'. .*evenness"):
        told(world, tiny_base, tmp_path / "run", listener, task="evennes")
    assert not (tmp_path / "run").exists()
