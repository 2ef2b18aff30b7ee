"""The nouns that travel between rooms: documents, drops, readings and decisions. All frozen, none knows torch."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable, strictly checked record; unknown fields are errors."""

    # JSON has no NaN: as the strings "NaN" and "Infinity" such numbers survive being written and read again.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="strings")


class Turn(Frozen):
    """One message of a conversation."""

    role: str
    text: str


class Document(Frozen):
    """One text or one conversation, with where it came from.

    Exactly one of `text` and `turns` is filled.
    """

    id: str
    source: str
    text: str = ""
    turns: tuple[Turn, ...] = ()


class Drop(Frozen):
    """A document, passage or file left out of training, and why. Never silently lost."""

    id: str
    source: str
    reason: str
    detail: str = ""
    sample: str = ""


class Example(Frozen):
    """One labelled text; `cluster` numbers its near-duplicate cluster within the labelled file."""

    id: str
    text: str
    label: str
    cluster: int = 0


class LabelSet(Frozen):
    """One text with any number of labels; `cluster` as in `Example`."""

    id: str
    text: str
    labels: tuple[str, ...]
    cluster: int = 0


class Reading(Frozen):
    """A number with its name, unit and sample size, and what it was computed from.

    `outcomes` holds one value per example in a fixed order, for paired tests; `detail` holds named by-products
    (standard deviation over draws, number of classes, ...).
    """

    name: str
    value: float
    unit: str
    n: int
    outcomes: tuple[float, ...] = ()
    detail: dict[str, Any] = {}


class Decision(Frozen):
    """A choice among named options: the rule, the names of the readings it rests on, and a sentence for people."""

    choice: str
    options: tuple[str, ...]
    rule: str
    readings: tuple[str, ...]
    sentence: str


class Look(Frozen):
    """A candidate's measurement as it is told while a run goes on.

    The verdict's gain of the same entry may differ: its heads are tuned, and its interval pays for every look.
    """

    candidate: str
    step: int
    tokens: int
    """Of the candidate's training so far."""
    seconds: float
    """Of training since the look before it, of measuring and saving."""
    gain: float | None
    """In points over the base; None where nothing could be measured."""
    interval: tuple[float, float] | None
    """Of this gain alone, 95 %; None without labels."""
    measure: str
    """What the gain is of, such as "5-shot accuracy"."""
