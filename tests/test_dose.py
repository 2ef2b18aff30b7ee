"""The laws, against curves whose truth is known and against fits written out by hand."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.decide import Band
from shoptalk.dose import FARTHEST, amount, judge, sentence
from shoptalk.records import Measure

DOSES = [1.0, 2.0, 4.0, 8.0, 16.0]


def curve(truth: list[float], *, noise: float = 0.0, seed: int = 0, n_boot: int = 200) -> Band:
    """Gains around the truth, and resamples around the gains, with the same normal noise."""
    rng = np.random.default_rng(seed)
    gain = np.array(truth) + noise * rng.normal(size=len(truth))
    resampled = gain + max(noise, 0.01) * rng.normal(size=(n_boot, len(truth)))
    se = np.full(len(truth), max(noise, 0.05))
    return Band(
        names=tuple(map(str, range(len(truth)))), base=np.full(len(truth), 70.0), adapted=70 + gain, gain=gain, se=se,
        low=gain - 2.7 * se, high=gain + 2.7 * se, c=2.7, resampled=resampled,
    )  # fmt: skip


def power(a: float, b: float, c: float, doses: list[float] = DOSES) -> list[float]:
    return [a - b * n**-c for n in doses]


def exponential(a: float, s: float, doses: list[float] = DOSES) -> list[float]:
    return [a * (1 - math.exp(-n / s)) for n in doses]


def test_a_power_law_is_found_again_with_its_limit_and_what_twice_as_much_brings() -> None:
    found = judge(DOSES, curve(power(4.0, 3.0, 0.8)))
    assert found.law == "power"
    assert found.asymptote == pytest.approx(4.0, abs=0.1)
    assert found.twice is not None and found.twice.dose == 32
    assert found.twice.change == pytest.approx(3.0 * (16**-0.8 - 32**-0.8), abs=0.02)
    ninety = found.reaches[0]
    assert ninety.dose == pytest.approx((0.1 * 4.0 / 3.0) ** (-1 / 0.8), rel=0.15)


def test_an_exponential_is_found_again_with_the_dose_of_nine_tenths() -> None:
    found = judge(DOSES, curve(exponential(3.0, 3.0)))
    assert found.law == "exponential"
    assert found.asymptote == pytest.approx(3.0, abs=0.02)
    assert [reach.dose for reach in found.reaches] == pytest.approx([3 * math.log(10), 3 * math.log(20)], rel=0.1)
    assert found.twice is not None and found.twice.change == pytest.approx(
        3 * (math.exp(-16 / 3) - math.exp(-32 / 3)), abs=0.02
    )


def test_the_check_is_a_prediction_that_never_saw_the_largest_dose() -> None:
    truth = exponential(3.0, 3.0)
    told = {}
    for last in (truth[-1], truth[-1] + 5):
        found = judge(DOSES, curve([*truth[:-1], last]))
        told[last] = {check.law: check for check in found.checks}
    before, after = told.values()
    for law in before:
        assert after[law].predicted == pytest.approx(before[law].predicted, abs=1e-9)
        assert after[law].measured == pytest.approx(before[law].measured + 5)

    # By hand: least squares over the same scales, one by one.
    def residual(s: float) -> tuple[float, float]:
        rise = np.array([1 - math.exp(-n / 8 / s) for n in DOSES[:-1]])
        a = float(rise @ truth[:-1] / (rise @ rise))
        return float(((a * rise - truth[:-1]) ** 2).sum()), a * (1 - math.exp(-2 / s))

    _, predicted = min(residual(s) for s in np.geomspace(0.02, 20.0, 180))
    assert before["exponential"].predicted == pytest.approx(predicted, rel=1e-6)


def test_a_curve_that_no_law_predicts_gets_no_statement_and_says_so() -> None:
    band = curve([0.5, 1.0, 1.4, 1.7, -3.0], noise=0.05)
    found = judge(DOSES, band)
    assert found.law is None and found.twice is None and found.reaches == ()
    assert not any(check.holds for check in found.checks)
    assert "cannot be told: no law predicts the largest dose" in sentence(found, band, what="texts")


@pytest.mark.parametrize("points", [1, 2])
def test_too_few_points_for_a_law_and_its_check_get_no_statement(points: int) -> None:
    band = curve([1.0, 2.0][:points])
    found = judge(DOSES[:points], band)
    assert found.checks == () and found.law is None
    few = {1: "1 point is too few", 2: "2 points are too few"}[points]
    assert few in sentence(found, band, what="texts")


def test_gains_that_are_noise_have_nothing_to_saturate() -> None:
    band = curve([0.0] * 5, noise=0.5, seed=3)
    found = judge(DOSES, band)
    assert found.law is None
    assert "no point differs from 0" in found.why_not


def test_a_gain_that_shrinks_with_labels_has_no_dose_of_saturation_but_a_forecast() -> None:
    band = curve(power(0.5, -3.4, 0.8), noise=0.05)
    found = judge(DOSES, band)
    assert found.law == "power" and found.reaches == ()
    assert found.twice is not None and found.twice.change < 0
    assert "does not rise with the dose" in sentence(found, band, what="labels per class")


def test_a_straight_line_does_not_level_off_within_sight() -> None:
    band = curve([0.1 * n for n in DOSES], noise=0.01)
    found = judge(DOSES, band)
    assert found.law is not None
    assert all(math.isinf(reach.interval[1]) or reach.interval[1] > 3 * DOSES[-1] for reach in found.reaches)


@settings(max_examples=40, deadline=None)
@given(st.floats(1.0, 6.0), st.floats(0.5, 30.0), st.floats(0.02, 0.6), st.integers(0, 10**6))
def test_doses_and_changes_lie_in_their_own_intervals(a: float, s: float, noise: float, seed: int) -> None:
    band = curve(exponential(a, s), noise=noise, seed=seed, n_boot=100)
    found = judge(DOSES, band)
    if found.twice is not None:
        assert found.twice.interval[0] <= found.twice.change <= found.twice.interval[1]
    for reach in found.reaches:
        assert 0 <= reach.interval[0] <= reach.dose <= reach.interval[1]
        assert math.isinf(reach.dose) or reach.dose <= FARTHEST * DOSES[-1] * (1 + 1e-9)
    assert "nan" not in sentence(found, band, what="texts")


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 1e6))
def test_the_unit_of_the_dose_changes_nothing(unit: float) -> None:
    band = curve(power(4.0, 3.0, 0.8), noise=0.1, n_boot=50)
    one, other = judge(DOSES, band), judge([unit * dose for dose in DOSES], band)
    assert one.law == other.law and one.twice is not None and other.twice is not None
    assert other.twice.change == pytest.approx(one.twice.change, abs=1e-6)
    assert other.reaches[0].dose == pytest.approx(unit * one.reaches[0].dose, rel=1e-6)


@pytest.mark.parametrize("truth", ["power", "exponential"])
def test_what_twice_as_much_brings_is_inside_its_interval_nine_times_in_ten(truth: str) -> None:
    values = [*DOSES, 32.0]
    true = power(3.0, 2.5, 0.7, values) if truth == "power" else exponential(3.0, 5.0, values)
    held, told = 0, 0
    for seed in range(100):
        found = judge(DOSES, curve(true[:-1], noise=0.15, seed=seed, n_boot=200))
        if found.twice is not None:
            told += 1
            held += found.twice.interval[0] <= true[-1] - true[-2] <= found.twice.interval[1]
    assert told >= 80
    assert held >= 0.9 * told


def test_doses_that_do_not_increase_are_refused() -> None:
    with pytest.raises(ValueError, match="increase"):
        judge([2.0, 1.0], curve([1.0, 2.0]))


def test_amounts_are_short() -> None:
    assert [amount(n) for n in (5, 7433, 49_418, 1_200_000, 31_000_000)] == ["5", "7,433", "49 k", "1.2 M", "31 M"]


def test_an_accuracy_is_told_in_per_cent_and_a_gain_in_points() -> None:
    band = curve(power(80.0, 40.0, 0.8), noise=0.2, seed=1)
    found = judge(DOSES, band)
    told = sentence(found, band, what="labels per class", level="adapted accuracy")
    assert re.search(r"The adapted accuracy is \d+\.\d % \(.*with 16 labels per class", told)
    assert "points (" in told.partition("twice as many would change it by")[2]
    assert re.search(r"The gain is \+\d+\.\d points", sentence(found, band, what="texts"))


BITS = Measure(
    name="bits per byte", unit="bits", difference="bits", finding="", examples="documents", lower_is_better=True,
    decimals=3,
)  # fmt: skip


def test_bits_per_byte_are_told_as_what_is_saved_to_three_decimals_and_never_in_points() -> None:
    band = curve(exponential(0.4, 3.0), noise=0.003, seed=2)
    found = judge(DOSES, band)
    told = sentence(found, band, what="unlabelled documents", measure=BITS)
    assert re.match(
        r"The saving in bits per byte is \+0\.\d{3} bits \(\+0\.\d{3} to \+0\.\d{3}\) with 16 unlabelled documents, "
        r"\+0\.\d{3} with 1; 90 % of its limit ",
        told,
    )
    assert re.search(r"; twice as many would change it by [+-]0\.\d{3} bits \([+-]0\.\d{3} to [+-]0\.\d{3}\)", told)
    assert "points" not in told and "%" not in told.replace("90 % of its limit", "")


def test_a_model_that_got_worse_saves_less_than_nothing_and_no_law_is_told_of_two_points() -> None:
    band = curve([-0.02, -0.3])
    told = sentence(judge([1.0, 2.0], band), band, what="tokens of self-supervision", measure=BITS)
    assert told.startswith("The saving in bits per byte is -0.300 bits") and "-0.020 with 1; what more" in told
