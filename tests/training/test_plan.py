import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.config import Budget
from shoptalk.errors import ConfigError, TooLittleTextError
from shoptalk.nn.machine import Machine
from shoptalk.training.plan import (
    LOSER_MOST,
    MENU_MOST,
    PILOT_FEWEST,
    Cost,
    Plan,
    enough_text,
    joint_cost,
    make_plan,
)

MACHINE = Machine(device="cpu", threads=2, keeps_memory=True, kernels=True)


def plan_for(costs: dict[str, Cost], budget: Budget | None = None, **values: object) -> Plan:
    settings = {"before_seconds": 0.0, "look_seconds": 5.0, "end_seconds": 0.0, "memory_bytes": 10**9} | values
    budget = budget or Budget(seconds=600)
    return make_plan(costs, budget=budget, precision="float32", rates={}, machine=MACHINE, seed=0, **settings)  # type: ignore[arg-type]


def outlays(plan: Plan, unit: str) -> list[float]:
    """What the training takes in all, for each candidate that may win."""
    each = plan.candidates.values()
    pilots = [one.pilot * getattr(one, unit) if len(each) > 1 else 0.0 for one in each]
    return [sum(pilots) + one.steps * getattr(one, unit) - pilot for one, pilot in zip(each, pilots, strict=True)]


def cost(seconds: float = 1.0, tokens: float = 1000.0, most_steps: int = 10_000) -> Cost:
    return Cost(seconds=seconds, tokens=tokens, most_steps=most_steps)


@given(
    n=st.integers(1, 6),
    seconds=st.floats(200, 10_000),
    step=st.floats(0.05, 2.0),
    look=st.floats(0.1, 10.0),
    before=st.floats(0.0, 50.0),
    end=st.floats(0.0, 20.0),
)
def test_whatever_wins_the_run_stays_within_its_time(
    n: int, seconds: float, step: float, look: float, before: float, end: float
) -> None:
    costs = {f"c{i}": cost(step) for i in range(n)}
    budget = Budget(seconds=seconds)
    plan = plan_for(costs, budget, look_seconds=look, before_seconds=before, end_seconds=end)
    piloted = len(plan.candidates) > 1
    entries = (len(plan.candidates) if piloted else 0) + max(
        len(candidate.checkpoints) - piloted for candidate in plan.candidates.values()
    )
    assert entries <= MENU_MOST
    fixed = before + entries * look + end
    assert max(outlays(plan, "seconds_per_step")) + fixed <= seconds + 1e-6
    mean = sum(outlays(plan, "seconds_per_step")) / len(plan.candidates)
    assert plan.forecast(budget).expected.seconds == pytest.approx(mean + fixed, abs=0.2)  # parts are rounded


@given(n=st.integers(1, 6), tokens=st.integers(50_000, 10_000_000), step=st.floats(100, 900))
def test_whatever_wins_the_run_stays_within_its_tokens(n: int, tokens: int, step: float) -> None:
    plan = plan_for({f"c{i}": cost(tokens=step) for i in range(n)}, Budget(tokens=tokens))
    assert max(outlays(plan, "tokens_per_step")) <= tokens + 1e-6
    assert plan.forecast_tokens == pytest.approx(sum(outlays(plan, "tokens_per_step")) / len(plan.candidates), abs=1)


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
    plan = plan_for({"a": cost()}, look_seconds=1.0)
    assert plan.candidates["a"].steps > 0.95 * 600 - 10
    assert plan.keep == (1,)


def test_more_than_four_candidates_are_halved_in_two_rungs() -> None:
    plan = plan_for({f"c{i}": cost(0.1) for i in range(5)}, Budget(seconds=6000))
    assert plan.keep == (math.ceil(5 / 4), 1)


@pytest.mark.parametrize(
    ("budget", "given"),
    [
        (Budget(seconds=600), "10m"),
        (Budget(euros=0.2, price_per_hour=1.2), r"0\.2eur@1\.2"),
        (Budget(tokens=3000), "3ktok"),
    ],
)
def test_a_budget_for_nothing_says_in_its_own_unit_how_much_would_do(budget: Budget, given: str) -> None:
    costs, times = {"a": cost(500.0)}, {"before_seconds": 30.0, "end_seconds": 7.0}
    with pytest.raises(
        ConfigError, match=rf"{given} does not pay for 4 training steps of 'a'.*Give --budget"
    ) as caught:
        plan_for(costs, budget, **times)
    enough = str(caught.value).partition("--budget ")[2].partition(",")[0]
    assert plan_for(costs, Budget.parse(enough), **times).candidates["a"].steps == 4


