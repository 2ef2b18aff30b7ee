"""Token sequences side by side in rows of one length, so that next to nothing is padding.

A row may hold several sequences. Each is read as if it were alone: its positions count from 0, and `segments` says
which cells belong together, so that attention stays within them. Several endings of one beginning can share it
(`branch`), which is then read once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

Ids = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class PackedRows:
    """n sequences in R rows of L cells."""

    ids: Int[Tensor, "R L"]
    positions: Int[Tensor, "R L"]
    """Within the sequence; 0 of padding."""
    segments: Int[Tensor, "R L"]
    """The number of the sequence; -1 of padding."""
    before: Int[Tensor, "R L"]
    """The number of the sequence that is seen as what came before this one; its own where there is none."""

    @property
    def tokens(self) -> int:
        """Cells that hold a token."""
        return int((self.segments >= 0).sum())

    @property
    def cells(self) -> int:
        """All cells."""
        return self.ids.numel()

    def rows(self, part: slice) -> "PackedRows":
        """Some of the rows."""
        return PackedRows(self.ids[part], self.positions[part], self.segments[part], self.before[part])

    def continued(self) -> Bool[Tensor, "R _"]:
        """Whether the next cell of each cell but the last is of the same sequence: where there is a next token."""
        return (self.segments[:, 1:] == self.segments[:, :-1]) & (self.segments[:, 1:] >= 0)

    def seen(self) -> Bool[Tensor, "R 1 L L"]:
        """Which cell (third axis) sees which: those of its own sequence and of the one before it that do not come
        after it. Padding sees padding, for a softmax over nothing would be no number.
        """
        of = self.segments.unsqueeze(1)
        same = (self.segments.unsqueeze(2) == of) | (self.before.unsqueeze(2) == of)
        length = self.ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=self.ids.device).tril()
        return (same & causal).unsqueeze(1)


def pack(sequences: Sequence[Ids], *, length: int) -> PackedRows:
    """Rows of `length` cells that hold the sequences, each in the first row with room for it, the longest first.

    A sequence that is longer than a row is cut at its end. First-fit decreasing takes at most 11/9 of the fewest rows
    and one more (Johnson 1973).

    Raises:
        ValueError: a row would have no cell.
    """
    if length < 1:
        raise ValueError(f"Rows of {length} cells hold nothing; give a length of at least 1.")
    cut = [np.asarray(sequence[:length], dtype=np.int64) for sequence in sequences]
    blocks = [[_Part(number, number, 0, ids)] for number, ids in enumerate(cut)]
    return _filled(blocks, length)


def pack_rows(rows: Sequence[Sequence[Ids]], *, length: int) -> PackedRows:
    """Rows of `length` cells as somebody has filled them already; two that find room in one are one.

    Raises:
        ValueError: the sequences of a row are longer than a row.
    """
    blocks, number = [], 0
    for sequences in rows:
        if (size := sum(map(len, sequences))) > length:
            raise ValueError(f"A row of {size} tokens takes more than {length} cells.")
        blocks.append([_Part(number + i, number + i, 0, np.asarray(ids)) for i, ids in enumerate(sequences)])
        number += len(sequences)
    return _filled(blocks, length)


def branch(beginnings: Sequence[Ids], endings: Sequence[Sequence[Ids]], *, length: int) -> PackedRows:
    """Rows that hold every beginning once, and after it each of its endings as if the others were not there.

    Endings are numbered from 0 on in the order that is given, and each stands after a copy of the beginning's last
    token, so that its first token is the next of a cell, too (`continued`). The rest of a beginning has a number above
    those of all endings.

    Raises:
        ValueError: a beginning is empty, or one with its endings is longer than a row.
    """
    blocks, number, trunk = [], 0, sum(map(len, endings))
    for beginning, ends in zip(beginnings, endings, strict=True):
        size = len(beginning) - 1 + sum(1 + len(end) for end in ends)
        if not len(beginning) or size > length:
            raise ValueError(f"A beginning of {len(beginning)} tokens with its endings takes {size} of {length} cells.")
        block = [_Part(trunk, trunk, 0, np.asarray(beginning[:-1], dtype=np.int64))]
        for end in ends:
            ids = np.concatenate([beginning[-1:], end]).astype(np.int64)
            block.append(_Part(number, trunk, len(beginning) - 1, ids))
            number += 1
        blocks.append(block)
        trunk += 1
    return _filled(blocks, length)


@dataclass(frozen=True)
class _Part:
    """A sequence, or what branches share."""

    number: int
    before: int
    begin: int
    """Its first token's position."""
    ids: Ids


def _filled(blocks: Sequence[Sequence[_Part]], length: int) -> PackedRows:
    """Each block in the first row that has room for it, the longest first."""
    sizes = [sum(len(part.ids) for part in block) for block in blocks]
    placed: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(blocks)), key=lambda number: (-sizes[number], number)):
        row = next((row for row, free in enumerate(room) if free >= sizes[number]), len(room))
        if row == len(room):
            room.append(length)
            placed.append([])
        room[row] -= sizes[number]
        placed[row].append(number)
    shape = (max(1, len(placed)), length)
    ids, positions = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    segments, before = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    for row, numbers in enumerate(placed):
        begin = 0
        for part in (part for number in numbers for part in blocks[number]):
            cells = slice(begin, begin := begin + len(part.ids))
            ids[row, cells], segments[row, cells], before[row, cells] = part.ids, part.number, part.before
            positions[row, cells] = part.begin + np.arange(len(part.ids))
    return PackedRows(*(torch.from_numpy(array) for array in (ids, positions, segments, before)))
