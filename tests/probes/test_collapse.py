import numpy as np
import pytest
import torch

from shoptalk.probes.collapse import collapsed
from shoptalk.probes.rank import KEY, rank, rank_of, rankme
from shoptalk.records import Reading
from tests.tiny import WORDS, tiny_product


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def spread(n: int = 200, d: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def reading(vectors: np.ndarray) -> Reading:
    return rank_of(vectors.astype(np.float32))


def mean_cosine(vectors: np.ndarray) -> float:
    cosines = vectors @ vectors.T
    return float(cosines[~np.eye(len(vectors), dtype=bool)].mean())


def test_vectors_all_over_the_sphere_are_no_alarm() -> None:
    vectors = unit(spread())
    assert not collapsed(reading(vectors))


def test_vectors_in_one_point_are_an_alarm() -> None:
    assert collapsed(reading(unit(np.ones((200, 64)) + 1e-5 * spread())))


def test_vectors_on_two_axes_are_an_alarm_although_their_mean_cosine_is_zero() -> None:
    vectors = unit(spread(d=2) @ np.eye(2, 64))
    assert collapsed(reading(vectors))
    assert abs(mean_cosine(vectors)) < 0.05


def test_a_common_component_alone_is_no_alarm() -> None:
    vectors = unit(spread() + 5.0)
    assert mean_cosine(vectors) > 0.95
    assert not collapsed(reading(vectors))


def test_a_common_component_that_hides_all_others_is_no_alarm() -> None:
    vectors = unit(spread(n=512, d=128) + 30.0)
    assert mean_cosine(vectors) > 0.995
    assert 100 * rankme(vectors) / 128 < 5.0
    assert not collapsed(reading(vectors))


def test_few_dimensions_around_a_common_component_are_an_alarm() -> None:
    few = spread(n=512, d=2) @ np.eye(2, 128)
    assert collapsed(reading(unit(few + 3.0)))


def test_a_reading_without_what_is_left_less_the_mean_is_judged_by_rankme_alone() -> None:
    old = reading(unit(spread(n=512, d=128) + 30.0))
    assert collapsed(Reading(key=KEY, name=old.name, value=old.value, unit="", n=old.n, detail={"most": 128}))


def test_too_few_vectors_cannot_tell() -> None:
    assert not collapsed(reading(unit(np.ones((10, 64)))))


def test_the_alarm_rings_when_the_encoder_maps_all_texts_to_one_place() -> None:
    texts = [f"{a} {b}" for a, b in zip(WORDS, reversed(WORDS), strict=True)]
    product = tiny_product()
    probe = rank(texts)
    assert not collapsed(probe(product))
    with torch.no_grad():
        last = product.network.backbone.encoder.layer[-1].output.LayerNorm
        last.weight.mul_(1e-5)
        last.bias.fill_(1.0)
    assert collapsed(probe(product))


def test_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="needs texts"):
        rank([])
