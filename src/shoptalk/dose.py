"""How much is enough: a saturating law fitted to the points of a dose curve, and what follows from it.

    curve = band(points, seed=0)                               # decide: gains with simultaneous intervals
    judgement = judge([61e3, 122e3, 245e3, 490e3], curve)
    print(sentence(judgement, curve, what="tokens of self-supervision"))

Two laws are compared, the power law y(n) = a - b n^-c of learning curves (Cortes et al. 1994, "Learning curves:
asymptotic values and rate of convergence") and the exponential y(n) = a (1 - e^(-n/s)). Each is fitted without the
largest dose and must predict it; the nearer one is chosen, or none if both miss by more than the noise. For a fixed
shape (c or s) both are linear, so fits are weighted least squares over a grid of shapes: no starting values are needed,
and the 2,000 bootstrap resamples are fitted together.

All intervals come from refitting the resamples, widened as the verdict's are (`decide.INFLATION`). Where both laws
predicted the held-back point, the intervals span both, because it is not known which law is right. They do not include
the variation between training seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from shoptalk.decide import INFLATION, Band
from shoptalk.records import ACCURACY, Measure

Law = Literal["power", "exponential"]
LAWS: tuple[Law, ...] = get_args(Law)
PARAMETERS: dict[Law, int] = {"power": 3, "exponential": 2}
SHARES = (0.9, 0.95)
"""Shares of the asymptote, for each of which the dose that reaches it is reported."""
FARTHEST = 10.0
"""Nothing is said about doses beyond this many times the largest one measured."""
_EXPONENTS = np.geomspace(0.1, 3.0, 120)  # below 0.1 the power law is a logarithm over any range that is measured
_SCALES = np.geomspace(0.02, 20.0, 180)  # in largest doses: from a step to a straight line
_TAIL = 0.025


@dataclass(frozen=True)
class HeldBack:
    """The prediction for the largest dose by a law that was fitted to the smaller ones, and the measurement there."""

    law: Law
    dose: float
    predicted: float
    predicted_interval: tuple[float, float]
    measured: float
    interval: tuple[float, float]
    """The interval of `measured`, simultaneous over the curve."""
    miss: tuple[float, float]
    """The interval of predicted minus measured, which come from the same resamples."""

    @property
    def holds(self) -> bool:
        """Whether the prediction misses by no more than the noise of both."""
        return self.miss[0] <= 0 <= self.miss[1]


@dataclass(frozen=True)
class Reach:
    """The dose at which a share of the asymptote is reached; infinite beyond `FARTHEST` times the largest dose."""

    share: float
    dose: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Twice:
    """What twice the largest dose would add to the curve's value there, in units of the gain."""

    dose: float
    change: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class CurveJudgement:
    """What follows from a curve's points. Without a `law` nothing is said beyond them, and `why_not` is the reason."""

    doses: tuple[float, ...]
    checks: tuple[HeldBack, ...]
    law: Law | None
    asymptote: float | None
    reaches: tuple[Reach, ...]
    """Empty where the curve does not rise to its asymptote."""
    twice: Twice | None
    why_not: str


def judge(doses: Sequence[float | int], curve: Band) -> CurveJudgement:
    """Fit the laws to a curve, check them at its largest dose, and judge the curve by the better one.

    Args:
        doses: of each point, increasing, in any unit.
        curve: the points; its gains may be accuracies (a base that is always wrong).

    Raises:
        ValueError: the doses do not increase, or there is not one for each point.
    """
    x = np.asarray(doses, dtype=np.float64)
    if len(x) != len(curve.gain) or (np.diff(x) <= 0).any() or (x <= 0).any():
        raise ValueError(f"Doses must be positive and increase, one for each of {len(curve.gain)} points: {doses}.")
    said = tuple(float(dose) for dose in x)
    checks = tuple(_check(law, x, curve) for law in LAWS if len(x) > PARAMETERS[law])
    held = sorted((check for check in checks if check.holds), key=lambda one: abs(one.predicted - one.measured))
    why_not = ""
    if not checks:
        need = min(PARAMETERS.values()) + 1
        few = "1 point is" if len(x) == 1 else f"{len(x)} points are"
        why_not = f"{few} too few for a law and a check of it (at least {need})"
    elif not ((curve.low > 0) | (curve.high < 0)).any():
        why_not = "no point differs from 0 by more than the noise"
    elif not held:
        why_not = "no law predicts the largest dose from the smaller ones"
    if why_not:
        return CurveJudgement(said, checks, None, None, (), None, why_not)
    fits = [_fit(check.law, x, np.vstack([curve.gain, curve.resampled]), curve.se) for check in held]
    return CurveJudgement(
        doses=said,
        checks=checks,
        law=held[0].law,
        asymptote=float(fits[0].asymptote[0]),
        reaches=_reaches(fits, x),
        twice=_twice(fits, x),
        why_not="",
    )


