"""What answers about disagreements prove, whenever one looks: bounds of a gain by betting, vectorised over moments.

    low, high = future_bounds(right, wrong, neither, disagree=180, bank=3080)     # arrays of counts, or numbers
    low, high = bank_bounds(x, disagree=180, bank=3080)

**Future messages.** A message of the population is one on which two systems differ with probability d, and there x is
+1, -1 or 0 with mean mu: the gain is g = d mu. Of a bank of B messages D differ, and given D their x are independent,
so any random order of them is a sample with replacement. A candidate mu is bet against: the capital of the bet b,

    K_t(mu) = product over answers of 1 + b (x - mu) / (1 + mu),      0 < b < 1,

has expectation 1 where the mean is mu and less where it is smaller, stays positive, and so reaches 1 / a at any time
with probability a at most (Ville 1939; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by
betting", section 4, with x moved from [0, 1] to [-1, 1]). A weighted mean over bets is such a capital too; on three
values no other e-processes for a mean are better than all of these, so that no cleverer kind of test is left out.

What D says of d multiplies that capital: p(d), the probability of a count as large under d, made an e-value by a
calibrator, f(p) = 1 - w + w k p^(k - 1) (Vovk & Wang 2021). The product rejects (d, mu) where it reaches 1 / a, and a
gain where every (d, mu) with that product is rejected. Both factors fall in d, so it is enough to look at some p: with
p_1 > p_2 > ... the bound is the smallest of d(p_(i+1)) mu(a f(p_i)), where d(p) is the Clopper-Pearson bound at p and
mu(a) the bound of the mean at a. (A bound of each at a share of a is that with two levels of p, and is wider.) Where mu
is negative, d from above makes the product small, and p is the probability of a count as small.

**These messages.** The D values have a fixed sum S, and answers draw them without replacement: before each the mean of
what is left under S is known, and the same bets are made against it. Every S from -D to D is a candidate of its own.
"""

from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Errors(NamedTuple):
    """What each side of the interval on future messages may err with: 2.5 % in all."""

    side: float
    """Whenever one looks."""
    last: float
    """At the one look at a bank that is answered to its end."""

    @classmethod
    def of(cls, bank: int) -> "Errors":
        """For so large a bank: a small one is often answered to its end, a large one hardly ever."""
        return cls(0.007, 0.018) if bank < _SMALL_BANK else cls(0.015, 0.01)

    @property
    def scores(self) -> float:
        """Standard errors of the last look."""
        return NormalDist().inv_cdf(1 - self.last)


_SMALL_BANK = 1500
BANK_SIDE = 0.025
"""Of each side of the interval on these messages, which is a statement of its own."""
BETS = np.array([0.06, 0.15, 0.3, 0.45, 0.7])
SHARES = np.array([1, 2, 5, 5, 3]) / 16
"""Of the capital, on each bet. A bet pays best on means about as far from the candidate as it is large: within a few
hundred answers small ones settle nothing (docs/log.md)."""
_WEIGHT, _POWER = 0.3, 0.5
_LEVELS = np.geomspace(1.0, 1e-6, 28)
"""Of p, from all that is possible to where D alone rejects: f(1e-6) is over 1 / 0.007."""
_EDGE = 1e-9
_HALVINGS = 40
_UNITS = np.linspace(0.001, 2.0, 65)
"""Of 1 + mu: where the search for a mean's bound begins."""
_STEPS = 4

Numbers = Int[np.ndarray, "*t"] | Float[np.ndarray, "*t"]


class Counts(NamedTuple):
    """How many answers of each kind there were at each moment."""

    right: Numbers
    """x = 1: the new system right, the old one wrong."""
    wrong: Numbers
    neither: Numbers

    def turned(self) -> "Counts":
        """With the two systems exchanged."""
        return Counts(self.wrong, self.right, self.neither)

    def against(self) -> "Counts":
        """With a last axis of one, for means or levels that every moment is held against."""
        return Counts(*(np.asarray(part)[..., None] for part in self))


