"""What `shoptalk evaluate --json` prints: how well a system's texts do, and how much better than others'."""

from shoptalk.records import Published
from shoptalk.report.verdict_json import Ends


class MeasuredScore(Published):
    """A score of all texts, or a difference of two, in points between 0 and 100."""

    key: str
    """bleu, chrf, rouge1, rouge2, rougeL or support."""
    name: str
    """For people."""
    value: float
    """The level, or the gain over another system."""
    interval: Ends
    """95 %, over texts like these."""
    signature: str = ""
    """How sacrebleu was set, as published figures state it; empty of the others."""


class ComparedTexts(Published):
    """Another system's texts of the same rows."""

    name: str
    """A file's name, or a baseline: lead-3, longest turn."""
    levels: tuple[MeasuredScore, ...]
    """Its own scores."""
    gains: tuple[MeasuredScore, ...]
    """The measured system's minus its own."""
    empty: int
    """Rows in which it says nothing."""


class TextMeasures(Published):
    """The scores of a system's texts."""

    name: str
    """The file's."""
    texts: int
    """Rows of the file."""
    empty: int
    """Rows in which it says nothing, which count as they are."""
    levels: tuple[MeasuredScore, ...]
    """Its scores; no ROUGE where no reference has a word in the letters a to z."""
    beyond_rouge: float
    """Of the references' words, the share in per cent with other letters, which ROUGE splits or leaves out."""
    stated: int | None
    """Numbers and names in all texts; null without sources."""
    supported: int | None
    """Those of them that stand in the source too."""
    compared: tuple[ComparedTexts, ...]
    """With another file, and with what needs no model."""
    sentence: str
    """The same for people, in short."""
