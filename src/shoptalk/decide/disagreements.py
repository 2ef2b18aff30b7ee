"""Where two systems' answers differ, who is right? What a person's answers prove, at every moment of asking.

    standing = stand(x, disagree=180, bank=3080, smallest_gain=0.5)      # x: +1, -1 or 0 for each answer, in order
    standing.choice, standing.low, standing.high, standing.more

x is +1 where the new system was right and the old one wrong, -1 the other way, and 0 where neither was. Messages on
which the two agree have a difference of 0 whoever is right, so that only disagreements are asked, in random order. The
choice is about future messages like those of the bank, by the bounds of `betting`:

- adopt where the whole interval lies above the smallest gain, keep the base where it lies below.
- The interval holds at every answer at once with 95 %: each side is left with 1.5 % while answers come in, and
  with 1 % at the one look at a bank that is answered to its end. An interval never widens again, but for a person's
  inconsistency.
- The interval on the bank's own messages has 95 % of its own, and decides nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from shoptalk.decide.betting import BANK_SIDE, Counts, bank_bounds, exceeds, future_bounds, last_bounds

Choice = Literal["adopt", "keep_base", "inconclusive"]
_POINTS = 100.0
_BANK_SCORES = 2.241403
"""The normal law's quantile at 1 - BANK_SIDE / 2."""
_RIGHT_OR_WRONG = 0.7
"""The share of disagreements of which one of the two is right, where no answer tells."""
_LOOKS_AHEAD = 48
_QUANTILES = (-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534)
"""Of the normal law, at equal steps."""


@dataclass(frozen=True)
class Consistency:
    """Of the questions that were asked twice, how many got the same answer."""

    twice: int
    same: int

    def __post_init__(self) -> None:
        if not 0 <= self.same <= self.twice:
            raise ValueError(f"{self.same} same answers of {self.twice} asked twice: that cannot be.")

    @property
    def kept(self) -> float:
        """The least share of a mean of x that slips leave: 1 where nobody slips, 0 where nothing is known.

        Two answers to one question, each a slip with probability e, differ with probability r >= 2 e (1 - e), so that
        1 - 2 e >= sqrt(1 - 2 r). One of each kind is added to what was counted (the rule of succession): a few same
        answers do not prove that nobody slips.
        """
        return math.sqrt(max(0.0, 1 - 2 * (self.twice - self.same + 1) / (self.twice + 2)))


@dataclass(frozen=True)
class Standing:
    """What the answers so far prove; gains and their ends are in points of accuracy."""

    choice: Choice
    asked: int
    right: int
    """Answers by which the new system was right and the old one wrong."""
    wrong: int
    neither: int
    disagree: int
    bank: int
    gain: float | None
    """None before the first answer."""
    low: float
    high: float
    """On future messages like those of the bank."""
    bank_low: float
    bank_high: float
    """On the bank's messages alone."""
    more: int | None
    """About so many more answers would settle it, if they are like those so far; None where the bank's would not."""

    @property
    def settled(self) -> bool:
        """Whether the answers decide."""
        return self.choice != "inconclusive"

    @property
    def exhausted(self) -> bool:
        """Whether every disagreement of the bank was answered."""
        return self.asked == self.disagree


def stand(
    x: Int[np.ndarray, "n"],
    *,
    disagree: int,
    bank: int,
    smallest_gain: float,
    consistency: Consistency | None = None,
) -> Standing:
    """What the answers prove so far.

    Args:
        x: of each answer, in the order of asking.
        disagree: on how many messages of the bank the two systems differ.
        bank: how many messages it holds.
        smallest_gain: in points.
        consistency: of questions asked twice; None where answers are taken as right.
    """
    return _standings(x, disagree, bank, smallest_gain, consistency, first=len(x))[-1]


def path(
    x: Int[np.ndarray, "n"],
    *,
    disagree: int,
    bank: int,
    smallest_gain: float,
    consistency: Consistency | Sequence[Consistency] | None = None,
) -> tuple[Standing, ...]:
    """What the answers proved after each of them; `consistency` may be what was known of it then, one for each."""
    return _standings(x, disagree, bank, smallest_gain, consistency, first=1)


