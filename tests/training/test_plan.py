import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.errors import ConfigError
from shoptalk.training.plan import MENU_MOST, PILOT_FEWEST, Cost, Plan, make_plan


def plan_for(costs: dict[str, Cost], **values: object) -> Plan:
    settings = {"budget": "10m", "seconds": 600.0, "tokens": None, "probe_seconds": 5.0}
    return make_plan(costs, precision="float32", rates={}, seed=0, **(settings | values))  # type: ignore[arg-type]


def cost(seconds: float = 1.0, tokens: float = 1000.0, most_steps: int = 10_000) -> Cost:
    return Cost(seconds=seconds, tokens=tokens, most_steps=most_steps)


@given(
    n=st.integers(1, 6),
    seconds=st.floats(200, 10_000),
    step=st.floats(0.05, 2.0),
    probe=st.floats(0.1, 10.0),
)
def test_whatever_wins_the_run_stays_within_its_time(n: int, seconds: float, step: float, probe: float) -> None:
    plan = plan_for({f"c{i}": cost(step) for i in range(n)}, seconds=seconds, probe_seconds=probe)
    assert plan.forecast_seconds <= seconds + 0.05  # it is rounded to a tenth
    piloted = len(plan.candidates) > 1
    entries = (len(plan.candidates) if piloted else 0) + max(
        len(candidate.checkpoints) - piloted for candidate in plan.candidates.values()
    )
    assert entries <= MENU_MOST


@given(n=st.integers(1, 6), tokens=st.integers(50_000, 10_000_000), step=st.floats(100, 900))
def test_whatever_wins_the_run_stays_within_its_tokens(n: int, tokens: int, step: float) -> None:
    plan = plan_for({f"c{i}": cost(tokens=step) for i in range(n)}, seconds=None, tokens=tokens)
    assert plan.forecast_tokens <= tokens + 1


def test_the_last_checkpoint_is_the_last_step_and_the_first_is_the_pilot() -> None:
    plan = plan_for({"a": cost(), "b": cost(2.0)})
    for candidate in plan.candidates.values():
        assert candidate.checkpoints[-1] == candidate.steps
        assert candidate.pilot == candidate.checkpoints[0] < candidate.steps


def test_a_candidate_never_trains_more_than_its_most_steps() -> None:
    assert plan_for({"a": cost(most_steps=20), "b": cost()}).candidates["a"].steps == 20


def test_pilots_that_would_tell_nothing_are_not_run_and_the_last_candidates_go_first() -> None:
    plan = plan_for({"a": cost(6.0), "b": cost(6.0), "c": cost(30.0)})
    assert list(plan.candidates) == ["a", "b"]
    assert all(candidate.pilot >= PILOT_FEWEST for candidate in plan.candidates.values())


def test_one_candidate_needs_no_pilot_and_gets_everything() -> None:
    plan = plan_for({"a": cost()}, probe_seconds=1.0)
    assert plan.candidates["a"].steps > 0.95 * 600 - 10
    assert plan.keep == (1,)


def test_more_than_four_candidates_are_halved_in_two_rungs() -> None:
    plan = plan_for({f"c{i}": cost(0.1) for i in range(5)}, seconds=6000.0)
    assert plan.keep == (math.ceil(5 / 4), 1)


def test_a_budget_for_nothing_says_how_much_would_do() -> None:
    with pytest.raises(ConfigError, match=r"does not pay for 4 training steps of 'a'.*Give --budget \d+m"):
        plan_for({"a": cost(500.0)})