def sentence(
    judgement: CurveJudgement, curve: Band, *, what: str, measure: Measure = ACCURACY, level: str | None = None
) -> str:
    """One sentence for people, in the units of the measure, such as "The gain is +2.3 points (+1.4 to +3.2) with ...".

    `what` names the dose ("texts"). Of a measure of which less is better the gain is told as what is saved. Where the
    curve is one of levels and not of gains, `level` names them ("adapted accuracy").
    """
    unit = measure.difference if level is None else measure.unit
    named = level or (f"saving in {measure.name}" if measure.lower_is_better else "gain")

    def number(value: float) -> str:
        return measure.change(value) if level is None else f"{value:.{measure.decimals}f}"

    last, first = judgement.doses[-1], judgement.doses[0]
    gain, low, high = (number(float(values[-1])) for values in (curve.gain, curve.low, curve.high))
    at_largest = f"{gain} {unit} ({low} to {high}) with {amount(last)} {what}"
    at_smallest = f", {number(float(curve.gain[0]))} with {amount(first)}" if len(judgement.doses) > 1 else ""
    begun = f"The {named} is {at_largest}{at_smallest}"
    if judgement.twice is None:
        return f"{begun}; what more would bring cannot be told: {judgement.why_not}."
    ends = judgement.twice.interval
    worth = "" if ends[0] > 0 or ends[1] < 0 else ", which may be nothing"
    change, least, most = map(measure.change, (judgement.twice.change, *ends))
    more = f"twice as many would change it by {change} {measure.difference} ({least} to {most}){worth}"
    return f"{begun}; {_saturation(judgement)}; {more}."


def amount(number: float | int) -> str:
    """350, 7,433, 49 k or 1.2 M."""
    if number >= 1e6:
        return f"{number / 1e6:.2g} M" if number < 1e7 else f"{number / 1e6:,.0f} M"
    return f"{number:,.0f}" if number < 1e4 else f"{number / 1e3:,.0f} k"


def _saturation(judgement: CurveJudgement) -> str:
    if not judgement.reaches:
        return "it does not rise with the dose, so there is no dose at which it levels off"
    reach, largest = judgement.reaches[0], judgement.doses[-1]
    if math.isinf(reach.dose):
        return f"it does not level off within {FARTHEST:g} times what was measured"
    low, high = reach.interval
    upper = "more than can be told" if math.isinf(high) else amount(high)
    reached = "is there already" if high <= largest else "would be there"
    return f"{100 * reach.share:.0f} % of its limit {reached} at about {amount(reach.dose)} ({amount(low)} to {upper})"


