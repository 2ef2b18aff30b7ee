"""The verdict: adopt, keep the base, or say that it is open and how many labels would settle it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shoptalk.decide.intervals import Estimate, error_of_no_difference
from shoptalk.errors import ConfigError
from shoptalk.records import Decision

POWER_QUANTILE = 0.84  # of the normal law at 80 %: the chance that `labels_needed` labels settle the question
FEWEST_CLUSTERS = 100  # with fewer than this the intervals are not trusted enough to change what users get
_ADOPT, _KEEP, _OPEN = "adopt", "keep_base", "inconclusive"
_HEADS = {_ADOPT: "Adopt", _KEEP: "Keep the base model", _OPEN: "Undecided, keep the base model for now"}


@dataclass(frozen=True)
class Ruling:
    """The decision and the numbers behind it, which describe `entry`: the adopted one, else the best challenger.

    `labels_needed` is filled only where the choice is "inconclusive": that many examples would show a true gain of
    `settles` four times in five. Gains are differences of the estimate's measure.
    """

    decision: Decision
    conclusion: str
    """Its sentence without what was found: for where the numbers have been said."""
    entry: str | None
    gain: float | None
    """None where there is no entry; so are the interval and `adapted`."""
    interval: tuple[float, float] | None
    base: float
    adapted: float | None
    labels_needed: int | None
    settles: float | None


def verdict(
    estimate: Estimate,
    *,
    guarded: Mapping[str, str],
    smallest_gain: float,
    settle_gain: float,
    n_clusters: int,
    others_unasked: bool = False,
) -> Ruling:
    """`adopt`, `keep_base` or `inconclusive`.

    `guarded` maps the entries that must not be adopted to the reason (what got worse). `smallest_gain` (δ) and
    `settle_gain` (g) are differences of the measure; `n_clusters` counts the independent examples. `others_unasked` is
    whether there are challengers beside those of the estimate that were not asked what `guarded` tells of these.

    - adopt: an entry inside its guards whose lower end exceeds δ; the one with the largest gain among them.
    - keep_base: the best gain is at most 0, or its upper end is below δ, or no entry is inside its guards.
    - inconclusive: everything else, and whatever the labels would decide where they are fewer than 100 clusters.

    Raises:
        ConfigError: g does not exceed δ, so that no number of labels could settle it.
    """
    if settle_gain <= smallest_gain:
        raise ConfigError(
            f"settle_gain = {settle_gain:g} must exceed smallest_gain = {smallest_gain:g}: no number of labels shows "
            "that a gain is larger than itself. Raise settle_gain or lower smallest_gain."
        )
    inside = [e for e, name in enumerate(estimate.entries) if name not in guarded]
    proven = [e for e in inside if estimate.low[e] > smallest_gain]
    enough = n_clusters >= FEWEST_CLUSTERS
    if proven and enough:
        best = max(proven, key=lambda e: estimate.gain[e])
        return _verdict(_ADOPT, _reason_to_adopt(estimate, smallest_gain), estimate, best)
    if not estimate.entries:
        return _verdict(_KEEP, "nothing was trained that could replace it", estimate, None)
    best = max(inside or range(len(estimate.entries)), key=lambda e: estimate.gain[e])
    reason = guarded.get(estimate.entries[best], "").rstrip(".")
    left = "no challenger stayed within its guards"
    if others_unasked:
        left = f"the best challenger, {estimate.entries[best]}, did not stay within its guards"
        reason = f"{reason}; no other was asked"
    if not inside and enough:
        return _verdict(_KEEP, f"{left}: {reason}", estimate, best, however=True)
    if enough and (estimate.gain[best] <= 0 or estimate.high[best] < smallest_gain):
        return _verdict(_KEEP, _reason_to_keep(estimate, best, smallest_gain), estimate, best)
    examples, unit = estimate.measure.examples, estimate.measure.difference
    needed, settles = None, None
    more = f" More {examples} are not read; a longer training may show a larger gain." if enough else ""
    shown = bool(proven) or estimate.high[best] < smallest_gain  # so that nothing but the number of examples is wanting
    if shown and not enough and estimate.measure.grows:
        needed = round_up(max(estimate.n_examples + 1.0, estimate.n_examples * FEWEST_CLUSTERS / n_clusters))
        more = f" About {needed:,} {examples} are enough where they show what these do."
    elif estimate.measure.grows:
        needed, settles = _labels_needed(estimate, best, smallest_gain, settle_gain, n_clusters)
        more = f" About {needed:,} {examples} would settle it if the true gain is {settles:g} {unit}."
    if not enough:
        outside = f"{left} ({reason}), and " if not inside else ""
        why = f"{outside}{n_clusters} independent {examples} are too few to decide by (at least {FEWEST_CLUSTERS})"
    else:
        why = f"{estimate.n_examples:,} {examples} cannot tell if it is worth having ({smallest_gain:g} {unit})"
    return _verdict(_OPEN, why, estimate, best, more=more, labels_needed=needed, settles=settles)


def _verdict(
    choice: str,
    reason: str,
    estimate: Estimate,
    entry: int | None,
    *,
    however: bool = False,
    more: str = "",
    labels_needed: int | None = None,
    settles: float | None = None,
) -> Ruling:
    """The ruling, in a sentence: the choice, what was found, the reason (`however` the finding looks), and `more`."""
    sentence = conclusion = f"{_HEADS[choice]}: {reason}.{more}"
    if entry is not None:
        sentence = f"{_HEADS[choice]}: {_finding(estimate, entry)}{', but ' if however else '; '}{reason}.{more}"
    decision = Decision(
        choice=choice,
        options=(_ADOPT, _KEEP, _OPEN),
        rule="adopt if the simultaneous 95 % interval of an entry inside its guards lies above the smallest gain",
        readings=("base", *estimate.entries),
        sentence=sentence,
    )
    if entry is None:
        return Ruling(decision, conclusion, None, None, None, estimate.base, None, None, None)
    return Ruling(
        decision=decision,
        conclusion=conclusion,
        entry=estimate.entries[entry],
        gain=float(estimate.gain[entry]),
        interval=(float(estimate.low[entry]), float(estimate.high[entry])),
        base=estimate.base,
        adapted=float(estimate.adapted[entry]),
        labels_needed=labels_needed,
        settles=settles,
    )


def _labels_needed(
    estimate: Estimate, entry: int, smallest_gain: float, settle_gain: float, n_clusters: int
) -> tuple[int, float]:
    """n · ((c + 0.84) · SE / (g − δ))² rounded up, and the gain g it is for.

    Where the labels at hand should already have shown a gain of g, the open question is about smaller ones: g moves
    half-way towards δ until more labels are needed than there are. The observed gain plays no part: planning on a
    number that was selected for being large promises too much.
    """
    n, gain, error = estimate.n_examples, settle_gain, float(estimate.se[entry])
    # Where hardly any outcome differs no more is known than the rule of three says, and that falls as 1 / n.
    power = 1 if math.isclose(error, error_of_no_difference(n_clusters, estimate.measure)) else 2
    needed = n * ((estimate.c + POWER_QUANTILE) * error / (gain - smallest_gain)) ** power
    while 0 < needed <= n:
        gain = smallest_gain + (gain - smallest_gain) / 2
        needed *= 2**power
    return round_up(max(needed, n + 1.0, n * FEWEST_CLUSTERS / n_clusters)), gain


def round_up(number: float) -> int:
    """To two significant digits: 1,234 becomes 1,300; a number of nought stays."""
    if number <= 0:
        return 0
    unit: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return int(math.ceil(number / unit) * unit)


def _finding(estimate: Estimate, e: int) -> str:
    measure = estimate.measure
    levels = {"adapted": measure.shown(float(estimate.adapted[e])), "base": measure.shown(estimate.base)}
    gain, low, high = (measure.change(float(ends[e])) for ends in (estimate.gain, estimate.low, estimate.high))
    return (
        f"{estimate.entries[e]} {measure.finding.format(**levels)}, a difference of {gain} {measure.difference} "
        f"(95 % interval {low} to {high})"
    )


def _reason_to_adopt(estimate: Estimate, smallest_gain: float) -> str:
    return f"the whole interval lies above the {smallest_gain:g} {estimate.measure.difference} worth having"


def _reason_to_keep(estimate: Estimate, e: int, smallest_gain: float) -> str:
    if estimate.high[e] < smallest_gain:
        return f"a gain of {smallest_gain:g} {estimate.measure.difference} or more is ruled out"
    return "no challenger did better than it"