def answers_needed(*, disagree: int, bank: int, gain: float, se: float, smallest_gain: float) -> int | None:
    """About how many answers would settle it, told before any: the median over gains that an estimate leaves possible.

    Args:
        disagree: on how many messages of the bank the two systems differ.
        bank: how many messages it holds.
        gain: of an estimate, in points.
        se: its standard error, in points.
        smallest_gain: in points.

    Returns:
        None where for most of these gains the bank's disagreements would not settle it: a larger bank may.
    """
    if disagree == 0:
        return (
            0
            if stand(np.zeros(0, dtype=np.int64), disagree=0, bank=bank, smallest_gain=smallest_gain).settled
            else None
        )
    needed = []
    for quantile in _QUANTILES:
        mean = float(np.clip((gain + quantile * se) / _POINTS * bank / disagree, -1, 1))
        decided = max(_RIGHT_OR_WRONG, abs(mean))
        rates = (decided + mean) / 2, (decided - mean) / 2, 1 - decided
        more = _more((0, 0, 0), rates, disagree, bank, smallest_gain)
        needed.append(math.inf if more is None else more)
    middle = sorted(needed)[len(needed) // 2]
    return None if math.isinf(middle) else int(middle)


def _standings(
    x: Int[np.ndarray, "n"],
    disagree: int,
    bank: int,
    smallest_gain: float,
    consistency: Consistency | Sequence[Consistency] | None,
    *,
    first: int,
) -> tuple[Standing, ...]:
    _refuse(x, disagree, bank)
    ends = intervals(x, disagree=disagree, bank=bank, consistency=consistency)
    standings = []
    for n in range(first, len(x) + 1):
        right, wrong, neither = (int(part[n]) for part in ends.counts)
        low, high = float(ends.low[n]), float(ends.high[n])
        choice: Choice = "adopt" if low > smallest_gain else "keep_base" if high < smallest_gain else "inconclusive"
        # Of answers like those so far: each kind counts a third of an answer more, so that none is impossible.
        rates = tuple((count + 1 / 3) / (n + 1) for count in (right, wrong, neither))
        settled = choice != "inconclusive"
        standings.append(
            Standing(
                choice=choice,
                asked=n,
                right=right,
                wrong=wrong,
                neither=neither,
                disagree=disagree,
                bank=bank,
                gain=_POINTS * disagree / bank * (right - wrong) / n if n else None,
                low=low,
                high=high,
                bank_low=float(ends.bank_low[n]),
                bank_high=float(ends.bank_high[n]),
                more=0 if settled else _more((right, wrong, neither), rates, disagree, bank, smallest_gain),
            )
        )
    return tuple(standings)


class Intervals(NamedTuple):
    """Before any answer and after each: the answers of each kind, and the ends of both intervals in points."""

    counts: Counts
    low: Float[np.ndarray, "n+1"]
    high: Float[np.ndarray, "n+1"]
    bank_low: Float[np.ndarray, "n+1"]
    bank_high: Float[np.ndarray, "n+1"]


def intervals(
    x: Int[np.ndarray, "n"],
    *,
    disagree: int,
    bank: int,
    consistency: Consistency | Sequence[Consistency] | None = None,
) -> Intervals:
    """Both intervals on the whole way: of what is answered, then widened for slips to hold what is true.

    Who answers does not know which system said what, so that a slip, with probability e, turns x = 1 into -1 or 0, -1
    into 1 or 0, and 0 into either equally often. The mean of what is answered is then s times the true one, with s
    between 1 - 2 e and 1: the gain has the same sign and is at most 1 / (1 - 2 e) times as large. So ends move away
    from 0 alone, and slips never make a gain of what is none. The bank's answers moreover differ from s times its
    true sum by their own chance: each by a variance of at most 4 e (1 - e), for which half of the error is set aside.
    """
    counts = Counts(*(np.append(0, np.cumsum(x == value)) for value in (1, -1, 0)))
    low, high = _narrowing(*future_bounds(counts, disagree=disagree, bank=bank))
    if len(x) == disagree:
        least, most = last_bounds(int(counts.right[-1]), int(counts.wrong[-1]), bank)
        low, high = _narrowing(np.append(low[:-1], max(low[-1], least)), np.append(high[:-1], min(high[-1], most)))
    if consistency is None:
        bank_low, bank_high = bank_bounds(x, disagree=disagree, bank=bank)
    else:
        known = [Consistency(0, 0), *consistency] if isinstance(consistency, Sequence) else [consistency] * (len(x) + 1)
        kept = np.array([at_that_time.kept for at_that_time in known])
        # Nothing that was answered takes an end further than it lay before the first answer.
        low, high = _away(low, high, kept, np.zeros(len(kept)), (float(low[0]), float(high[0])))
        bank_low, bank_high = bank_bounds(x, disagree=disagree, bank=bank, side=BANK_SIDE / 2)
        chance = _BANK_SCORES * np.sqrt((1 - kept**2) * disagree) / bank
        bank_low, bank_high = _away(bank_low, bank_high, kept, chance, (-disagree / bank, disagree / bank))
    return Intervals(counts, *(_POINTS * end for end in (low, high, bank_low, bank_high)))


def _narrowing(
    low: Float[np.ndarray, "t"], high: Float[np.ndarray, "t"]
) -> tuple[Float[np.ndarray, "t"], Float[np.ndarray, "t"]]:
    """The intersection of all intervals up to each moment; where it would be empty, the last that was not."""
    low, high = np.maximum.accumulate(low), np.minimum.accumulate(high)
    if (low > high).any():
        first = int(np.argmax(low > high))
        low[first:], high[first:] = low[first - 1], high[first - 1]
    return low, high


def _away(
    low: Float[np.ndarray, "t"],
    high: Float[np.ndarray, "t"],
    kept: Float[np.ndarray, "t"],
    chance: Float[np.ndarray, "t"],
    furthest: tuple[float, float],
) -> tuple[Float[np.ndarray, "t"], Float[np.ndarray, "t"]]:
    """Ends of what is true, from those of what is answered."""
    low, high, kept = low - chance, high + chance, np.maximum(kept, 1e-9)
    return (
        np.maximum(np.where(low < 0, low / kept, low), furthest[0]),
        np.minimum(np.where(high > 0, high / kept, high), furthest[1]),
    )


def _more(
    so_far: tuple[int, ...], rates: tuple[float, ...], disagree: int, bank: int, smallest_gain: float
) -> int | None:
    """How many more answers at these rates (right, wrong, neither) settle it."""
    left = disagree - sum(so_far)
    if left <= 0:
        return None
    ahead = np.unique(np.round(np.geomspace(1, left, _LOOKS_AHEAD)).astype(np.int64))
    counts = Counts(*(count + ahead * rate for count, rate in zip(so_far, rates, strict=True)))
    share = smallest_gain / _POINTS
    settled = exceeds(counts, share, disagree=disagree, bank=bank)
    settled |= exceeds(counts.turned(), -share, disagree=disagree, bank=bank)
    if settled.any():
        return int(ahead[int(np.argmax(settled))])
    low, high = last_bounds(round(counts.right[-1]), round(counts.wrong[-1]), bank)
    return left if low > share or high < share else None


def _refuse(x: Int[np.ndarray, "n"], disagree: int, bank: int) -> None:
    if not 0 <= disagree <= bank or bank < 1:
        raise ValueError(f"{disagree} disagreements in a bank of {bank}: that cannot be.")
    if len(x) > disagree:
        raise ValueError(f"{len(x)} answers to {disagree} disagreements: each is asked once.")
    if strange := sorted(set(x.tolist()) - {-1, 0, 1}):
        raise ValueError(f"An answer counts 1, -1 or 0, not {strange[0]}.")
