"""Smoothing against loops over the equation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from shoptalk.nn.heads.pool import Pool, smooth


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


def test_a_pool_is_smoothed_over_neighbours_without_the_text_itself() -> None:
    vectors = scattered(40)
    pool = Pool.of(vectors, k=3)
    expected = [one_hop(vectors[i], vectors, nearest(vectors[i], vectors, 3, without=i)) for i in range(40)]
    assert_allclose(pool.smoothed, expected, atol=1e-5)
    np.testing.assert_array_equal(pool.vectors, vectors)


def test_other_texts_move_among_the_pools_own_vectors() -> None:
    pool, queries = Pool.of(scattered(40), k=4), scattered(6, seed=3)
    expected = [one_hop(row, pool.vectors, nearest(row, pool.vectors, 4)) for row in queries]
    assert_allclose(pool.smooth(queries), expected, atol=1e-5)


def test_smoothing_brings_texts_of_one_topic_together() -> None:
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(3, 16)))
    topic = rng.integers(0, 3, 300)
    texts = unit(centres[topic] + 0.35 * rng.normal(size=(300, 16)))
    asked, own = texts[250:], centres[topic[250:]]
    before, after = (float((view * own).sum(axis=1).mean()) for view in (asked, Pool.of(texts[:250]).smooth(asked)))
    assert before + 0.1 < after


@pytest.mark.parametrize(("texts", "k"), [(3, 2), (100, 4), (3000, 6), (8000, 10)])
def test_the_number_of_neighbours_grows_with_the_pool_from_4_to_10(texts: int, k: int) -> None:
    pool = Pool.of(scattered(texts, width=3))
    assert (pool.k, len(pool)) == (k, texts)


def test_one_text_is_no_pool() -> None:
    with pytest.raises(ValueError, match="at least two vectors, and was given 1"):
        Pool.of(scattered(1))
