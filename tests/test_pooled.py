"""Intervals of scores of whole corpora, against formulas written out by hand."""

import tracemalloc

import numpy as np
import pytest

from shoptalk.decide import intervals
from shoptalk.decide.intervals import Scores, estimate
from shoptalk.decide.pooled import gain, level
from shoptalk.evaluate.chrf import resampled_chrf


def mean(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)


def of(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).uniform(20, 80, 400)
    measured = level(of(values), mean, seed=0)
    assert measured is not None
    assert measured.value == pytest.approx(values.mean())
    half = 1.966 * values.std(ddof=1) / np.sqrt(400)
    assert measured.high - measured.value == pytest.approx(half, rel=0.35)
    assert measured.high - measured.value >= 0.9 * half
    assert measured.value - measured.low == pytest.approx(measured.high - measured.value)


def test_a_difference_on_the_same_texts_is_narrower_than_what_both_levels_allow() -> None:
    rng = np.random.default_rng(1)
    hard = rng.uniform(20, 80, 300)
    new, old = hard + rng.normal(2, 1, 300), hard
    measured, of_new = gain(of(new), of(old), mean, seed=0), level(of(new), mean, seed=0)
    assert measured is not None and of_new is not None
    assert measured.low < 2 < measured.high and measured.low > 1
    assert measured.high - measured.low < (of_new.high - of_new.low) / 5


def test_intervals_of_differences_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(200):
        hard = rng.uniform(0, 60, 60)
        measured = gain(of(hard + rng.normal(5, 8, 60)), of(hard), mean, n_boot=200, seed=seed)
        assert measured is not None
        held += measured.low <= 5 <= measured.high
    assert held >= 186  # of 200, at 95 %


def test_a_score_that_is_no_mean_is_that_of_the_sums() -> None:
    statistics = np.array([[1.0, 10.0], [9.0, 10.0], [0.0, 80.0]])
    measured = level(statistics, lambda sums: 100 * sums[:, 0] / sums[:, 1], seed=0)
    assert measured is not None and measured.value == pytest.approx(10.0)


def test_equal_texts_are_no_proof_that_two_systems_are_equal() -> None:
    same = of(np.random.default_rng(0).uniform(0, 100, 50))
    measured = gain(same, same, mean, seed=0)
    assert measured is not None
    assert (
        measured.value == 0
        and measured.high == pytest.approx(100 * 3 / 50, rel=0.05)
        and measured.low == -measured.high
    )


def test_other_texts_with_the_same_scores_prove_no_more_than_equal_ones() -> None:
    old = of(np.full(50, 100.0))  # of each text all of the one thing that it states, and then of two
    other, equal = gain(2 * old, old, mean, seed=0), gain(old, old, mean, seed=0)
    assert other == equal
    assert other is not None and other.high == pytest.approx(100 * 3 / 50, rel=0.05) and other.low == -other.high


def test_a_level_that_no_text_departs_from_has_an_interval_too_and_none_leaves_the_scale() -> None:
    measured = level(of(np.full(100, 100.0)), mean, seed=0)
    assert measured is not None
    assert (measured.value, measured.high) == (100.0, 100.0) and 96 < measured.low < 98


def test_texts_without_anything_to_score_have_no_level_and_no_gain() -> None:
    nothing, something = np.zeros((10, 2)), of(np.arange(10.0))
    assert level(nothing, mean, seed=0) is None
    assert gain(something, nothing, mean, seed=0) is None


def test_texts_of_which_few_have_anything_to_score_keep_their_interval() -> None:
    statistics = np.zeros((40, 2))
    statistics[:6] = [[50.0, 1.0], [60.0, 1.0], [40.0, 1.0], [55.0, 1.0], [45.0, 1.0], [52.0, 1.0]]
    measured = level(statistics, mean, seed=0)
    assert measured is not None and measured.low < 50 < measured.high


def test_one_text_has_no_interval() -> None:
    with pytest.raises(ValueError, match="1 text: an interval needs two"):
        level(of(np.ones(1)), mean, seed=0)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = of(np.random.default_rng(0).uniform(0, 100, 30))
    assert level(values, mean, seed=3) == level(values, mean, seed=3) != level(values, mean, seed=4)


@pytest.mark.parametrize("cells", [1, 100, 30 * 64])
def test_resamples_are_the_same_in_whatever_blocks_they_are_drawn(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one resample, of three, and of sixty-four."""
    rng = np.random.default_rng(0)
    values, counts = of(rng.uniform(0, 100, 30)), rng.integers(0, 50, (30, 3, 6))
    scores = Scores(("a",), rng.random((2, 3, 30)) < 0.7, rng.random((3, 30)) < 0.6, np.arange(30))

    def measured() -> list[object]:
        estimated = estimate(scores, n_boot=200, seed=1)
        pooled = (level(values, mean, n_boot=200, seed=1), gain(values, values[::-1], mean, n_boot=200, seed=1))
        return [estimated.low, estimated.high, *pooled, resampled_chrf(counts, seed=1)]

    whole = measured()
    monkeypatch.setattr(intervals, "_CELLS", cells)
    for one, other in zip(measured(), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(("what", "most"), [("level", 150e6), ("estimate", 150e6), ("chrf", 60e6)])
def test_many_texts_are_resampled_in_little_memory(what: str, most: float) -> None:
    """All resamples at once are 80 MB of int64, once for chrF and three times elsewhere."""
    n = 10_000
    values, counts = of(np.random.default_rng(0).uniform(0, 100, n)), np.ones((n, 3, 6), dtype=np.int64)
    right = np.random.default_rng(0).random((2, 1, n)) < 0.7
    scores = Scores(("a",), right, np.ones((1, n), dtype=bool), np.arange(n))
    tracemalloc.start()
    try:
        if what == "level":
            level(values, mean, n_boot=1000, seed=0)
        elif what == "estimate":
            estimate(scores, n_boot=1000, seed=0)
        else:
            resampled_chrf(counts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most
