"""The ladder: what each step from the plain base to what is shipped brings, on the same draws and examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk.decide.intervals import Points, band
from shoptalk.records import ACCURACY, Measure

PLAIN_HEAD, NAMES, UNLABELLED = "plain head", "labels' names", "unlabelled text"
"""The steps that heads take, in the order of the ladder."""
BASE, ANOTHER_BASE, ADAPTED = "base model", "another base", "adapted encoder"
"""The first step where no heads answer, and those that change the encoder."""


@dataclass(frozen=True)
class Rise:
    """A difference of the measure, and its interval."""

    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Ladder:
    """The level at each step, what each step but the first gains over the one before it, and what they bring in all.

    The intervals hold for all steps and for the gain in all at once (95 %).
    """

    steps: tuple[str, ...]
    level: tuple[float, ...]
    """In the unit of the measure."""
    rises: tuple[Rise, ...]
    """One fewer than there are steps: the first stands on the ground."""
    shipped: int
    """The place of the step that is shipped; those after it were measured and are not."""
    in_all: Rise | None
    """Of the shipped step over the first; None where that is the first itself."""
    c: float
    """How many standard errors an interval takes."""
    measure: Measure = ACCURACY

    @property
    def proven(self) -> bool:
        """Whether what is shipped is better than the first step beyond chance."""
        return self.in_all is not None and self.in_all.low > 0


def ladder_of(
    steps: Sequence[str],
    values: Bool[np.ndarray, "S R N"] | Float[np.ndarray, "S R N"],
    *,
    tested: Bool[np.ndarray, "R N"],
    cluster: Int[np.ndarray, "N"],
    measure: Measure = ACCURACY,
    shipped: int,
    chosen_c: float | None = None,
    n_boot: int = 2000,
    seed: int,
) -> Ladder:
    """What each step adds to the one before it, and the step `shipped` to the first; steps in the order of the ladder.

    Clusters and draws are resampled jointly for all steps (`band`), and c is the 95 % quantile of the largest deviation
    among them. Where the last step was chosen from a menu, `chosen_c` is that menu's c (`Estimate.c`), and no interval
    takes less; where it is the only one above the first, the choice is all that there is to pay for.

    Raises:
        ValueError: there are not as many steps as rows of scores, or the shipped step is none of them.
    """
    if len(steps) != len(values) or not steps:
        raise ValueError(f"{len(steps)} steps need as many rows of scores, got {len(values)}.")
    if not 0 <= shipped < len(steps):
        raise ValueError(f"Step {shipped} is shipped, and there are {len(steps)}.")
    if len(steps) == 1:
        return Ladder(tuple(steps), (_mean(values[0], tested, measure),), (), 0, None, 0.0, measure)
    above = [*range(1, len(steps)), shipped]
    below = [*range(len(steps) - 1), 0]
    if shipped == 0:  # nothing to tell in all
        above, below = above[:-1], below[:-1]
    gains = band(
        Points(
            names=tuple(steps[step] for step in above),
            base=values[below],
            adapted=values[above],
            tested=np.broadcast_to(tested, (len(above), *tested.shape)),
            cluster=cluster,
            measure=measure,
        ),
        n_boot=n_boot,
        seed=seed,
    )
    c = gains.c
    if chosen_c is not None:
        c = chosen_c if len(steps) == 2 else max(c, chosen_c)
    rises = [
        Rise(gain, gain - c * error, gain + c * error)
        for gain, error in zip(gains.gain.tolist(), gains.se.tolist(), strict=True)
    ]
    level = (float(gains.base[0]), *(float(value) for value in gains.adapted[: len(steps) - 1]))
    return Ladder(
        steps=tuple(steps),
        level=level,
        rises=tuple(rises[: len(steps) - 1]),
        shipped=shipped,
        in_all=rises[-1] if shipped else None,
        c=float(c),
        measure=measure,
    )


def _mean(
    values: Bool[np.ndarray, "R N"] | Float[np.ndarray, "R N"], tested: Bool[np.ndarray, "R N"], measure: Measure
) -> float:
    """The level of one step, in the unit of the measure."""
    return measure.level(float(values[tested].mean()))
