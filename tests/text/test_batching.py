import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.encoder import embed
from shoptalk.text.batching import (
    CELLS,
    GROUP_COST,
    LADDER,
    ROWS,
    SHARED_CELLS,
    UNIT,
    WIDTHS,
    TokenBatch,
    make_batch,
    make_batch_of_one,
    pack,
    padded_length,
    row_width,
)
from tests.tiny import WORDS, tiny_product

PAD = 0
PRODUCT = tiny_product()
LENGTHS = st.lists(st.integers(0, 150), min_size=1, max_size=100)


def rows_of(lengths: list[int]) -> list[np.ndarray]:
    """Rows of these lengths; token 7 * i + j + 1 at place j of row i, so that every row can be told from the others."""
    return [7 * i + np.arange(length) + 1 for i, length in enumerate(lengths)]


def texts_of(batch: TokenBatch) -> dict[int, np.ndarray]:
    """The token ids of each text, read off the batch's groups."""
    found = {}
    for group in batch.groups:
        flat = group.ids.flatten().numpy()
        for i, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            assert i not in found
            found[i] = flat[begin : begin + length]
    return found


@given(LENGTHS, st.booleans())
def test_nothing_is_lost(lengths: list[int], packed: bool):
    rows = rows_of(lengths)
    batch = make_batch(rows, pad_id=PAD, packed=packed)
    found = texts_of(batch)
    assert sorted(found) == list(range(len(rows)))
    assert all(np.array_equal(found[i], row) for i, row in enumerate(rows))
    for group in batch.groups:
        assert (group.ids[~group.mask] == PAD).all()


@given(LENGTHS, st.booleans())
def test_tokens_and_padding_are_counted(lengths: list[int], packed: bool):
    batch = make_batch(rows_of(lengths), pad_id=PAD, packed=packed)
    assert batch.n == len(lengths)
    assert batch.tokens == sum(lengths) == sum(int(group.mask.sum()) for group in batch.groups)
    assert batch.cells == sum(group.ids.numel() for group in batch.groups) >= batch.tokens


