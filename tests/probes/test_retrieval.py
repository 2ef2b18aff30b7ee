import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.encoder import embed
from shoptalk.probes.retrieval import choose_pairs, reciprocal_ranks, retrieval
from shoptalk.text.corpus import Corpus
from tests.tiny import tiny_product

PAIRS = [
    ("where is my order", "your order will arrive late"),
    ("cancel my card", "card is cancel now"),
    ("what is the fee", "no fee"),
    ("hello", "hi how can i help you"),
]


def corpus_of(*conversations: list[str]) -> Corpus:
    """Conversations as lists of turns."""
    return Corpus(
        items=tuple(text for turns in conversations for text in turns),
        conversation=np.array([i for i, turns in enumerate(conversations) for _ in turns], dtype=np.int64),
        turn=np.array([i for turns in conversations for i in range(len(turns))], dtype=np.int64),
        digest="",
    )


def unit_vectors(seed: int, n: int, d: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 999), n=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_the_rank_is_the_place_of_the_true_reply_in_the_sorted_list(seed: int, n: int) -> None:
    contexts, replies = unit_vectors(seed, n), unit_vectors(seed + 1, n)
    expected = []
    for i in range(n):
        order = sorted(range(n), key=lambda j: -float(contexts[i] @ replies[j]))
        expected.append(1.0 / (order.index(i) + 1))
    np.testing.assert_allclose(reciprocal_ranks(contexts, replies), expected)


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_pairs_and_a_rotation_change_nothing(seed: int) -> None:
    contexts, replies = unit_vectors(seed, 20), unit_vectors(seed + 1, 20)
    rng = np.random.default_rng(seed)
    order, rotation = rng.permutation(20), np.linalg.qr(rng.normal(size=(6, 6)))[0]
    whole = reciprocal_ranks(contexts, replies)
    np.testing.assert_allclose(reciprocal_ranks(contexts[order], replies[order]), whole[order])
    np.testing.assert_allclose(reciprocal_ranks(contexts @ rotation, replies @ rotation), whole)


def test_an_encoder_that_puts_all_in_one_place_gains_nothing() -> None:
    same = np.tile(np.eye(1, 4), (10, 1))
    np.testing.assert_allclose(reciprocal_ranks(same, same), 0.1)


def test_the_probe_reads_the_mean_reciprocal_rank() -> None:
    product = tiny_product()
    reading = retrieval(PAIRS)(product)
    similarity = embed(product, [c for c, _ in PAIRS]) @ embed(product, [r for _, r in PAIRS]).T
    ranks = [1 + sum(similarity[i, j] > similarity[i, i] for j in range(4)) for i in range(4)]
    assert reading.outcomes == tuple(1.0 / rank for rank in ranks)
    assert reading.value == pytest.approx(100.0 * sum(1.0 / rank for rank in ranks) / 4)
    assert reading.detail["recall_at_1"] == 100.0 * ranks.count(1) / 4
    assert reading.detail["candidates"] == reading.n == 4
    assert reading.detail["chance"] == pytest.approx(100.0 * (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_vectors_at_random_read_about_chance() -> None:
    found = np.mean([reciprocal_ranks(unit_vectors(s, 100), unit_vectors(s + 50, 100)).mean() for s in range(50)])
    chance = math.fsum(1.0 / rank for rank in range(1, 101)) / 100
    assert found == pytest.approx(chance, rel=0.1)


def test_pairs_are_consecutive_turns_of_one_conversation() -> None:
    corpus = corpus_of(["a", "b", "c"], ["d", "e"], ["alone"])
    assert set(choose_pairs(corpus, seed=0)) == {("a", "b"), ("b", "c"), ("d", "e")}


def test_one_pair_a_conversation_where_there_are_enough() -> None:
    conversations = [[f"{i} first", f"{i} second", f"{i} third"] for i in range(20)]
    few = choose_pairs(corpus_of(*conversations), seed=0, most=20)
    assert len({context.split()[0] for context, _ in few}) == len(few) == 20
    more = choose_pairs(corpus_of(*conversations), seed=0, most=30)
    assert len(more) == 30
    assert more[:20] == few


def test_a_conversation_whose_first_choice_is_a_duplicate_gives_another_pair_before_others_give_two() -> None:
    conversations = [[f"{i} asks", "ok", f"{i} again", f"{i} answer"] for i in range(10)]
    for seed in range(10):
        chosen = choose_pairs(corpus_of(*conversations), seed=seed, most=10)
        assert len({i for i in range(10) for c, r in chosen if f"{i} " in f"{c} {r} "}) == 10


def test_replies_are_distinct_but_for_case_and_white_space_and_no_reply_repeats_its_context() -> None:
    corpus = corpus_of(["a", "Thank you"], ["b", "thank  you"], ["c", "THANK YOU "], ["same", "Same"], ["d", "bye"])
    chosen = choose_pairs(corpus, seed=3)
    assert sorted(reply.casefold().split()[0] for _, reply in chosen) == ["bye", "thank"]


def test_the_choice_depends_on_the_seed_alone() -> None:
    corpus = corpus_of(*[[f"{i} q", f"{i} a"] for i in range(40)])
    assert choose_pairs(corpus, seed=1, most=10) == choose_pairs(corpus, seed=1, most=10)
    assert choose_pairs(corpus, seed=1, most=10) != choose_pairs(corpus, seed=2, most=10)


def test_at_most_a_thousand_pairs_unless_told_otherwise() -> None:
    corpus = corpus_of(*[[f"{i} q", f"{i} a"] for i in range(1100)])
    assert len(choose_pairs(corpus, seed=0)) == 1000


def test_a_corpus_of_passages_has_no_pairs() -> None:
    corpus = Corpus(items=("a", "b"), conversation=np.array([0, 0]), turn=np.array([-1, -1]), digest="")
    assert choose_pairs(corpus, seed=0) == ()


def test_a_repeated_reply_and_a_single_pair_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 \(context, reply\) pairs with 1 different replies"):
        retrieval([("a", "yes"), ("b", "Yes")])
    with pytest.raises(ValueError, match="expected at least two"):
        retrieval(PAIRS[:1])
