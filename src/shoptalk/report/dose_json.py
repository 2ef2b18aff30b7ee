"""`dose.json` as a record: the dose curves of a run's winner, and what they allow to say."""

from typing import Literal

from shoptalk.records import Measure, Published
from shoptalk.report.verdict_json import Ends

LawName = Literal["power", "exponential"]


class DosePoint(Published):
    """The gain at one dose."""

    dose: int | float
    """How much: tokens, texts (documents of a language model), or labels per class."""
    base: float
    """The base's value, in the measure's unit: accuracies in per cent; nought where the curve is of an accuracy."""
    adapted: float
    """The winner's value, in the same unit."""
    gain: float
    """How much better the winner is, in the measure's units: of accuracies in points, of bits per byte in those saved.
    """
    interval: Ends
    """Of the gain, at all doses at once."""


class LawCheck(Published):
    """What a law fitted to the smaller doses says of the largest one, and what was measured there."""

    law: LawName
    """The law."""
    dose: float
    """The largest dose, which the law was fitted without."""
    predicted: float
    """The gain there by the law."""
    predicted_interval: Ends
    """Of the predicted gain."""
    measured: float
    """The gain there as it was measured."""
    interval: Ends
    """Of the measured gain."""
    miss: Ends
    """Interval of predicted minus measured."""
    holds: bool
    """Whether the law predicted what was measured, as far as the noise allows to tell."""


class Saturation(Published):
    """The dose at which a share of the gain's limit is reached."""

    share: float
    """Of the limit, between 0 and 1."""
    dose: float | None
    """Null where it is farther than can be told."""
    interval: tuple[float | None, float | None]
    """Of the dose; an end is null where it is farther than can be told."""


class TwiceTheDose(Published):
    """What twice the largest dose would add."""

    dose: float
    """Twice the largest dose."""
    change: float
    """What it would add, in units of the gain."""
    interval: Ends
    """Of what it would add."""


class DoseCurve(Published):
    """A curve, and what it allows to say."""

    unit: str
    """Of the doses."""
    points: tuple[DosePoint, ...]
    """The doses that were measured, the smallest first."""
    law: LawName | None
    """The law that predicted the largest dose best; null where none did."""
    asymptote: float | None
    """The gain's limit by the law; null without one."""
    checks: tuple[LawCheck, ...]
    """How the laws did at the largest dose."""
    saturation: tuple[Saturation, ...]
    """Where the gain is nearly all there; empty where the curve does not rise to a limit."""
    twice: TwiceTheDose | None
    """What twice the largest dose would add; null without a law."""
    why_not: str
    """Why there is no law; empty where there is one."""
    sentence: str
    """What the curve says, for people."""


class TextsCurve(DoseCurve):
    """Gain against unlabelled texts, or documents, the training's steps held fixed."""

    left_out: tuple[str, ...]
    """Parts of the corpus that the budget did not pay for, in per cent."""
    steps: int
    """Training steps on each part."""


class Accuracies(Published):
    """What each encoder itself gains from more labels."""

    base: DoseCurve
    """The base's accuracy."""
    adapted: DoseCurve
    """The winner's accuracy."""


class LabelsCurve(DoseCurve):
    """Gain against labels per class."""

    accuracy: Accuracies
    """What each encoder itself gains from more labels."""


class CurvesByDose(Published):
    """The curves."""

    tokens: DoseCurve
    """Gain against training."""
    texts: TextsCurve
    """Gain against unlabelled texts, or documents."""
    labels: LabelsCurve | None = None
    """Gain against labels per class; absent where nothing is learned from labels."""


class DoseCurves(Published):
    """The dose curves of a finished run's winner."""

    objective: str
    """The winner."""
    entry: str
    """The entry that the verdict describes."""
    task: str | None = None
    """What the verdict is about; absent in earlier versions."""
    measure: Measure | None = None
    """The units and the words of the values; absent in earlier versions, whose values are accuracies."""
    looked: str | None = None
    """What the first two curves are gains of, as it is measured while training goes on: "accuracy with all labels,
    80/20 splits". Absent in earlier versions."""
    shots: int | None = None
    """In earlier versions a setting that says nothing of these curves: their heads learned from all labels."""
    seed: int
    """Of the run."""
    of: str
    """SHA-256 of the verdict that the curves belong to."""
    curves: CurvesByDose
    """The curves, by what is varied."""
