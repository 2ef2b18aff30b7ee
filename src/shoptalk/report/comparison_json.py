"""Several runs side by side as a record: what `shoptalk report RUN RUN ... --format json` prints."""

from pydantic import JsonValue

from shoptalk.records import Measure, Published
from shoptalk.report.verdict_json import Choice, Interval


class RunRow(Published):
    """A run among others. Numbers of the measure are null where nothing was measured."""

    run: str
    """Where it lies, as it was given."""
    kind: str | None = None
    """Of what it trained: text, image, pair or lm; null in earlier runs, which read texts."""
    start: JsonValue
    """The base model, as it was asked for."""
    objective: str | None
    """Of the best challenger; null where nothing was trained."""
    entry: str | None
    """The best challenger: candidate@steps; null where nothing was trained."""
    choice: Choice
    """The verdict."""
    metric: str | None
    """What base, adapted and gain are values of."""
    measure: Measure | None = None
    """The units and the words of those values; absent in earlier runs, which have accuracies, and without a judge."""
    base: float | None
    """The base's value, in the measure's unit: accuracies in per cent."""
    adapted: float | None
    """The challenger's value, in the same unit."""
    gain: float | None
    """How much better the challenger is: of accuracies in points."""
    interval: Interval | None
    """Of the gain."""
    n_examples: int
    """Labelled messages that the gain was measured on."""
    n_draws: int
    """Random label sets that the gain is a mean over."""
    labelled: bool
    """Whether there were labels."""
    trained: bool
    """Whether anything was trained."""
    shots: int | None
    """Labels per class in each label set."""
    smallest_gain: float | None
    """The smallest gain worth having, in points."""
    seed: JsonValue
    """Of everything that is random."""
    seconds: float
    """What the run took."""
    tokens: int
    """What was trained on, without padding: tokens, or patches of pictures."""
    euros: float | None
    """What it cost; null where an hour has no price."""
    documents: int
    """Documents kept."""
    texts: int
    """Texts, or pictures, trained on."""
    hashes: dict[str, str | None]
    """SHA-256 of labels, test and base; null where there were none."""


class DifferingSetting(Published):
    """A setting, an input or a version that is not the same in all runs."""

    setting: str
    """Its name."""
    values: tuple[JsonValue, ...]
    """Each run's value; null where it has none."""


class Comparison(Published):
    """Several finished runs, and what may be said of them together."""

    runs: tuple[RunRow, ...]
    """The runs, in the order in which they were given."""
    settings: tuple[DifferingSetting, ...]
    """What is not the same in all of them."""
    groups: tuple[tuple[int, ...], ...]
    """The places of runs with a gain, those that were measured alike together: only these may be ranked."""
    findings: tuple[str, ...]
    """What may be said, and what may not, for people."""
    smallest_gain: float | None
    """The runs' own; null where they differ."""
