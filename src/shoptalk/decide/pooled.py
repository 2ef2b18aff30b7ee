"""Scores of many texts at once that are functions of sums over them (BLEU, chrF, shares, means), with intervals.

    level(statistics, score, seed=0)                # statistics: a row for each text; score: from sums to 0 ... 100
    gain(new, old, score, seed=0)                   # of two systems on the same texts

Texts are resampled (Koehn 2004, "Statistical significance tests for machine translation evaluation"; of two systems
the same texts for both), and intervals are made as those of gains are (`intervals`): the standard error is the larger
of the bootstrap's and that of a jackknife over 20 groups, the quantile is Student's, and where fewer than five texts
say anything the rule of three has the last word.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from shoptalk.decide.intervals import (
    FEWEST_DIFFERING,
    JACKKNIFE_GROUPS,
    error_of_no_difference,
    multiplicities,
    student,
)
from shoptalk.records import ACCURACY

Score = Callable[[Float[np.ndarray, "M K"]], Float[np.ndarray, "M"]]
"""From sums of statistics, a row for each set of texts, to scores between 0 and 100; NaN where there is none."""
MOST = 100.0


class Pooled(NamedTuple):
    """A score of all texts, or the difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float


def level(statistics: Float[np.ndarray, "N K"], score: Score, *, n_boot: int = 1000, seed: int) -> Pooled | None:
    """The score of all texts; None where they have none.

    Raises:
        ValueError: there are fewer than two texts.
    """
    value = float(score(statistics.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return None
    telling = ~np.isclose(np.nan_to_num(score(statistics), nan=value), value)
    half = _half_width(score, [statistics], telling, n_boot=n_boot, seed=seed)
    return Pooled(value, max(0.0, value - half), min(MOST, value + half))


def gain(
    new: Float[np.ndarray, "N K"], old: Float[np.ndarray, "N K"], score: Score, *, n_boot: int = 1000, seed: int
) -> Pooled | None:
    """The new system's score minus the old one's on the same texts; None where either has none.

    Raises:
        ValueError: there are fewer than two texts.
    """
    sums = np.stack([new.sum(axis=0), old.sum(axis=0)])
    value = float(score(sums)[0] - score(sums)[1])
    if np.isnan(value):
        return None
    # A text that one system wrote otherwise, to the same score, tells no more of the two than an equal one.
    with_new = score(sums[1] + new - old)
    telling = ~np.isclose(with_new, score(sums[1:]), rtol=1e-12, atol=1e-12, equal_nan=True)
    half = _half_width(score, [new, old], telling, n_boot=n_boot, seed=seed)
    return Pooled(value, max(-MOST, value - half), min(MOST, value + half))


def _half_width(
    score: Score,
    systems: list[Float[np.ndarray, "N K"]],
    telling: Bool[np.ndarray, "N"],
    *,
    n_boot: int,
    seed: int,
) -> float:
    """Half of an interval's width; `telling` are the texts that do not simply repeat the whole."""
    n = len(telling)
    if n < 2:
        raise ValueError(f"{n} text: an interval needs two at least.")
    rng = np.random.default_rng(seed)
    drawn = [[weights @ system for system in systems] for weights in multiplicities(n, n_boot, rng)]
    group = rng.permutation(n) % min(JACKKNIFE_GROUPS, n)
    kept = (np.arange(group.max() + 1)[:, None] != group).astype(np.float64)
    resampled = _difference(score, [np.concatenate(sums) for sums in zip(*drawn, strict=True)])
    without = _difference(score, [kept @ system for system in systems])
    error = max(_spread(resampled), _jackknife(without))
    if int(telling.sum()) < FEWEST_DIFFERING:
        error = max(error, error_of_no_difference(n, ACCURACY))
    return student(n - 1) * error


def _difference(score: Score, sums: list[Float[np.ndarray, "M K"]]) -> Float[np.ndarray, "M"]:
    first = score(sums[0])
    return first - score(sums[1]) if len(sums) > 1 else first


def _spread(values: Float[np.ndarray, "B"]) -> float:
    """Resamples without a score, such as those of texts without a number, say nothing."""
    values = values[~np.isnan(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _jackknife(without: Float[np.ndarray, "G"]) -> float:
    """The standard error from scores without each of G groups of texts."""
    without = without[~np.isnan(without)]
    n = len(without)
    return float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())) if n > 1 else 0.0
