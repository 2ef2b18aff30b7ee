"""A text as translators read it, sentence by sentence, and what they wrote for it put together again.

    lines = sentences_by_line("Hello! Where is it?\\n- 12")       # what is read of each line
    put_together(lines, {"Hello!": "Hallo!", "Where is it?": "Wo ist es?"})     # "Hallo! Wo ist es?\\n- 12"

Pairs are of sentences, as a rule, and a model that has learned from those translates the first one of two. Lines stay,
and so do the signs before items of a list and whatever has no letter in it, such as numbers and times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shoptalk.assistant.ground import BULLET, sentences_of


@dataclass(frozen=True)
class TranslatedText:
    """What a model wrote for a text."""

    text: str
    whole: bool
    """False where a sentence is longer than the model reads, so that its end is missing."""


@dataclass(frozen=True)
class LineOfText:
    """A line's sentences, and the sign of a list's item before them."""

    sign: str
    sentences: tuple[str, ...]


def sentences_by_line(text: str) -> tuple[LineOfText, ...]:
    """A text's lines."""
    lines = [line.strip() for line in text.strip().splitlines()]
    signs = [found[0] if (found := BULLET.match(line)) else "" for line in lines]
    return tuple(LineOfText(sign, tuple(sentences_of(line))) for sign, line in zip(signs, lines, strict=True))


def has_words(sentence: str) -> bool:
    """Whether there is something to translate."""
    return any(character.isalpha() for character in sentence)


def put_together(lines: Sequence[LineOfText], written: Mapping[str, str]) -> str:
    """The same lines with what was `written` for each sentence, which is one line whatever a model writes; a sentence
    for which nothing was written stands as it was said.
    """
    return "\n".join(
        line.sign + " ".join(" ".join(written.get(sentence, "").split()) or sentence for sentence in line.sentences)
        for line in lines
    )
