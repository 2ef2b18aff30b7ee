"""The gain of one entry over the base at other numbers of labels than the verdict's, and at other tasks.

These rows are the evidence beside the verdict and not the verdict: heads are plain logistic regression on both
encoders, and each row's interval holds for itself. It pays for the choice of the entry among the candidates where `c`
is the menu's, and for nothing else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk import decide
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.records import Measure

DRAWS = 20
"""Label sets of each row."""
SHOTS = (1, 5, 10)
"""All labels are judged by cross-validation: each fifth of the clusters is answered by a head on the other four."""
_RESAMPLES = 2_000

RECIPROCAL_RANK = Measure(
    name="MRR x 100",
    unit="points",
    difference="points",
    finding="finds the reply that was given at a mean reciprocal rank of {adapted} against {base}",
    examples="held-out conversations",
    scale=100.0,
)

NOTE = (
    "Each row stands for itself: plain logistic regression on both encoders, the same label sets for both, and only "
    "{what} that no head had learned from. Its interval pays for the choice among candidates and not for there being "
    "several rows. The verdict rests on its own interval, where each encoder has its best head."
)


def shots_gains(
    base: Float[np.ndarray, "N D"],
    adapted: Float[np.ndarray, "N E"],
    labels: Int[np.ndarray, " N"],
    cluster: Int[np.ndarray, " N"],
    *,
    entry: str,
    shots: int,
    n_draws: int = DRAWS,
    c: float,
    seed: int,
    task: str = "intent",
) -> list[dict[str, Any]]:
    """The gain of a `task` at 1, 5 and 10 labels per class, as far as the labels go, and with all of them; in points of
    accuracy.

    There is always a row at the `shots` that are asked for, where a class with too few gives 80 % of what it has.
    Every class has examples in at least two clusters: `decide.draws` refuses others.
    """
    rows, most = [], decide.most_shots(labels, cluster)
    for k in sorted({*(k for k in SHOTS if k <= most), shots}):
        drawn = decide.draws(labels, cluster, shots=k, n_draws=n_draws, seed=seed)
        correct = np.stack([kshot_outcomes(vectors, labels, drawn.training) for vectors in (base, adapted)])
        estimate = decide.estimate_chosen(decide.Scores((entry,), correct, drawn.tested, cluster), c=c, seed=seed)
        rows.append(_row(estimate, task=task, shots=k, draws=n_draws, n=int(drawn.tested.any(axis=0).sum())))
    fold = decide.deal_folds(labels, cluster, seed=seed)
    correct = np.stack([out_of_fold(vectors, labels, fold) for vectors in (base, adapted)])[:, None]
    everywhere = np.ones((1, len(labels)), dtype=bool)
    estimate = decide.estimate_chosen(decide.Scores((entry,), correct, everywhere, cluster), c=c, seed=seed)
    return [*rows, _row(estimate, task=task, shots="full", draws=None, n=len(labels))]


def out_of_fold(
    vectors: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Bool[np.ndarray, " N"]:
    """Whether a head on the other folds labels each text rightly; a label that they lack is an error."""
    correct = np.zeros(len(labels), dtype=bool)
    for one in np.unique(fold):
        asked = fold == one
        correct[asked] = kshot_outcomes(vectors, labels, np.flatnonzero(~asked)[None])[0, asked]
    return correct


def retrieval_gain(
    base: Sequence[float], adapted: Sequence[float], conversation: Sequence[int], *, seed: int
) -> dict[str, Any] | None:
    """The gain in next-turn retrieval, in points of mean reciprocal rank; both lists are of the same pairs' reciprocal
    ranks. The interval, 95 %, is the percentiles over resampled conversations, and where hardly any conversation
    differs at least the rule of three's. None for fewer than two conversations.
    """
    _, number = np.unique(np.asarray(conversation), return_inverse=True)
    n = int(number.max()) + 1 if len(number) else 0
    if n < 2:
        return None
    difference = np.asarray(adapted, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    sums, counts = np.bincount(number, weights=difference, minlength=n), np.bincount(number, minlength=n)
    picked = np.random.default_rng(seed).integers(n, size=(_RESAMPLES, n))
    resampled = 100 * sums[picked].sum(axis=1) / counts[picked].sum(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    least = 1.96 * float(decide.least_error(sums[None, None], RECIPROCAL_RANK)[0])
    gain = 100 * float(difference.mean())
    low, high = min(low, gain - least), max(high, gain + least)
    return {
        "task": "retrieval",
        "measure": "MRR x 100",
        "unit": "points",
        "shots": None,
        "head": None,
        "base": 100 * float(np.mean(base)),
        "adapted": 100 * float(np.mean(adapted)),
        "gain": gain,
        "interval": [float(low), float(high)],
        "n": len(difference),
        "draws": None,
    }


def _row(estimate: decide.Estimate, *, task: str, shots: int | str, draws: int | None, n: int) -> dict[str, Any]:
    return {
        "task": task,
        "measure": "accuracy",
        "unit": "%",
        "shots": shots,
        "head": "linear",
        "base": estimate.base,
        "adapted": float(estimate.adapted[0]),
        "gain": float(estimate.gain[0]),
        "interval": [float(estimate.low[0]), float(estimate.high[0])],
        "n": n,
        "draws": draws,
    }
