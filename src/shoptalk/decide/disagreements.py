"""Where two systems' answers differ, who is right? What a person's answers prove, at every moment of asking.

    standing = stand(x, disagree=180, bank=3080, smallest_gain=0.5)      # x: +1, -1 or 0 for each answer, in order
    standing.choice, standing.low, standing.high, standing.more

x is +1 where the new system was right and the old one wrong, -1 the other way, and 0 where neither was. Messages on
which the two agree have a difference of 0 whoever is right, so that only disagreements are asked, in random order. The
choice is about future messages like those of the bank, by the bounds of `betting`:

- adopt where the whole interval lies above the smallest gain, keep the base where it lies below.
- The interval holds at every answer at once with 95 %: each side is left with 1.5 % while answers come in, and
  with 1 % at the one look at a bank that is answered to its end; with 0.7 and 1.8 % in banks below 1,500. An
  interval never widens again, but for a person's inconsistency.
- The interval on the bank's own messages has 95 % of its own, and decides nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from shoptalk.decide.betting import BANK_SIDE, Counts, bank_bounds, exceeds, exceeds_at_last, future_bounds, last_bounds

Choice = Literal["adopt", "keep_base", "inconclusive"]
SKIPPED = 2
"""Of a question that was passed over and has no answer yet: either system may be right."""
_POINTS = 100.0
_BANK_SCORES = 2.241403
"""The normal law's quantile at 1 - BANK_SIDE / 2."""
_RIGHT_OR_WRONG = 0.7
"""The share of disagreements of which one of the two is right, where no answer tells."""
_LOOKS_AHEAD = 64
_FUTURES, _FEW_FUTURES = 96, 16
"""From which a forecast is made: now, and of moments that are past."""
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
        """The share of a mean of x that slips leave at least: 1 where nobody slips.

        Two answers to one question, each a slip with probability e, differ with probability r >= 2 e (1 - e), so that
        1 - 2 e >= sqrt(1 - 2 r). To what was counted ten pairs are added of which one differs, as where people slip in
        5 % of their answers: a few same answers do not prove that nobody does.
        """
        differ = (self.twice - self.same + _BEFORE.twice - _BEFORE.same) / (self.twice + _BEFORE.twice)
        return math.sqrt(max(0.0, 1 - 2 * differ))


_BEFORE = Consistency(twice=10, same=9)
"""What is assumed of a person before any question was asked twice."""


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
        x: of each question, in the order in which they were first asked; `SKIPPED` where it still has no answer.
        disagree: on how many messages of the bank the two systems differ.
        bank: how many messages it holds.
        smallest_gain: in points.
        consistency: of questions asked twice, (0, 0) before there was any; None where answers are taken as right.
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
    """What was proved after each question; `consistency` may be what was known of it then, one for each."""
    return _standings(x, disagree, bank, smallest_gain, consistency, first=1)


