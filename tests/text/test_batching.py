import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.encoder import embed
from shoptalk.text.batching import GROUP_COST, LADDER, ROWS, UNIT, group_by_length, padded_length, unsort
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise
from tests.tiny import WORDS, tiny_product, tiny_tokenizer

PAD = 0
PRODUCT = tiny_product()
LENGTHS = st.lists(st.integers(1, 150), min_size=1, max_size=100)


def rows_of(lengths: list[int]) -> list[np.ndarray]:
    """Rows of these lengths; token 7 * i + j + 1 at place j of row i, so that every row can be told from the others."""
    return [7 * i + np.arange(length) + 1 for i, length in enumerate(lengths)]


@given(LENGTHS)
def test_nothing_is_lost(lengths: list[int]):
    rows = rows_of(lengths)
    batch = group_by_length(rows, pad_id=PAD)
    found = {}
    for group in batch.groups:
        for ids, mask, i in zip(group.ids, group.mask, group.rows.tolist(), strict=True):
            assert i not in found
            found[i] = ids[mask.bool()].numpy()
            assert (ids[~mask.bool()] == PAD).all()
            assert (mask.diff() <= 0).all()  # padding on the right only
    assert sorted(found) == list(range(len(rows)))
    assert all(np.array_equal(found[i], row) for i, row in enumerate(rows))


@given(LENGTHS)
def test_shapes_come_from_a_small_fixed_set(lengths: list[int]):
    groups = group_by_length(rows_of(lengths), pad_id=PAD).groups
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
    batch = group_by_length(rows_of(lengths), pad_id=PAD)
    widths = sorted(padded_length(length) for length in lengths)
    rest = len(lengths) % UNIT
    cost = batch.cells + GROUP_COST * (len(batch.groups) - (rest > 0))
    assert cost == fewest(widths[rest:]) + (rest * widths[rest - 1] if rest else 0)


@given(LENGTHS)
def test_tokens_and_padding_are_counted(lengths: list[int]):
    batch = group_by_length(rows_of(lengths), pad_id=PAD)
    assert batch.n == len(lengths)
    assert batch.tokens == sum(lengths) == sum(int(group.mask.sum()) for group in batch.groups)
    assert batch.cells == sum(group.mask.numel() for group in batch.groups) >= batch.tokens


@given(LENGTHS)
def test_a_group_is_padded_no_further_than_its_longest_text_needs(lengths: list[int]):
    for group in group_by_length(rows_of(lengths), pad_id=PAD).groups:
        longest = int(group.mask.sum(1).max())
        assert group.ids.shape[1] == min(step for step in LADDER if step >= longest)


@given(LENGTHS)
def test_unsort_restores_the_order(lengths: list[int]):
    batch = group_by_length(rows_of(lengths), pad_id=PAD)
    vectors = torch.arange(2.0 * len(lengths)).reshape(-1, 2)
    assert torch.equal(unsort([vectors[group.rows] for group in batch.groups], batch), vectors)


@pytest.mark.parametrize(("length", "padded"), [(1, 4), (4, 4), (5, 8), (33, 40), (129, 160), (512, 512), (513, 513)])
def test_a_length_goes_up_to_the_next_of_the_ladder(length: int, padded: int):
    assert padded_length(length) == padded


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=12), st.integers(3, 16))
@settings(max_examples=30, deadline=None)
def test_every_text_has_the_tokens_it_has_alone(texts: list[str], max_length: int):
    tokenizer = tiny_tokenizer()
    tokens = tokenise(tokenizer, texts, max_length=max_length)
    assert len(tokens) == len(texts)
    assert len(tokens.flat) == tokens.starts[-1]
    for i, text in enumerate(texts):
        assert tokens[i].tolist() == tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        assert tokens.lengths[i] == len(tokens[i]) <= max_length


def test_no_texts_are_no_tokens():
    tokens = tokenise(tiny_tokenizer(), [], max_length=8)
    assert (len(tokens), len(tokens.flat)) == (0, 0)
    assert embed(tiny_product(), []).shape == (0, 32)


def test_more_texts_than_one_call_takes_are_all_tokenised():
    tokens = tokenise(tiny_tokenizer(), ["yes", "no day"] * 5_001, max_length=8)
    assert tokens.lengths.tolist() == [3, 4] * 5_001


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_changing_one_text_moves_no_other_embedding(data: st.DataObject):
    text = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)
    texts = data.draw(st.lists(text, min_size=2, max_size=40))
    changed = data.draw(st.integers(0, len(texts) - 1))
    product = PRODUCT
    before = embed(product, texts)
    after = embed(product, [data.draw(text) if i == changed else old for i, old in enumerate(texts)])
    others = np.arange(len(texts)) != changed
    np.testing.assert_allclose(after[others], before[others], atol=1e-5)


def test_padding_would_be_noticed_if_it_leaked():
    product = tiny_product()
    group = group_by_length([np.array([2, 40, 3])], pad_id=PAD).groups[0]
    with torch.no_grad():
        right = product.encoder.pool(product.encoder.hidden(group), group)
        leaky = type(group)(ids=group.ids, mask=torch.ones_like(group.mask), rows=group.rows)
        wrong = product.encoder.pool(product.encoder.hidden(leaky), leaky)
    assert (right - wrong).abs().max() > 1e-3


# ---------------------------------------------------------------------------------------------- the corpus


def corpus(turns: list[tuple[int, int]]) -> Corpus:
    return Corpus(
        texts=tuple(f"text {i}" for i in range(len(turns))),
        conversation=np.array([conversation for conversation, _ in turns], dtype=np.int64),
        turn=np.array([turn for _, turn in turns], dtype=np.int64),
        digest="x",
    )


@pytest.mark.parametrize(
    ("turns", "pairs"),
    [
        ([(0, 0), (0, 1), (0, 2)], [(0, 1), (1, 2)]),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 1), (2, 3)]),
        ([(0, -1), (0, -1)], []),  # passages of a plain document
        ([(0, 0), (0, 2), (0, 3)], [(1, 2)]),  # turn 1 was dropped: 2 does not answer 0
        ([(0, 0)], []),
        ([], []),
    ],
)
def test_only_turns_that_follow_each_other_make_a_pair(turns: list[tuple[int, int]], pairs: list[tuple[int, int]]):
    assert list(corpus(turns).pairs()) == pairs


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(1, 40), st.integers(0, 5))
def test_a_sample_holds_whole_documents_and_no_more_than_asked_for(sizes: list[int], most: int, seed: int):
    whole = corpus([(number, turn) for number, size in enumerate(sizes) for turn in range(size)])
    part = whole.sample(most, seed=seed)
    for number in set(part.conversation.tolist()):
        assert (part.conversation == number).sum() == sizes[number]
    assert len(part) <= most or len(set(part.conversation.tolist())) == 1
    assert len(part) > most - max(sizes) or len(part) == len(whole)  # another document would not have fitted
    assert list(part.texts) == [text for text in whole.texts if text in part.texts]


def test_a_sample_that_fits_exactly_is_taken():
    whole = corpus([(number, turn) for number in range(5) for turn in range(4)])
    assert [len(whole.sample(most, seed=0)) for most in (4, 7, 8, 19, 20)] == [4, 4, 8, 16, 20]


def test_a_tokenised_text_is_a_slice_of_the_flat_array():
    tokens = Tokenised(flat=np.array([1, 2, 3]), starts=np.array([0, 2, 2, 3]))
    assert [tokens[i].tolist() for i in range(len(tokens))] == [[1, 2], [], [3]]
