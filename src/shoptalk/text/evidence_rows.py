"""Passages and a reply to them as one row of tokens, and what each token of the reply shares with the passages.

    form = EvidenceForm.of(tokenizer, max_length=384)
    row = form.row(passages, reply)
    row.ids, row.reply, row.shared        # "[CLS] passage [SEP] passage [SEP] reply [SEP]", its reply's cells, features

Tokens come with their places in the text, so that what is marked can be shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from shoptalk.errors import ConfigError
from shoptalk.text import aligned_words
from shoptalk.text.aligned_words import PlacedWords, compared, with_neighbours, words_of
from shoptalk.text.pairs import PairForm

Ids = Int[np.ndarray, " _"]

OF_TOKENS = 4
"""Of a token of the reply: whether it stands in the passages; whether it does after the token before it; before the
token after it; and between both.
"""
FEATURES = OF_TOKENS + (2 * aligned_words.AROUND + 1) * aligned_words.FEATURES
"""These, and those of its word and the words around it (`aligned_words.py`)."""
REPLY_SHARE = 0.5
"""Of a row, the most that the reply may fill."""
_KEPT = 512
"""Passages whose words are kept in memory."""
_SEEN_AFTER = 64
"""Characters behind a cut that tell whether a word ends there."""


@dataclass(frozen=True)
class PlacedTokens:
    """A text's tokens without special ones, the characters that each of them stands for, and the text."""

    ids: Ids
    spans: Int[np.ndarray, "L 2"]
    text: str


@dataclass(frozen=True)
class EvidenceRow:
    """One row."""

    ids: Int[np.ndarray, " L"]
    reply: slice
    """The cells of the reply's tokens."""
    shared: Float32[np.ndarray, "R F"]
    """The features of the R tokens of the reply: all, or the first `OF_TOKENS`."""
    spans: Int[np.ndarray, "R 2"]
    """Their characters in the reply."""


def pieces_of(tokenizer: Any, text: str) -> PlacedTokens:
    """The tokens of a text, however long.

    Raises:
        ConfigError: this tokenizer does not tell where its tokens stand.
    """
    backend = _backend(tokenizer)
    encoding = backend.encode(text, add_special_tokens=False)
    return PlacedTokens(
        np.array(encoding.ids, dtype=np.int64), np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2), text
    )


def _backend(tokenizer: Any) -> Any:
    """The tokenizers library's tokenizer, set to read whole texts."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError(
            "This base's tokenizer does not tell where its tokens stand in a text, which marking words needs. Expected "
            "a fast one (a tokenizer.json): choose another base."
        )
    if backend.truncation is not None:  # while another thread reads, nothing may be set
        backend.no_truncation()
    return backend


def labels_of(pieces: Int[np.ndarray, "R 2"], marked: Sequence[tuple[int, int]]) -> Bool[np.ndarray, " R"]:
    """Which tokens touch one of the marked stretches of characters."""
    labels = np.zeros(len(pieces), dtype=bool)
    for start, end in marked:
        labels |= (pieces[:, 0] < end) & (pieces[:, 1] > start)
    return labels


def spans_of(pieces: Int[np.ndarray, "R 2"], marked: Bool[np.ndarray, " R"], text: str) -> tuple[tuple[int, int], ...]:
    """The stretches of characters of marked tokens; those that nothing but spaces parts are one."""
    spans: list[tuple[int, int]] = []
    for (start, end), hit in zip(pieces.tolist(), marked.tolist(), strict=True):
        if not hit:
            continue
        if spans and not text[spans[-1][1] : start].strip():
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return tuple(spans)


@dataclass(frozen=True)
class EvidenceForm:
    """How a tokenizer's rows of passages and a reply look."""

    form: PairForm

    @classmethod
    def of(cls, tokenizer: Any, *, max_length: int) -> "EvidenceForm":
        """That of this tokenizer, for rows of at most `max_length` tokens.

        Raises:
            ConfigError: it puts nothing around a text, so nothing would tell where the reply begins, or does not tell
                where its tokens stand.
        """
        encoding = _backend(tokenizer).encode("a")
        return cls(PairForm.around(encoding.ids, encoding.special_tokens_mask, max_length=max_length))

    @property
    def between(self) -> Ids:
        """What stands after a passage."""
        return self.form.after if len(self.form.after) else self.form.before

    def room(self, reply: int) -> int:
        """How many tokens passages may have, with what stands after each, beside a reply of so many."""
        fixed = len(self.form.before) + len(self.form.after)
        return self.form.max_length - fixed - min(reply, self.longest_reply)

    @property
    def longest_reply(self) -> int:
        """Tokens of a reply that one row reads."""
        return int(REPLY_SHARE * self.form.max_length)

    def rows(
        self, passages: Sequence[PlacedTokens], reply: PlacedTokens, *, of_words: bool = True
    ) -> list[EvidenceRow]:
        """A row, or several that read one stretch each of a reply that takes more than its share of one.

        Passages that find no room are cut. Without those `of_words` a token has the `OF_TOKENS` features alone.
        """
        most, between = self.longest_reply, self.between
        parts = [part for passage in passages for part in (passage.ids, between)]
        evidence = np.concatenate([*parts, np.zeros(0, dtype=np.int64)])
        room = self.room(len(reply.ids))
        if len(evidence) > room:
            evidence = np.concatenate([evidence[: max(0, room - len(between))], between])
        words = np.zeros((len(reply.ids), 0), dtype=np.float32)
        if of_words:
            words = words_beside(reply, _shown(passages, len(evidence) - len(between), len(between)))
        begin = len(self.form.before) + len(evidence)
        rows = []
        for start in range(0, max(1, len(reply.ids)), most):
            ids = reply.ids[start : start + most]
            rows.append(
                EvidenceRow(
                    ids=np.concatenate([self.form.before, evidence, ids, self.form.after]),
                    reply=slice(begin, begin + len(ids)),
                    shared=np.concatenate([shared_with(evidence, ids), words[start : start + most]], axis=1),
                    spans=reply.spans[start : start + most],
                )
            )
        return rows

    def row(self, passages: Sequence[PlacedTokens], reply: PlacedTokens) -> EvidenceRow:
        """The first of the rows: a reply that takes more than its share is cut."""
        return self.rows(passages, reply)[0]


