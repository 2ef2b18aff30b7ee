"""How questions are asked for, and what `shoptalk questions` leaves in `DIR/questions/result.json`."""

from datetime import date

from shoptalk.records import Frozen, Published


class QuestionSettings(Frozen):
    """How questions are written, and which survive."""

    encoder: str = "minilm"
    """Whose vectors passages are found by."""
    rank: int = 1
    """A question must find its passage among so many."""
    each: int = 1
    """Sentences of a passage that questions are written to, at most."""
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    most: int | None = None
    """Passages that are read, drawn at random; all of them without."""


class QuestionsResult(Published):
    """`DIR/questions/result.json`."""

    sentence: str
    """What survived, for people."""
    model: str
    settings: QuestionSettings
    day: date
    """On which documents had to hold."""
    passages: int
    """Of the sources."""
    asked: int
    """Of these, how many questions were written to."""
    written: int
    kept: int
    dropped: dict[str, int]
    """The other questions, by reason."""
    left_out: dict[str, int]
    """What of the sources was not asked about, by reason."""
    examples: tuple[dict[str, str], ...]
    """The first rows of `pairs.jsonl`."""
