"""Pairs of a source and a target as tensors, in groups of about one length each.

    batch = make_pairs(pairs, pad_id=1, start_id=1)
    for group in batch.groups:
        group.source, group.seen          # what an encoder reads, and which cells hold a token
        group.written, group.target       # what a decoder is given, and what it shall say next

A pair has a row of its own, in a model of any build. Pairs of about one length share a group, so that little is
padding; widths come from a fixed ladder, for on CPUs a new shape costs a new kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from shoptalk.text import batching
from shoptalk.text.batching import padded_length
from shoptalk.text.spans import SourceTarget

GROUP_CELLS = 4_096
"""Most cells of a group, sources and targets together, unless `UNIT` rows have more. A batch of twice
`batching.SHARED_CELLS` or more is cut into two groups at least, if it has more than `UNIT` pairs.
"""
GROUP_COST = 384
"""What a group costs on top of its cells, in cells: a call of every layer. Measured of `scratch:t5-nano` on two cores:
some 170 in float32 without bfloat16 units, some 500 in bfloat16 with AMX (benchmarks/README.md).
"""
UNIT = 8
"""Groups have a multiple of so many rows, but for one."""


@dataclass(frozen=True)
class PairGroup:
    """m pairs in a row each."""

    source: Int[Tensor, "m S"]
    seen: Bool[Tensor, "m S"]
    """Which cells of the source hold a token."""
    written: Int[Tensor, "m T"]
    """The target moved by one: before its first token stands the one that a decoder begins with."""
    target: Int[Tensor, "m T"]
    counted: Bool[Tensor, "m T"]
    """Which cells of the target hold a token."""
    numbers: Int[Tensor, " m"]
    """The number of each pair within the batch."""


@dataclass(frozen=True)
class SourceTargetBatch:
    """n pairs as groups of fixed shapes; `tokens` are real ones of both sides, `cells` include padding."""

    groups: tuple[PairGroup, ...]
    n: int
    tokens: int
    cells: int

    @property
    def targets(self) -> int:
        """Tokens of the targets."""
        return sum(int(group.counted.sum()) for group in self.groups)


def make_pairs(
    pairs: Sequence[SourceTarget], *, pad_id: int, start_id: int, longest: int | None = None
) -> SourceTargetBatch:
    """The pairs, whose ids have their special tokens already, in groups of about one length.

    Args:
        pairs: what is read, and what is to be written.
        pad_id: fills the cells that hold no token.
        start_id: what a decoder begins with.
        longest: the model's context, which no row is padded past; learned positions end there.
    """
    widths = [tuple(_width(len(ids), longest) for ids in pair) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda i: (max(widths[i]), widths[i], i))
    cells = sum(map(sum, widths))
    shared = cells >= 2 * batching.SHARED_CELLS  # so that two processes can share a batch
    cuts = _cuts([widths[i] for i in order], most=min(GROUP_CELLS, 5 * cells // 8) if shared else GROUP_CELLS)
    groups = tuple(
        _group([pairs[i] for i in order[begin:end]], order[begin:end], pad_id, start_id, longest) for begin, end in cuts
    )
    return SourceTargetBatch(
        groups=groups,
        n=len(pairs),
        tokens=sum(len(pair.source) + len(pair.target) for pair in pairs),
        cells=sum(group.source.numel() + group.target.numel() for group in groups),
    )


def _width(length: int, longest: int | None) -> int:
    """Of the row that a text of this length has."""
    width = padded_length(max(1, length))
    return width if longest is None else max(length, min(width, longest))


def _cuts(widths: Sequence[tuple[int, ...]], *, most: int) -> list[tuple[int, int]]:
    """Where to cut pairs of these widths, in their order, into groups of up to `most` cells: for the least sum of cells
    and `GROUP_COST` per group, a shortest path.

    Where `UNIT` does not divide the number of pairs, the smaller group comes first: among the shortest it costs least.
    """
    ends = [0, *range(len(widths) % UNIT or UNIT, len(widths) + 1, UNIT)] if widths else [0]
    best: list[tuple[int, int]] = [(0, 0)]  # of each end the cost so far, and the number of the end before it
    for number, end in enumerate(ends[1:], start=1):
        options: list[tuple[int, int]] = []
        source = target = 0
        for before in range(number - 1, -1, -1):
            for one, other in widths[ends[before] : ends[before + 1]]:
                source, target = max(source, one), max(target, other)
            cells = (end - ends[before]) * (source + target)
            if cells > most and before < number - 1:
                break
            options.append((best[before][0] + cells + GROUP_COST, before))
        best.append(min(options))
    cuts, number = [], len(ends) - 1
    while number:
        before = best[number][1]
        cuts.append((ends[before], ends[number]))
        number = before
    return cuts[::-1]


def _group(
    pairs: Sequence[SourceTarget], numbers: Sequence[int], pad_id: int, start_id: int, longest: int | None
) -> PairGroup:
    source, seen = _rows([pair.source for pair in pairs], pad_id, longest)
    target, counted = _rows([pair.target for pair in pairs], pad_id, longest)
    written = torch.full_like(target, pad_id)
    written[:, 0] = start_id
    written[:, 1:] = target[:, :-1]
    return PairGroup(source, seen, written, target, counted, torch.tensor(numbers, dtype=torch.int64))


def _rows(
    rows: Sequence[Int[np.ndarray, " _"]], pad_id: int, longest: int | None
) -> tuple[Int[Tensor, "m W"], Bool[Tensor, "m W"]]:
    """The rows in one width, and which cells hold a token."""
    width = _width(max(map(len, rows)), longest)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    filled = np.zeros((len(rows), width), dtype=bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        filled[number, : len(row)] = True
    return torch.from_numpy(ids), torch.from_numpy(filled)
