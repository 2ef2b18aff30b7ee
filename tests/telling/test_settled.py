"""What people have answered, where the verdict that it is about has changed since."""

from typing import Any

import pytest

from shoptalk.report.verdict_json import PeopleAnswered, Verdict
from shoptalk.telling.settled import counted, left_guard
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


def test_without_a_measurement_of_its_guards_nothing_is_adopted():
    unmeasured = verdict().model_copy(update={"candidates": ()})
    assert left_guard(unmeasured) and counted(unmeasured, answered("adopt")) is None
    assert counted(unmeasured, None) is None
