"""How a verdict's numbers are written: per cent and points, or the units that its task measures in."""

from collections.abc import Callable
from typing import NamedTuple

from shoptalk.records import ACCURACY as RECORDED
from shoptalk.records import Measure
from shoptalk.report import wording
from shoptalk.report.comparison_json import RunRow
from shoptalk.report.figures import Fact


class Units(NamedTuple):
    """Functions of `wording.py`, and the words that follow what they write."""

    level: Callable[..., str]
    """Of the base's value and the challenger's."""
    change: Callable[..., str]
    """Of a gain."""
    ends: Callable[..., str]
    """Of an interval."""
    unit: str
    """After a level, with the space before it; empty where the function writes it."""
    difference: str
    """After a gain: "points"."""
    examples: str
    """What the gain was measured on, as the name of a row."""


ACCURACY = Units(wording.percent, wording.signed, wording.interval, "", "points", "Labelled messages")
FINE = 2
"""Decimals from which on a measure is written with three."""


def digits_of(measure: Measure | None) -> int:
    """Decimals of a gain and of its interval."""
    return 1 if measure is None or measure.decimals < FINE else 3


def judged_by(measure: Measure | None) -> str:
    """What a gain was measured on, in the middle of a sentence."""
    return "labels" if measure is None or measure.examples == RECORDED.examples else measure.examples


def level_of(run: RunRow) -> str:
    """A challenger's value with its unit, as text."""
    return shown(run.adapted, run.measure)


def shown(value: float | None, measure: Measure | None) -> str:
    """A value with its unit, as text; an accuracy where no measure is given."""
    return wording.percent(value) if measure is None or value is None else measure.shown(value)


def units_of(verdict: Fact) -> Units:
    """The units of a verdict, or of a run among others; where none are given there are accuracies."""
    measure = verdict.measure
    if measure.value is None:
        return ACCURACY
    if measure.unit.value == "%":
        asked = str(measure.examples.value)
        return ACCURACY if asked == RECORDED.examples else ACCURACY._replace(examples=asked.capitalize())
    fine = measure.decimals.value >= FINE
    return Units(
        wording.places_3 if fine else wording.places_1,
        wording.signed_3 if fine else wording.signed,
        wording.interval_3 if fine else wording.interval,
        f" {measure.unit.value}".rstrip(),
        str(measure.difference.value),
        str(measure.examples.value).capitalize(),
    )
