"""Pairs as groups of tensors: nothing lost, nothing twice, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.text.batching import SHARED_CELLS
from shoptalk.text.source_target import GROUP_CELLS, UNIT, make_pairs
from shoptalk.text.spans import SourceTarget

rows = st.lists(st.integers(2, 99), min_size=1, max_size=40)


def pairs_of(lengths: list[tuple[list[int], list[int]]]) -> list[SourceTarget]:
    return [SourceTarget(*(np.array(side, dtype=np.int64) for side in pair)) for pair in lengths]


@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=80))
def test_every_pair_is_in_one_row_with_its_target_moved_by_one(lengths: list[tuple[list[int], list[int]]]) -> None:
    pairs = pairs_of(lengths)
    batch = make_pairs(pairs, pad_id=0, start_id=1)
    numbers = [number for group in batch.groups for number in group.numbers.tolist()]
    assert sorted(numbers) == list(range(len(pairs))) and batch.n == len(pairs)
    assert batch.tokens == sum(len(pair.source) + len(pair.target) for pair in pairs) <= batch.cells
    assert batch.targets == sum(len(pair.target) for pair in pairs)
    for group in batch.groups:
        for row, number in enumerate(group.numbers.tolist()):
            pair = pairs[number]
            assert group.source[row][group.seen[row]].tolist() == pair.source.tolist()
            assert group.target[row][group.counted[row]].tolist() == pair.target.tolist()
            assert group.written[row][group.counted[row]].tolist() == [1, *pair.target[:-1].tolist()]
            assert not group.source[row][~group.seen[row]].any()


def test_pairs_of_about_one_length_share_a_group() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 40, 512)
    sides = [(n, n + rng.integers(-4, 5)) for n in lengths]  # as translations have
    pairs = [SourceTarget(*(np.ones(n, dtype=np.int64) for n in side)) for side in sides]
    batch = make_pairs(pairs, pad_id=0, start_id=1)
    assert batch.cells < 1.2 * batch.tokens
    assert all(group.source.numel() + group.target.numel() <= GROUP_CELLS for group in batch.groups)
    assert all(len(group.source) % UNIT == 0 for group in batch.groups)


@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=80), st.integers(40, 50))
def test_no_row_is_padded_past_the_models_context(lengths: list[tuple[list[int], list[int]]], longest: int) -> None:
    batch = make_pairs(pairs_of(lengths), pad_id=0, start_id=1, longest=longest)
    assert all(side.shape[1] <= longest for group in batch.groups for side in (group.source, group.target))
    assert batch.targets == sum(len(target) for _, target in lengths)


@pytest.mark.parametrize(("pairs", "groups"), [(24, 1), (32, 1), (64, 2), (96, 2)])
def test_a_batch_that_two_processes_can_share_has_two_groups(pairs: int, groups: int) -> None:
    row = [7] * 18
    batch = make_pairs(pairs_of([(row, row)] * pairs), pad_id=0, start_id=1)
    assert len(batch.groups) == groups == (2 if batch.cells >= 2 * SHARED_CELLS else 1)
