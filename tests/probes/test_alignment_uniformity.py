import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.encoder import embed
from shoptalk.probes import alignment_uniformity
from shoptalk.probes.alignment_uniformity import alignment, squared_distances, uniformity, uniformity_loss
from tests.tiny import tiny_product

PAIRS = [("where is my order", "it will arrive late"), ("cancel my card", "cancel my card"), ("hello", "hi there")]


def unit_vectors(seed: int, n: int, d: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 999), n=st.integers(2, 20), d=st.integers(1, 8), t=st.floats(0.1, 4.0))
@settings(max_examples=40, deadline=None)
def test_uniformity_is_the_log_mean_potential_of_all_pairs(seed: int, n: int, d: int, t: float) -> None:
    vectors = unit_vectors(seed, n, d)
    potentials = [math.exp(-t * float(((x - y) ** 2).sum())) for x, y in combinations(vectors.astype(float), 2)]
    assert uniformity_loss(vectors, t=t) == pytest.approx(math.log(sum(potentials) / len(potentials)), abs=1e-5)


@pytest.mark.parametrize("block", [1, 3, 7, 50])
def test_the_block_size_changes_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit_vectors(0, 23, 5)
    whole = uniformity_loss(vectors)
    monkeypatch.setattr(alignment_uniformity, "_BLOCK", block)
    assert uniformity_loss(vectors) == pytest.approx(whole, abs=1e-6)


@given(seed=st.integers(0, 999), d=st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_a_rotation_changes_neither(seed: int, d: int) -> None:
    x, y = unit_vectors(seed, 30, d), unit_vectors(seed + 1, 30, d)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    assert uniformity_loss(x @ rotation) == pytest.approx(uniformity_loss(x), abs=1e-5)
    np.testing.assert_allclose(squared_distances(x @ rotation, y @ rotation), squared_distances(x, y), atol=1e-5)


def test_uniformity_is_zero_in_one_point_and_falls_as_vectors_spread() -> None:
    assert uniformity_loss(np.ones((5, 4)) / 2.0) == pytest.approx(0.0, abs=1e-9)
    # Orthogonal vectors are at squared distance 2: log exp(-2 * 2).
    assert uniformity_loss(np.eye(6)) == pytest.approx(-4.0)


def test_squared_distances_are_zero_at_the_same_place_and_four_at_opposite_ones() -> None:
    x = unit_vectors(3, 4, 6)
    np.testing.assert_allclose(squared_distances(x, x), 0.0)
    np.testing.assert_allclose(squared_distances(x, -x), 4.0, rtol=1e-6)


def test_the_alignment_probe_reads_the_mean_squared_distance_of_the_pairs() -> None:
    product = tiny_product()
    reading = alignment(PAIRS)(product)
    left, right = embed(product, [a for a, _ in PAIRS]), embed(product, [b for _, b in PAIRS])
    # Of unit vectors: |x - y|^2 = 2 - 2 x.y
    np.testing.assert_allclose(reading.outcomes, 2.0 - 2.0 * np.einsum("ij,ij->i", left, right), atol=1e-5)
    assert reading.value == pytest.approx(np.mean(reading.outcomes))
    assert reading.outcomes[1] < 1e-9 < reading.outcomes[0]
    assert (reading.key, reading.n) == ("alignment", 3)


def test_the_uniformity_probe_reads_the_loss_of_the_texts() -> None:
    product, texts = tiny_product(), [a for a, _ in PAIRS]
    reading = uniformity(texts)(product)
    assert reading.value == uniformity_loss(embed(product, texts))
    assert (reading.key, reading.n, reading.detail) == ("uniformity", 3, {"t": 2.0})


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="got 1; give at least two"):
        uniformity(["one"])
    with pytest.raises(ValueError, match="got 1; give at least two"):
        uniformity_loss(np.ones((1, 3)))
    with pytest.raises(ValueError, match="got none"):
        alignment([])
