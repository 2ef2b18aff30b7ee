"""Smoothing against loops over the equation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from shoptalk.nn.heads.pool import HOPS, Pool, smooth


def unit(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def scattered(n: int, *, width: int = 5, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, width)))


def nearest(query: np.ndarray, corpus: np.ndarray, k: int, *, without: int | None = None) -> list[int]:
    """Positions of the k largest cosines, by sorting all of them."""
    cosines = [(-float(np.dot(query.astype(np.float64), row)), i) for i, row in enumerate(corpus) if i != without]
    return [i for _, i in sorted(cosines)[:k]]


def one_hop(query: np.ndarray, corpus: np.ndarray, positions: list[int]) -> np.ndarray:
    mean = np.zeros(len(query))
    for position in positions:
        mean += corpus[position].astype(np.float64) / len(positions)
    moved = query.astype(np.float64) + mean
    return moved / np.sqrt((moved**2).sum())


def test_smoothing_is_the_equation_written_as_a_loop() -> None:
    own, corpus = scattered(7), scattered(9, seed=1)
    positions = np.random.default_rng(2).integers(0, 9, size=(7, 3))
    expected = [one_hop(own[i], corpus, positions[i].tolist()) for i in range(7)]
    assert_allclose(smooth(own, corpus, positions), expected, atol=1e-6)


def test_blocks_change_nothing_and_the_given_vectors_stay_as_they_are() -> None:
    own, corpus = scattered(4100), scattered(50, seed=1)
    positions = np.random.default_rng(2).integers(0, 50, size=(4100, 3))
    before = own.copy()
    whole = smooth(own, corpus, positions)
    assert_allclose(whole[4090:], smooth(own[4090:], corpus, positions[4090:]), atol=1e-7)
    np.testing.assert_array_equal(own, before)


def test_a_vector_that_its_neighbours_cancel_becomes_zero_and_not_nan() -> None:
    own = np.array([[1.0, 0.0]], dtype=np.float32)
    assert np.isfinite(smooth(own, -own, np.array([[0]]))).all()


def test_a_pools_levels_are_hops_over_neighbours_without_the_text_itself() -> None:
    vectors = scattered(40)
    pool = Pool.of(vectors, k=3)
    level = vectors
    for hop in range(1, HOPS + 1):
        expected = [one_hop(level[i], level, nearest(level[i], level, 3, without=i)) for i in range(40)]
        assert_allclose(pool.levels[hop], expected, atol=1e-5)
        level = pool.levels[hop]
    np.testing.assert_array_equal(pool.levels[0], vectors)


@pytest.mark.parametrize("hops", range(HOPS + 1))
def test_other_texts_move_hop_by_hop_among_the_pools_own_levels(hops: int) -> None:
    pool, queries = Pool.of(scattered(40), k=4), scattered(6, seed=3)
    expected = queries
    for hop in range(hops):
        level = pool.levels[hop]
        expected = np.array([one_hop(row, level, nearest(row, level, 4)) for row in expected])
    assert_allclose(pool.smooth(queries, hops=hops), expected, atol=1e-5)


def test_smoothing_brings_texts_of_one_topic_together() -> None:
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(3, 16)))
    topic = rng.integers(0, 3, 300)
    texts = unit(centres[topic] + 0.35 * rng.normal(size=(300, 16)))
    pool = Pool.of(texts[:250])
    inside = [float((view * centres[topic[250:]]).sum(axis=1).mean()) for view in pool.views(texts[250:])]
    assert inside[0] + 0.1 < inside[1]


@pytest.mark.parametrize(("texts", "k"), [(3, 2), (100, 4), (3000, 6), (8000, 10)])
def test_the_number_of_neighbours_grows_with_the_pool_from_4_to_10(texts: int, k: int) -> None:
    pool = Pool.of(scattered(texts, width=3))
    assert (pool.k, len(pool)) == (k, texts)


def test_one_text_is_no_pool() -> None:
    with pytest.raises(ValueError, match="at least two vectors, got 1"):
        Pool.of(scattered(1))
