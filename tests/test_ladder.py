"""What each step from the plain base to what is shipped brings: invariants, and formulas written out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.decide import Scores, estimate, estimate_chosen
from shoptalk.decide.ladder import Ladder, ladder_of
from shoptalk.records import ACCURACY, Measure

BITS = Measure(
    name="bits per byte",
    unit="bits",
    difference="bits",
    finding="spends {adapted} on each byte against {base}",
    examples="bytes",
    most=8.0,
    lower_is_better=True,
    decimals=3,
)
STEPS = ("plain head", "labels' names", "unlabelled text", "adapted encoder")


def outcomes(*shares: float, n: int = 400, n_draws: int = 6, seed: int = 0) -> np.ndarray:
    """Whether models of these abilities are right, S R N, alike on easy and hard examples."""
    rng = np.random.default_rng(seed)
    hardness = rng.random(n)
    return np.stack([hardness + rng.normal(scale=0.05, size=(n_draws, n)) < share for share in shares])


def a_ladder(values: np.ndarray, *, seed: int = 0, **more: object) -> Ladder:
    """Of these scores, all cells tested, each example a cluster of its own unless something else is said."""
    given_ = {
        "tested": np.ones(values.shape[1:], dtype=bool),
        "cluster": np.arange(values.shape[2]),
        "shipped": len(values) - 1,
        "n_boot": 300,
    } | more
    return ladder_of(STEPS[: len(values)], values, seed=seed, **given_)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    n_steps=st.integers(2, 4),
    shipped=st.integers(0, 3),
    lower_is_better=st.booleans(),
)
def test_steps_sum_to_the_gain_in_all_and_to_the_levels(
    seed: int, n_steps: int, shipped: int, lower_is_better: bool
) -> None:
    rng = np.random.default_rng(seed)
    values, tested = rng.normal(size=(n_steps, 3, 40)), rng.random((3, 40)) < 0.7
    tested[0, 0] = True
    shipped = min(shipped, n_steps - 1)
    measure = BITS if lower_is_better else ACCURACY

    steps = a_ladder(
        values, seed=seed, tested=tested, cluster=rng.integers(0, 15, 40), shipped=shipped, measure=measure
    )

    levels = [measure.level(float(row[tested].mean())) for row in values]
    assert steps.level == pytest.approx(levels)
    sign = -1 if lower_is_better else 1
    in_all = sum(rise.gain for rise in steps.rises[:shipped])
    assert in_all == pytest.approx(sign * (levels[shipped] - levels[0]))
    assert (steps.in_all is None) == (shipped == 0)
    if steps.in_all is not None:
        assert steps.in_all.gain == pytest.approx(in_all)
    assert all(rise.low < rise.gain < rise.high for rise in steps.rises)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_the_order_of_examples_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, tested = rng.random((4, 3, 60)) < 0.6, rng.random((3, 60)) < 0.8
    cluster = rng.integers(0, 30, 60)
    order = rng.permutation(60)

    before = a_ladder(values, tested=tested, cluster=cluster)
    after = a_ladder(values[:, :, order], tested=tested[:, order], cluster=cluster[order])

    assert before == after


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), repeated=st.integers(0, 2), numbers=st.booleans())
def test_a_step_that_equals_the_one_before_gains_nothing_and_is_not_known_exactly(
    seed: int, repeated: int, numbers: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((3, 2, 80)) if numbers else rng.random((3, 2, 80)) < 0.6
    values = np.insert(values, repeated, values[repeated], axis=0)

    rise = a_ladder(values).rises[repeated]

    assert rise.gain == 0
    assert -rise.low == pytest.approx(rise.high)
    assert rise.high >= 100 * 3 / 80 / 1.96  # the rule of three, and c is no less than of one interval


def test_intervals_hold_for_all_steps_at_once_and_so_are_wider_than_one_of_them_alone() -> None:
    values = outcomes(0.5, 0.6, 0.7, 0.72)
    together = a_ladder(values, n_boot=2000)
    for step, rise in enumerate(together.rises):
        alone = a_ladder(values[step : step + 2], n_boot=2000)
        assert rise.gain == pytest.approx(alone.rises[0].gain)
        assert rise.high - rise.low > alone.rises[0].high - alone.rises[0].low


def test_a_step_that_was_chosen_from_a_menu_pays_for_the_menu() -> None:
    values = outcomes(0.5, 0.6, 0.61)
    free, paid = a_ladder(values), a_ladder(values, chosen_c=7.5)
    assert free.c < 7.5 and paid.c == 7.5
    assert paid.rises[1].high - paid.rises[1].gain == pytest.approx(
        (free.rises[1].high - free.rises[1].gain) * 7.5 / free.c
    )
    assert a_ladder(values, chosen_c=0.5).c == free.c  # paying for a small menu makes nothing surer


def test_where_training_is_the_only_step_its_interval_is_the_verdicts() -> None:
    values = outcomes(0.5, 0.56, 0.58, 0.51)
    tested, cluster = np.ones(values.shape[1:], dtype=bool), np.arange(values.shape[2])
    menu = estimate(Scores(("a", "b", "c"), values, tested, cluster), seed=3)
    pair = values[[0, 2]]
    verdict = estimate_chosen(Scores(("b",), pair, tested, cluster), c=menu.c, seed=3)

    rise = a_ladder(pair, chosen_c=menu.c, seed=3, n_boot=2000).rises[0]

    assert (rise.gain, rise.low, rise.high) == pytest.approx((verdict.gain[0], verdict.low[0], verdict.high[0]))


def test_the_gain_in_all_is_that_of_what_is_shipped() -> None:
    values = outcomes(0.5, 0.6, 0.7, 0.72)
    kept, adopted = a_ladder(values, shipped=2), a_ladder(values)
    assert kept.level == adopted.level and len(kept.rises) == 3
    assert kept.in_all is not None and adopted.in_all is not None
    assert kept.in_all.gain == pytest.approx(kept.level[2] - kept.level[0])
    assert adopted.in_all.gain == pytest.approx(kept.level[3] - kept.level[0])
    assert kept.proven and adopted.proven
    assert not a_ladder(values, shipped=0).proven


def test_a_ladder_of_one_step_has_a_level_and_nothing_else() -> None:
    values = outcomes(0.5)
    alone = a_ladder(values)
    assert alone.level == pytest.approx((100 * values.mean(),))
    assert alone.rises == () and alone.in_all is None and not alone.proven


def test_scores_without_steps_and_shipped_steps_that_are_none_are_refused() -> None:
    values = outcomes(0.5, 0.6)
    with pytest.raises(ValueError, match="1 steps need as many rows of scores, got 2"):
        ladder_of(["base"], values, tested=np.ones(values.shape[1:], bool), cluster=np.arange(400), shipped=0, seed=0)
    with pytest.raises(ValueError, match="Step 2 is shipped, and there are 2"):
        a_ladder(values, shipped=2)
