"""Which text's states each slot of the cache holds, and where a new prompt finds its own beginning again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple


class Place(NamedTuple):
    """A slot for a new text."""

    slot: int
    source: int
    """The slot that holds its beginning already, which may be the same."""
    reused: int
    """Tokens of that beginning."""


@dataclass
class _Slot:
    ids: Sequence[int] = ()
    known: int = 0
    """Of `ids`, how many have their states in the cache."""
    taken: bool = False
    used: int = -1
    """When it was taken last."""


@dataclass
class SlotTable:
    """The slots. What a text leaves behind stays until its slot is the one that was taken longest ago."""

    size: int
    _slots: list[_Slot] = field(init=False)

    def __post_init__(self) -> None:
        self._slots = [_Slot() for _ in range(self.size)]
        self._clock = count()

    @property
    def free(self) -> bool:
        """Whether a text can have a slot."""
        return any(not slot.taken for slot in self._slots)

    def take(self, ids: Sequence[int]) -> Place:
        """A free slot for a text, and whose states it may begin with. At least its last token must be read anew, for
        the logits after it.
        """
        shared = [min(_common(ids, slot.ids[: slot.known]), len(ids) - 1) for slot in self._slots]
        source = max(range(self.size), key=shared.__getitem__)
        place = min((n for n in range(self.size) if not self._slots[n].taken), key=lambda n: self._slots[n].used)
        # A conversation goes on where it was. One that only begins alike leaves the other's states to it.
        beginning = self._slots[source]
        if not beginning.taken and 2 * shared[source] >= beginning.known:
            place = source
        slot = self._slots[place]
        slot.taken, slot.used = True, next(self._clock)
        self.note(place, ids, shared[source])
        return Place(place, source, shared[source])

    def note(self, slot: int, ids: Sequence[int], known: int) -> None:
        """The states of the first `known` of these tokens are in the slot."""
        self._slots[slot].ids, self._slots[slot].known = ids, known

    def leave(self, slot: int) -> None:
        """Its text has ended."""
        self._slots[slot].taken = False


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))
