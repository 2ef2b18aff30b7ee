"""How each word of a reply stands beside the passages: as it does there, in the place of others, more, or fewer.

    words = words_of("You don't pay 4 crowns.")
    words.forms                                     # ("you", "do", "not", "pay", "4", "crowns", ".")
    features = compared(words, [words_of("You do not pay four crowns.")])     # of each word, FEATURES numbers

What is compared are whole words in one form: lower case, numbers in digits ("twenty-five" and "1 000" too), "don't" as
"do not", letters with their accents as one. Each sentence of the reply is laid beside the sentence of the passages that
has most of its words, the rare ones before the common and words before numbers, so that a number that stands elsewhere,
two that were exchanged, and a "not" that came or went can all be told.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Self

import numpy as np
from jaxtyping import Float32, Int

from shoptalk.text.number_words import SPELT, spelt_places
from shoptalk.text.plain_sentences import is_abbreviated
from shoptalk.text.stated_facts import NUMBER, plain_number, with_colons

FEATURES = 10
"""Of a word of the reply: whether it stands in the passages; whether it does after the word before it; before the word
after it; between both; whether it stands in the nearest sentence in the same order; in the place of other words there;
with nothing in its place there; before words that went (at a sentence's first and last word, where a denial went); how
many these others are, of four; and what share of its sentence's words stands in that nearest one.
"""
AROUND = 2
"""Words on each side whose features a word has beside its own."""
LONGEST = 60
"""Words after which a sentence is taken to end: what is none may be a table."""
MOST_OTHERS = 4

DENIAL = re.compile(
    r"not|no|none|never|nobody|nothing|nowhere|neither|nor|without|"
    r"nichts?|kein\w*|nie(?:mals)?|niemand\w*|nirgends|weder|ohne|pas|jamais|sans"
)
"""A word that denies, in the form in which words are compared: those that the gate's rules know (`opposites.py`)."""
OF_NUMBER = 0.5
"""What a number counts, where a word counts 1, towards the nearest sentence: it is what may stand in the wrong one."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts that put no space between words; each letter is read as one."""
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
"""Soft hyphens, and spaces and joiners without a width."""
_ON = "\ue000"
"""Stands, while words are looked for, where a mark or something invisible does that belongs to the letter before it."""
_MAY_BELONG, _DIGIT = re.compile(r"[^\w\s\x00-\x7f]"), re.compile(r"(?![0-9])\d")
_LETTER = rf"[^\W\d_{_UNSPACED}]"
_WORD = re.compile(
    rf"(?P<number>{NUMBER.pattern})|(?:[{_UNSPACED}]|n['’]t\b|['’](?:s|re|ll|ve|d|m)\b){_ON}*|can(?=not\b)"
    rf"|(?P<before_not>(?:ca|wo|sha)(?=n['’]t\b))|(?:(?!n['’]t\b){_LETTER}{_ON}*)+|[^\w\s{_ON}]|_",
    re.I,
)
_IN_RANGE = re.compile(r"-|[^-]+")
_TENS = re.compile(r"ty(?:-|\s)", re.I)
"""Without it no number of two words is there."""
_FORMS = {**SPELT, "n't": "not", "'s": "is", "'re": "are", "'ll": "will", "'ve": "have", "'m": "am"}
_BEFORE_NOT = {"ca": "can", "wo": "will", "sha": "shall"}
_END = re.compile(r"[.!?…](?=\s|$)|[。！？।]|\n")
_SEEN_BEFORE, _SEEN_AFTER = 16, 24
"""Characters around a full stop that tell whether it is an abbreviation's."""


@dataclass(frozen=True)
class PlacedWords:
    """A text's words in the form in which they are compared, where each begins and ends, and the number of its
    sentence.
    """

    forms: tuple[str, ...]
    begins: Int[np.ndarray, " W"]
    ends: Int[np.ndarray, " W"]
    sentence: Int[np.ndarray, " W"]

    def sentences(self) -> list[tuple[str, ...]]:
        """The words, sentence by sentence."""
        cuts = np.flatnonzero(np.diff(self.sentence)) + 1
        ends = [0, *cuts.tolist(), len(self.forms)]
        return [self.forms[begin:end] for begin, end in pairwise(ends) if begin < end]


def words_of(text: str) -> PlacedWords:
    """The words of a text, marks of punctuation too."""
    placed = _placed(text)
    forms = tuple(form for _, _, form in placed)
    places = np.array([place[:2] for place in placed], dtype=np.int64).reshape(-1, 2)
    stops = np.array([stop.start() for stop in _END.finditer(text) if _ends(text, stop)], dtype=np.int64)
    sentence = np.searchsorted(stops, places[:, 0], side="left")
    first = np.searchsorted(sentence, sentence, side="left")
    part = (np.arange(len(sentence)) - first) // LONGEST
    return PlacedWords(forms, places[:, 0], places[:, 1], sentence * (len(forms) + 1) + part)


def _ends(text: str, stop: re.Match[str]) -> bool:
    """Whether a sentence ends here: not at an abbreviation's full stop."""
    end = stop.end()
    return stop[0] != "." or not is_abbreviated(text[max(0, end - _SEEN_BEFORE) : end], text[end : end + _SEEN_AFTER])


def _placed(text: str) -> list[tuple[int, int, str]]:
    """Where each word begins and ends, and its form."""
    even = _evened(text)
    of_two = {begin: (end, number) for begin, end, number in spelt_places(even)} if _TENS.search(even) else {}
    placed: list[tuple[int, int, str]] = []
    for word in _WORD.finditer(even):
        begin, end = word.span()
        if placed and begin < placed[-1][1]:  # the second word of a number
            continue
        if begin in of_two:
            placed.append((begin, *of_two[begin]))
        elif word["number"]:
            placed += _of_number(even, begin, end)
        elif before := word["before_not"]:
            placed.append((begin, end, _BEFORE_NOT[before.lower()]))
        else:
            placed.append((begin, end, _form(text[begin:end])))
    return placed


def _evened(text: str) -> str:
    """As many characters, with plain digits, times with a colon, and `_ON` for what belongs to the letter before it."""
    if not text.isascii():
        text = _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)
        text = _MAY_BELONG.sub(lambda sign: _ON if _belongs(sign[0]) else sign[0], text)
    return with_colons(text)


