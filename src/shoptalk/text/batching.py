"""Texts of unequal length as tensors of a small fixed set of shapes, with next to no padding.

On CPUs every new shape costs a new kernel, and padding costs as much as text. So texts are packed: several share a row
of 64, 128, 256 or 512 tokens, positions start again with each, and attention stays within each (`nn/attention.py`).
Rows come in groups of a few sizes. Which text goes where is best-fit decreasing bin packing (Johnson 1974), which
Krell et al. (2021, "Efficient sequence packing without cross-contamination") found enough for training.

Models that are not on the list of those tested with packed rows (`nn/encoder.py`) get one text per row, in groups of
about one length. The padding that remains is counted and reported as waste.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

WIDTHS = (64, 128, 256, 512)
"""Widths of packed rows; a text longer than the last gets the multiple of it that holds it."""
NARROW = 16
"""The row of a text that is read alone has a multiple of this many cells, up to the narrowest of these widths."""
WIDTH_COST = 1 / 1280
"""What attention adds to a cell's cost for each cell of its row's width, relative to the rest of the layers.

Per token of a BERT layer of width D: 24 D² FLOP outside attention and 4 W D inside, softmax not counted: W / 6 D, and
D is 384 for the smallest model that is meant. Softmax costs about as much again.
"""
CELLS = 4096
"""Most cells of a group: beyond, a CPU's matmuls gain nothing and activations leave the caches."""
SHARED_CELLS = 1024
"""A batch of at least twice this many cells has at least two groups, so that two processes can share it."""

# One text per row
UNIT = 8
ROWS = 32
GROUP_COST = 64
"""What a group costs on top of its cells, in cells: a call of every layer."""
LADDER = (*range(4, 33, 4), 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)

Ids = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Group:
    """m texts in R rows of W cells. Text j fills cells `begins[j]` to `begins[j] + lengths[j]` of the flattened rows.

    A text never crosses the end of a row. Cells of no text hold padding.
    """

    ids: Int[Tensor, "R W"]
    positions: Int[Tensor, "R W"]
    """Each token's place within its own text, from 0; 0 for padding."""
    begins: Int[Tensor, " m"]
    lengths: Int[Tensor, " m"]
    rows: Int[Tensor, " m"]
    """The number of each text within the batch."""

    @property
    def segments(self) -> Int[Tensor, "R W"]:
        """The number, within the group, of each cell's text; -1 for padding."""
        flat = torch.full((self.ids.numel(),), -1, dtype=torch.int64)
        flat[self.cells] = torch.repeat_interleave(torch.arange(len(self.rows)), self.lengths)
        return flat.reshape(self.ids.shape)

    @property
    def cells(self) -> Int[Tensor, " t"]:
        """The cells of all tokens, text by text, in the flattened rows."""
        within = torch.arange(int(self.lengths.sum())) - torch.repeat_interleave(
            self.lengths.cumsum(0) - self.lengths, self.lengths
        )
        return torch.repeat_interleave(self.begins, self.lengths) + within

    @property
    def mask(self) -> Bool[Tensor, "R W"]:
        """Which cells hold a token."""
        return self.segments >= 0


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


@dataclass(frozen=True)
class MaskedBatch(TextBatch):
    """Texts, such as corrupted ones, and per group the chosen positions (in the flattened group) with the tokens that
    are foretold there.
    """

    positions: tuple[Int[Tensor, " _"], ...]
    labels: tuple[Int[Tensor, " _"], ...]


def make_batch(rows: Sequence[Ids], *, pad_id: int, packed: bool = True) -> TokenBatch:
    """Texts as groups of fixed shapes: packed rows, or one text per row for models that cannot read packed ones."""
    groups = tuple((_packed if packed else _by_length)(rows, pad_id))
    return TokenBatch(
        groups=groups,
        n=len(rows),
        tokens=sum(len(row) for row in rows),
        cells=sum(group.ids.numel() for group in groups),
    )


