"""Choosing tokens to predict and corrupting them (Devlin et al. 2019, BERT, section 3.1), for all masked objectives.

Of the chosen tokens 80 % become [MASK], 10 % a random token, and 10 % stay. What happens to a token depends on seed,
step, example and place alone (`text/chance.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shoptalk.errors import BaseModelError
from shoptalk.text.batching import TokenBatch
from shoptalk.text.chance import uniform

RANDOM_SHARE, KEPT_SHARE = 0.1, 0.1


@dataclass(frozen=True)
class Masked:
    """Corrupted texts, and their original tokens."""

    rows: Sequence[Int[np.ndarray, " _"]]
    """Each text's tokens, corrupted."""
    ids: Int[np.ndarray, " T"]
    """The original tokens of all texts, one after the other."""
    starts: Int[np.ndarray, " n"]
    """Where each text begins among them."""
    picks: Bool[np.ndarray, " T"]
    """Which tokens are to be predicted."""

    def targets(self, batch: TokenBatch) -> tuple[tuple[Int[Tensor, " _"], ...], tuple[Int[Tensor, " _"], ...]]:
        """The chosen cells of each group (flattened) and their original tokens; `batch` was made of `rows`."""
        positions, labels = [], []
        for group in batch.groups:
            # The group's cells hold its texts' tokens one after the other; these are the tokens' numbers.
            spans = zip(self.starts[group.rows.numpy()].tolist(), group.lengths.tolist(), strict=True)
            number = np.concatenate([np.arange(start, start + length) for start, length in spans])
            chosen = self.picks[number]
            positions.append(group.cells[torch.from_numpy(chosen)])
            labels.append(torch.from_numpy(self.ids[number[chosen]]))
        return tuple(positions), tuple(labels)


class Masker:
    """Hides a share of each text's tokens, anew at every step."""

    def __init__(self, tokenizer: Any, *, rate: float, whole_word: bool = False) -> None:
        """`tokenizer` is a transformers tokenizer, `rate` the share of ordinary tokens that are to be predicted.

        Raises:
            BaseModelError: the tokenizer has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise BaseModelError(
                "This model's tokenizer has no mask token, which masked objectives need; expected a masked language "
                "model such as BERT. Choose another objective for it (`shoptalk objectives`)."
            )
        self.mask_id: int = tokenizer.mask_token_id
        self.vocabulary = len(tokenizer)
        self.rate = rate
        self.ordinary = ~np.isin(np.arange(self.vocabulary), tokenizer.all_special_ids)
        pieces = tokenizer.convert_ids_to_tokens(range(self.vocabulary))
        self.continues = np.array([piece.startswith("##") for piece in pieces]) if whole_word else None

    def __call__(
        self, rows: Sequence[Int[np.ndarray, " _"]], examples: Sequence[int], *, seed: int, step: int
    ) -> Masked:
        """The texts with tokens corrupted, a function of `seed`, `step` and `examples`, the numbers of the texts."""
        lengths = np.array([len(row) for row in rows])
        ids, text = np.concatenate(rows), np.repeat(np.arange(len(rows)), lengths)
        starts = np.cumsum(lengths) - lengths
        where = np.asarray(examples)[text], np.arange(len(ids)) - starts[text]
        order, fate, other = (uniform(seed, step, *where, stream=stream) for stream in range(3))
        picks = choose(ids, text, order, self.ordinary, self.continues, self.rate)
        corrupted = corrupt(ids, picks, fate, other, mask_id=self.mask_id, vocabulary=self.vocabulary)
        return Masked(rows=np.split(corrupted, starts[1:]), ids=ids, starts=starts, picks=picks)


def choose(
    ids: Int[np.ndarray, " T"],
    text: Int[np.ndarray, " T"],
    order: Float[np.ndarray, " T"],
    ordinary: Bool[np.ndarray, " V"],
    continues: Bool[np.ndarray, " V"] | None,
    rate: float,
) -> Bool[np.ndarray, " T"]:
    """Which tokens to predict: of each text the share `rate` of its ordinary tokens, at least one where there is one.

    `text` numbers each token's text, ascending; the tokens of smallest `order` are chosen. With `continues` (which
    vocabulary entries continue a word) whole words are, in the order of their first pieces, until the share is reached.
    """
    at = np.flatnonzero(ordinary[ids])
    texts, rank = text[at], order[at]
    begins = np.r_[True, texts[1:] != texts[:-1]][: len(at)]
    words = np.cumsum(begins | ~continues[ids[at]]) - 1 if continues is not None else np.arange(len(at))
    first_piece = np.r_[True, words[1:] != words[:-1]][: len(at)]
    sorting = np.lexsort((words, rank[first_piece][words], texts))  # the last key counts most
    texts, words = texts[sorting], words[sorting]
    sizes = np.bincount(texts, minlength=int(text[-1]) + 1 if len(text) else 0)
    counts = np.where(sizes > 0, np.maximum(1, np.rint(rate * sizes)), 0)
    # A word is chosen where fewer tokens of its text than wanted come before its first piece.
    first = np.maximum.accumulate(np.where(np.r_[True, words[1:] != words[:-1]][: len(at)], np.arange(len(at)), 0))
    before = first - (np.cumsum(sizes) - sizes)[texts]
    picks = np.zeros(len(ids), dtype=bool)
    picks[at[sorting[before < counts[texts]]]] = True
    return picks


def corrupt(
    ids: Int[np.ndarray, " T"],
    picks: Bool[np.ndarray, " T"],
    fate: Float[np.ndarray, " T"],
    other: Float[np.ndarray, " T"],
    *,
    mask_id: int,
    vocabulary: int,
) -> Int[np.ndarray, " T"]:
    """The tokens as the model sees them: of the chosen 80 % [MASK], 10 % random, 10 % unchanged.

    `fate` and `other`, both uniform in [0, 1), say which of the three happens and which the random token is.
    """
    replaced = np.where(fate < RANDOM_SHARE, (other * vocabulary).astype(np.int64), mask_id)
    return np.where(picks & (fate < 1 - KEPT_SHARE), replaced, ids)
