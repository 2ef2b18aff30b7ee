import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from shoptalk.decide.selective import fewest_answers, promised_threshold, upper_bound


@given(st.integers(1, 400), st.data())
def test_the_bound_is_the_share_at_which_so_few_wrong_ones_are_as_rare_as_the_error(
    n: int, data: st.DataObject
) -> None:
    wrong = data.draw(st.integers(0, n - 1))
    bound = upper_bound(wrong, n)
    assert binom.cdf(wrong, n, bound) == pytest.approx(0.05, abs=1e-6)
    assert bound == pytest.approx(binomtest(wrong, n).proportion_ci(0.90, method="exact").high, abs=1e-6)


def test_nothing_is_known_of_no_answers_and_of_wrong_ones_only() -> None:
    assert upper_bound(0, 0) == upper_bound(7, 7) == 1.0


@pytest.mark.parametrize(("budget", "wrong", "needed"), [(0.05, 0, 59), (0.10, 0, 29), (0.01, 0, 299), (0.05, 1, 93)])
def test_how_many_answers_a_promise_needs(budget: float, wrong: int, needed: int) -> None:
    assert fewest_answers(budget, wrong=wrong) == needed
    assert upper_bound(wrong, needed) <= budget < upper_bound(wrong, needed - 1)


def test_a_threshold_is_promised_where_its_answers_are_right_often_enough() -> None:
    confidence = np.linspace(0, 1, 1000)
    right = confidence > 0.4
    promise = promised_threshold(confidence, right, [0.9, 0.7, 0.5, 0.3, 0.1], max_wrong=0.05)
    assert promise.threshold == 0.5
    assert promise.tested == 4
    assert [point.answered for point in promise.points] == [100, 300, 500, 700, 900]
    assert promise.points[3].wrong == 101 or promise.points[3].wrong == 100


def test_nothing_after_the_first_threshold_that_fails_is_promised() -> None:
    confidence = np.concatenate([np.full(20, 0.95), np.full(500, 0.6)])
    promise = promised_threshold(confidence, np.ones(520, dtype=bool), [0.9, 0.5], max_wrong=0.05)
    assert promise.threshold is None  # 20 right answers cannot promise 5 %
    assert promise.points[1].upper < 0.05


def test_of_500_populations_just_above_the_budget_at_most_5_per_cent_are_promised() -> None:
    rng = np.random.default_rng(7)
    thresholds = [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    promised = 0
    for _ in range(500):
        confidence = rng.random(600)
        # Wrong answers are rarer where the confidence is high, but too frequent at every threshold.
        risk = 0.052 + 0.2 * (1 - confidence) ** 3
        promised += (
            promised_threshold(confidence, rng.random(600) > risk, thresholds, max_wrong=0.05).threshold is not None
        )
    assert promised <= 0.05 * 500


def test_a_population_well_inside_the_budget_is_promised_nearly_always() -> None:
    rng = np.random.default_rng(8)
    promises = [
        promised_threshold(rng.random(600), rng.random(600) > 0.01, [0.6, 0.4, 0.2], max_wrong=0.05).threshold
        for _ in range(100)
    ]
    assert sum(threshold == 0.2 for threshold in promises) >= 95