def log_capital(counts: Counts, mean: Float[np.ndarray, "*#t"]) -> Float[np.ndarray, "*t"]:
    """Of the bets that the mean of x is above `mean`, the logarithm of their mean capital after these answers."""
    unit = (1 + np.clip(mean, _EDGE - 1, 1))[..., None]
    right, wrong, neither = counts.against()
    each = right * np.log1p(BETS * (2 / unit - 1)) + neither * np.log1p(BETS * (1 / unit - 1)) + wrong * np.log1p(-BETS)
    return _together(each)


def _together(each: Float[np.ndarray, "*t 5"]) -> Float[np.ndarray, "*t"]:
    """The logarithm of the capital of all bets, from those of each."""
    largest = each.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(each - largest) @ SHARES) + largest[..., 0])


class ShareLevels(NamedTuple):
    """What the number of disagreements says of their share d, level by level of p."""

    threshold: Float[np.ndarray, "L"]
    """Which the capital of answers must reach where d lies between this level and the next, as a logarithm."""
    below: Float[np.ndarray, "L"]
    above: Float[np.ndarray, "L"]
    """The next level's share, from either side."""


@cache
def share_levels(disagree: int, bank: int) -> ShareLevels:
    """The levels of p for so many disagreements in so large a bank."""
    from scipy.stats import beta  # here, because answering needs no scipy

    gained = np.log(1 - _WEIGHT + _WEIGHT * _POWER * _LEVELS ** (_POWER - 1))
    below = beta.ppf(_LEVELS, disagree, bank - disagree + 1) if disagree else np.zeros(len(_LEVELS))
    above = beta.isf(_LEVELS, disagree + 1, bank - disagree) if disagree < bank else np.ones(len(_LEVELS))
    return ShareLevels(-np.log(Errors.of(bank).side) - gained[:-1], below[1:], above[1:])


def future_bounds(
    counts: Counts, *, disagree: int, bank: int, best: Counts | None = None
) -> tuple[Float[np.ndarray, "*t"], Float[np.ndarray, "*t"]]:
    """Bounds of the gain on future messages, as shares, from the answers at each moment alone.

    Where some answers are open, `counts` holds the worst for the lower bound and `best` the best for the upper one.
    """
    levels = share_levels(disagree, bank)
    best = counts if best is None else best
    return _least_gain(counts, levels), np.asarray(-_least_gain(best.turned(), levels))


def _least_gain(counts: Counts, levels: ShareLevels) -> Float[np.ndarray, "*t"]:
    """The smallest gain not rejected: each level's least mean times the share that makes least of it."""
    means = _least_mean(counts, levels.threshold)
    return np.asarray((means * np.where(means >= 0, levels.below, levels.above)).min(axis=-1))


def _least_mean(counts: Counts, threshold: Float[np.ndarray, "L"]) -> Float[np.ndarray, "*t L"]:
    """For each threshold, the largest mean up to which the capital has reached it; -1 where it has nowhere.

    The logarithm of the capital falls in log(1 + mu) and is convex in it. Newton's steps from a point where the
    threshold is reached therefore stay where it is: the result is never too large.
    """
    every = np.stack(np.broadcast_arrays(*counts), axis=-1).astype(np.float64)
    of_bets = np.stack([np.log1p(BETS * (gain / _UNITS[:, None] - 1)) for gain in (2.0, 0.0, 1.0)])
    capital = _together((every @ of_bets.reshape(3, -1)).reshape(*every.shape[:-1], *of_bets.shape[1:]))
    reached = (capital[..., None, :] >= threshold[:, None]).sum(axis=-1)
    unit = _UNITS[np.maximum(reached - 1, 0)]
    right, wrong, neither = (part[..., None] for part in counts.against())
    for _ in range(_STEPS):
        of_right, of_neither = (1 + BETS * (gain / unit[..., None] - 1) for gain in (2.0, 1.0))
        each = right * np.log(of_right) + neither * np.log(of_neither) + wrong * np.log1p(-BETS)
        falls = right * (1 - (1 - BETS) / of_right) + neither * (1 - (1 - BETS) / of_neither)
        capital = _together(each)
        slope = (SHARES * np.exp(each - capital[..., None]) * falls).sum(axis=-1)
        further = np.maximum(capital - threshold, 0) / np.maximum(slope, _EDGE)
        unit = np.minimum(unit * np.exp(np.minimum(further, 10)), 2.0)
    return np.where(reached > 0, unit, 0.0) - 1


