"""What people have answered, where the verdict that it is about has changed since."""

from typing import Any

import pytest

from shoptalk.report.verdict_json import PeopleAnswered, Verdict
from shoptalk.tasks import unjudged
from shoptalk.telling.settled import UNPROVEN, accepted, counted, joined, left_guard
from tests.report.report_facts import facts


def verdict(**row: Any) -> Verdict:
    told = facts()["verdict"]
    for candidate in told["candidates"]:
        if candidate["entry"] == told["entry"]:
            candidate.update(row)
    return Verdict.model_validate(told)


def answered(choice: str) -> PeopleAnswered:
    return PeopleAnswered.model_validate(
        {
            "systems": ("base", "adapted"), "choice": choice, "before": "inconclusive", "gain": 2.0,
            "interval": (0.8, 3.1), "on_bank": (0.9, 3.0), "asked": 60, "right": 40, "wrong": 10, "neither": 10,
            "disagree": 180, "bank": 3080, "twice": 3, "same": 3, "more": 0, "sentence": "They differ.",
        }
    )  # fmt: skip


@pytest.mark.parametrize("choice", ["adopt", "keep_base", "inconclusive"])
def test_answers_that_adopt_count_no_more_where_the_challenger_is_outside_guards_that_became_tighter(choice: str):
    asked = answered(choice)
    assert counted(verdict(inside_guards=True), asked) is asked
    outside = verdict(inside_guards=False, why_not="it forgets")
    assert left_guard(outside) == "it forgets"
    assert counted(outside, asked) is (None if choice == "adopt" else asked)


def test_a_challenger_that_is_served_unproven_is_told_so_until_people_have_settled_it() -> None:
    told = accepted(verdict().model_copy(update={"choice": "inconclusive", "sentence": "Undecided."}))
    assert told.served_unproven and told.sentence == f"Undecided.{UNPROVEN}"
    for choice in ("adopt", "keep_base"):
        settled = joined(told, answered(choice))
        assert settled.served_unproven is False and UNPROVEN not in settled.sentence
    assert joined(told, answered("inconclusive")).served_unproven


def test_what_is_adopted_or_was_never_trained_is_not_served_unproven() -> None:
    assert accepted(verdict()) == verdict()
    bare = verdict().model_copy(update={"choice": "keep_base", "entry": None})
    assert accepted(bare) == bare


def test_the_way_out_that_was_taken_is_not_offered_again() -> None:
    sentence = unjudged("intent", ["mlm"], "It likely helps.", trained=True)
    said = accepted(verdict().model_copy(update={"choice": "inconclusive", "sentence": sentence})).sentence
    assert "or pass --accept-unproven" not in said and said.endswith(f"to measure it.{UNPROVEN}")


def test_without_a_measurement_of_its_guards_nothing_is_adopted():
    unmeasured = verdict().model_copy(update={"candidates": ()})
    assert left_guard(unmeasured) and counted(unmeasured, answered("adopt")) is None
    assert counted(unmeasured, None) is None
