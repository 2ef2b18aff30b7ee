"""What the verdict says of tasks beside the one that must gain."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.evaluate.test_bench import LENGTH, LIMITS, Lengths, ground, intents

from shoptalk.errors import DivergedError
from shoptalk.evaluate.bench import Bench, make_bench
from shoptalk.evaluate.other_tasks import other_changes
from shoptalk.nn.product import Product
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


def test_another_task_is_read_of_both_models_and_its_change_has_an_interval() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 60))
    rulers = Risen("rulers", 5.0 + noise, 5.25 + noise + 0.1 * noise[:, ::-1])
    (row,) = other_changes(bench_of(Lengths("goal", np.ones((1, 60))), rulers), MODELS, seed=0)
    told = OtherTask.model_validate(row)
    assert told.task == "rulers" and told.metric == LENGTH.name and told.n_examples == 60
    assert told.base == pytest.approx(2 * (5 + noise.mean())) and told.adapted - told.base == pytest.approx(told.gain)
    low, high = told.interval
    assert low < told.gain < high and low > 0 and told.gain == pytest.approx(0.5 + 0.2 * noise.mean())
    assert told.sentence == (
        f"Beside it, trained, the assistant is {told.adapted:.1f} cm long against {told.base:.1f} cm "
        f"({told.gain:+.1f} cm, {low:+.1f} to {high:+.1f})."
    )


def test_models_are_opened_only_where_another_task_reads_them_without_heads() -> None:
    def opened() -> Iterator[Product]:
        pytest.fail("nothing reads a model")
        yield MODEL

    assert other_changes(bench_of(Lengths("goal", np.ones((1, 9)))), opened(), seed=0) == []
    assert other_changes(bench_of(Lengths("goal", np.ones((1, 9))), intents()), opened(), seed=0) == []


def test_a_challenger_whose_scores_are_no_numbers_has_diverged() -> None:
    rulers = Risen("rulers", np.ones((1, 9)), np.full((1, 9), np.nan))
    with pytest.raises(DivergedError):
        other_changes(bench_of(Lengths("goal", np.ones((1, 9))), rulers), MODELS, seed=0)
