"""What the page of `shoptalk ask` shows, as a record: one question, how the matter stands, and how it came there."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from shoptalk.records import Frozen, Turn
from shoptalk.report.verdict_json import Choice

Asks = Literal["labels", "replies", "texts"]
"""What a person says of a question: its label, which reply fits, or which of two texts is better."""


class NoneOfThem(NamedTuple):
    """An answer that is none of the options."""

    choice: str
    words: str
    key: str
    kept: str
    """What is said of it once it is kept."""


NONES: Mapping[Asks, tuple[NoneOfThem, ...]] = {
    "labels": (NoneOfThem("none", "None of these", "0", "none of these"),),
    "replies": (NoneOfThem("none", "Neither, or both alike", "0", "none of these"),),
    "texts": (
        NoneOfThem("equal", "Equally good", "0", "equally good"),
        NoneOfThem("bad", "Both bad", "b", "both bad"),
    ),
}
"""The answers that are none of the options, by what is asked."""


class StandingShown(Frozen):
    """What is known after some answers; gains and their intervals are in points."""

    choice: Choice
    asked: int
    """Answers so far, of which the new system was right in `right` where the old one was wrong, and so on."""
    right: int
    wrong: int
    neither: int
    disagree: int
    """Messages of the bank that the two systems answer differently."""
    bank: int
    gain: float | None
    low: float
    """Of the gain on future messages."""
    high: float
    bank_low: float
    """Of the gain on the messages of this bank."""
    bank_high: float
    settled: bool
    more: int | None
    """About how many answers more would settle it; None where that cannot be told."""
    exhausted: bool
    """Whether every disagreement was answered."""


class QuestionShown(Frozen):
    """A message and what it may be answered with. Nothing tells which system gave which of them."""

    number: int
    text: str
    context: tuple[Turn, ...] = ()
    """The conversation up to the message, where two replies are compared."""
    options: tuple[str, ...]


class NeighbourShown(Frozen):
    """A message that is near the one in question."""

    text: str
    label: str | None
    """None where it has no label."""


class AskedPage(Frozen):
    """All that one page shows."""

    run: str
    systems: tuple[str, str]
    """The old one and the new one."""
    smallest_gain: float
    question: QuestionShown | None
    """None where nothing is left to ask."""
    standing: StandingShown
    choice: Choice
    """What is settled: that of the standing, but where the challenger may not be adopted for another reason."""
    path: tuple[StandingShown, ...]
    """The standing after each answer."""
    sentence: str
    asks: Asks = "labels"
    labels: tuple[str, ...] = ()
    """What may be answered; none where replies or texts are compared."""
    turn: int = 0
    """How many changes there were: an answer to an earlier turn is not taken."""
    notice: str | None = None
    """What became of the last form."""
    neighbours: tuple[NeighbourShown, ...] | None = None
    """None where they are not asked for."""
    search: str = ""
    """What the labels are searched for."""
    undo: bool = False
    """Whether an answer can be taken back."""
