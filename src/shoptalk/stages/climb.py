"""The ladder of a run: the steps that were measured, from the plain base to the challenger, on the same draws."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shoptalk import decide
from shoptalk.decide.ladder import ADAPTED, ANOTHER_BASE, BASE
from shoptalk.tasks.judge import Final, Judge, Score


def steps_of(base: Final, another: Final | None = None) -> list[tuple[str, Score]]:
    """The steps that heads take on the base, up to how it would be shipped; one alone where no heads answer.

    After them that of `another` base as it would be shipped, where it is the better one.
    """
    steps = [*((rung.step, rung.scores) for rung in base.rungs), (base.step or BASE, base.scores)]
    return steps if another is None else [*steps, (ANOTHER_BASE, another.scores)]


def climb(
    base_steps: Sequence[tuple[str, Score]],
    judge: Judge,
    adapted: Final | None,
    *,
    adopted: bool,
    chosen_c: float | None,
    seed: int,
) -> decide.Ladder:
    """What each step brings; the challenger's, where there is one, is the last, and counts in all if it is adopted.

    `chosen_c` is that of the menu from which the challenger was chosen. Where a test was supplied, this is measured on
    the label sets too: the test is read for the verdict alone.
    """
    steps, counted = list(base_steps), len(base_steps) - 1
    if adapted is not None:
        steps.append((ADAPTED, adapted.scores))
        counted += adopted
    return decide.ladder_of(
        [step for step, _ in steps],
        np.stack([scores for _, scores in steps]),
        tested=judge.tested[: len(steps[0][1])],
        cluster=judge.cluster,
        measure=judge.measure,
        shipped=counted,
        chosen_c=chosen_c,
        seed=seed,
    )


def ladder_facts(ladder: decide.Ladder) -> dict[str, Any]:
    """The keys `ladder` and `in_all` of `verdict.json`."""
    gains = [None, *ladder.rises]
    return {
        "ladder": [
            {"step": step, "value": value, "unit": ladder.measure.unit, **_rise(rise)}
            for step, value, rise in zip(ladder.steps, ladder.level, gains, strict=True)
        ],
        "in_all": {"step": ladder.steps[ladder.shipped], **_rise(ladder.in_all)},
    }


def _rise(rise: decide.Rise | None) -> dict[str, Any]:
    return {
        "gain": None if rise is None else rise.gain,
        "interval": None if rise is None else [rise.low, rise.high],
    }
