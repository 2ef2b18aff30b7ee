"""A dose curve as it is told: its points, what a law makes of them, and a sentence."""

import math
from collections.abc import Sequence
from dataclasses import asdict

from shoptalk import dose as doses
from shoptalk.decide import Band
from shoptalk.records import Measure
from shoptalk.report.dose_json import DoseCurve, DosePoint, LawCheck, Saturation, TwiceTheDose


def told_curve(
    amounts: Sequence[float | int], band: Band, what: str, *, measure: Measure, level: str | None = None
) -> DoseCurve:
    """A curve as it is told; an infinite dose is None. `what`, `measure` and `level` are as in `dose.sentence`."""
    judged = doses.judge(amounts, band)
    points = tuple(
        DosePoint(
            dose=amount,
            base=float(band.base[i]),
            adapted=float(band.adapted[i]),
            gain=float(band.gain[i]),
            interval=(float(band.low[i]), float(band.high[i])),
        )
        for i, amount in enumerate(amounts)
    )
    return DoseCurve(
        unit=what,
        points=points,
        law=judged.law,
        asymptote=judged.asymptote,
        checks=tuple(LawCheck(**asdict(check), holds=check.holds) for check in judged.checks),
        saturation=tuple(
            Saturation(
                share=reach.share,
                dose=_finite(reach.dose),
                interval=(_finite(reach.interval[0]), _finite(reach.interval[1])),
            )
            for reach in judged.reaches
        ),
        twice=TwiceTheDose(**asdict(judged.twice)) if judged.twice is not None else None,
        why_not=judged.why_not,
        sentence=doses.sentence(judged, band, what=what, measure=measure, level=level),
    )


def _finite(number: float) -> float | None:
    return None if math.isinf(number) else number
