"""Windows over the documents of a corpus, and which of them stand in one row: laid out once, by real token counts.

    windows = windows_of(corpus, inputs.lengths, between, cells=512)
    rows = in_rows(windows.sizes, cells=512)
    ids, closes = stretch(windows, 7, inputs, corpus, between)

A window is a stretch of one document that a row can hold. It ends between two items where it can; an item that is
longer than a row is cut into several windows, so that every token of a corpus is in one window. Rows are filled by best
fit, the longest windows first, as Ding et al. (2024, "Fewer truncations improve language modeling", section 3.2) fill
theirs: next to nothing is padding, and no window is cut to fill a row.

No text is read, and the same lengths give the same windows and rows.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer

from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised

AROUND = 1
"""Tokens that stand before a window, and as many after a document's last one."""
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Windows:
    """W windows in the order of the corpus; each ends where the next one begins."""

    items: Int[np.ndarray, " W"]
    """The item that each begins in."""
    offsets: Int[np.ndarray, " W"]
    """The token of that item."""
    sizes: Int[np.ndarray, " W"]
    """Its cells: its tokens, what parts its items, and what stands before and after."""


@dataclass(frozen=True)
class RowsOfWindows:
    """R rows."""

    windows: Int[np.ndarray, " W"]
    """The windows' numbers, row by row, ascending in each."""
    starts: Int[np.ndarray, " R1"]
    """Where each row's begin, and one past the end of the last."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, row: int) -> list[int]:
        """The numbers of a row's windows."""
        numbers: list[int] = self.windows[self.starts[row] : self.starts[row + 1]].tolist()
        return numbers


def windows_of(
    corpus: Corpus, lengths: Integer[np.ndarray, " N"], between: Mapping[bool, Int[np.ndarray, " _"]], *, cells: int
) -> Windows:
    """The windows of a corpus.

    Args:
        corpus: the documents.
        lengths: tokens of each item.
        between: the tokens that part turns of a conversation (True), and passages of a document (False).
        cells: of a row, at least 4.
    """
    document = np.asarray(corpus.conversation)
    first = np.append(True, np.diff(document) != 0)[: len(document)]
    gaps = np.where(np.asarray(corpus.turn) >= 0, len(between[True]), len(between[False]))
    return laid_out(lengths, first, gaps, cells=cells)


def stretch(
    windows: Windows,
    number: int,
    inputs: Tokenised,
    corpus: Corpus,
    between: Mapping[bool, Int[np.ndarray, " _"]],
) -> tuple[Int[np.ndarray, " w"], bool]:
    """The tokens of a window, without what stands before and after, and whether its document ends with it."""
    document = corpus.conversation
    place, offset, size = int(windows.items[number]), int(windows.offsets[number]), AROUND
    pieces: list[Int[np.ndarray, " _"]] = []
    while True:
        ids = inputs[place][offset:][: windows.sizes[number] - size]
        pieces.append(ids)
        size += len(ids)
        place, offset = place + 1, 0
        if size == windows.sizes[number]:
            return np.concatenate(pieces), False
        if place == len(document) or document[place] != document[place - 1]:
            return np.concatenate(pieces), True
        pieces.append(between[bool(corpus.turn[place] >= 0)])
        size += len(pieces[-1])


def laid_out(
    lengths: Integer[np.ndarray, " N"],
    first: Bool[np.ndarray, " N"],
    gaps: Integer[np.ndarray, " N"],
    *,
    cells: int,
) -> Windows:
    """The windows of N items.

    Args:
        lengths: tokens of each item.
        first: whether an item is the first of its document.
        gaps: tokens that part an item from the one before it, where both are of one document.
        cells: of a row, at least 4.
    """
    items, offsets, sizes = array("q"), array("q"), array("q")
    last = np.append(first[1:], True)[: len(first)]
    for begin in range(0, len(lengths), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        columns = (lengths[part].tolist(), first[part].tolist(), last[part].tolist(), gaps[part].tolist())
        for place, (length, opens, closes, gap) in enumerate(zip(*columns, strict=True), start=begin):
            after = AROUND if closes else 0
            if not opens and sizes[-1] + gap + length + after <= cells:
                sizes[-1] += gap + length + after
                continue
            offset = 0
            while AROUND + length - offset + after > cells:
                taken = min(cells - AROUND, length - offset - 1)  # a token is left for the last window
                items.append(place)
                offsets.append(offset)
                sizes.append(AROUND + taken)
                offset += taken
            items.append(place)
            offsets.append(offset)
            sizes.append(AROUND + length - offset + after)
    return Windows(*(np.array(column, dtype=np.int64) for column in (items, offsets, sizes)))


def in_rows(sizes: Int[np.ndarray, " W"], *, cells: int) -> RowsOfWindows:
    """Each window in the row that it fills best, the longest first; a new row where none has room."""
    waiting: list[list[int]] = [[] for _ in range(cells + 1)]  # rows by their room
    rooms = 0  # bit n: there is a row with room for n cells
    row_of = np.zeros(len(sizes), dtype=np.int64)
    rows = 0
    for window in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[window])
        if fitting := rooms >> size:
            room = size + (fitting & -fitting).bit_length() - 1
            row = waiting[room].pop()
            if not waiting[room]:
                rooms &= ~(1 << room)
        else:
            room, row, rows = cells, rows, rows + 1
        row_of[window] = row
        waiting[room - size].append(row)
        rooms |= 1 << (room - size)
    starts = np.concatenate([[0], np.cumsum(np.bincount(row_of, minlength=rows))]).astype(np.int64)
    return RowsOfWindows(np.argsort(row_of, kind="stable").astype(np.int64), starts)