def exceeds(counts: Counts, gain: float, *, disagree: int, bank: int) -> Bool[np.ndarray, "*t"]:
    """Whether the lower bound of the gain on future messages is above `gain` (a share): `future_bounds`, and faster."""
    levels = share_levels(disagree, bank)
    mean = gain / np.maximum(levels.below if gain >= 0 else levels.above, _EDGE)
    capital = log_capital(counts.against(), np.minimum(mean, 1.0))
    # A mean below -1 cannot be; one above 1 would have to be of a smaller share than is looked at.
    return np.asarray((((capital >= levels.threshold) & (mean < 1)) | (mean < -1)).all(axis=-1))


def last_bounds(right: int, wrong: int, bank: int) -> tuple[float, float]:
    """Bounds of the gain on future messages, as shares, where every disagreement of the bank was answered.

    The bank is a sample of the population, of which all is known. A gain is rejected where the observed one is over
    z standard errors away, the error being the one under that gain (the score interval of Tango 1998), so that a few
    disagreements do not pass for certainty.
    """
    return _least_score(right, wrong, bank), -_least_score(wrong, right, bank)


def exceeds_at_last(right: int, wrong: int, gain: float, *, bank: int) -> bool:
    """Whether the lower of those bounds is above `gain` (a share)."""
    return score(right, wrong, bank, gain) >= Errors.of(bank).scores


def _least_score(right: int, wrong: int, bank: int) -> float:
    low, high = -1.0, (right - wrong) / bank
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if exceeds_at_last(right, wrong, middle, bank=bank) else (low, middle)
    return low


def score(right: int, wrong: int, bank: int, gain: float) -> float:
    """How many standard errors under `gain` the observed gain lies above it."""
    # The likeliest share of wrong ones where the share of right ones is greater by `gain`.
    linear = (2 * bank - right + wrong) * gain - right - wrong
    constant = -wrong * gain * (1 - gain)
    root = np.sqrt(max(linear**2 - 8 * bank * constant, 0.0))
    fewer = (root - linear) / (4 * bank)
    error = np.sqrt(max(bank * (2 * fewer + gain * (1 - gain)), 1e-12))
    return float((right - wrong - bank * gain) / error)


def bank_bounds(
    x: Int[np.ndarray, "n"],
    *,
    disagree: int,
    bank: int,
    side: float = BANK_SIDE,
    best: Int[np.ndarray, "n"] | None = None,
) -> tuple[Float[np.ndarray, "n+1"], Float[np.ndarray, "n+1"]]:
    """Bounds of the gain on the bank's own messages, as shares, before any answer and after each; they only narrow.

    `side` is what each side may err with; `best` is as for `future_bounds`.
    """
    low = _least_sum(x, disagree, side)
    high = -_least_sum(-(x if best is None else best), disagree, side)
    return low / bank, np.maximum(high, low) / bank


def _least_sum(x: Int[np.ndarray, "n"], disagree: int, side: float) -> Float[np.ndarray, "n+1"]:
    """The smallest sum of all values that is not rejected, after each draw without replacement."""
    sums = np.arange(-disagree, disagree + 1, dtype=np.float64)
    capital = np.ones((len(BETS), len(sums)))
    least, drawn = np.empty(len(x) + 1), 0
    least[0] = -disagree
    for t, value in enumerate(x.tolist()):
        mean = (sums - drawn) / (disagree - t)
        capital *= 1 + BETS[:, None] * ((value - mean) / np.maximum(1 + mean, _EDGE))
        drawn += value
        # Where a sum is rejected all smaller ones are too: the capital falls in it.
        alive = (SHARES @ capital < 1 / side) & (sums >= drawn - (disagree - t - 1))
        keep = int(np.argmax(alive)) if alive.any() else len(sums) - 1
        sums, capital = sums[keep:], capital[:, keep:]
        least[t + 1] = sums[0]
    return least
