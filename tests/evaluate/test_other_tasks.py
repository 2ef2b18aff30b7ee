"""What the verdict says of tasks beside the one that must gain."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluate.test_bench import LENGTH, LIMITS, Lengths, ground, intents

from shoptalk.errors import DivergedError
from shoptalk.evaluate.bench import Bench, make_bench
from shoptalk.evaluate.other_tasks import load_others, other_changes, other_finals, read_beside, save_others
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.report.verdict_json import OtherTask
from shoptalk.tasks.judge import Final

MODEL = tiny_language_model()
MODELS = (MODEL, replace(MODEL, name="adapted"))


class Risen(Lengths):
    """Scores of which the adapted model has others."""

    def __init__(self, key: str, before: np.ndarray, after: np.ndarray) -> None:
        super().__init__(key, before)
        self.after = after

    def final(self, product: Any, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        return Final(self.after if product.name == "adapted" else self.values)


def bench_of(*judges: Any) -> Bench:
    return make_bench(
        ground("lm"), {judge.key: judge for judge in judges}, goal=judges[0].key, sample=(), limits=LIMITS
    )


def changes_of(bench: Bench) -> list[dict[str, Any]]:
    before, after = (other_finals(bench, model) for model in MODELS)
    return other_changes(bench, before, after, base="tiny", entry="clm@9", seed=0)


def test_another_task_is_read_of_both_models_and_its_change_has_an_interval() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 60))
    rulers = Risen("rulers", 5.0 + noise, 5.25 + noise + 0.1 * noise[:, ::-1])
    (row,) = changes_of(bench_of(Lengths("goal", np.ones((1, 60))), rulers))
    told = OtherTask.model_validate(row)
    assert told.task == "rulers" and told.metric == LENGTH.name and told.n_examples == 60
    assert told.base == pytest.approx(2 * (5 + noise.mean())) and told.adapted - told.base == pytest.approx(told.gain)
    low, high = told.interval
    assert low < told.gain < high and low > 0 and told.gain == pytest.approx(0.5 + 0.2 * noise.mean())
    assert told.sentence == (
        "At the task rulers, which only had to get no worse, the trained encoder (clm@9) is "
        f"{told.adapted:.1f} cm long against {told.base:.1f} cm "
        f"({told.gain:+.1f} cm over tiny as it is, {low:+.1f} to {high:+.1f})."
    )


def test_where_less_is_better_a_fall_is_told_as_a_gain() -> None:
    bits = LENGTH.model_copy(update={"lower_is_better": True})
    rulers = Risen("rulers", -np.full((1, 9), 2.0), -np.full((1, 9), 1.5))
    rulers.measure = bits
    (row,) = changes_of(bench_of(Lengths("goal", np.ones((1, 9))), rulers))
    assert (row["base"], row["adapted"], row["gain"]) == (4.0, 3.0, 1.0)
    assert "against 4.0 cm (less is better: a gain of +1.0 cm over tiny as it is" in row["sentence"]


def test_only_tasks_that_need_no_heads_are_read_beside_the_one_that_must_gain() -> None:
    goal, rulers = Lengths("goal", np.ones((1, 9))), Lengths("rulers", np.ones((1, 9)))
    assert read_beside(bench_of(goal)) == read_beside(bench_of(goal, intents())) == []
    assert read_beside(bench_of(goal, intents(), rulers)) == [rulers]
    assert read_beside(replace(bench_of(goal, rulers), goal="nothing to judge by")) == []


def test_scores_at_other_tasks_survive_being_written_and_those_of_other_examples_are_refused(tmp_path: Path) -> None:
    goal = Lengths("goal", np.ones((1, 9)))
    bench = bench_of(goal, Lengths("rulers", np.arange(9.0)[None]))
    save_others(tmp_path, other_finals(bench, MODEL))
    np.testing.assert_array_equal(load_others(tmp_path, bench)["rulers"].scores, np.arange(9.0)[None])
    with pytest.raises(ValueError, match="expected at most 1 draws of 8 examples"):
        load_others(tmp_path, bench_of(goal, Lengths("rulers", np.ones((1, 8)))))


def test_models_whose_scores_are_no_numbers_are_refused() -> None:
    rulers = Risen("rulers", np.full((1, 9), np.nan), np.ones((1, 9)))
    bench = bench_of(Lengths("goal", np.ones((1, 9))), rulers)
    other_finals(bench, MODELS[1])
    with pytest.raises(DivergedError):
        other_finals(bench, MODEL)