def test_a_text_for_fewer_steps_than_can_be_judged_is_not_blamed_on_the_budget() -> None:
    with pytest.raises(ConfigError, match=r"too little text: it suffices for 3.*4 are the fewest.*a\.batch"):
        plan_for({"a": cost(0.1, most_steps=3)}, Budget(seconds=6000))


@pytest.mark.parametrize(("first", "second", "short"), [(1, 900, "span"), (900, 1, "mlm")])
def test_of_a_curriculum_the_phase_that_is_short_of_text_is_named(first: int, second: int, short: str) -> None:
    joint = joint_cost([cost(most_steps=first), cost(most_steps=second)], share=0.5)
    with pytest.raises(TooLittleTextError) as refused:
        enough_text("span-then-mlm", joint)
    said = str(refused.value)
    assert said.startswith(f"too little text for its phase {short}: it suffices for")
    assert f"objectives.{short}.batch" in said and f"objectives.{short}.passes" in said
    assert not any(f"objectives.{other}." in said for other in {"span", "mlm"} - {short})


def test_the_forecast_adds_up_what_has_gone_by_training_looks_and_the_end() -> None:
    budget = Budget(tokens=100_000, price_per_hour=1.2)
    plan = plan_for({"a": cost(2.0)}, budget, before_seconds=30.0, look_seconds=5.0, end_seconds=7.0)
    looks = len(plan.candidates["a"].checkpoints)
    found = plan.forecast(budget)
    assert found.expected.seconds == 30 + 100 * 2 + looks * 5 + 7
    assert found.expected.tokens == 100_000
    assert found.expected.euros == pytest.approx(found.expected.seconds * 1.2 / 3600)
    assert found.before == 30


def test_without_a_price_nothing_is_told_in_euros() -> None:
    assert plan_for({"a": cost()}).forecast(Budget(seconds=600)).expected.euros is None


@given(
    seconds=st.lists(st.floats(0.05, 20.0), min_size=1, max_size=6),
    whole=st.floats(100, 10_000),
    look=st.floats(0.1, 300.0),
    before=st.floats(0.0, 50.0),
    preparing=st.floats(0.0, 100.0),
)
def test_whoever_loses_costs_at_most_its_share_of_the_time(
    seconds: list[float], whole: float, look: float, before: float, preparing: float
) -> None:
    costs = {
        f"c{i}": Cost(seconds=one, tokens=1000.0, most_steps=10_000, before_seconds=preparing if i == 0 else 0.0)
        for i, one in enumerate(seconds)
    }
    try:
        plan = plan_for(costs, Budget(seconds=whole), look_seconds=look, before_seconds=before)
    except ConfigError:
        return
    assert plan.preparing_seconds == {name: round(one.before_seconds, 1) for name, one in costs.items()}
    if len(plan.candidates) == 1:
        return  # nobody loses
    for name, candidate in plan.candidates.items():
        pilot = candidate.pilot * candidate.seconds_per_step + look
        assert pilot <= LOSER_MOST * whole * (1 + 1e-9)
        if candidate.pilot > PILOT_FEWEST:  # then preparing it left room for more than the fewest
            assert pilot + costs[name].before_seconds <= LOSER_MOST * whole * (1 + 1e-9)


@given(n=st.integers(2, 6), tokens=st.integers(10_000, 10_000_000), step=st.floats(100, 900))
def test_whoever_loses_costs_at_most_its_share_of_the_tokens(n: int, tokens: int, step: float) -> None:
    plan = plan_for({f"c{i}": cost(tokens=step) for i in range(n)}, Budget(tokens=tokens))
    if len(plan.candidates) > 1:
        assert all(one.pilot * step <= LOSER_MOST * tokens for one in plan.candidates.values())


def test_looks_too_long_for_the_share_leave_one_candidate_that_needs_no_pilot() -> None:
    costs = {"a": cost(), "b": cost()}
    assert len(plan_for(costs, look_seconds=70.0).candidates) == 2
    assert len(plan_for(costs, look_seconds=100.0).candidates) == 1


def test_a_candidate_that_took_long_to_prepare_gets_a_shorter_pilot_but_never_too_short_a_one() -> None:
    def pilot(before: float) -> int:
        a = Cost(seconds=1.0, tokens=1000.0, most_steps=10_000, before_seconds=before)
        return plan_for({"a": a, "b": cost()}).candidates["a"].pilot

    assert pilot(0.0) > pilot(60.0) == 600 * LOSER_MOST - 5 - 60
    assert pilot(500.0) == PILOT_FEWEST


