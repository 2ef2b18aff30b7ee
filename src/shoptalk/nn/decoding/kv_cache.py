"""Keys and values of all slots, in memory that is there from the beginning (a static cache).

A slot holds one text's states, cell by cell. What a text leaves behind stays until another takes its slot, so that a
prompt which begins alike need not be computed again: not the next turn of the same conversation, and not what all
prompts share.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class KeyValueCache:
    """What transformers' models write their states into, and read those of before from."""

    def __init__(self, *, slots: int, capacity: int) -> None:
        """`capacity` is the cells of a slot."""
        self.slots, self.capacity = slots, capacity
        self.stock: Any = Cache(layer_class_to_replicate=partial(_SlotLayer, self))
        self._first = self._count = self._span = 0
        self._where = torch.zeros(0, dtype=torch.int64)

    def aim(self, first: int, cells: Int[Tensor, "R q"], span: int) -> None:
        """The next pass is of `R` slots from `first` on: its states go to these cells, and it reads the first `span`
        cells of each slot.
        """
        self._first, self._count, self._span = first, len(cells), span
        begins = torch.arange(first, first + len(cells))[:, None] * self.capacity
        self._where = (begins + cells).flatten()

    def copy(self, source: int, target: int, count: int) -> None:
        """The first cells of one slot into another."""
        with torch.inference_mode():  # as they were made
            for layer in self.layers:
                layer.keys[target, :count] = layer.keys[source, :count]
                layer.values[target, :count] = layer.values[source, :count]

    @property
    def layers(self) -> Sequence[Any]:
        """Each with `keys` and `values` [slots, cells, heads, width]; none before the first pass."""
        layers: Sequence[Any] = self.stock.layers
        return layers

    def written(self, kept: Float[Tensor, "S C H D"], states: Float[Tensor, "R H q D"]) -> Float[Tensor, "R H K D"]:
        """Put a pass's states into their cells, and give what the pass may read."""
        flat = states.transpose(1, 2).flatten(0, 1)
        kept.flatten(0, 1).index_copy_(0, self._where, flat)
        return kept[self._first : self._first + self._count, : self._span].transpose(1, 2)

    def empty(self, states: Float[Tensor, "R H q D"]) -> Float[Tensor, "S C H D"]:
        """Memory for states like these; pages that nothing is written to cost nothing."""
        _, heads, _, width = states.shape
        return torch.zeros(self.slots, self.capacity, heads, width, dtype=states.dtype)


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer of it, as transformers calls it."""

    def __init__(self, cache: KeyValueCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = self._cache.empty(key_states), self._cache.empty(value_states)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self._cache.written(self.keys, key_states), self._cache.written(self.values, value_states)

    # Masks and positions are always given, so these are asked by nobody who computes with them.

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.capacity, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self._cache.capacity
