"""Span corruption: what is hidden, how much of it, and that nothing is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.errors import BaseModelError
from shoptalk.nn.tiny import tiny_tokenizer
from shoptalk.nn.tiny_t5 import tiny_bytes_with_sentinels
from shoptalk.text.spans import SENTINELS, SourceTarget, SpanCorrupter, sentinels_of

MARKS = np.arange(1000, 1020)
"""Ids above those of every text here."""


def spans_in(target: np.ndarray) -> list[list[int]]:
    """The runs of ordinary tokens after each sentinel but the last; sentinels must come in their order."""
    spans: list[list[int]] = []
    for token in target.tolist():
        if token >= MARKS[0]:
            assert token == MARKS[len(spans)]
            spans.append([])
        else:
            spans[-1].append(token)
    assert spans[-1] == [], "the last sentinel ends the target"
    return spans[:-1]


def restored(pair: SourceTarget) -> list[int]:
    """The text again: each sentinel of the source replaced by its span."""
    spans, text = iter(spans_in(pair.target)), list[int]()
    for token in pair.source.tolist():
        text += next(spans) if token >= MARKS[0] else [token]
    assert next(spans, None) is None
    return text


texts = st.lists(st.lists(st.integers(0, 999), max_size=90), min_size=1, max_size=4)


@given(texts, st.floats(0.02, 0.9), st.floats(1, 12), st.integers(2, 20), st.integers(0, 3))
def test_source_and_target_restore_the_text(
    rows: list[list[int]], rate: float, mean: float, sentinels: int, step: int
) -> None:
    corrupter = SpanCorrupter(MARKS[:sentinels], rate=rate, mean_length=mean)
    pairs = corrupter([np.array(row, dtype=np.int64) for row in rows], range(len(rows)), seed=1, step=step)
    for row, pair in zip(rows, pairs, strict=True):
        assert restored(pair) == row
        hidden, spans = corrupter.counts(len(row))
        assert [len(spans_in(pair.target)), sum(map(len, spans_in(pair.target)))] == [spans, hidden]
        assert all(spans_in(pair.target)), "no span is empty"
        marks = np.flatnonzero(pair.source >= MARKS[0])
        assert (np.diff(marks) > 1).all(), "spans are never next to each other"
        assert spans < sentinels and (spans > 0) == (len(row) > 0)


@pytest.mark.parametrize("length", [10, 20, 100, 500])
def test_fifteen_per_cent_of_the_tokens_are_hidden_in_spans_of_three(length: int) -> None:
    hidden, spans = SpanCorrupter(np.arange(100), rate=0.15, mean_length=3.0).counts(length)
    assert hidden == round(0.15 * length) and spans == max(1, round(hidden / 3))


def test_every_place_is_hidden_as_often_as_every_other() -> None:
    corrupter, ids = SpanCorrupter(MARKS, rate=0.15, mean_length=3.0), np.arange(40)
    counts = np.zeros(40)
    steps = 4_000
    for step in range(steps):
        for span in spans_in(corrupter([ids], [0], seed=0, step=step)[0].target):
            counts[span] += 1
    shares = counts / steps
    assert shares.mean() == pytest.approx(0.15, abs=1e-9)
    # A span that must be whole reaches the two ends less often than the middle.
    assert abs(shares[6:-6] - shares[6:-6].mean()).max() < 0.035
    assert 0.02 < shares[0] < 0.15 and 0.02 < shares[-1] < 0.15


def test_spans_of_two_lengths_are_equally_likely() -> None:
    corrupter, ids = SpanCorrupter(MARKS, rate=0.15, mean_length=3.0), np.arange(40)
    firsts = [len(spans_in(corrupter([ids], [0], seed=0, step=step)[0].target)[0]) for step in range(3_000)]
    # Six tokens in two spans: the first has 1 to 5 of them, each as often.
    np.testing.assert_allclose(np.bincount(firsts, minlength=6)[1:] / 3_000, 0.2, atol=0.03)


def test_what_is_hidden_depends_on_seed_step_and_example_and_not_on_the_batch() -> None:
    corrupter, rows = SpanCorrupter(MARKS, rate=0.15, mean_length=3.0), [np.arange(30), np.arange(50)]
    both = corrupter(rows, [4, 9], seed=2, step=7)
    (alone,) = corrupter(rows[1:], [9], seed=2, step=7)
    for one, other in zip(both[1], alone, strict=True):
        np.testing.assert_array_equal(one, other)
    for seed, step, example in ((3, 7, 9), (2, 8, 9), (2, 7, 8)):
        (changed,) = corrupter(rows[1:], [example], seed=seed, step=step)
        assert changed.source.tolist() != alone.source.tolist()
    assert corrupter([], [], seed=0, step=0) == []


def test_sentinels_are_found_by_t5s_names_and_a_tokenizer_without_them_is_refused() -> None:
    tokenizer = tiny_bytes_with_sentinels(sentinels=7)
    assert tokenizer.convert_ids_to_tokens(sentinels_of(tokenizer).tolist()) == list(SENTINELS[:7])
    with pytest.raises(BaseModelError, match=r"has 0 of the tokens <extra_id_0>.*Give a model of T5's kind"):
        sentinels_of(tiny_tokenizer())
