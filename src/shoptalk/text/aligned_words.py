"""How each word of a reply stands beside the passages: as it does there, in the place of others, more, or fewer.

    words = words_of("You don't pay 4 crowns.")
    words.forms                                     # ("you", "do", "not", "pay", "4", "crowns", ".")
    features = compared(words, [words_of("You do not pay four crowns.")])     # of each word, FEATURES numbers

What is compared are whole words in one form: lower case, numbers in digits, "don't" as "do not". Each sentence of the
reply is laid beside the sentence of the passages that has most of its words, the rare ones before the common, so that
a number that stands elsewhere, two that were exchanged, and a "not" that came or went can all be told.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int

from shoptalk.text.number_words import SPELT
from shoptalk.text.stated_facts import plain_number

FEATURES = 10
"""Of a word of the reply: whether it stands in the passages; whether it does after the word before it; before the word
after it; between both; whether it stands in the nearest sentence in the same order; in the place of other words there;
with nothing in its place there; before words that went; how many these others are, of four; and what share of its
sentence's words stands in that nearest one.
"""
AROUND = 2
"""Words on each side whose features a word has beside its own."""
LONGEST = 60
"""Words after which a sentence is taken to end: what is none may be a table."""
MOST_OTHERS = 4

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts that put no space between words; each letter is read as one."""
_WORD = re.compile(
    rf"\d+(?:[.,:/]\d+)*|[{_UNSPACED}]|n['’]t\b|['’](?:s|re|ll|ve|d|m)\b|can(?=not\b)"
    rf"|(?:(?!n['’]t\b)[^\W\d_{_UNSPACED}])+|[^\w\s]|_",
    re.I,
)
_FORMS = {
    **SPELT, "n't": "not", "ca": "can", "wo": "will", "'s": "is", "'re": "are", "'ll": "will", "'ve": "have",
    "'m": "am",
}  # fmt: skip
_END = re.compile(r"[.!?:…](?=\s|$)|[。！？।]|\n")


@dataclass(frozen=True)
class PlacedWords:
    """A text's words in the form in which they are compared, where each begins, and the number of its sentence."""

    forms: tuple[str, ...]
    begins: Int[np.ndarray, " W"]
    sentence: Int[np.ndarray, " W"]

    def sentences(self) -> list[tuple[str, ...]]:
        """The words, sentence by sentence."""
        cuts = np.flatnonzero(np.diff(self.sentence)) + 1
        ends = [0, *cuts.tolist(), len(self.forms)]
        return [self.forms[begin:end] for begin, end in pairwise(ends) if begin < end]


def words_of(text: str) -> PlacedWords:
    """The words of a text, marks of punctuation too."""
    matches = list(_WORD.finditer(text))
    begins = np.array([match.start() for match in matches], dtype=np.int64)
    ends = np.array([match.start() for match in _END.finditer(text)], dtype=np.int64)
    sentence = np.searchsorted(ends, begins, side="left")
    first = np.searchsorted(sentence, sentence, side="left")
    part = (np.arange(len(sentence)) - first) // LONGEST
    return PlacedWords(tuple(_form(match[0]) for match in matches), begins, sentence * (len(matches) + 1) + part)


def _form(word: str) -> str:
    if word[0].isdecimal():
        return plain_number(word)
    word = word.lower().replace("’", "'")
    return _FORMS.get(word, word)


def compared(reply: PlacedWords, passages: Sequence[PlacedWords]) -> Float32[np.ndarray, "W F"]:
    """The `FEATURES` of each word of a reply."""
    sources = [source for passage in passages for source in passage.sentences()]
    features = np.zeros((len(reply.forms), FEATURES), dtype=np.float32)
    features[:, :4] = _runs(reply.forms, [passage.forms for passage in passages])
    held_by = Counter(word for source in sources for word in set(source))
    begin = 0
    for sentence in reply.sentences():
        shared = [[word for word in dict.fromkeys(sentence) if word in source] for source in map(frozenset, sources)]
        weights = [sum(1 / held_by[word] for word in words) for words in shared]
        if max(weights, default=0):
            nearest = int(np.argmax(weights))
            rows = features[begin : begin + len(sentence)]
            rows[:, 4:9] = _beside(sentence, sources[nearest])
            rows[:, 9] = len(shared[nearest]) / len(set(sentence))
        begin += len(sentence)
    return features


def _runs(reply: Sequence[str], passages: Sequence[Sequence[str]]) -> Float32[np.ndarray, "W 4"]:
    """Whether each word, and the runs of two and three around it, stand in the passages."""
    runs = {tuple(words[i : i + n]) for words in passages for n in (1, 2, 3) for i in range(len(words) - n + 1)}
    outer = ("", *reply, "")
    return np.array(
        [
            [(b,) in runs, (a, b) in runs, (b, c) in runs, (a, b, c) in runs]
            for a, b, c in zip(outer, outer[1:], outer[2:], strict=False)
        ],
        dtype=np.float32,
    ).reshape(-1, 4)


def _beside(sentence: Sequence[str], source: Sequence[str]) -> Float32[np.ndarray, "W 5"]:
    """Each word of a sentence beside another sentence: the same, instead of, more, before what went; how many went."""
    features = np.zeros((len(sentence), 5), dtype=np.float32)
    for way, i, i_end, j, j_end in SequenceMatcher(None, source, sentence, autojunk=False).get_opcodes():
        others = min(MOST_OTHERS, i_end - i) / MOST_OTHERS
        if way == "equal":
            features[j:j_end, 0] = 1
        elif way == "replace":
            features[j:j_end, 1], features[j:j_end, 4] = 1, others
        elif way == "insert":
            features[j:j_end, 2] = 1
        elif j > 0 and i_end < len(source):  # a sentence may leave out how another begins or ends
            features[j - 1, 3], features[j - 1, 4] = 1, others
    return features


def with_neighbours(features: Float32[np.ndarray, "W F"]) -> Float32[np.ndarray, "W G"]:
    """Each word's features between those of the `AROUND` words on either side; -1 where there is none."""
    outer = np.full((AROUND, features.shape[1]), -1, dtype=np.float32)
    padded = np.concatenate([outer, features, outer])
    return np.concatenate([padded[at : at + len(features)] for at in range(2 * AROUND + 1)], axis=1)
