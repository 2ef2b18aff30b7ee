"""The ladder of a run: the steps that were measured, from the plain base to the challenger, on the same draws."""

from typing import Any

import numpy as np

from shoptalk import decide
from shoptalk.decide.ladder import ADAPTED, ANOTHER_BASE, BASE, UNLABELLED
from shoptalk.tasks.judge import Final, Judge, Score


def climb(
    base: Final,
    other: Final | None,
    adapted: Final | None,
    judge: Judge,
    *,
    adopted: bool,
    chosen_c: float | None,
    seed: int,
) -> decide.Ladder:
    """What each step brings: those of heads on the base that is adapted, then another base where that is better, then
    the challenger, which counts in all if it is adopted.

    Heads that were chosen are held against those that were not by cross-fitted scores (`Final.crossed`), and against
    each other by those of their choice; so that steps add up, the scores of later steps are shifted by the difference.

    `chosen_c` is that of the menu from which the challenger was chosen. Where a test was supplied, this is measured on
    the label sets too: the test is read for the verdict alone.
    """
    steps: list[tuple[str, Score]] = [(rung.step, rung.scores) for rung in base.rungs]
    steps.append((base.step or BASE, base.scores if base.crossed is None else base.crossed))
    steps += [(ANOTHER_BASE, _shifted(other.scores, base))] if other is not None else []
    counted = len(steps) - 1
    if adapted is not None:
        steps.append((ADAPTED, _shifted(adapted.scores, base)))
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


def _shifted(scores: Score, base: Final) -> Score:
    """Scores of a later step, which differ from the cross-fitted ones of the base as they do from its own."""
    if base.crossed is None:
        return scores
    return scores.astype(np.float64) - base.scores + base.crossed


def ladder_facts(ladder: decide.Ladder) -> dict[str, Any]:
    """The keys `ladder` and `in_all` of `verdict.json`; steps by unlabelled items and by training are
    named after what these are.
    """
    measure = ladder.measure
    named = {UNLABELLED: f"unlabelled {measure.unlabelled}", ADAPTED: f"adapted {measure.trained}"}
    names = [named.get(step, step) for step in ladder.steps]
    gains = [None, *ladder.rises]
    return {
        "ladder": [
            {"step": step, "value": value, "unit": ladder.measure.unit, **_rise(rise)}
            for step, value, rise in zip(names, ladder.level, gains, strict=True)
        ],
        "in_all": {"step": names[ladder.shipped], **_rise(ladder.in_all)},
    }


def _rise(rise: decide.Rise | None) -> dict[str, Any]:
    return {
        "gain": None if rise is None else rise.gain,
        "interval": None if rise is None else [rise.low, rise.high],
    }


def heads_facts(base: Final, adapted: Final, plain_gain: float, judge: Judge) -> dict[str, Any] | None:
    """Which heads are compared, where there are labels to fit them on: what is best on all labels, of either side."""
    if not base.way or judge.classes is None:
        return None
    which = f"{base.way} for both" if base.way == adapted.way else f"base {base.way}, adapted {adapted.way}"
    if judge.test is not None:
        which += ", fitted on all labels; the interval is for other messages, given these labels"
    return {
        "base": base.way,
        "adapted": adapted.way,
        "plain_gain": plain_gain,
        "sentence": f"Each encoder answers with the head that serves it best ({which}); with plain logistic regression "
        f"on both the gain is {judge.measure.change(plain_gain)} {judge.measure.difference}.",
    }
