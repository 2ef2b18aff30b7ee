"""The evidence of a run as records: what the report shows of the entry that the verdict describes, beside the base."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from shoptalk.records import Published
from shoptalk.report.pictures_json import PicturePanels
from shoptalk.report.verdict_json import Ends

_Share = Annotated[str, StringConstraints(pattern=r"^[01](\.\d+)?$")]


class SourceRow(Published):
    """Where text came from: a file, or in the last row all files that are not listed."""

    source: str
    """The file's name."""
    documents: int
    """Documents kept, those that are held out included."""
    texts: int
    """Texts trained on."""
    dropped: int
    """What of it was left out: documents, turns and rows, those of labels and tests too."""
    share: float
    """Of all texts trained on, between 0 and 1."""
    samples: tuple[str, ...]
    """The beginnings of some texts."""


class GainRow(Published):
    """The gain in one task, with one number of labels."""

    task: str
    """What the gain is in: intent, picture or retrieval."""
    measure: str
    """What base and adapted are values of."""
    unit: str
    """Of base and adapted."""
    shots: int | Literal["full"] | None
    """Labels per class, or all of them; null where the task needs none."""
    head: str | None
    """The kind of head on both encoders; null where the task needs none."""
    base: float
    """The base's value."""
    adapted: float
    """The challenger's value."""
    gain: float
    """Adapted minus base, in points."""
    interval: Ends
    """Of the gain; it pays for the choice among candidates, and not for there being several rows."""
    n: int
    """Examples that were tested."""
    draws: int | None
    """Random label sets; null where there are none."""


class Neighbour(Published):
    """A labelled text that lies near another."""

    text: str
    """Its beginning."""
    label: str | None
    """Its label."""
    cosine: float
    """Of both vectors."""


class ChangedText(Published):
    """A labelled text that one encoder answers rightly more often than the other."""

    id: str
    """The file and the row."""
    text: str
    """Its beginning."""
    label: str
    """The right answer."""
    base: str
    """What the base's heads answer most often."""
    adapted: str
    """What the challenger's heads answer most often."""
    base_share: float
    """Share of the draws in which the base was right."""
    adapted_share: float
    """Share of the draws in which the challenger was right."""
    before: tuple[Neighbour, ...]
    """The nearest labelled texts under the base, the nearest first."""
    after: tuple[Neighbour, ...]
    """The nearest labelled texts under the challenger, the nearest first."""


class ChangedTexts(Published):
    """The labelled texts that changed sides."""

    entry: str
    """The entry that is compared with the base."""
    head: str
    """The kind of head on the challenger."""
    base_head: str
    """The kind of head on the base."""
    draws: int
    """Random label sets that the heads were fitted on."""
    n_gained: int
    """Texts that most draws get right with the challenger and not with the base."""
    n_lost: int
    """Texts that most draws get right with the base and not with the challenger."""
    gained: tuple[ChangedText, ...]
    """Those that were gained, the largest change first; of many the first."""
    lost: tuple[ChangedText, ...]
    """Those that were lost, the largest change first; of many the first."""


class VectorMap(Published):
    """Two layouts of the same texts, before and after training. Its columns have an item per text."""

    entry: str
    """The entry that the second layout is of."""
    method: str
    """How the layouts were made."""
    n_all: int
    """Texts that there are; the map may show a part."""
    classes: tuple[str, ...]
    """The names of the labels."""
    sources: tuple[str, ...]
    """The names of the files."""
    text: tuple[str, ...]
    """The beginning of each text."""
    class_: tuple[int | None, ...] = Field(validation_alias="class", serialization_alias="class")
    """The place of each text's label in `classes`; null where it has none."""
    source: tuple[int, ...]
    """The place of each text's file in `sources`."""
    before: tuple[Ends, ...]
    """Where each text lies under the base, in the unit square."""
    after: tuple[Ends, ...]
    """Where each text lies under the challenger, in the unit square."""

    @model_validator(mode="after")
    def _columns_belong_together(self) -> "VectorMap":
        columns = {
            "text": self.text, "class": self.class_, "source": self.source, "before": self.before, "after": self.after,
        }  # fmt: skip
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns must have one length, and have {lengths}")
        for name, places, names in (("class", self.class_, self.classes), ("source", self.source, self.sources)):
            if any(place is not None and not 0 <= place < len(names) for place in places):
                raise ValueError(f"{name} must be places in a list of {len(names)} names")
        return self


class LayerChange(Published):
    """How much of itself a part of the network changed."""

    name: str
    """Embeddings, a layer, or the other weights."""
    change: float | None
    """||after - before|| / ||before|| of its weights; null where that is no finite number."""


class Moved(Published):
    """How far the texts' vectors moved: the cosine of each with itself before."""

    n: int
    """Texts."""
    mean: float
    """Mean of their cosines."""
    quantiles: dict[_Share, float]
    """Quantiles of their cosines, by share."""


class ClassShare(Published):
    """How frequent a class is among labels and in the traffic, between 0 and 1."""

    label: str
    """The class."""
    labels: float
    """Of the labelled texts that decide, exactly."""
    traffic: float
    """Of the unlabelled messages that fit a label, estimated."""
    interval: Ends
    """Of that estimate: two standard errors to either side."""


class Traffic(Published):
    """Whether the labels have the shares of the traffic."""

    texts: int
    """Unlabelled messages that were looked at."""
    fitting: int
    """Those that fit a label, by the head that was asked; the shares are theirs."""
    kind: str
    """What they are: visitors' first turns, or texts."""
    accuracy: float
    """Of that head on labelled texts that it had not seen, in per cent."""
    distance: float
    """Total variation: the share of messages whose class would have to be another, between 0 and 1."""
    differs: bool
    """Whether the shares are called different."""
    classes: tuple[ClassShare, ...]
    """Each class, the largest difference first."""
    gain: float | None
    """The challenger's gain with each class counted as often as in the traffic, as `Verdict.gain`; null where the
    shares are alike, or a test decides."""
    interval: Ends | None
    """Of that gain; it pays for the choice of the challenger, and takes the shares as known."""
    sentence: str
    """The same for people, and how it was estimated."""


class Evidence(Published):
    """What the report shows beside the verdict. All but the sources is absent where nothing was trained."""

    sources: tuple[SourceRow, ...]
    """Where the text came from, the largest first."""
    gains: tuple[GainRow, ...] = ()
    """The gain per task and number of labels."""
    gains_note: str | None = None
    """How the rows of gains were measured."""
    changed: ChangedTexts | None = None
    """Labelled texts that changed sides; null without labels."""
    map: VectorMap | None = None
    """The map before and after; null where there are too few texts, or the vectors are not finite."""
    layers: tuple[LayerChange, ...] = ()
    """What changed in the network, from the bottom to the top."""
    moved: Moved | None = None
    """How far the texts' vectors moved; null where they are not finite."""
    traffic: Traffic | None = None
    """The classes' shares among labels and in the traffic; null without labels, or where too few unlabelled messages
    are there; absent in earlier runs."""
    pictures: PicturePanels | None = None
    """What is shown of pictures, where a run is about any; absent elsewhere."""
