"""`facts.json` as a record: everything that the report of a run tells."""

from typing import Literal

from pydantic import Field, JsonValue

from shoptalk.records import Published, Real
from shoptalk.report.dose_json import DoseCurves
from shoptalk.report.evidence_json import Evidence
from shoptalk.report.verdict_json import CandidateShare, Share, Verdict

NodeKind = Literal[
    "source", "base", "corpus", "baseline", "targets", "entry", "encoder", "head", "evidence", "decision"
]  # fmt: skip


class CurvePoint(Published):
    """A candidate's gain at a checkpoint, read with the plain head."""

    entry: str
    """The checkpoint's name: candidate@steps."""
    step: int
    """Training steps up to here."""
    tokens: int
    """Tokens trained on up to here, without padding."""
    gain: float
    """Over the base, in points."""
    low: float | None
    """Lower end of the gain's interval."""
    high: float | None
    """Upper end of the gain's interval."""


class CurveStart(Published):
    """Where a curve begins: the base that was trained, over the base that gains are over, as the checkpoints are."""

    gain: float
    """Over that base, in points."""
    low: float
    """Lower end of the gain's interval."""
    high: float
    """Upper end of the gain's interval."""


class GainCurve(Published):
    """A candidate's gain as its training went on."""

    objective: str
    """The candidate."""
    eliminated: bool
    """Whether its training was ended before its time."""
    points: tuple[CurvePoint, ...]
    """Its checkpoints in order; empty without labels."""
    start: CurveStart | None = None
    """What the base that was trained gains over the one that gains are over; absent where that is the same base."""


class LossCurve(Published):
    """A candidate's training loss."""

    objective: str
    """The candidate."""
    points: tuple[tuple[int, Real], ...]
    """Each logged step and its loss."""


class ClassGain(Published):
    """What changed for the messages of one class."""

    label: str
    """The class."""
    n: int
    """Its labelled messages."""
    base: float
    """The base's accuracy, in per cent."""
    adapted: float
    """The challenger's accuracy, in per cent."""
    gain: float
    """Adapted minus base, in points."""


class LabelFreeRow(Published):
    """What can be said of an encoder without labels."""

    entry: str
    """The entry's name, or "base"."""
    values: dict[str, Real]
    """Its readings by name."""


class Ceiling(Published):
    """What the training targets of neighbours reach when they are read directly, with the index at hand."""

    accuracy: float
    """In per cent, with the plain head."""
    base: float | None
    """The base's, measured alike; null where nothing was trained."""


class GuardRow(Published):
    """An entry held against a guard."""

    entry: str
    """The entry's name."""
    name: str
    """The guard's name."""
    change: Real = Field(validation_alias="value", serialization_alias="value")
    """What is guarded: a change."""
    limit: Real
    """What it must not fall below."""
    unit: str = "points"
    """Of both."""
    inside: bool
    """Whether the entry stayed within the guard."""


class PartTime(Published):
    """What a part of a stage took."""

    part: str
    """In a word or two: training, looks, heads."""
    seconds: float
    """Wall-clock seconds."""


class StageTime(Published):
    """What a stage of the run took."""

    stage: str
    """The stage's name."""
    seconds: float
    """Wall-clock seconds."""
    parts: tuple[PartTime, ...] = ()
    """What of it was measured apart, longest first; absent in earlier runs."""


class CostFacts(Published):
    """The account of the run."""

    stages: tuple[StageTime, ...]
    """What each stage took, in order."""
    seconds: float
    """What all of it took, interrupted attempts included."""
    tokens: int
    """Tokens trained on, without padding."""
    waste: float
    """Share of the computation that went into padding."""
    tokens_per_second: float
    """While training."""
    candidates: tuple[CandidateShare, ...]
    """What each candidate cost."""
    losers: Share
    """What all candidates that did not go on cost together."""


class DropSample(Published):
    """Something that was left out."""

    id: str
    """The file and the place in it."""
    detail: str
    """More about the reason."""
    sample: str
    """The beginning of the text."""


class DropRow(Published):
    """What was left out for one reason: files, documents, turns and rows, those of labels and tests too."""

    reason: str
    """Why."""
    count: int
    """How many."""
    samples: tuple[DropSample, ...]
    """Some of them."""


class Kept(Published):
    """What was learned from."""

    documents: int
    """Documents kept."""
    texts: int
    """Texts trained on."""


class TraceNode(Published):
    """Something that entered, or an artifact that was made."""

    id: str
    """Its name in the trace."""
    kind: NodeKind
    """What it is."""
    folder: str | None
    """Where it lies in the run; null for what came from outside."""
    hash: str
    """SHA-256 of its content."""
    parents: tuple[str, ...]
    """The names of what it was made from."""
    seconds: float | None
    """What making it took; null where that is unknown."""
    says: str
    """What it is, for people."""


class TraceFacts(Published):
    """What entered, what was made on the way, and what came of it."""

    nodes: tuple[TraceNode, ...]
    """Parents before children."""


class NextStep(Published):
    """Something to try next."""

    say: str
    """What, and why."""
    command: str | None
    """The command that does it; null where there is none."""


class Reproduction(Published):
    """What makes the run again."""

    command: str
    """The command line; empty where the run was not begun by one."""
    versions: dict[str, str]
    """Of the packages on which results depend."""
    hardware: dict[str, JsonValue]
    """The machine."""
    seed: int
    """Of everything that is random."""


class Account(Published):
    """What a run decided, tried and took."""

    run: str
    """The name of the run's folder."""
    created: str
    """When the verdict was made: date and time with its zone (ISO 8601)."""
    verdict: Verdict
    """What `verdict.json` holds."""
    curves: tuple[GainCurve, ...]
    """Gain against training, of each candidate."""
    losses: tuple[LossCurve, ...]
    """Training losses of each candidate."""
    per_class: tuple[ClassGain, ...]
    """What changed per class, the largest gain first; empty without labels."""
    label_free: tuple[LabelFreeRow, ...]
    """Measures that need no labels, the base first."""
    ceiling: Ceiling | None
    """Null where the targets of neighbours were not prepared, or there are no labels."""
    guards: tuple[GuardRow, ...]
    """Every entry against every guard."""
    cost: CostFacts
    """The account of the run."""
    skipped: dict[str, str]
    """Candidates that came to no entry or not to their end, and why."""
    drops: tuple[DropRow, ...]
    """What was left out, by reason, the most frequent first."""
    remarks: tuple[str, ...]
    """What else was noticed about the files."""
    kept: Kept
    """What was learned from."""


# Keys of the JSON are in the order of the bases, the last one first.
class RunFacts(Evidence, Account):
    """Everything that the report of a run tells."""

    trace: TraceFacts
    """What entered, what was made on the way, and what came of it."""
    next: tuple[NextStep, ...]
    """What to try next, the most useful first."""
    reproduce: Reproduction
    """What makes the run again."""
    dose: DoseCurves | None = None
    """Gain against training, texts and, where there are any, labels; absent until `shoptalk dose` has measured it for
    this verdict."""
    kind: Literal["text", "image", "pair", "lm"] = "text"
    """What the models of this run read: texts, pictures, or both; absent where it is texts."""