def answers_needed(*, disagree: int, bank: int, gain: float, se: float, smallest_gain: float) -> int | None:
    """About how many answers would settle it, told before any: the median over what an estimate leaves possible.

    Args:
        disagree: on how many messages of the bank the two systems differ.
        bank: how many messages it holds.
        gain: of an estimate, in points.
        se: its standard error, in points.
        smallest_gain: in points.

    Returns:
        None where in most of these cases the bank's disagreements would not settle it: a larger bank may.
    """
    if disagree == 0:
        alike = stand(np.zeros(0, dtype=np.int64), disagree=0, bank=bank, smallest_gain=smallest_gain)
        return 0 if alike.settled else None
    means = np.clip((gain + np.array(_QUANTILES) * se) / _POINTS * bank / disagree, -1, 1)
    decided = np.maximum(_RIGHT_OR_WRONG, np.abs(means))
    rates = np.stack([(decided + means) / 2, (decided - means) / 2, 1 - decided], axis=1)
    futures = np.repeat(rates, -(-_FUTURES // len(rates)), axis=0)
    return _more((0, 0, 0), futures, disagree, bank, smallest_gain)


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
        asked = right + wrong + neither
        settled, futures = choice != "inconclusive", _FUTURES if n == len(x) else _FEW_FUTURES
        standings.append(
            Standing(
                choice=choice,
                asked=asked,
                right=right,
                wrong=wrong,
                neither=neither,
                disagree=disagree,
                bank=bank,
                gain=_POINTS * disagree / bank * (right - wrong) / asked if asked else None,
                low=low,
                high=high,
                bank_low=float(ends.bank_low[n]),
                bank_high=float(ends.bank_high[n]),
                more=0 if settled else _more_like((right, wrong, neither), disagree, bank, smallest_gain, futures),
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

    What people pass over is not like what they answer. So a skipped question stays in its place, and counts against
    the new system at the lower ends and for it at the upper ones.
    """
    counts = _counts(x)
    against, for_it = (np.where(x == SKIPPED, value, x) for value in (-1, 1))
    worst, best = (_counts(each) for each in (against, for_it))
    low, high = _narrowing(*future_bounds(worst, disagree=disagree, bank=bank, best=best))
    if len(x) == disagree:
        least, _ = last_bounds(int(worst.right[-1]), int(worst.wrong[-1]), bank)
        _, most = last_bounds(int(best.right[-1]), int(best.wrong[-1]), bank)
        low, high = _narrowing(np.append(low[:-1], max(low[-1], least)), np.append(high[:-1], min(high[-1], most)))
    side = BANK_SIDE if consistency is None else BANK_SIDE / 2
    bank_low, bank_high = bank_bounds(against, disagree=disagree, bank=bank, side=side, best=for_it)
    if consistency is not None:
        known = [Consistency(0, 0), *consistency] if isinstance(consistency, Sequence) else [consistency] * (len(x) + 1)
        kept = np.array([at_that_time.kept for at_that_time in known])
        # Nothing that was answered takes an end further than it lay before the first answer.
        low, high = _away(low, high, kept, np.zeros(len(kept)), (float(low[0]), float(high[0])))
        chance = _BANK_SCORES * np.sqrt((1 - kept**2) * disagree) / bank
        bank_low, bank_high = _away(bank_low, bank_high, kept, chance, (-disagree / bank, disagree / bank))
    return Intervals(counts, *(_POINTS * end for end in (low, high, bank_low, bank_high)))


def _counts(x: Int[np.ndarray, "n"]) -> Counts:
    """The answers of each kind before any question and after each."""
    return Counts(*(np.append(0, np.cumsum(x == value)) for value in (1, -1, 0)))


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


def _more_like(so_far: tuple[int, ...], disagree: int, bank: int, smallest_gain: float, futures: int) -> int | None:
    """How many more answers settle it, if they are like those so far: rates are drawn as these leave them possible."""
    # Each kind counts a third of an answer more, so that none is impossible.
    rates = np.random.default_rng(sum(so_far)).dirichlet(np.array(so_far) + 1 / 3, size=futures)
    return _more(so_far, rates, disagree, bank, smallest_gain)


def _more(
    so_far: tuple[int, ...], rates: Float[np.ndarray, "K 3"], disagree: int, bank: int, smallest_gain: float
) -> int | None:
    """The median over futures, one drawn for each row of rates (right, wrong, neither), of the answers that settle it.

    None where it is more than there are. Expected counts instead of drawn ones would promise too many: capital is
    convex in them, and is looked at all the time.
    """
    left = disagree - sum(so_far)
    if left <= 0:
        return None
    rng = np.random.default_rng(left)
    ahead = np.unique(np.round(np.geomspace(max(1, left / 50), left, _LOOKS_AHEAD)).astype(np.int64))
    drawn = rng.multinomial(np.diff(ahead, prepend=0), rates[:, None])  # (K, looks, 3)
    each = np.array(so_far) + np.cumsum(drawn, axis=1)
    counts, share = Counts(*np.moveaxis(each, -1, 0)), smallest_gain / _POINTS
    settled = exceeds(counts, share, disagree=disagree, bank=bank)
    settled |= exceeds(counts.turned(), -share, disagree=disagree, bank=bank)
    for future, (right, wrong, _) in enumerate(each[:, -1].tolist()):
        settled[future, -1] |= exceeds_at_last(right, wrong, share, bank=bank)
        settled[future, -1] |= exceeds_at_last(wrong, right, -share, bank=bank)
    first = np.where(settled.any(axis=1), ahead[np.argmax(settled, axis=1)], disagree + 1)
    middle = int(np.median(first))
    return middle if middle <= left else None


def _refuse(x: Int[np.ndarray, "n"], disagree: int, bank: int) -> None:
    if not 0 <= disagree <= bank or bank < 1:
        raise ValueError(f"{disagree} disagreements in a bank of {bank}: that cannot be.")
    if len(x) > disagree:
        raise ValueError(f"{len(x)} answers to {disagree} disagreements: each is asked once.")
    if strange := sorted(set(x.tolist()) - {-1, 0, 1, SKIPPED}):
        raise ValueError(f"An answer counts 1, -1 or 0, and a skipped question {SKIPPED}, not {strange[0]}.")
