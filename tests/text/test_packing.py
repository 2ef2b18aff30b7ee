"""Rows of several sequences: nothing is lost, and no cell sees what is not its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.text.packing import branch, pack

SEQUENCES = st.lists(st.lists(st.integers(1, 99), max_size=12).map(lambda ids: np.array(ids, dtype=np.int64)))


@given(SEQUENCES, st.integers(12, 40))
def test_every_token_stands_once_at_its_place(sequences: list[np.ndarray], length: int) -> None:
    rows = pack(sequences, length=length)
    for number, ids in enumerate(sequences):
        cells = rows.segments == number
        assert rows.ids[cells].tolist() == ids.tolist()
        assert rows.positions[cells].tolist() == list(range(len(ids)))
    assert rows.tokens == sum(map(len, sequences)) and rows.cells == rows.ids.numel()
    assert int(rows.continued().sum()) == sum(max(0, len(ids) - 1) for ids in sequences)


@given(SEQUENCES, st.integers(12, 40))
def test_first_fit_takes_at_most_eleven_ninths_of_the_fewest_rows_and_one_more(
    sequences: list[np.ndarray], length: int
) -> None:
    fewest = -(-sum(map(len, sequences)) // length)
    assert len(pack(sequences, length=length).ids) <= max(
        1, 11 / 9 * max(fewest, sum(2 * len(s) > length for s in sequences)) + 1
    )


@given(SEQUENCES, st.integers(12, 40))
def test_a_cell_sees_its_own_sequence_up_to_itself_and_nothing_else(sequences: list[np.ndarray], length: int) -> None:
    rows = pack(sequences, length=length)
    seen = rows.seen()[:, 0]
    for row, cell in np.argwhere(rows.segments.numpy() >= 0).tolist():
        expected = [other <= cell and rows.segments[row, other] == rows.segments[row, cell] for other in range(length)]
        assert seen[row, cell].tolist() == [bool(one) for one in expected]
    assert bool(seen.any(-1).all())  # padding too: a softmax over nothing is no number


def test_what_is_longer_than_a_row_is_cut_at_its_end() -> None:
    assert pack([np.arange(9)], length=4).ids.tolist() == [[0, 1, 2, 3]]


def test_endings_share_their_beginning_and_do_not_see_each_other() -> None:
    rows = branch([np.array([7, 8, 9])], [[np.array([1, 2]), np.array([3])]], length=8)
    assert rows.ids.tolist() == [[7, 8, 9, 1, 2, 9, 3, 0]]
    assert rows.positions.tolist() == [[0, 1, 2, 3, 4, 2, 3, 0]]
    assert rows.segments.tolist() == [[2, 2, 0, 0, 0, 1, 1, -1]]
    assert rows.seen()[0, 0, 6].tolist() == [True, True, False, False, False, True, True, False]
    assert rows.seen()[0, 0, 4].tolist() == [True, True, True, True, True, False, False, False]


def test_a_beginning_that_fits_no_row_and_rows_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="takes 5 of 4 cells"):
        branch([np.array([1, 2, 3])], [[np.array([4, 5])]], length=4)
    with pytest.raises(ValueError, match="Rows of 0 cells"):
        pack([], length=0)


def test_part_of_the_rows_is_those_rows() -> None:
    rows = pack([np.arange(1, 5)] * 3, length=4)
    assert torch.equal(rows.rows(slice(1, 3)).segments, rows.segments[1:])
