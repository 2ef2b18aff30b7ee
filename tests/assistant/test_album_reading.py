"""What an album compares pictures by: chosen on copies, and the mean of cosines where several look."""

import numpy as np
import pytest

from shoptalk.assistant.album_reading import (
    ALONE,
    BESIDE,
    READINGS,
    BesideFeatures,
    chosen_reading,
    embedded,
    reading_of,
)
from shoptalk.errors import ArtifactError
from shoptalk.image.pixels import resized
from shoptalk.nn.features import feature_encoder
from tests.assistant.test_album import SIDE, Blind, Thumbs, blots


def test_the_cosine_of_a_reading_with_features_is_the_mean_of_theirs() -> None:
    pictures, encoder = blots(8), Thumbs()
    both = BesideFeatures(encoder).embed_pixels(pictures)
    parts = [encoder.embed_pixels(pictures)]
    for name, side in (("pixels", 16), ("hog", 32)):
        feature = feature_encoder(name, side, name=name)
        parts.append(feature.embed_pixels(resized(pictures, side)))
    assert BesideFeatures(encoder).size == SIDE and both.dtype == np.float32
    np.testing.assert_allclose(both @ both.T, np.mean([part @ part.T for part in parts], axis=0), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)


def test_a_picture_in_another_size_has_the_means_of_what_it_covers() -> None:
    pictures = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    pictures[0, :2, :2] = [[[10, 20, 30]]]
    pictures[0, 0, 0] = 50
    small = resized(pictures, 2)
    np.testing.assert_array_equal(small[0, 0, 0], [20, 28, 35])  # a half is rounded away from nought
    assert not small[0, 1].any() and resized(pictures, 4) is pictures


def test_features_serve_an_encoder_that_sees_little() -> None:
    pictures, lines = blots(120), list[str]()
    same = np.arange(len(pictures))
    assert chosen_reading(Blind(), pictures, same=same, max_wrong=0.05, tell=lines.append) == BESIDE
    assert lines[0].startswith("pictures: of distorted copies are recognised 0% by encoder")


def test_where_no_reading_recognises_more_the_encoder_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BesideFeatures, "embed_pixels", lambda self, pictures: Thumbs().embed_pixels(pictures))
    pictures = blots(40)
    assert chosen_reading(Thumbs(), pictures, same=np.arange(40), max_wrong=0.05) == ALONE == READINGS[0]


def test_a_reading_that_is_not_known_is_refused() -> None:
    encoder = Thumbs()
    assert reading_of(ALONE, encoder) is encoder
    with pytest.raises(ArtifactError, match="by 'smell', and known is: encoder"):
        reading_of("smell", encoder)


def test_vectors_that_are_not_finite_are_refused() -> None:
    class Broken(Thumbs):
        def embed_pixels(self, pictures: np.ndarray) -> np.ndarray:
            return np.full((len(pictures), 2), np.nan, dtype=np.float32)

    with pytest.raises(ArtifactError, match="not finite"):
        embedded(Broken(), blots(2))
