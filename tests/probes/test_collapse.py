import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.probes.collapse import collapse, collapse_alarm, mean_cosine
from shoptalk.probes.rank import rankme
from tests.tiny import WORDS, tiny_product


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def spread(n: int = 200, d: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@given(seed=st.integers(0, 999), n=st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_the_mean_cosine_is_that_of_all_pairs_of_different_vectors(seed: int, n: int) -> None:
    vectors = unit(spread(n, 8, seed) + 0.5)
    pairs = [float(vectors[i] @ vectors[j]) for i in range(n) for j in range(n) if i != j]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-5)


def test_vectors_all_over_the_sphere_are_no_alarm() -> None:
    vectors = unit(spread())
    reading = collapse(vectors)
    assert not reading.detail["collapsed"]
    assert reading.detail["can_tell"]
    assert reading.value == pytest.approx(100.0 * rankme(vectors) / 64)
    assert reading.n == 200


def test_vectors_in_one_point_are_an_alarm() -> None:
    reading = collapse(unit(np.ones((200, 64)) + 1e-5 * spread()))
    assert reading.detail["collapsed"]
    assert reading.detail["mean_cosine"] == pytest.approx(1.0)


def test_vectors_on_two_axes_are_an_alarm_although_their_mean_cosine_is_zero() -> None:
    reading = collapse(unit(spread(d=2) @ np.eye(2, 64)))
    assert reading.detail["collapsed"]
    assert abs(reading.detail["mean_cosine"]) < 0.05


def test_a_common_component_alone_is_no_alarm() -> None:
    reading = collapse(unit(spread() + 5.0))
    assert reading.detail["mean_cosine"] > 0.95
    assert not reading.detail["collapsed"]


def test_too_few_vectors_cannot_tell() -> None:
    reading = collapse(unit(np.ones((10, 64))))
    assert not reading.detail["collapsed"]
    assert not reading.detail["can_tell"]


@pytest.mark.parametrize("shape", [(0, 8), (1, 8), (3, 0)])
def test_degenerate_shapes_raise_nothing(shape: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert collapse(np.ones(shape) / 8**0.5).n == shape[0]


def test_vectors_that_are_not_finite_are_an_alarm() -> None:
    vectors = unit(spread())
    vectors[3, 5] = np.nan
    reading = collapse(vectors)
    assert reading.detail["collapsed"]
    assert np.isnan(reading.value)


def test_the_probe_rings_when_the_encoder_maps_all_texts_to_one_place() -> None:
    texts = [f"{a} {b}" for a, b in zip(WORDS, reversed(WORDS), strict=True)]
    product = tiny_product()
    alarm = collapse_alarm(texts)
    assert not alarm(product).detail["collapsed"]
    with torch.no_grad():
        last = product.network.backbone.encoder.layer[-1].output.LayerNorm
        last.weight.mul_(1e-5)
        last.bias.fill_(1.0)
    assert alarm(product).detail["collapsed"]


def test_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="needs texts"):
        collapse_alarm([])
