import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.encoder import embed
from shoptalk.probes.rank import rank, rankme
from tests.tiny import tiny_product

TEXTS = ["where is my order", "cancel the card", "thank you", "what is the fee", "a dog and a cat", "change my pin"]


def random_vectors(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def entropy_rank(vectors: np.ndarray) -> float:
    """From the eigenvalues of the Gram matrix, another way to the singular values."""
    gram = vectors.astype(np.float64).T @ vectors.astype(np.float64)
    sigma = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None))
    shares = [s / sigma.sum() for s in sigma if s > 1e-7 * sigma.max()]
    return float(np.exp(-sum(p * np.log(p) for p in shares)))


@given(seed=st.integers(0, 999), n=st.integers(2, 40), d=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_it_is_the_exponential_of_the_entropy_of_the_singular_values(seed: int, n: int, d: int) -> None:
    vectors = random_vectors(seed, n, d)
    assert rankme(vectors) == pytest.approx(entropy_rank(vectors), rel=1e-4)


@given(d=st.integers(1, 64), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_a_multiple_of_the_identity_has_full_rank(d: int, scale: float) -> None:
    assert rankme(scale * np.eye(d)) == pytest.approx(d, rel=1e-4)


@given(seed=st.integers(0, 999), n=st.integers(1, 30), d=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_it_lies_between_one_and_the_smaller_side(seed: int, n: int, d: int) -> None:
    assert 1.0 - 1e-4 <= rankme(random_vectors(seed, n, d)) <= min(n, d) * (1.0 + 1e-4)


@given(seed=st.integers(0, 999), d=st.integers(2, 16))
@settings(max_examples=30, deadline=None)
def test_a_rotation_changes_nothing(seed: int, d: int) -> None:
    vectors = random_vectors(seed, 25, d)
    rotation = np.linalg.qr(random_vectors(seed + 1, d, d))[0]
    assert rankme(vectors @ rotation) == pytest.approx(rankme(vectors), rel=1e-4)


def test_vectors_on_one_line_have_rank_one_even_at_zero() -> None:
    assert rankme(np.outer(np.arange(1.0, 50.0), np.ones(8))) == pytest.approx(1.0, rel=1e-4)
    assert rankme(np.zeros((5, 8))) == pytest.approx(1.0, rel=1e-4)


def test_no_vector_and_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0, 8\) is undefined; give at least one vector"):
        rankme(np.zeros((0, 8)))
    with pytest.raises(ValueError, match="needs texts"):
        rank([])


def test_the_probe_reads_the_rank_of_the_texts() -> None:
    product = tiny_product()
    reading = rank(TEXTS)(product)
    assert reading.value == rankme(embed(product, TEXTS))
    assert (reading.key, reading.unit, reading.n) == ("rankme", "effective dimensions", 6)
    vectors = embed(product, TEXTS)
    assert (reading.detail["dimensions"], reading.detail["most"]) == (32, 6)
    assert reading.detail["centred"] == rankme(vectors - vectors.mean(axis=0))
    distances = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    np.testing.assert_allclose(reading.detail["spread"], np.sqrt((distances**2).mean()), rtol=1e-5)