@given(LENGTHS, st.booleans())
def test_a_text_stays_in_its_row_and_its_positions_start_again(lengths: list[int], packed: bool):
    for group in make_batch(rows_of(lengths), pad_id=PAD, packed=packed).groups:
        width = group.ids.shape[1]
        last = group.begins + (group.lengths - 1).clamp(min=0)
        held = group.lengths > 0
        assert (group.begins[held] // width == last[held] // width).all()
        places = torch.cat([torch.arange(length) for length in group.lengths.tolist()])
        assert torch.equal(group.positions.flatten()[group.cells], places)
        owners = torch.repeat_interleave(torch.arange(len(group.rows)), group.lengths)
        assert torch.equal(group.segments.flatten()[group.cells], owners)
        assert (group.segments.flatten() >= 0).sum() == len(group.cells)


# Packed rows


@given(LENGTHS)
def test_packed_shapes_come_from_a_small_fixed_set(lengths: list[int]):
    for group in make_batch(rows_of(lengths), pad_id=PAD).groups:
        height, width = group.ids.shape
        assert width in WIDTHS
        assert height * width <= CELLS
        assert height <= 32 or height % 2 == 0


@given(st.lists(st.integers(1, 600), min_size=1, max_size=120))
def test_no_row_overflows_and_no_two_rows_of_a_width_would_fit_in_one(lengths: list[int]):
    for width, bins in pack(lengths).items():
        loads = sorted(sum(lengths[i] for i in members) for members in bins)
        assert loads[-1] <= width
        # First and best fit share this property (Johnson 1974): the two emptiest rows do not fit together.
        assert len(loads) < 2 or loads[0] + loads[1] > width


def test_chat_turns_waste_less_than_five_percent():
    # Lengths as chat turns have them: most short, a long tail (log-normal, mean about 14 tokens, cut at 128).
    lengths = np.random.default_rng(0).lognormal(2.4, 0.6, 20_000).clip(3, 128).astype(int)
    cells = tokens = 0
    for begin in range(0, len(lengths), 64):
        batch = make_batch(rows_of(lengths[begin : begin + 64].tolist()), pad_id=PAD)
        cells, tokens = cells + batch.cells, tokens + batch.tokens
    assert 1 - tokens / cells < 0.05


def test_a_batch_that_two_processes_can_share_has_two_groups():
    assert len(make_batch(rows_of([64] * (2 * SHARED_CELLS // 64)), pad_id=PAD).groups) == 2
    assert len(make_batch(rows_of([64] * (2 * SHARED_CELLS // 64 - 1)), pad_id=PAD).groups) == 1


@pytest.mark.parametrize(("length", "width"), [(1, 64), (64, 64), (65, 128), (512, 512), (513, 1024)])
def test_a_text_goes_into_the_narrowest_row_that_holds_it(length: int, width: int):
    assert row_width(length) == width


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_changing_one_text_moves_no_other_embedding(data: st.DataObject):
    text = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)
    texts = data.draw(st.lists(text, min_size=2, max_size=40))
    changed = data.draw(st.integers(0, len(texts) - 1))
    before = embed(PRODUCT, texts)
    after = embed(PRODUCT, [data.draw(text) if i == changed else old for i, old in enumerate(texts)])
    others = np.arange(len(texts)) != changed
    np.testing.assert_allclose(after[others], before[others], atol=1e-5)


# A text a row


@given(LENGTHS)
def test_padded_shapes_come_from_a_small_fixed_set(lengths: list[int]):
    groups = make_batch(rows_of(lengths), pad_id=PAD, packed=False).groups
    assert all(group.ids.shape[1] in LADDER for group in groups)
    rest = len(lengths) % UNIT
    sizes = [group.ids.shape[0] for group in groups]
    assert sizes[0] == rest if rest else True
    assert set(sizes[1 if rest else 0 :]) <= {UNIT, 2 * UNIT, ROWS}


def fewest(widths: list[int]) -> int:
    """The least that ascending widths can cost, by trying every way to cut them."""
    sizes = [size for size in (UNIT, 2 * UNIT, ROWS) if size <= len(widths)]
    return min((fewest(widths[:-size]) + size * widths[-1] + GROUP_COST for size in sizes), default=0)


@given(st.lists(st.integers(1, 150), max_size=60))
def test_no_other_cuts_would_cost_less(lengths: list[int]):
    batch = make_batch(rows_of(lengths), pad_id=PAD, packed=False)
    widths = sorted(padded_length(length) for length in lengths)
    rest = len(lengths) % UNIT
    cost = batch.cells + GROUP_COST * (len(batch.groups) - (rest > 0))
    assert cost == fewest(widths[rest:]) + (rest * widths[rest - 1] if rest else 0)


@given(LENGTHS)
def test_a_group_is_padded_no_further_than_its_longest_text_needs(lengths: list[int]):
    for group in make_batch(rows_of(lengths), pad_id=PAD, packed=False).groups:
        longest = int(group.mask.sum(1).max())
        assert group.ids.shape[1] == min(step for step in LADDER if step >= longest)


@pytest.mark.parametrize(("length", "padded"), [(1, 4), (4, 4), (5, 8), (33, 40), (129, 160), (512, 512), (513, 513)])
def test_a_length_goes_up_to_the_next_of_the_ladder(length: int, padded: int):
    assert padded_length(length) == padded


@pytest.mark.parametrize(("length", "width"), [(0, 16), (1, 16), (16, 16), (17, 32), (48, 48), (49, 64), (130, 256)])
def test_a_text_that_is_read_alone_has_a_row_that_is_hardly_wider(length: int, width: int):
    ids = np.arange(1, length + 1)
    batch = make_batch_of_one(ids, pad_id=0)
    (group,) = batch.groups
    assert group.ids.shape == (1, width)
    assert group.ids[0, :length].tolist() == ids.tolist()
    assert not group.ids[0, length:].any()
    assert (batch.tokens, batch.cells) == (length, width)
