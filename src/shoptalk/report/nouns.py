"""What the items of a run are called in its report: texts, pictures, or pictures with their captions."""

from collections.abc import Iterable
from typing import NamedTuple

from shoptalk.report.figures import Fact


class Nouns(NamedTuple):
    """Of the items that a run's models read."""

    one: str
    """Of those that are drawn, compared and labelled."""
    many: str
    asked: str
    """What a model is asked about, of which there are many."""
    kept: str
    """All that was read."""
    units: str
    """What training is counted in."""


TEXTS = Nouns("text", "texts", "messages", "texts", "tokens")
_NOUNS = {
    "image": Nouns("picture", "pictures", "pictures", "pictures", "patches"),
    "pair": Nouns("picture", "pictures", "pictures", "pictures and captions", "tokens and patches"),
}


def nouns_of(facts: Fact) -> Nouns:
    """Those of a run's facts."""
    return nouns_for(facts.kind.value)


def nouns_for(kind: str | None) -> Nouns:
    """Those of the items that products of a kind read."""
    return _NOUNS.get(kind or "", TEXTS)


def units_together(kinds: Iterable[str | None]) -> str:
    """What the trainings of several runs are counted in: tokens or patches."""
    return _together(nouns_for(kind).units for kind in kinds)


def kept_together(kinds: Iterable[str | None]) -> str:
    """All that several runs read: texts or pictures."""
    return _together(nouns_for(kind).kept for kind in kinds)


def _together(words: Iterable[str]) -> str:
    """Each word once, also of those that are two words already."""
    return " or ".join(dict.fromkeys(part for word in words for part in word.split(" and ")))


def counted_by_document(kind: str) -> bool:
    """Whether products of a kind learn from documents whole, of which a dose has so many: texts of several passages, or
    pictures with their captions.
    """
    return kind in ("lm", "pair")


def dosed_nouns(kind: str) -> str:
    """What a dose of unlabelled items is counted in, in the plural."""
    return "documents" if kind == "lm" else nouns_for(kind).many
