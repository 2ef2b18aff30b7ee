import math
from collections import defaultdict
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multinomial, norm

from shoptalk.decide import Consistency, Standing, answers_needed, path, stand
from shoptalk.decide.betting import (
    BANK_SIDE,
    BETS,
    SHARES,
    Counts,
    Errors,
    bank_bounds,
    exceeds,
    future_bounds,
    last_bounds,
    log_capital,
    share_levels,
)
from shoptalk.decide.disagreements import SKIPPED, intervals

ANSWERS = st.lists(st.sampled_from([-1, 0, 1]), max_size=40).map(lambda x: np.array(x, dtype=np.int64))


def counts_of(x: np.ndarray) -> Counts:
    return Counts(*(np.asarray((x == value).sum()) for value in (1, -1, 0)))


def capital_by_hand(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The mean over bets of the product over answers, in [0, 1] and answer by answer, as the paper writes it."""
    total = np.zeros(len(means))
    for bet, share in zip(BETS, SHARES, strict=True):
        capital, m = np.ones(len(means)), (np.maximum(means, -0.99) + 1) / 2
        for value in (x + 1) / 2:
            capital *= 1 + bet / m * (value - m)
        total += share * capital
    return total


def probability_made_evidence(p: np.ndarray) -> np.ndarray:
    return 0.7 + 0.15 / np.sqrt(p)


def least_gain_by_hand(x: np.ndarray, disagree: int, bank: int, side: float) -> float:
    """The smallest gain for which some share of disagreements is not rejected, on a fine grid."""
    shares = np.linspace(1e-4, 0.3, 3000)
    tails = {1: binom.sf(disagree - 1, bank, shares), -1: binom.cdf(disagree, bank, shares)}
    evidence = {sign: np.log(probability_made_evidence(np.maximum(p, 1e-300))) for sign, p in tails.items()}
    for gain in np.arange(-0.2, 0.2, 0.0005):
        possible = shares > abs(gain)
        against = evidence[1 if gain >= 0 else -1][possible] + np.log(capital_by_hand(x, gain / shares[possible]))
        if against.min() < math.log(1 / side):
            return float(gain)
    raise AssertionError("Every gain was rejected.")


@pytest.mark.parametrize(
    ("right", "wrong", "neither", "bank", "side"), [(40, 8, 12, 1600, 0.015), (3, 30, 7, 1200, 0.007)]
)
def test_the_bound_on_future_messages_is_the_smallest_gain_not_rejected(
    right: int, wrong: int, neither: int, bank: int, side: float
) -> None:
    x = np.repeat([1, -1, 0], [right, wrong, neither])
    low, high = future_bounds(counts_of(x), disagree=90, bank=bank)
    assert float(low) == pytest.approx(least_gain_by_hand(x, 90, bank, side), abs=0.002)
    assert float(high) == pytest.approx(-least_gain_by_hand(-x, 90, bank, side), abs=0.002)


@given(ANSWERS, st.integers(0, 60), st.floats(-0.2, 0.2))
def test_a_gain_is_exceeded_where_the_lower_bound_lies_above_it(x: np.ndarray, others: int, gain: float) -> None:
    counts, disagree = counts_of(x), len(x) + others
    low, _ = future_bounds(counts, disagree=disagree, bank=500)
    if abs(float(low) - gain) > 1e-5:
        assert bool(exceeds(counts, gain, disagree=disagree, bank=500)) == (float(low) > gain)


@pytest.mark.parametrize("share", [0.002, 0.05, 0.5, 0.95])
def test_what_the_number_of_disagreements_says_is_an_e_value(share: float) -> None:
    counts = np.arange(201)
    chances = binom.pmf(counts, 200, share)
    for tails in (binom.sf(counts - 1, 200, share), binom.cdf(counts, 200, share)):
        assert (chances * probability_made_evidence(np.maximum(tails, 1e-300))).sum() <= 1


def test_beyond_the_last_level_the_number_of_disagreements_is_enough() -> None:
    levels = share_levels(90, 1200)
    assert binom.sf(89, 1200, levels.below[-1]) == pytest.approx(1e-6, rel=1e-3)
    assert binom.cdf(90, 1200, levels.above[-1]) == pytest.approx(1e-6, rel=1e-3)
    assert probability_made_evidence(np.array(1e-6)) > 1 / 0.007


@pytest.mark.parametrize("rates", [(0.3, 0.5, 0.2), (0.6, 0.0, 0.4), (0.02, 0.9, 0.08)])
def test_the_expected_capital_against_the_true_mean_is_one_over_all_that_can_be_answered(
    rates: tuple[float, float, float],
) -> None:
    ways = np.array([(a, b, 15 - a - b) for a in range(16) for b in range(16 - a)])
    chances = multinomial.pmf(ways, n=15, p=rates)
    for counts, mean in ((Counts(*ways.T), rates[0] - rates[1]), (Counts(*ways.T).turned(), rates[1] - rates[0])):
        assert (chances * np.exp(log_capital(counts, np.array(mean)))).sum() == pytest.approx(1, abs=1e-9)
        assert (chances * np.exp(log_capital(counts, np.array(mean + 0.05)))).sum() < 1


def test_of_all_orders_of_every_small_bank_no_more_miss_the_truth_than_the_sides_may() -> None:
    missed: dict[tuple[int, ...], list[bool]] = defaultdict(list)
    for order in product((-1, 0, 1), repeat=6):
        low, high = bank_bounds(np.array(order), disagree=6, bank=50, side=0.25)
        truth = sum(order) / 50
        missed[tuple(sorted(order))].append(bool((low > truth + 1e-9).any() or (high < truth - 1e-9).any()))
    assert len(missed) == 28
    assert 0 < max(np.mean(each) for each in missed.values()) <= 2 * 0.25


def bank_bounds_by_hand(x: np.ndarray, disagree: int) -> tuple[list[int], list[int]]:
    """Every sum against every answer, in plain loops."""
    alive = {sign: set(range(-disagree, disagree + 1)) for sign in (1, -1)}
    ends: tuple[list[int], list[int]] = ([-disagree], [disagree])
    capital = {(s, b, sign): 1.0 for s in range(-disagree, disagree + 1) for b in BETS for sign in (1, -1)}
    for t, value in enumerate(x):
        drawn = int(x[:t].sum())
        for s in range(-disagree, disagree + 1):
            mean = (s - drawn) / (disagree - t)
            left = s - drawn - value
            if abs(left) > disagree - t - 1:
                alive[1].discard(s)
                alive[-1].discard(s)
                continue
            for sign in (1, -1):
                for b in BETS:
                    room = 1 + sign * mean
                    capital[s, b, sign] *= 1 + (b * sign * (value - mean) / room if room > 1e-12 else 0.0)
                if SHARES @ [capital[s, b, sign] for b in BETS] >= 1 / BANK_SIDE:
                    alive[sign].discard(s)
        both = alive[1] & alive[-1]
        ends[0].append(min(both))
        ends[1].append(max(both))
    return ends


@pytest.mark.parametrize("seed", range(4))
def test_the_bounds_on_the_banks_own_messages_are_those_of_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([-1, 0, 1], size=24, p=[0.1, 0.2, 0.7] if seed % 2 else [0.5, 0.2, 0.3])
    low, high = bank_bounds(x, disagree=24, bank=100)
    by_hand = bank_bounds_by_hand(x, 24)
    assert np.round(low * 100).astype(int).tolist() == by_hand[0]
    assert np.round(high * 100).astype(int).tolist() == by_hand[1]
    assert round(low[-1] * 100) == round(high[-1] * 100) == x.sum()


@pytest.mark.parametrize(("right", "wrong"), [(1, 0), (30, 12), (4, 9), (0, 0)])
def test_the_last_look_rejects_gains_too_many_of_their_own_standard_errors_away(right: int, wrong: int) -> None:
    low, high = last_bounds(right, wrong, 1000)
    for end, side in ((low, 1), (high, -1)):
        fewer = np.linspace(1e-7, 0.2, 400_000)
        more = fewer + end
        possible = (more > 0) & (more + fewer < 1)
        fewer, more = fewer[possible], more[possible]
        rest = 1000 - right - wrong
        likelihood = right * np.log(more) + wrong * np.log(fewer) + rest * np.log(1 - more - fewer)
        best = int(np.argmax(likelihood))
        error = math.sqrt((more[best] + fewer[best] - end**2) / 1000)
        assert side * ((right - wrong) / 1000 - end) / error == pytest.approx(norm.isf(0.018), rel=0.01)


@given(ANSWERS, st.integers(0, 30))
@settings(deadline=None, max_examples=25)
def test_intervals_only_narrow_and_hold_the_observed_gain_at_the_end(x: np.ndarray, others: int) -> None:
    moments = path(x, disagree=len(x) + others, bank=400, smallest_gain=0.5)
    for before, after in pairwise(moments):
        assert before.low <= after.low <= after.high <= before.high
        assert before.bank_low <= after.bank_low <= after.bank_high <= before.bank_high
        assert not before.settled or after.choice == before.choice
    if len(x) and not others:
        assert moments[-1].bank_low == pytest.approx(moments[-1].bank_high) == pytest.approx(moments[-1].gain)


@given(ANSWERS, st.integers(0, 30))
@settings(deadline=None, max_examples=25)
def test_exchanging_the_systems_turns_the_interval_round(x: np.ndarray, others: int) -> None:
    one, other = (stand(each, disagree=len(x) + others, bank=400, smallest_gain=0.5) for each in (x, -x))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-3)
    assert (one.bank_low, one.bank_high) == pytest.approx((-other.bank_high, -other.bank_low), abs=1e-6)


@given(ANSWERS)
@settings(deadline=None, max_examples=25)
def test_the_order_of_answers_changes_what_was_known_on_the_way_alone(x: np.ndarray) -> None:
    shuffled = np.random.default_rng(len(x)).permutation(x)
    one, other = (future_bounds(counts_of(each), disagree=90, bank=400) for each in (x, shuffled))
    assert [float(end) for end in one] == [float(end) for end in other]


@given(ANSWERS)
@settings(deadline=None, max_examples=12)
def test_the_last_moment_of_the_path_is_the_standing(x: np.ndarray) -> None:
    moments = path(x, disagree=50, bank=400, smallest_gain=0.5)
    assert len(moments) == len(x)
    if len(x):
        assert moments[-1] == stand(x, disagree=50, bank=400, smallest_gain=0.5)


def standing_of(right: int, wrong: int, neither: int, **more: object) -> Standing:
    x = np.random.default_rng(0).permutation(np.repeat([1, -1, 0], [right, wrong, neither]))
    return stand(x, **({"disagree": 180, "bank": 3080, "smallest_gain": 0.5} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("bank", [20, 1499, 1500, 20_000])
def test_both_sides_and_the_last_look_have_five_per_cent_in_all(bank: int) -> None:
    assert 2 * sum(Errors.of(bank)) == pytest.approx(0.05)


def test_answers_for_the_new_system_adopt_it_and_against_it_keep_the_base() -> None:
    assert standing_of(45, 5, 10).choice == "adopt"
    assert standing_of(5, 45, 10).choice == "keep_base"
    half_way = standing_of(12, 4, 4)
    assert (half_way.choice, half_way.asked, half_way.settled) == ("inconclusive", 20, False)
    assert half_way.gain == pytest.approx(100 * 180 / 3080 * 8 / 20)
    assert half_way.more is not None and 20 < half_way.more < 100


def test_before_any_answer_the_interval_is_what_the_disagreements_allow() -> None:
    nothing = standing_of(0, 0, 0)
    assert nothing.gain is None and nothing.choice == "inconclusive" and not nothing.exhausted
    assert nothing.bank_low == pytest.approx(-100 * 180 / 3080)
    assert nothing.high > nothing.bank_high


def test_systems_that_answer_alike_are_settled_without_a_question() -> None:
    alike = standing_of(0, 0, 0, disagree=0)
    assert (alike.choice, alike.exhausted, alike.bank_low, alike.bank_high) == ("keep_base", True, 0, 0)
    assert 0.1 < alike.high < 0.2
    assert standing_of(0, 0, 0, disagree=0, bank=20).choice == "inconclusive"


def test_an_inconsistent_person_moves_ends_away_from_nought_alone() -> None:
    sure, unsure = standing_of(20, 20, 20), standing_of(20, 20, 20, consistency=Consistency(20, 15))
    assert unsure.low < sure.low < 0 < sure.high < unsure.high
    for_it, still = standing_of(45, 5, 10), standing_of(45, 5, 10, consistency=Consistency(20, 15))
    assert still.low == for_it.low > 0.5 and still.high > for_it.high


@given(
    ANSWERS,
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.lists(st.sampled_from([-1, 0, 1]), min_size=40, max_size=40),
)
@settings(deadline=None, max_examples=40)
def test_whatever_the_skipped_questions_answers_were_the_intervals_hold_what_they_would_have_said(
    x: np.ndarray, passed_over: list[bool], instead: list[int]
) -> None:
    skipped = np.array(passed_over[: len(x)], dtype=bool)
    common = {"disagree": len(x) + 5, "bank": 400}
    known = intervals(np.where(skipped, np.array(instead[: len(x)], dtype=np.int64), x), **common)
    open_still = intervals(np.where(skipped, SKIPPED, x), **common)
    assert (open_still.low <= known.low + 1e-9).all() and (open_still.high >= known.high - 1e-9).all()
    assert (open_still.bank_low <= known.bank_low + 1e-9).all()
    assert (open_still.bank_high >= known.bank_high - 1e-9).all()


def test_a_skipped_question_is_no_answer_and_leaves_the_bank_open() -> None:
    passed = stand(np.array([1, SKIPPED, 1]), disagree=3, bank=100, smallest_gain=0.5)
    assert (passed.asked, passed.right, passed.neither, passed.exhausted) == (2, 2, 0, False)
    assert (passed.bank_low, passed.bank_high) == (pytest.approx(1), pytest.approx(3))


def test_the_forecast_falls_with_the_gain_and_is_none_where_the_bank_is_too_small() -> None:
    def needed(gain: float, bank: int = 3080, se: float = 0.5) -> int | None:
        return answers_needed(disagree=bank * 6 // 100, bank=bank, gain=gain, se=se, smallest_gain=0.5)

    large, small = needed(3.0), needed(2.0)
    assert large is not None and small is not None and 20 < large < small < 185
    assert needed(1.0, bank=300) is None
    assert needed(-3.0) is not None
    assert answers_needed(disagree=0, bank=3000, gain=1.0, se=1.0, smallest_gain=0.5) == 0


def test_the_forecast_is_about_the_median_of_what_it_took() -> None:
    rng, took = np.random.default_rng(0), []
    for _ in range(40):
        x = rng.choice([1, -1, 0], size=90, p=[0.65, 0.1, 0.25])
        ends = intervals(x, disagree=90, bank=1500)
        settled = np.flatnonzero((ends.low > 0.5) | (ends.high < 0.5))
        took.append(settled[0] if len(settled) else 91)
    forecast = answers_needed(disagree=90, bank=1500, gain=6 * 0.55, se=0.0, smallest_gain=0.5)
    assert forecast is not None and abs(forecast - np.median(took)) < 0.3 * np.median(took)


@pytest.mark.parametrize(
    ("x", "disagree", "bank", "expected"),
    [
        ([1] * 5, 4, 100, "5 answers to 4 disagreements"),
        ([1], 101, 100, "101 disagreements in a bank of 100"),
        ([3], 4, 100, "1, -1 or 0, and a skipped question 2, not 3"),
    ],
)
def test_answers_that_cannot_be_are_refused(x: list[int], disagree: int, bank: int, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        stand(np.array(x), disagree=disagree, bank=bank, smallest_gain=0.5)


def test_more_same_answers_than_were_asked_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="3 same answers of 2"):
        Consistency(2, 3)
