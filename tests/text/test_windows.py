"""Windows of documents by real token counts, and rows that they fill."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.text.packing import pack_rows
from shoptalk.text.windows import Windows, in_rows, laid_out

DOCUMENTS = st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=8), min_size=1, max_size=12)


def windows_of(documents: list[list[int]], *, cells: int, gap: int = 2) -> Windows:
    lengths = np.array([length for document in documents for length in document])
    first = np.concatenate([np.arange(len(document)) == 0 for document in documents])
    return laid_out(lengths, first, np.full(len(lengths), gap), cells=cells)


@given(DOCUMENTS, st.integers(16, 80))
def test_every_token_is_in_one_window_and_no_window_is_longer_than_a_row(
    documents: list[list[int]], cells: int
) -> None:
    windows = windows_of(documents, cells=cells)
    assert windows.sizes.min() >= 1 and windows.sizes.max() <= cells
    starts = np.cumsum([0, *(length for document in documents for length in document)])
    ends = np.cumsum([0, *map(len, documents)])
    begins = [*(starts[windows.items] + windows.offsets).tolist(), int(starts[-1])]
    places = [*windows.items.tolist(), len(starts) - 1]
    for number, size in enumerate(windows.sizes.tolist()):
        begin, end = begins[number], begins[number + 1]
        place, following = places[number], places[number + 1]
        cut = number + 1 < len(windows.sizes) and windows.offsets[number + 1] > 0
        closes = following in ends and not cut
        gaps = following - place - (not cut)  # between the items that it touches
        assert begin <= end and size == 1 + end - begin + 2 * gaps + closes
        assert following <= ends[np.searchsorted(ends, place, side="right")]


def test_a_window_takes_whole_items_while_they_fit_and_cuts_only_what_fits_no_row() -> None:
    windows = windows_of([[5, 5, 5], [40], [3]], cells=16)
    assert windows.items.tolist() == [0, 2, 3, 3, 3, 4]
    assert windows.offsets.tolist() == [0, 0, 0, 15, 30, 0]
    assert windows.sizes.tolist() == [13, 7, 16, 16, 12, 5]


@given(st.lists(st.integers(1, 64), min_size=1, max_size=200))
def test_each_window_is_in_one_row_and_no_two_rows_could_be_one(sizes: list[int]) -> None:
    rows = in_rows(np.array(sizes), cells=64)
    held = [rows.of(row) for row in range(len(rows))]
    assert sorted(number for row in held for number in row) == list(range(len(sizes)))
    taken = [sum(sizes[number] for number in row) for row in held]
    assert max(taken) <= 64 and all(row == sorted(row) for row in held)
    assert sum(2 * cells <= 64 for cells in taken) <= 1  # two such rows would have been one


def test_rows_of_documents_of_many_lengths_are_all_but_full() -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(10, 60, rng.integers(1, 30)).tolist() for _ in range(400)]
    windows = windows_of(documents, cells=512)
    rows = in_rows(windows.sizes, cells=512)
    assert windows.sizes.sum() / (512 * len(rows)) > 0.95


def test_rows_that_are_longer_than_a_row_are_refused() -> None:
    with pytest.raises(ValueError, match="A row of 5 tokens takes more than 4 cells"):
        pack_rows([[np.array([1, 2]), np.array([3, 4, 5])]], length=4)
    assert pack_rows([[np.array([1, 2]), np.array([3])]], length=4).segments.tolist() == [[0, 0, 1, -1]]
