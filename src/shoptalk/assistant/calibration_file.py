"""What `shoptalk calibrate` leaves in `RUN/calibration`: the confidence's weights, the threshold, risk by coverage."""

from collections.abc import Sequence
from pathlib import Path

from shoptalk.artifact import open_artifact
from shoptalk.assistant.confidence import ConfidenceWeights
from shoptalk.readback import read_record
from shoptalk.records import Published

FOLDER, FILE, PICTURE = "calibration", "calibration.json", "risk.svg"
_WIDE, _HIGH, _EDGE = 640, 360, 48


class CalibrationPoint(Published):
    """What one threshold answers of the questions that tested it."""

    threshold: float
    """Least confidence of an answer."""
    coverage: float
    """The share of the tested questions that it answers."""
    risk: float
    """The share of wrong ones among these answers."""
    upper: float
    """The exact upper bound of that share."""
    answered: int
    """Questions answered."""
    wrong: int
    """Wrong answers among them."""


class Calibration(Published):
    """The result of a calibration."""

    weights: ConfidenceWeights
    """Of the confidence."""
    threshold: float | None
    """The promised one; None where none can be promised."""
    max_wrong: float
    """The budget, as a share of the answers given."""
    error: float
    """The probability of a promise that does not hold."""
    questions: int
    """Questions given."""
    answerable: int
    """Those among them that have an answer."""
    tested: int
    """Questions that tested thresholds; the others fitted the confidence and proposed them."""
    coverage: float
    """The share of the tested questions that the promised threshold answers."""
    needed: int
    """Where nothing is promised: answers without a wrong one that a promise needs."""
    points: tuple[CalibrationPoint, ...]
    """One for each threshold, the strictest first."""
    sentence: str
    """The result in words."""


def opened_calibration(run: Path) -> tuple[Calibration | None, str | None]:
    """What `RUN/calibration` holds; and where it is there and cannot be used, why."""
    artifact, encoder = open_artifact(run / FOLDER), open_artifact(run / "encoder")
    if artifact is None or encoder is None:
        return None, None
    if artifact.parents.get("encoder") != encoder.content:
        return None, (
            f"The calibration of {artifact.created[:10]} is of another encoder and is not used. Run `shoptalk "
            "calibrate` again."
        )
    return read_record(run / FOLDER / FILE, Calibration), None


def picture(result: Calibration) -> str:
    """Risk against coverage as an SVG: the share of wrong answers, its upper bound, and the budget."""
    most = min(1.0, max(0.01, 2 * result.max_wrong, *(point.upper for point in result.points)))

    def line(values: Sequence[tuple[float, float]], style: str) -> str:
        places = [
            f"{_EDGE + coverage * (_WIDE - 2 * _EDGE):.1f},{_HIGH - _EDGE - risk / most * (_HIGH - 2 * _EDGE):.1f}"
            for coverage, risk in values
        ]
        return f'<polyline fill="none" {style} points="{" ".join(places)}"/>'

    drawn = [
        line([(0.0, most), (0.0, 0.0), (1.0, 0.0)], 'stroke="#888"'),
        line([(0.0, result.max_wrong), (1.0, result.max_wrong)], 'stroke="#b00" stroke-dasharray="2 4"'),
        line([(point.coverage, point.risk) for point in result.points], 'stroke="#06c" stroke-width="2"'),
        line([(point.coverage, point.upper) for point in result.points], 'stroke="#06c" stroke-dasharray="6 4"'),
        f'<text x="{_WIDE / 2}" y="{_HIGH - 10}" text-anchor="middle">questions answered, 0 to 100 %</text>',
        f'<text x="{_EDGE}" y="{_EDGE - 20}">wrong among the answers, 0 to {most:.0%}; dashed: upper bound; dotted: '
        f"the budget of {result.max_wrong:.0%}</text>",
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}" '
        f'font-family="sans-serif" font-size="13" role="img"><title>Risk against coverage</title>'
        f"<desc>{result.sentence}</desc>{''.join(drawn)}</svg>\n"
    )
