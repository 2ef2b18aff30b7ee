"""Deletion of a random share of a text's tokens: the noise of denoising auto-encoders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk.text.chance import uniform


def ordinary_ids(tokenizer: Any) -> Bool[np.ndarray, " V"]:
    """Which ids stand for text: all but the special ones, and of those "unknown", which stands for text too."""
    special = [number for number in tokenizer.all_special_ids if number != tokenizer.unk_token_id]
    return ~np.isin(np.arange(len(tokenizer)), special)


def delete(
    rows: Sequence[Int[np.ndarray, " _"]],
    examples: Sequence[int],
    *,
    ordinary: Bool[np.ndarray, " V"],
    share: float,
    seed: int,
    step: int,
) -> list[Int[np.ndarray, " _"]]:
    """The rows without a random share of their ordinary tokens, drawn anew at every step; each keeps at least one."""
    lengths = np.array([len(row) for row in rows])
    ids, text = np.concatenate(rows), np.repeat(np.arange(len(rows)), lengths)
    places = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    luck = uniform(seed, step, np.asarray(examples)[text], places, stream=0)
    stays = survivors(text, luck, ordinary[ids], share)
    counts = np.bincount(text[stays], minlength=len(rows))
    return np.split(ids[stays], np.cumsum(counts)[:-1])


def survivors(
    text: Int[np.ndarray, " T"], luck: Float[np.ndarray, " T"], ordinary: Bool[np.ndarray, " T"], share: float
) -> Bool[np.ndarray, " T"]:
    """Which tokens stay: special ones, ordinary ones whose `luck` in [0, 1) is at least `share`, and in every text the
    ordinary one with the most luck.

    `text` is the number of each token's text.
    """
    best = np.zeros(int(text.max(initial=-1)) + 1)
    np.maximum.at(best, text[ordinary], luck[ordinary])
    stays: Bool[np.ndarray, " T"] = ~ordinary | (luck >= np.minimum(best, share)[text])
    return stays
