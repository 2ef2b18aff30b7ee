"""What is known of a run that goes on."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.config import Budget
from shoptalk.progress.state import CURVE_MOST, CandidateState, Curve, Outlook, State, TrainingState
from shoptalk.records import Look
from tests.progress.steps import Taken, steps


def look(candidate: str, step: int, gain: float | None, *, tokens: int = 100) -> Look:
    return Look(
        candidate=candidate, step=step, tokens=tokens, seconds=10.0, gain=gain, interval=None, measure="accuracy"
    )


@given(st.lists(st.floats(-1e6, 1e6), max_size=600))
def test_a_curve_stays_short_and_keeps_the_mean(values: list[float]) -> None:
    curve = Curve()
    for value in values:
        curve = curve.add(value)
    assert len(curve.values) <= CURVE_MOST + 1
    weighted = sum(curve.means) * curve.width + sum(curve.pending)
    assert weighted == pytest.approx(sum(values), rel=1e-6, abs=1e-3)


def test_a_training_counts_since_this_process_began_and_tells_what_is_left() -> None:
    training = TrainingState("mlm", 40, step=20)
    for step in steps(21, 30):
        training = training.after(step)
    assert (training.step, training.steps, training.tokens) == (30, 10, 10_000)
    assert training.rate == 1000 and training.waste == pytest.approx(0.2) and training.left == 10
    assert (
        TrainingState("mlm", 40).left == 0
        and TrainingState("mlm", 40).rate == 0
        and TrainingState("mlm", 40).waste == 0
    )


def test_a_stage_ends_where_the_next_one_begins_and_takes_its_training_with_it() -> None:
    state = replace(State(0.0, ("a", "b")).entered("a", 1.0), training=TrainingState("x", 3))
    state = state.entered("b", 4.0)
    assert [(one.name, one.begun, one.ended) for one in state.stages] == [("a", 1.0, 4.0), ("b", 4.0, None)]
    assert state.training is None


def test_time_that_earlier_processes_took_counts_as_spent() -> None:
    outlook = Outlook(seconds=100.0, before=5.0, budget=Budget.parse("2m"), since=2.0)
    state = replace(State(0.0, ()), outlook=outlook, candidates=(CandidateState("a"),))
    # An interrupted run opens a finished entry at once: ten seconds of training in no time.
    state = state.looked(look("a", 5, 1.0), now=2.5)
    assert state.spent_seconds(4.5) == pytest.approx(5.0 + 10.0 + 2.0)
    assert State(1.0, ()).spent_seconds(4.0) == 3.0


def test_tokens_are_each_candidates_latest_and_those_of_what_trains_now() -> None:
    state = State(0.0, ())
    for one in (look("a", 5, 1.0), look("b", 5, 0.5, tokens=70), look("a", 9, 1.5, tokens=300)):
        state = state.looked(one, 0.0)
    training = TrainingState("a", 20).after(Taken(10, tokens=11))
    assert replace(state, training=training).spent_tokens() == 300 + 70 + 11


def test_the_best_is_the_look_with_the_highest_gain_whoever_it_is() -> None:
    state = State(0.0, ())
    for one in (look("a", 5, 1.0), look("b", 5, None), look("a", 9, 0.2)):
        state = state.looked(one, 0.0)
    assert state.best == look("a", 5, 1.0)
    assert State(0.0, ()).looked(look("b", 5, None), 0.0).best is None


def test_the_chosen_candidate_goes_on_and_the_others_are_eliminated() -> None:
    state = replace(State(0.0, ()), candidates=(CandidateState("a"), CandidateState("b"))).chosen("b")
    assert [(one.name, one.eliminated) for one in state.candidates] == [("a", True), ("b", False)]


def test_what_a_training_counts_is_named_as_its_product_reads_it() -> None:
    assert TrainingState("mlm", 3).after(Taken(1)).units == "tokens"
    assert TrainingState("simclr", 3).after(Taken(1, kind="image")).units == "patches"