def make_batch_of_one(row: Ids, *, pad_id: int, longest: int = WIDTHS[0] - NARROW) -> TokenBatch:
    """One text in a row that is hardly wider, for models that can read packed rows: somebody waits for it.

    A text of more than `longest` tokens has a row of the usual widths.
    """
    if len(row) > longest:
        return make_batch([row], pad_id=pad_id)
    width = max(-(-len(row) // NARROW), 1) * NARROW
    return TokenBatch((_group([row], [[0]], width, 1, pad_id),), n=1, tokens=len(row), cells=width)


# Packed rows


def _packed(rows: Sequence[Ids], pad_id: int) -> Iterator[Group]:
    layout = pack([len(row) for row in rows])
    for width, bins in layout.items():
        for part in _shares(bins, width):
            yield _group(rows, part, width, _row_count(len(part)), pad_id)


def pack(lengths: Sequence[int]) -> dict[int, list[list[int]]]:
    """Which texts share a row, by the rows' width: the cheapest of the layouts that use no row narrower than w."""
    if not lengths:
        return {}
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    layouts = [_best_fit(lengths, order, narrowest) for narrowest in WIDTHS]
    return min(layouts, key=_cost)


def _best_fit(lengths: Sequence[int], order: Sequence[int], narrowest: int) -> dict[int, list[list[int]]]:
    """Longest first, each text into the fullest row that takes it, else into a new row of its own class's width."""
    layout: dict[int, list[list[int]]] = {}
    open_rows: dict[int, list[list[int]]] = {}  # free cells -> rows that have as many
    sizes = 0  # bit s is set where `open_rows[s]` is not empty: the next larger size is one expression away
    for i in order:
        length = lengths[i]
        fitting = sizes >> length
        if fitting and length:
            free = length + (fitting & -fitting).bit_length() - 1
            row = open_rows[free].pop()
            if not open_rows[free]:
                sizes &= ~(1 << free)
        else:
            width = row_width(max(length, narrowest))
            row, free = [], width
            if not length and layout:  # a text of no tokens takes no room
                next(iter(layout.values()))[0].append(i)
                continue
            layout.setdefault(width, []).append(row)
        row.append(i)
        if free > length:
            open_rows.setdefault(free - length, []).append(row)
            sizes |= 1 << (free - length)
    return layout


def row_width(length: int) -> int:
    """The narrowest width that holds a text of `length` tokens."""
    return next((width for width in WIDTHS if width >= length), -(-length // WIDTHS[-1]) * WIDTHS[-1])


def _cost(layout: dict[int, list[list[int]]]) -> float:
    return sum(_row_count(len(bins)) * width * (1 + width * WIDTH_COST) for width, bins in layout.items())


def _row_count(rows: int) -> int:
    """Rows of a group: any number up to 32, then even ones, which keeps the set of shapes small at 1 % of padding."""
    return rows if rows <= 32 else rows + rows % 2


def _shares(bins: list[list[int]], width: int) -> Iterator[list[list[int]]]:
    """Rows of one width in groups of about one size."""
    cells = len(bins) * width
    parts = max(-(-cells // CELLS), 2 if cells >= 2 * SHARED_CELLS else 1)
    size = _row_count(-(-len(bins) // min(parts, len(bins))))
    for begin in range(0, len(bins), size):
        yield bins[begin : begin + size]


def _group(rows: Sequence[Ids], bins: Sequence[Sequence[int]], width: int, height: int, pad_id: int) -> Group:
    ids = np.full((height, width), pad_id, dtype=np.int64)
    positions = np.zeros((height, width), dtype=np.int64)
    begins, members = [], []
    places = np.arange(width)
    for number, inside in enumerate(bins):
        at = 0
        for i in inside:
            end = at + len(rows[i])
            ids[number, at:end] = rows[i]
            positions[number, at:end] = places[: end - at]
            begins.append(number * width + at)
            members.append(i)
            at = end
    return Group(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        begins=torch.tensor(begins),
        lengths=torch.tensor([len(rows[i]) for i in members]),
        rows=torch.tensor(members),
    )


# One text per row, for models that cannot read packed rows


def padded_length(length: int) -> int:
    """The next length on the ladder."""
    return next((step for step in LADDER if step >= length), length)


def _by_length(rows: Sequence[Ids], pad_id: int) -> Iterator[Group]:
    """Groups of 8, 16 or 32 texts of about one length, and a smaller one where the batch is no multiple of 8."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for begin, end in _cuts([padded_length(len(rows[i])) for i in order]):
        cut = order[begin:end]
        width = padded_length(max(len(rows[i]) for i in cut))
        yield _group(rows, [[i] for i in cut], width, len(cut), pad_id)


def _cuts(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Where to cut texts of ascending padded widths into groups, for the least sum of cells and `GROUP_COST` per group:
    a shortest path.

    Where 8 does not divide the number of texts, the smaller group comes first: among the shortest texts it costs least.
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
