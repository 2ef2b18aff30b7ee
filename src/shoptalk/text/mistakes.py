"""A sentence with a mistake put into it, and what such mistakes are made of: names, words, other sentences of a corpus.

case = Case(passages, document, Inventory.of(texts, documents), rng)
replaced("It costs 4 crowns.", [(9, 10, "9")])         # MistakenText("It costs 9 crowns.", ((9, 10),))
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import regex

from shoptalk.text.aligned_words import DENIAL
from shoptalk.text.exchangeable import FUNCTION_WORDS, UNIT_FORMS
from shoptalk.text.number_words import SPELT
from shoptalk.text.plain_sentences import sentences

SHORTEST = 3
"""Words of a sentence that a reply may say."""
MOST_COMMON = 100
NAME = re.compile(r"(?<!^)(?<![.!?…:;–\"“(] )(?<![.!?…\"“(])\b[A-ZÀ-Þ][\w'’]+(?:[ -][A-ZÀ-Þ][\w'’]+)*")
WORD = re.compile(r"(?<![\w'’-])[a-zà-ž]{4,}(?![\w'’-])")
_SMALL_LETTERS = regex.compile(r"(?<![\w'’-])\p{Ll}{2,}(?![\w'’-])")
_MAY_GO = frozenset(("a", "an", "the", "that", "also", "too", "very", "just", "then", "please", "kindly", "really"))
"""Words that may come or go and nothing else is said."""

Span = tuple[int, int]


@dataclass(frozen=True)
class MistakenText:
    """A text, and the characters of it that nothing supports, in ascending order."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Inventory:
    """What replacements are drawn from: the names, words and sentences of a whole corpus."""

    names: tuple[str, ...]
    words: tuple[str, ...]
    told: tuple[tuple[str, ...], ...]
    """The sentences of each item."""
    document: tuple[int, ...]
    """The document of each item."""

    @cached_property
    def known_names(self) -> frozenset[str]:
        """The names, to look up."""
        return frozenset(self.names)

    @cached_property
    def common(self) -> tuple[str, ...]:
        """The most frequent `editable` words: mostly function words, in whatever script has small letters."""
        every = (sentence for item in self.told for sentence in item)
        counts = Counter(word for sentence in every for word in editable_words(sentence))
        return tuple(word for word, _ in counts.most_common(MOST_COMMON))

    @classmethod
    def of(cls, texts: Sequence[str], document: Sequence[int]) -> "Inventory":
        """That of a corpus, item by item."""
        told = tuple(tuple(s for s in sentences(text) if len(s.split()) >= SHORTEST) for text in texts)
        every = [sentence for item in told for sentence in item]
        lower = {word for sentence in every for word in re.findall(r"[^\W\d_]+", sentence) if word[0].islower()}
        names = dict.fromkeys(found[0] for sentence in every for found in NAME.finditer(sentence))
        words = dict.fromkeys(found[0] for sentence in every for found in WORD.finditer(sentence))
        return cls(
            names=tuple(name for name in names if re.split(r"[ '’-]", name)[0].lower() not in lower | {"i"}),
            words=tuple(word for word in words if word not in FUNCTION_WORDS),
            told=told,
            document=tuple(int(number) for number in document),
        )


@dataclass(frozen=True)
class Case:
    """What a corruption may look at."""

    passages: str
    document: int
    inventory: Inventory
    rng: np.random.Generator

    def choice(self, options: Sequence[str]) -> str:
        """One of them at random."""
        return options[int(self.rng.integers(len(options)))]

    def says(self, word: str) -> bool:
        """Whether a word stands in the passages."""
        return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", self.passages, re.I) is not None


Corruption = Callable[[str, Case], MistakenText | None]
"""From a sentence to the corrupted one; None where it has nothing of the kind."""


def replaced(text: str, edits: Sequence[tuple[int, int, str]]) -> MistakenText:
    """The text with each stretch (start, end) replaced, and where the replacements stand in it."""
    made, spans, at = "", list[Span](), 0
    for start, end, new in sorted(edits):
        made += text[at:start]
        spans.append((len(made), len(made) + len(new)))
        made += new
        at = end
    return MistakenText(made + text[at:], tuple(spans))


def of_own_kind(word: str) -> bool:
    """Whether a word in small letters is a unit, a denial or a number, which have kinds of corruptions of their own."""
    return word in UNIT_FORMS or word in SPELT or word == "cannot" or DENIAL.fullmatch(word) is not None


def editable_words(text: str) -> list[str]:
    """Those in small letters that may be put in or left out, as often as they stand there."""
    return [found[0] for found in _SMALL_LETTERS.finditer(text) if editable(found[0])]


def editable(word: str) -> bool:
    """Whether a word in small letters is of no kind of its own, nor one that may come or go and nothing is said."""
    return word not in _MAY_GO and not of_own_kind(word)
