"""What the verdict reads of the challenger, and which way round it says so."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from shoptalk.config import load
from shoptalk.evaluate.bench import GeneralGaps, measure
from shoptalk.evaluate.other_tasks import other_finals
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.records import Reading
from shoptalk.stages import decide
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.decide import Judged, decide_stage
from shoptalk.stages.entry import Entry
from shoptalk.stages.world import World
from shoptalk.tasks.compressor import Compressed
from shoptalk.tasks.general_cloze import GeneralCloze, general_cloze
from shoptalk.tasks.judge import Final
from shoptalk.tasks.language_model import MEASURE
from tests.conftest import Listener
from tests.evaluate.test_bench import Lengths
from tests.evaluate.test_other_tasks import Risen, bench_of

BASE = tiny_language_model()
CHALLENGER = replace(BASE, name="adapted")


class WithTest(Risen):
    """A judge with a supplied test, on which models have the same scores."""

    class _Supplied:
        cluster = np.arange(40)

        def __init__(self, judge: Risen) -> None:
            self.judge = judge

        def scores(self, product: Any, final: Final) -> np.ndarray:
            return self.judge.final(product).scores

    def __init__(self, key: str, before: np.ndarray, after: np.ndarray) -> None:
        super().__init__(key, before, after)
        self.test = WithTest._Supplied(self)


def decided(
    monkeypatch: pytest.MonkeyPatch,
    listener: Listener,
    run: Path,
    *judges: Lengths,
    general: Any = None,
    steps: tuple[int, ...] = (9,),
) -> tuple[Judged, list[str]]:
    """The verdict on one entry of each number of steps, later ones a little better, and the models that were opened."""
    opened: list[str] = []

    def open_product(_: object, model: str) -> Any:
        opened.append(model)
        return CHALLENGER if model.endswith("encoder") else BASE

    monkeypatch.setattr(decide, "open_product", open_product)
    bench = replace(bench_of(*judges), probes={}, guards={}, general=general)
    judge = bench.judge
    assert judge is not None
    config = load(base="tiny", task="language_model")
    world = World(run, config, listener)
    baseline = Mock(spec=Baseline, bench=bench, measured=measure(BASE, bench), kind="lm", others={}, price=None)
    baseline.final, baseline.other_tasks = judge.final(BASE), other_finals(bench, BASE)
    baseline.seconds = baseline.final_seconds = 1.0
    look = Reading(key=judge.key, name="length", value=1.0, unit="cm", n=40)
    entries = []
    for place, step in enumerate(steps):
        scores = {judge.key: judge.final(CHALLENGER).scores + 0.01 * place}
        looked = replace(baseline.measured, readings=(look,), scores=scores)
        entry = Mock(
            spec=Entry, candidate="clm", step=step, tokens=9, merge=None, measured=looked, alarm=None, seconds=1.0
        )
        entry.name, entry.folder = f"clm@{step}", run / f"clm-{step}"
        entries.append(entry)
    return decide_stage(world, baseline, entries), opened


def asked(monkeypatch: pytest.MonkeyPatch, by: float) -> GeneralGaps:
    """General text of which challengers hold the answers so much more probable."""
    general = general_cloze()

    def final(_: object, product: Any, **_more: object) -> Final:
        values = np.random.default_rng(0).uniform(0.4, 0.8, (1, len(general.gaps)))
        return Final(values + by if product.name == "adapted" else values)

    monkeypatch.setattr(GeneralCloze, "final", final)
    return GeneralGaps(general, -2.0)


def rising(key: str, by: float, of: type[Risen] = Risen) -> Risen:
    values = 5.0 + np.random.default_rng(0).normal(size=(1, 40))
    return of(key, values, values + by)


def test_what_training_makes_worse_at_another_task_is_told_as_a_loss_and_what_it_makes_better_as_a_gain(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, tmp_path: Path
) -> None:
    judges = (rising("goal", 1.0), rising("worse", -1.0), rising("better", 2.0))
    judged, opened = decided(monkeypatch, listener, tmp_path, *judges)
    rows = {row["task"]: row for row in judged.facts["other_tasks"]}
    assert rows["worse"]["gain"] == pytest.approx(-2.0) and rows["better"]["gain"] == pytest.approx(4.0)
    assert judged.facts["gain"] == pytest.approx(2.0)
    for key, row in rows.items():
        before = 2 * next(judge for judge in judges if judge.key == key).values.mean()
        assert row["base"] == pytest.approx(before) and row["adapted"] == pytest.approx(before + row["gain"])
        assert row["sentence"] in judged.facts["sentence"]
    assert opened == [str(tmp_path / "clm-9" / "encoder")]  # the base was read by the baseline stage
    assert listener.said[-1] == "decide: measuring it at worse, better"


@pytest.mark.parametrize("by", [-0.3, -0.01])
def test_a_challenger_that_surely_holds_everyday_names_less_probable_is_not_adopted_whatever_it_gains(
    by: float, monkeypatch: pytest.MonkeyPatch, listener: Listener, tmp_path: Path
) -> None:
    judge = rising("goal", 1.0)
    judge.cluster = np.arange(40)
    monkeypatch.setattr("shoptalk.decide.adoption.FEWEST_CLUSTERS", 10)
    judged, opened = decided(monkeypatch, listener, tmp_path, judge, general=asked(monkeypatch, by))
    verdict, inside = judged.facts, by > -0.1
    assert judged.choice == ("adopt" if inside else "keep_base")
    assert verdict["general_cloze"]["gain"] == pytest.approx(100 * by) and "other_tasks" not in verdict
    assert verdict["general_cloze"]["inside"] is inside and verdict["general_cloze"]["sentence"] in verdict["sentence"]
    (row,) = verdict["candidates"]
    assert row["inside_guards"] is inside and ("general text" in row["why_not"]) is not inside
    assert listener.said[-1] == "decide: measuring it at cloze probability in general text"
    assert (row["why_not"] in verdict["sentence"]) and opened == [str(tmp_path / "clm-9" / "encoder")]


@pytest.mark.parametrize("examples", [10, 100])
def test_where_another_entry_was_not_asked_for_forgetting_the_verdict_says_so_and_not_that_none_stayed_inside(
    examples: int, monkeypatch: pytest.MonkeyPatch, listener: Listener, tmp_path: Path
) -> None:
    judge = rising("goal", 1.0)
    judge.cluster = np.arange(40)
    monkeypatch.setattr("shoptalk.decide.adoption.FEWEST_CLUSTERS", examples)  # of 40: enough, and too few
    general = asked(monkeypatch, -0.3)
    judged, opened = decided(monkeypatch, listener, tmp_path, judge, general=general, steps=(64, 129))
    assert judged.choice == ("keep_base" if examples == 10 else "inconclusive")
    assert opened == [str(tmp_path / "clm-129" / "encoder")]
    rows = {row["entry"]: row for row in judged.facts["candidates"]}
    assert rows["clm@64"]["inside_guards"] and not rows["clm@129"]["inside_guards"]
    sentence = judged.facts["sentence"]
    assert "the best challenger, clm@129, did not stay within its guards" in sentence
    assert "points less probable than the base" in sentence and "(guard 2); no other was asked" in sentence
    assert "no challenger" not in sentence
    alone, _ = decided(monkeypatch, listener, tmp_path, judge, general=general)
    assert "no challenger stayed within its guards" in alone.facts["sentence"]
    assert "no other was asked" not in alone.facts["sentence"]


def test_the_challenger_is_opened_once_for_a_supplied_test_too_and_what_it_gains_there_is_no_loss(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, tmp_path: Path
) -> None:
    judges = (rising("goal", 1.0, WithTest), rising("worse", -1.0))
    judged, opened = decided(monkeypatch, listener, tmp_path, *judges)
    assert judged.facts["on_test"] and judged.facts["gain"] == pytest.approx(2.0)
    assert opened == [str(tmp_path / "clm-9" / "encoder"), "tiny"]
    assert len((tmp_path / "test_reads.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(("bits", "enough"), [(4.5, True), (3.5, True), (3.5, False)])
def test_a_young_model_is_adopted_only_where_it_takes_fewer_bits_than_a_compressor(
    bits: float, enough: bool, monkeypatch: pytest.MonkeyPatch, listener: Listener, tmp_path: Path
) -> None:
    before = -5.0 + 0.1 * np.random.default_rng(0).normal(size=(1, 40))
    judge = Risen("goal", before, before + 1.0)  # some 5 bits, and 4 after the training
    judge.measure, judge.cluster = MEASURE, np.arange(40)
    judge.compressor = Compressed(bits, tuple(range(0, 40, 2)), 1000, 1.0, 9000)
    monkeypatch.setattr("shoptalk.decide.adoption.FEWEST_CLUSTERS", 10 if enough else 100)
    judged, _ = decided(monkeypatch, listener, tmp_path, judge)
    adapted, inside = -float(before[:, ::2].mean() + 1.0), bits == 4.5
    assert judged.choice == ("adopt" if inside else "keep_base" if enough else "inconclusive")
    expected = {"name": "xz", "value": bits, "n_texts": 20, "n_bytes": 1000, "primed_bytes": 9000, "inside": inside}
    assert judged.facts["compressor"] == expected | {"adapted": pytest.approx(adapted)}
    (row,) = judged.facts["candidates"]
    why = (
        f"xz, which learns nothing, takes 3.500 bits a byte of 20 of the texts, the trained model {adapted:.3f} bits: "
    )
    assert row["inside_guards"] is inside and row["why_not"].startswith("" if inside else why)
    assert (why in judged.facts["sentence"]) is not inside
    assert ("such as smollm2" in judged.facts["sentence"]) is not inside


def test_where_no_compressor_is_asked_the_verdict_says_nothing_of_one(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, tmp_path: Path
) -> None:
    judged, _ = decided(monkeypatch, listener, tmp_path, rising("goal", 1.0))
    assert "compressor" not in judged.facts and "xz" not in judged.facts["sentence"]