def _belongs(sign: str) -> bool:
    return ord(sign) in _INVISIBLE or unicodedata.category(sign).startswith("M")


def _of_number(text: str, begin: int, end: int) -> list[tuple[int, int, str]]:
    """A number in its plain form; of a range or a date with hyphens each part."""
    parts = _IN_RANGE.finditer(text, begin, end)
    return [(part.start(), part.end(), part[0] if part[0] == "-" else plain_number(part[0])) for part in parts]


def _form(word: str) -> str:
    word = word.lower().replace("’", "'")
    if not word.isascii():
        word = unicodedata.normalize("NFKC", word.translate(_INVISIBLE))
    return _FORMS.get(word, word)


@dataclass(frozen=True)
class _Sources:
    """The sentences of all passages, and in which of them each word stands."""

    sentences: list[tuple[str, ...]]
    holding: dict[str, list[int]]

    @classmethod
    def of(cls, passages: Sequence[PlacedWords]) -> Self:
        sentences = [sentence for passage in passages for sentence in passage.sentences()]
        holding: dict[str, list[int]] = {}
        for number, sentence in enumerate(sentences):
            for word in dict.fromkeys(sentence):
                holding.setdefault(word, []).append(number)
        return cls(sentences, holding)

    def nearest(self, sentence: tuple[str, ...]) -> tuple[str, ...]:
        """The one that has most of a sentence's words, each counted the less the more have it; of several the equal
        sentence, else the shortest, else the first; an empty one where none has any.
        """
        weights: dict[int, float] = {}
        for word in dict.fromkeys(sentence):
            held = self.holding.get(word, ())
            weight = (OF_NUMBER if word[0].isdecimal() else 1.0) / max(1, len(held))
            for number in held:
                weights[number] = weights.get(number, 0.0) + weight
        most = max(weights.values(), default=0.0)
        nearest = [self.sentences[number] for number in sorted(weights) if weights[number] == most]
        return min(nearest, key=lambda source: (source != sentence, len(source)), default=())


def compared(reply: PlacedWords, passages: Sequence[PlacedWords]) -> Float32[np.ndarray, "W F"]:
    """The `FEATURES` of each word of a reply."""
    sources = _Sources.of(passages)
    features = np.zeros((len(reply.forms), FEATURES), dtype=np.float32)
    features[:, :4] = _runs(reply.forms, [passage.forms for passage in passages])
    begin = 0
    for sentence in reply.sentences():
        if nearest := sources.nearest(sentence):
            rows, words = features[begin : begin + len(sentence)], set(sentence)
            rows[:, 4:9] = _beside(sentence, nearest)
            rows[:, 9] = len(words.intersection(nearest)) / len(words)
        begin += len(sentence)
    return features


def _runs(reply: Sequence[str], passages: Sequence[Sequence[str]]) -> Float32[np.ndarray, "W 4"]:
    """Whether each word, and the runs of two and three around it, stand in the passages."""
    ones, twos, threes = set[str](), set[tuple[str, ...]](), set[tuple[str, ...]]()
    for words in passages:
        ones.update(words)
        twos.update(pairwise(words))
        threes.update(zip(words, words[1:], words[2:], strict=False))
    outer = ("", *reply, "")
    return np.array(
        [
            [b in ones, (a, b) in twos, (b, c) in twos, (a, b, c) in threes]
            for a, b, c in zip(outer, outer[1:], outer[2:], strict=False)
        ],
        dtype=np.float32,
    ).reshape(-1, 4)


def _beside(sentence: Sequence[str], source: Sequence[str]) -> Float32[np.ndarray, "W 5"]:
    """Each word of a sentence beside another sentence: the same, instead of, more, before what went; how many went."""
    features = np.zeros((len(sentence), 5), dtype=np.float32)
    if sentence == source:
        features[:, 0] = 1
        return features
    for way, i, i_end, j, j_end in SequenceMatcher(None, source, sentence, autojunk=False).get_opcodes():
        others = min(MOST_OTHERS, i_end - i) / MOST_OTHERS
        if way == "equal":
            features[j:j_end, 0] = 1
        elif way == "replace":
            features[j:j_end, 1], features[j:j_end, 4] = 1, others
        elif way == "insert":
            features[j:j_end, 2] = 1
        elif (j > 0 and i_end < len(source)) or any(map(DENIAL.fullmatch, source[i:i_end])):
            # A sentence may leave out how another begins or ends, but not what denies it.
            features[max(0, j - 1), 3], features[max(0, j - 1), 4] = 1, others
    return features


def with_neighbours(features: Float32[np.ndarray, "W F"]) -> Float32[np.ndarray, "W G"]:
    """Each word's features between those of the `AROUND` words on either side; -1 where there is none."""
    outer = np.full((AROUND, features.shape[1]), -1, dtype=np.float32)
    padded = np.concatenate([outer, features, outer])
    return np.concatenate([padded[at : at + len(features)] for at in range(2 * AROUND + 1)], axis=1)
