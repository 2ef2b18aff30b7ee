"""Texts of unequal length into tensors of a small fixed set of shapes.

On CPUs every new shape costs a new kernel, and padding costs as much as text. So a batch is sorted by length and cut
into groups of 8, 16 or 32 texts, each padded to the next length of a fixed ladder; the cuts are those that waste least.
What is left of padding is counted and reported as waste.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

UNIT = 8
ROWS = 32
GROUP_COST = 64
"""What a group costs on top of its cells, in cells: a call of every layer."""
LADDER = (*range(4, 33, 4), 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)


@dataclass(frozen=True)
class Group:
    """Texts of about one length: token ids and attention mask of one shape, and which text each row is."""

    ids: Int[Tensor, "R L"]
    mask: Int[Tensor, "R L"]
    rows: Int[Tensor, " R"]


@dataclass(frozen=True)
class TokenBatch:
    """n texts as groups of fixed shapes; `tokens` are real ones, `cells` include padding."""

    groups: tuple[Group, ...]
    n: int
    tokens: int
    cells: int


@dataclass(frozen=True)
class TextBatch:
    """What an objective's batch starts from: its texts, whose tokens the loop counts."""

    texts: TokenBatch

    @property
    def tokens(self) -> int:
        """Real tokens."""
        return self.texts.tokens

    @property
    def cells(self) -> int:
        """Tokens and padding."""
        return self.texts.cells


def padded_length(length: int) -> int:
    """The next length on the ladder."""
    return next((step for step in LADDER if step >= length), length)


def group_by_length(rows: Sequence[Int[np.ndarray, " _"]], *, pad_id: int) -> TokenBatch:
    """Texts as groups of fixed shapes: 8, 16 or 32 rows, and one smaller group where the batch is no multiple of 8."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    cuts = [order[begin:end] for begin, end in _cuts([padded_length(len(rows[i])) for i in order])]
    groups = []
    for cut in cuts:
        width = padded_length(max(len(rows[i]) for i in cut))
        ids = np.full((len(cut), width), pad_id, dtype=np.int64)
        mask = np.zeros((len(cut), width), dtype=np.int64)
        for row, i in enumerate(cut):
            ids[row, : len(rows[i])] = rows[i]
            mask[row, : len(rows[i])] = 1
        groups.append(Group(ids=torch.from_numpy(ids), mask=torch.from_numpy(mask), rows=torch.tensor(cut)))
    return TokenBatch(
        groups=tuple(groups),
        n=len(rows),
        tokens=sum(len(row) for row in rows),
        cells=sum(group.ids.numel() for group in groups),
    )


def _cuts(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Where to cut texts of ascending padded widths for the fewest cells plus `GROUP_COST` a group: a shortest path.

    What 8 does not divide goes first, among the shortest texts, where a partly filled group costs least.
    """
    first = len(widths) % UNIT
    ends = range(first, len(widths) + 1, UNIT)
    best: dict[int, tuple[int, int]] = {first: (0, 0)}  # end -> (cost so far, where its group begins)
    for end in ends[1:]:
        options = [
            (best[end - size][0] + size * widths[end - 1] + GROUP_COST, end - size)
            for size in (ROWS, ROWS // 2, UNIT)
            if end - size in best
        ]
        best[end] = min(options)
    cuts, end = [], len(widths)
    while end > first:
        cuts.append((best[end][1], end))
        end = best[end][1]
    return [*([(0, first)] if first else []), *reversed(cuts)]


def unsort(groups: Sequence[Float[Tensor, "_ D"]], batch: TokenBatch) -> Float[Tensor, "n D"]:
    """Per-group vectors back in the order of the batch's texts."""
    rows = torch.cat([group.rows for group in batch.groups]).to(groups[0].device)
    return torch.cat(list(groups))[torch.argsort(rows)]
