"""How well words are marked that passages do not support: precision, recall and F1 over the tokens of replies.

scores = score_marks(chances, wrong, threshold=0.5)
scores.f1, scores.marked_clean           # and of replies without a mistake, the share in which anything is marked
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from shoptalk.records import Frozen


class MarkScores(Frozen):
    """Of the tokens of a set of replies, in shares of 1."""

    precision: float
    recall: float
    f1: float
    marked_clean: float
    """Of the replies without a mistake, those in which anything is marked."""
    missed: float
    """Of the replies with a mistake, those in which nothing is marked."""
    replies: int
    tokens: int


def score_marks(
    chances: Sequence[Float[np.ndarray, " _"]], wrong: Sequence[Bool[np.ndarray, " _"]], *, threshold: float
) -> MarkScores:
    """The scores where a token is marked from `threshold` on; tokens count alike, whatever reply they are of."""
    marked = [row >= threshold for row in chances]
    hits = sum(int((one & other).sum()) for one, other in zip(marked, wrong, strict=True))
    predicted, true = sum(int(row.sum()) for row in marked), sum(int(row.sum()) for row in wrong)
    clean = [bool(one.any()) for one, other in zip(marked, wrong, strict=True) if not other.any()]
    broken = [not one.any() for one, other in zip(marked, wrong, strict=True) if other.any()]
    return MarkScores(
        precision=hits / predicted if predicted else float(not true),
        recall=hits / true if true else 1.0,
        f1=2 * hits / (predicted + true) if predicted + true else 1.0,
        marked_clean=float(np.mean(clean)) if clean else 0.0,
        missed=float(np.mean(broken)) if broken else 0.0,
        replies=len(wrong),
        tokens=sum(len(row) for row in wrong),
    )


def best_threshold(chances: Sequence[Float[np.ndarray, " _"]], wrong: Sequence[Bool[np.ndarray, " _"]]) -> float:
    """The threshold of the highest F1, in steps of 0.05; of several the middle one."""
    steps = [round(0.05 * step, 2) for step in range(2, 20)]
    reached = np.array([score_marks(chances, wrong, threshold=step).f1 for step in steps])
    best = np.flatnonzero(reached >= reached.max() - 1e-9)
    return steps[int(best[len(best) // 2])]