# --- fits ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fit:
    """A law fitted to B curves: y(n) = asymptote + slope * falling(n), with n in largest doses.

    The exponential's slope is minus its asymptote.
    """

    law: Law
    asymptote: Float[np.ndarray, "B"]
    slope: Float[np.ndarray, "B"]
    shape: Float[np.ndarray, "B"]

    def at(self, n: float) -> Float[np.ndarray, "B"]:
        """Each curve's value at n largest doses."""
        return np.asarray(self.asymptote + self.slope * _falling(self.law, np.array(n), self.shape))

    def reach(self, share: float) -> Float[np.ndarray, "B"]:
        """The n at which `share` of the asymptote is reached; infinite where it never rises to it."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            left = (share - 1) * self.asymptote / self.slope  # what `falling` must have come down to
            doses = -self.shape * np.log(left) if self.law == "exponential" else left ** (-1 / self.shape)
        rises = (self.asymptote > 0) & (self.slope < 0)
        return np.where(rises & (doses <= FARTHEST), doses, np.inf)


def _falling(law: Law, n: Float[np.ndarray, "..."], shape: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """What goes to 0 as the dose n grows: n^-c or e^(-n/s)."""
    return np.asarray(n**-shape if law == "power" else np.exp(-n / shape))


def _fit(law: Law, doses: Float[np.ndarray, "P"], values: Float[np.ndarray, "B P"], se: Float[np.ndarray, "P"]) -> _Fit:
    """Weighted least squares at each shape of a grid (S); each curve takes the shape that leaves it the least."""
    n = doses / doses[-1]
    live = se[se > 0]
    weight = 1 / np.maximum(se, live.min() if len(live) else 1.0)  # a point without any spread must not weigh all
    shapes = _EXPONENTS if law == "power" else _SCALES
    falling = _falling(law, n, shapes[:, None])  # S P
    columns = np.stack([np.ones_like(falling), falling], axis=2) if law == "power" else (1 - falling)[:, :, None]
    weighted = columns * weight[:, None]
    parameters = (values * weight) @ np.linalg.pinv(weighted).transpose(0, 2, 1)  # S B, and the law's linear parameters
    residual = (values * weight - parameters @ weighted.transpose(0, 2, 1)) ** 2
    best, curves = residual.sum(axis=2).argmin(axis=0), np.arange(len(values))
    chosen = parameters[best, curves]
    return _Fit(law, chosen[:, 0], chosen[:, 1] if law == "power" else -chosen[:, 0], shapes[best])


def _check(law: Law, doses: Float[np.ndarray, "P"], curve: Band) -> HeldBack:
    values = np.vstack([curve.gain, curve.resampled])
    predicted = _fit(law, doses[:-1], values[:, :-1], curve.se[:-1]).at(doses[-1] / doses[-2])
    return HeldBack(
        law=law,
        dose=float(doses[-1]),
        predicted=float(predicted[0]),
        predicted_interval=_interval(predicted),
        measured=float(curve.gain[-1]),
        interval=(float(curve.low[-1]), float(curve.high[-1])),
        miss=_interval(predicted - values[:, -1]),
    )


# --- statements ---------------------------------------------------------------------------------------------------


def _twice(fits: Sequence[_Fit], doses: Float[np.ndarray, "P"]) -> Twice:
    changes = [fit.at(2.0) - fit.at(1.0) for fit in fits]
    change = float(changes[0][0])
    ends = [_interval(one) for one in changes]
    return Twice(2 * float(doses[-1]), change, (min(low for low, _ in ends), max(high for _, high in ends)))


def _reaches(fits: Sequence[_Fit], doses: Float[np.ndarray, "P"]) -> tuple[Reach, ...]:
    """Doses with intervals, none where the chosen law does not rise to a positive asymptote."""
    if not (fits[0].asymptote[0] > 0 and fits[0].slope[0] < 0):
        return ()
    largest, reaches = float(doses[-1]), []
    for share in SHARES:
        reached = [fit.reach(share) for fit in fits]
        ends = [_dose_interval(one) for one in reached]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        reaches.append(Reach(share, largest * float(reached[0][0]), (largest * low, largest * high)))
    return tuple(reaches)


def _interval(values: Float[np.ndarray, "B"]) -> tuple[float, float]:
    """Of the first value, by the quantiles of the others, widened about it."""
    point, (low, high) = float(values[0]), np.quantile(values[1:], [_TAIL, 1 - _TAIL])
    ends = (point + INFLATION * (float(end) - point) for end in (low, high))
    return min(point, next(ends)), max(point, next(ends))


def _dose_interval(values: Float[np.ndarray, "B"]) -> tuple[float, float]:
    """The same for doses, on their logarithm; an infinite end stays infinite."""
    point = float(values[0])
    low, high = (float(np.quantile(values[1:], at, method="nearest")) for at in (_TAIL, 1 - _TAIL))
    if math.isinf(point):
        return low, math.inf
    ends = [point * (end / point) ** INFLATION if 0 < end < math.inf else end for end in (low, high)]
    return min(point, ends[0]), max(point, ends[1])