def _shown(passages: Sequence[PlacedTokens], room: int, between: int) -> list[str]:
    """As much of each passage's text as a row shows in so many tokens, in whole words."""
    texts = []
    for passage in passages:
        kept = min(len(passage.ids), room)
        if kept > 0:
            end = int(passage.spans[kept - 1, 1])
            texts.append(passage.text if kept == len(passage.ids) else _in_whole_words(passage.text, end))
        room -= len(passage.ids) + between
    return texts


def _in_whole_words(text: str, end: int) -> str:
    """A text up to there without a word or a number that goes on."""
    words = _words_of_passage(text[: end + _SEEN_AFTER])
    whole = int(np.searchsorted(words.ends, end, side="right"))
    return text[: int(words.ends[whole - 1])] if whole else ""


def words_beside(reply: PlacedTokens, passages: Sequence[str]) -> Float32[np.ndarray, "R F"]:
    """Of each token of a reply the features of its word and the words around it beside the passages."""
    words = words_of(reply.text)
    if not words.forms:
        return np.zeros((len(reply.ids), FEATURES - OF_TOKENS), dtype=np.float32)
    features = with_neighbours(compared(words, [_words_of_passage(passage) for passage in passages]))
    at = np.searchsorted(words.begins, reply.spans[:, 1] - 1, side="right") - 1
    return features[np.maximum(at, 0)]


@lru_cache(maxsize=_KEPT)
def _words_of_passage(text: str) -> PlacedWords:
    """Taken apart once: the same passages answer many questions. Replies are not kept."""
    return words_of(text)


def shared_with(evidence: Ids, reply: Ids) -> Float32[np.ndarray, "R 4"]:
    """The `OF_TOKENS` features of each token of a reply: which tokens, and runs of two and three, the evidence has too.

    Before the reply's first token and after its last stands a token that is no other's.
    """
    outer = np.concatenate([[-1], reply, [-1]])
    left, right = outer[:-2], outer[2:]
    pairs = _keys(evidence[:-1], evidence[1:])
    triples = _keys(evidence[:-2], evidence[1:-1], evidence[2:])
    features = (
        np.isin(reply, evidence),
        np.isin(_keys(left, reply), pairs),
        np.isin(_keys(reply, right), pairs),
        np.isin(_keys(left, reply, right), triples),
    )
    return np.stack(features, axis=1).astype(np.float32)


def _keys(*runs: Ids) -> Ids:
    """One number for each run of tokens; a vocabulary has fewer than 2^20 entries."""
    keys = np.zeros(len(runs[0]), dtype=np.int64)
    for tokens in runs:
        keys = (keys << 21) + tokens + 1
    return keys
