"""A pass of the model over new tokens of several texts: by transformers, or by the compiled kernel where it can."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from shoptalk.nn.decoding.kv_cache import KeyValueCache

SLACK = 64
"""Cells of a slot beyond the context: for padding, and for tokens that were guessed wrongly at its end."""
_SPAN, _LENGTH, _SHORT = 64, 32, 16
"""Cells that are read come in multiples of `_SPAN`, and more than `_SHORT` tokens in multiples of `_LENGTH`: on CPUs a
new shape costs a new kernel."""


@dataclass(frozen=True)
class Feed:
    """Tokens of one text that the model has not read yet."""

    slot: int
    begin: int
    """The position of the first; the states of all before it are kept."""
    ids: Sequence[int]
    every: bool = True
    """Whether the logits after each token are wanted, or only those after the last."""

    @property
    def wanted(self) -> range:
        """Numbers of the tokens after which logits are wanted."""
        return range(0 if self.every else len(self.ids) - 1, len(self.ids))


class Forward(ABC):
    """Reads new tokens."""

    @abstractmethod
    def __call__(self, feeds: Sequence[Feed]) -> list[Float[np.ndarray, "w V"]]:
        """Float32 logits of each feed's wanted tokens; the states of all its tokens are kept in its slot."""


class StockForward(Forward):
    """The model as transformers has it, for any decoder."""

    def __init__(self, backbone: Any, cache: KeyValueCache, context: int) -> None:
        self._backbone, self._cache, self._context = backbone, cache, context
        self._half = next(backbone.parameters()).dtype == torch.bfloat16

    def __call__(self, feeds: Sequence[Feed]) -> list[Float[np.ndarray, "w V"]]:
        """As `Forward` says. All slots from the first to the last take part, so that the cache is read in place; those
        between that have nothing to read read one token that goes nowhere.
        """
        first, last = min(feed.slot for feed in feeds), max(feed.slot for feed in feeds)
        length = self._length(feeds)
        ids = torch.zeros(last - first + 1, length, dtype=torch.int64)
        cells = torch.full_like(ids, self._cache.capacity - 1)
        positions = torch.zeros_like(ids)
        for feed in feeds:
            row, here = feed.slot - first, torch.arange(feed.begin, feed.begin + length)
            ids[row, : len(feed.ids)] = torch.tensor(feed.ids)
            cells[row], positions[row] = here, here.clamp(max=self._context - 1)
        most = max(feed.begin + len(feed.ids) for feed in feeds)
        span = min(-(-most // _SPAN) * _SPAN, self._cache.capacity)
        mask = torch.arange(span) <= positions[:, None, :, None]
        self._cache.aim(first, cells, span)
        with torch.inference_mode(), self._attention():
            states: Tensor = self._backbone.base_model(
                input_ids=ids,
                attention_mask=self._as_read(mask),
                position_ids=positions,
                past_key_values=self._cache.stock,
                use_cache=True,
            ).last_hidden_state
            picked = [states[feed.slot - first, list(feed.wanted)] for feed in feeds]
            logits = self._backbone.get_output_embeddings()(torch.cat(picked)).float().numpy()
        return np.split(logits, np.cumsum([len(feed.wanted) for feed in feeds])[:-1])

    @contextlib.contextmanager
    def _attention(self) -> Iterator[None]:
        """In bfloat16 plain matrix products are nearly twice as fast on CPUs as the fused kernel, in float32 half as
        fast. Whoever else reads with the model finds it as it was.
        """
        config = self._backbone.config
        before = config._attn_implementation
        config._attn_implementation = "eager" if self._half else before
        try:
            yield
        finally:
            config._attn_implementation = before

    def _as_read(self, mask: Bool[Tensor, "R 1 q K"]) -> Bool[Tensor, "R 1 q K"] | Float[Tensor, "R 1 q K"]:
        """As what is added to scores, where plain products read it."""
        if not self._half:
            return mask
        return torch.zeros(mask.shape, dtype=torch.bfloat16).masked_fill(~mask, torch.finfo(torch.bfloat16).min)

    def _length(self, feeds: Sequence[Feed]) -> int:
        length = max(len(feed.ids) for feed in feeds)
        if length <= _SHORT:
            return length
        rounded = -(-length // _LENGTH) * _LENGTH
        fits = max(feed.begin for feed in feeds) + rounded <= self._cache.capacity
        return rounded if fits else length
