"""What the assistant says to one turn of a visitor, and what that rests on. Needs neither torch nor a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Decision = Literal["answer", "clarify", "escalate", "decline"]
Path = Literal["rule", "canned", "extractive", "generator"]

REASONS = (
    "supported",
    "greeting",
    "customer_request",
    "missing_knowledge",
    "unsupported_request",
    "out_of_scope",
    "policy",
    "repetition",
    "sentiment",
    "pending_clarification",
    "ambiguous",
    "nothing_to_read",
    "recognised",
    "unknown_picture",
    "tool_failure",
)
"""Stable keys that say why a decision was made; a business rule gives one of them, "policy" if it names none."""


@dataclass(frozen=True)
class Source:
    """A passage that was read for a reply."""

    passage: str
    """Its id: the document's, and where the passage begins."""
    document: str
    title: str
    section: str
    """The headings above it, such as "Vehicles, bicycles and dogs"."""
    start: int
    end: int
    """Characters of the document's text."""
    link: str | None
    text: str
    score: float
    rank: int
    """From 1, the best first."""
    used: bool
    """Whether a sentence of the reply rests on it; only such sources are cited."""


@dataclass(frozen=True)
class Sentence:
    """One sentence of a reply."""

    text: str
    sources: tuple[int, ...]
    """Ranks of the sources that it rests on; empty where the sentence is the owner's own wording."""
    start: int | None = None
    end: int | None = None
    """Where it stands in the document of its first source; None where its words are not that document's."""


@dataclass(frozen=True)
class Versions:
    """What answered, by the first twelve digits of content hashes."""

    run: str
    encoder: str
    index: str


@dataclass(frozen=True)
class Reply:
    """What is decided about a visitor's turn, the words for it, and everything that they rest on."""

    decision: Decision
    reason: str
    """One of `REASONS`."""
    text: str
    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]
    """All that were read, the best first."""
    confidence: float
    """How likely the answer is to be right, 0 to 1; calibrated where `shoptalk calibrate` was run."""
    intent: str | None
    path: Path
    versions: Versions
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Of each step, and "total"."""
    too_slow: str | None = None
    """The owner's rule at whose pattern the time ran out; for the owner, never for the visitor."""

    @property
    def cited(self) -> Sequence[Source]:
        """The sources that sentences of the reply rest on."""
        return [source for source in self.sources if source.used]
