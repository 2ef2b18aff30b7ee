"""Is a tuned encoder better than the same one left as it is? Asked of examples that chose nothing.

    for trial in trials(labels, clusters, seed=0):
        ...                                          # tune on `learns`, stop where `looks` did best, answer `decides`
    gain = advantage(tuned_right, frozen_right, clusters)
    gain.proven                                      # the lower end of its 95 % interval is above 0

A tuning takes the best of several looks, so the examples that it looked at flatter it: deciding by them, by more than a
standard error, ships 41 to 63 % of tunings that bring nothing, from 100 labels on (`benchmarks/tuning_rule.py`). Here
each third of the examples is answered by an encoder that neither learned from it nor looked at it, so all of them
decide. Ending the trials early because the gain so far is not above 0 ships less often, never more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.decide.intervals import Scores, estimate_on_test
from shoptalk.decide.labelsets import FOLDS, deal_folds

TRIALS = 3
"""Of one tuning; each decides on another third of the examples, and costs a training."""


class TuningTrial(NamedTuple):
    """Which examples a tuning learns from, which choose how long, and which are answered; no two of them overlap."""

    learns: Bool[np.ndarray, " N"]
    looks: Bool[np.ndarray, " N"]
    decides: Bool[np.ndarray, " N"]


@dataclass(frozen=True)
class Advantage:
    """How much better tuned encoders answer than the frozen one, in points, with a 95 % interval."""

    gain: float
    low: float
    high: float
    tuned: float
    """Per cent right."""
    frozen: float
    n_examples: int

    @property
    def proven(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0


def trials(
    labels: Sequence[Any] | np.ndarray, clusters: Int[np.ndarray, " N"], *, seed: int
) -> tuple[TuningTrial, ...]:
    """Three trials, each of which decides on a third of the examples, and looks at a fifth of the others.

    Clusters stay whole, and those of a class are dealt out in turn. In every trial each class has a cluster to learn
    from, so the only cluster of a class always teaches and never decides. Empty where the examples are too few for all
    three trials to look and to decide.
    """
    _, codes = np.unique(np.asarray(labels), return_inverse=True)
    _, number = np.unique(clusters, return_inverse=True)
    holds = np.zeros((int(number.max()) + 1, int(codes.max()) + 1), dtype=bool)
    holds[number, codes] = True
    third = deal_folds(codes, number, n=TRIALS, seed=seed)
    planned = []
    for part in range(TRIALS):
        deciding = _spared(third == part, number, holds, np.ones(len(holds), dtype=bool))
        rest = ~deciding[number]
        wanted = np.zeros(len(codes), dtype=bool)
        wanted[rest] = deal_folds(codes[rest], number[rest], n=FOLDS, seed=seed) == 0
        looking = _spared(wanted, number, holds, ~deciding)
        planned.append(TuningTrial(~(deciding | looking)[number], looking[number], deciding[number]))
    return tuple(planned) if all(trial.looks.any() and trial.decides.any() for trial in planned) else ()


def _spared(
    wanted: Bool[np.ndarray, " N"],
    number: Int[np.ndarray, " N"],
    holds: Bool[np.ndarray, "G C"],
    teaching: Bool[np.ndarray, " G"],
) -> Bool[np.ndarray, " G"]:
    """The clusters of the wanted examples without the last ones that teach a class."""
    left = holds[teaching].sum(axis=0)
    spared = np.zeros(len(holds), dtype=bool)
    for cluster in np.unique(number[wanted]).tolist():
        if (left[holds[cluster]] > 1).all():
            spared[cluster] = True
            left -= holds[cluster]
    return spared


def advantage(
    tuned: Bool[np.ndarray, " n"], frozen: Bool[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]
) -> Advantage:
    """The gain of right answers, with the interval of `estimate_on_test`: paired differences, a cluster-robust error
    and Student's quantile.

    The interval is about other messages, given these labels: other label sets of the size may gain less or more.

    Measured on planted outcomes (`benchmarks/tuning_rule.py`, 1,000 tunings per cell, answers that differ on 12 % of
    the examples, 7 looks with a correlation of 0.8): where tuning brings nothing 1.6 to 3.4 % ship, at 60 to 2,310
    labels. A gain of 2 points ships in 6 % at 100 labels, 17 % at 385, 50 % at 1,155 and 78 % at 2,310; one of 4 points
    in 19, 59, 96 and 100 %.
    """
    everything = np.ones((1, len(clusters)), dtype=bool)
    scores = Scores(("tuned",), np.stack([frozen, tuned])[:, None], everything, clusters)
    measured = estimate_on_test(scores, n_boot=2, seed=0)  # one draw has no bootstrap to speak of
    return Advantage(
        gain=float(measured.gain[0]),
        low=float(measured.low[0]),
        high=float(measured.high[0]),
        tuned=float(measured.adapted[0]),
        frozen=measured.base,
        n_examples=len(clusters),
    )
