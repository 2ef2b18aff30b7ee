"""Answering only where it is safe: which confidence an answer must have so that few of those given are wrong.

    promise = promised_threshold(confidence, right, thresholds, max_wrong=0.05)
    promise.threshold           # None where no threshold can be promised

Fixed-sequence testing (Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test", 2021, section 4.2): thresholds
are tested from the strictest to the most lenient, each by an exact binomial test of "of those that it answers, more
than the budget are wrong", until one test does not reject. The last threshold that did is promised: a wrong promise is
made with probability `error` at most, whatever the distribution, if thresholds do not depend on the questions tested.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

ERROR = 0.05
THRESHOLDS = 40
"""That are proposed."""


@dataclass(frozen=True)
class RiskPoint:
    """What one threshold answers of the questions that it was tested on."""

    threshold: float
    answered: int
    wrong: int
    upper: float
    """Of the share of wrong answers, the exact upper bound."""

    @property
    def risk(self) -> float:
        """The share of wrong answers among those given."""
        return self.wrong / self.answered if self.answered else 0.0


@dataclass(frozen=True)
class Promise:
    """The most lenient threshold that can be promised, and every one that was tested, the strictest first."""

    threshold: float | None
    points: tuple[RiskPoint, ...]
    tested: int
    """How many of `points` were tested before the procedure stopped."""
    questions: int


def upper_bound(wrong: int, answered: int, *, error: float = ERROR) -> float:
    """The exact one-sided upper bound of a share, of which `wrong` of `answered` were seen (Clopper & Pearson 1934)."""
    from scipy.stats import beta  # here, because answering needs no scipy

    if answered == 0 or wrong >= answered:
        return 1.0
    return float(beta.ppf(1 - error, wrong + 1, answered - wrong))


def fewest_answers(max_wrong: float, *, wrong: int = 0, error: float = ERROR) -> int:
    """The fewest answers, `wrong` of them wrong, that can promise a share of at most `max_wrong`: 59 without a wrong
    one for 5 %.
    """
    low = wrong + max(1, math.ceil(math.log(error) / math.log1p(-max_wrong)) if wrong == 0 else 1)
    while upper_bound(wrong, low, error=error) > max_wrong:
        low += max(1, low // 200) if wrong else 1
    while low > wrong + 1 and upper_bound(wrong, low - 1, error=error) <= max_wrong:
        low -= 1
    return low


def promised_threshold(
    confidence: Float[np.ndarray, " N"],
    right: Bool[np.ndarray, " N"],
    thresholds: Sequence[float],
    *,
    max_wrong: float,
    error: float = ERROR,
) -> Promise:
    """Test thresholds in their order, the strictest first, until one cannot be promised.

    Args:
        confidence: of each question's answer; a question is answered where it reaches the threshold.
        right: whether that answer is right; False too for a question that has none.
        thresholds: falling, and not chosen by looking at these questions.
        max_wrong: the budget, as a share of the answers given.
        error: the probability of a promise that does not hold.
    """
    points, promised, tested, open_still = [], None, 0, True
    for threshold in thresholds:
        given = confidence >= threshold
        answered, wrong = int(given.sum()), int((given & ~right).sum())
        point = RiskPoint(float(threshold), answered, wrong, upper_bound(wrong, answered, error=error))
        points.append(point)
        if open_still:
            tested += 1
            open_still = point.upper <= max_wrong
            promised = point.threshold if open_still else promised
    return Promise(promised, tuple(points), tested, len(confidence))


def proposed_thresholds(
    confidence: Float[np.ndarray, " N"], tested: int, *, max_wrong: float, error: float
) -> list[float]:
    """Falling thresholds, the first of which may be expected to answer enough questions for a promise.

    They come from questions that are not tested, so the test stays exact.
    """
    given = np.sort(confidence[confidence >= 0])[::-1]
    if not len(given):
        return []
    needed = fewest_answers(max_wrong, error=error)
    wanted = (needed + 2 * np.sqrt(needed)) / max(tested, 1) * len(confidence)
    first = min(int(np.ceil(wanted)), len(given)) - 1
    places = np.unique(np.linspace(first, len(given) - 1, THRESHOLDS).round().astype(int))
    return [float(given[place]) for place in places]
