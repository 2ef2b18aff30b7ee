"""The number of the rules by which written questions are judged is raised with them."""

import re
from types import ModuleType

from shoptalk.artifact import digest
from shoptalk.assistant import fulltext, ground, opposites
from shoptalk.commands import question_prompts, questions, round_trip
from shoptalk.text import measured_numbers, number_words, plain_sentences, stated_facts

PINNED = (6, "0fe5fc66096d")
"""The number, and the digest of what decides."""


def test_who_changes_what_decides_raises_the_number_of_the_rules() -> None:
    deciding = [
        *map(patterns_of, (fulltext, ground, plain_sentences, question_prompts, questions, round_trip, stated_facts)),
        *map(patterns_of, (number_words, measured_numbers, opposites)),
        sorted(ground._LITTLE),
        opposites.OPPOSED,
        opposites.OPPOSED_BEFORE_THE_SAME,
        ground.SHARED,
        number_words.SPELT,
        (question_prompts.FEWEST_WORDS, questions.FEWEST_WORDS, questions.MOST_TOKENS),
        (round_trip.FEWEST_WORDS, round_trip.READ, round_trip.SENTENCES),
    ]
    now = (round_trip.RULES, digest(deciding)[:12])
    assert now == PINNED, (
        f"What decides about written questions has changed: raise RULES in commands/round_trip.py above {PINNED[0]}, "
        f"so that work of the rules before is not gone on with, and pin {now[1]!r} with the new number here."
    )


def patterns_of(module: ModuleType) -> dict[str, tuple[str, int]]:
    named = vars(module).items()
    return {name: (value.pattern, value.flags) for name, value in named if isinstance(value, re.Pattern)}
