"""What more training may still bring."""

import math

import numpy as np
import pytest
from benchmarks.saturation import ERRORS, PLANS, by_what_is_to_come, shares
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.decide.saturation import _above, to_come

PLACES = np.array([0.1, 0.3, 0.5])


def told(gains: list[float], *, error: float = 0.05, worth: float = 0.5, end: float = 1.0) -> tuple[float, float]:
    covariance = error**2 * np.eye(len(gains))
    return to_come(PLACES[: len(gains)], np.array(gains), covariance, end=end, worth=worth, wobble=0.0)


def test_a_straight_rise_is_expected_to_go_on():
    mean, chance = told([1.0, 3.0, 5.0], error=0.01)
    assert mean == pytest.approx(5.0, abs=0.3) and chance > 0.99


def test_a_curve_that_has_levelled_off_is_expected_to_stay_there():
    gains = 2 * -np.expm1(-PLACES / 0.05)
    mean, chance = told(gains.tolist(), error=0.02)
    assert mean < 0.1 and chance < 0.01


def test_noise_that_hides_the_shape_leaves_the_question_open():
    gains = (2 * -np.expm1(-PLACES / 0.05)).tolist()
    assert told(gains, error=2.0)[1] > 0.2


@given(scale=st.floats(0.1, 10.0), gains=st.lists(st.floats(-3, 5), min_size=1, max_size=3))
def test_units_do_not_matter(scale: float, gains: list[float]):
    """Gains, errors and what is worth having in other units; progress in other units."""
    one = told(gains, error=0.2)
    places, covariance = PLACES[: len(gains)], (0.2 * scale) ** 2 * np.eye(len(gains))
    other = to_come(7 * places, scale * np.array(gains), covariance, end=7.0, worth=scale * 0.5, wobble=0.0)
    assert other.mean == pytest.approx(scale * one[0], rel=1e-6, abs=1e-9)
    assert other.chance == pytest.approx(one[1], abs=1e-6)


@given(st.floats(-6, 6))
def test_the_normal_tail_is_that_of_the_mathematics_library(deviate: float):
    assert _above(np.array([deviate]))[0] == pytest.approx(0.5 * math.erfc(deviate / math.sqrt(2)), abs=2e-7)


@pytest.mark.parametrize("labels", ERRORS)
@pytest.mark.parametrize("plan", PLANS)
def test_at_most_a_twentieth_of_rising_curves_is_stopped_while_a_gain_worth_having_is_to_come(labels: int, plan: str):
    early, trained = shares(by_what_is_to_come, PLANS[plan], ERRORS[labels], trials=6)
    assert early <= 0.05
    assert trained < 0.95


def test_progress_that_goes_back_or_past_the_end_is_refused():
    with pytest.raises(ValueError, match="does not rise from nought to at most 1"):
        to_come(np.array([0.5, 0.4]), np.zeros(2), np.eye(2), end=1.0, worth=0.5)
    with pytest.raises(ValueError, match="does not rise"):
        to_come(np.array([0.5, 1.4]), np.zeros(2), np.eye(2), end=1.0, worth=0.5)