def test_pilots_begin_with_a_heat_where_its_looks_are_worth_it_and_something_tells_who_is_behind() -> None:
    costs = {name: cost(0.2) for name in "abc"}
    plain, heated = (plan_for(costs, look_seconds=3.0, heats=heats) for heats in (False, True))
    assert all(one.heat is None and one.menu == one.checkpoints for one in plain.candidates.values())
    for one in heated.candidates.values():
        assert one.heat == one.pilot // 4 and one.menu == (one.heat, *one.checkpoints)
    dear = plan_for(costs, look_seconds=20.0, heats=True)
    assert dear == plan_for(costs, look_seconds=20.0)
    assert all(one.heat is None for one in dear.candidates.values())
    assert plan_for({"a": cost(0.2)}, heats=True).candidates["a"].heat is None  # whom should it race against
    short = {name: cost(2.5) for name in "abc"}  # a quarter of these pilots is under five steps
    assert all(one.heat is None for one in plan_for(short, look_seconds=1.0, heats=True).candidates.values())


def test_heats_of_a_token_budget_do_not_depend_on_the_clock() -> None:
    plans = [
        plan_for({name: cost(seconds) for name in "ab"}, Budget(tokens=500_000), look_seconds=look, heats=True)
        for seconds, look in ((0.01, 100.0), (10.0, 0.1))
    ]
    assert [one.heat for one in plans[0].candidates.values()] == [one.heat for one in plans[1].candidates.values()]
    assert plans[0].candidates["a"].heat == plans[0].candidates["a"].pilot // 4


@given(n=st.integers(2, 6), seconds=st.floats(200, 10_000), step=st.floats(0.05, 2.0), look=st.floats(0.1, 10.0))
def test_with_heats_too_the_run_stays_within_its_time_and_menu_whoever_wins(
    n: int, seconds: float, step: float, look: float
) -> None:
    plan = plan_for({f"c{i}": cost(step) for i in range(n)}, Budget(seconds=seconds), look_seconds=look, heats=True)
    each = list(plan.candidates.values())
    pilots = sum(len(one.menu) - len(one.checkpoints) + 1 for one in each) if len(each) > 1 else 0
    entries = pilots + max(len(one.checkpoints) - (len(each) > 1) for one in each)
    assert entries <= MENU_MOST
    longest = max(outlays(plan, "seconds_per_step")) + entries * look
    assert longest <= seconds + 1e-6
    assert plan.forecast_seconds <= longest + 0.1
    if len(each) > 1:
        for one in each:
            looks = 1 if one.heat is None else 2
            assert one.pilot * one.seconds_per_step + looks * look <= LOSER_MOST * seconds * (1 + 1e-9)


def test_the_forecast_takes_half_of_the_losers_to_be_out_after_their_heat() -> None:
    costs = {name: cost(0.2) for name in "abc"}
    plan = plan_for(costs, look_seconds=1.0, heats=True)
    each = list(plan.candidates.values())
    every, most = sum(outlays(plan, "seconds_per_step")) / 3, 6 + len(each[0].checkpoints) - 1
    spared = sum(0.5 * 2 / 3 * (one.pilot - (one.heat or 0)) * 0.2 for one in each)
    assert plan.forecast_seconds == pytest.approx(every - spared + most - 1.0, abs=0.2)


def test_no_checkpoint_lies_inside_the_decay() -> None:
    costs = {name: Cost(seconds=0.1, tokens=100, most_steps=10_000) for name in ("mlm", "simcse")}
    plain = plan_for(costs, look_seconds=0.5).candidates["mlm"]
    kept = plan_for(costs, look_seconds=0.5, decays={"mlm": 0.2, "simcse": 0.2}).candidates["mlm"]
    assert len(plain.checkpoints) == 7 and plain.checkpoints[-2] > 0.8 * plain.steps
    assert kept.checkpoints == (*plain.checkpoints[:-2], plain.steps)


def test_merges_and_other_bases_take_places_on_the_menu_and_a_time_budget_pays_for_the_looks():
    costs = {
        name: Cost(seconds=0.1, tokens=100, most_steps=10_000) for name in ("mlm", "simcse", "turns", "neighbours")
    }
    shares = (0.25, 0.5, 0.75)
    plans = {
        merges: plan_for(costs, budget=Budget(seconds=600), look_seconds=1.0, merges=merges, n_bases=2)
        for merges in ((), shares)
    }
    for merges, plan in plans.items():
        assert plan.merges == merges
        entries = len(costs) - 1 + max(len(one.checkpoints) for one in plan.candidates.values()) + len(merges) + 1
        assert entries <= MENU_MOST
    assert plan_for(costs, budget=Budget(seconds=600), look_seconds=12.0, merges=shares).merges == (0.5,)
    assert plan_for(costs, budget=Budget(seconds=600), look_seconds=20.0, merges=shares).merges == (0.5,)
    assert plan_for(costs, budget=Budget(tokens=10**6), look_seconds=60.0, merges=shares).merges == shares
