from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shoptalk.training.schedule import Schedule

PLANS = st.builds(Schedule.plan, st.integers(1, 120), warmup=st.floats(0, 0.99), decay=st.floats(0.01, 1))


@given(PLANS)
def test_a_factor_is_above_zero_and_at_most_one(plan: Schedule):
    assert all(0 < plan.factor(step) <= 1 for step in range(plan.steps))
    assert plan.factor(plan.steps) == 0


@given(PLANS)
def test_the_factor_rises_then_stays_then_falls(plan: Schedule):
    factors = [plan.factor(step) for step in range(plan.steps)]
    top = factors.index(max(factors))
    assert all(a <= b for a, b in pairwise(factors[: top + 1]))
    assert all(a >= b for a, b in pairwise(factors[top:]))


@given(st.integers(10, 120), st.floats(0, 0.5), st.floats(0.05, 0.5))
def test_between_warm_up_and_decay_the_factor_is_one(steps: int, warmup: float, decay: float):
    plan = Schedule.plan(steps, warmup=warmup, decay=decay)
    assert all(plan.factor(step) == 1 for step in range(plan.warmup, plan.steps - plan.decay))
    assert plan.factor(plan.steps - plan.decay) < 1
    assert plan.factor(plan.steps - 1) == pytest.approx(1 / (plan.decay + 1))  # the next one would be zero


def test_a_plan_by_hand():
    plan = Schedule.plan(10, warmup=0.2, decay=0.3)
    expected = [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 3 / 4, 2 / 4, 1 / 4]
    assert [plan.factor(step) for step in range(10)] == pytest.approx(expected)


@given(PLANS, st.integers(0, 120))
def test_decaying_early_keeps_the_past_shortens_the_future_and_ends_low(plan: Schedule, step: int):
    assume(step < plan.steps - plan.decay)
    early = plan.decaying_from(step)
    assert step < early.steps < plan.steps
    assert [early.factor(i) for i in range(step)] == [plan.factor(i) for i in range(step)]
    falling = [early.factor(i) for i in range(max(step, plan.warmup), early.steps)]
    assert all(a > b for a, b in pairwise(falling))
    assert early.factor(early.steps - 1) <= 1 / (early.decay + 1)
    assert abs(early.decay - plan.decay / plan.steps * early.steps) <= 1  # the same share, in whole steps


@given(PLANS, st.integers(0, 120), st.integers(0, 120))
def test_a_decay_that_has_begun_cannot_begin_again(plan: Schedule, step: int, later: int):
    early = plan.decaying_from(step)
    assert early.decaying_from(step + later) == early


@given(PLANS, st.integers(1, 120))
def test_a_stopped_schedule_has_no_more_steps(plan: Schedule, step: int):
    assert plan.stopped_at(step).steps == step
