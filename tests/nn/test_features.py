"""Untrained features of pictures: what they are, that they are saved and opened, and that nobody trains them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8

from shoptalk.errors import ConfigError
from shoptalk.nn.bases import began_as, kind_of, open_base
from shoptalk.nn.digests import base_digest
from shoptalk.nn.features import FeatureEncoder, colours, oriented_gradients


def drawn(n: int, size: int) -> UInt8[np.ndarray, "n S S 3"]:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def opened(ref: str) -> FeatureEncoder:
    product = open_base(ref)
    assert isinstance(product, FeatureEncoder)
    return product


def hog_by_loops(picture: np.ndarray) -> np.ndarray:
    """Dalal & Triggs' histogram, pixel by pixel, from their description."""
    size = len(picture)
    cells = np.zeros((size // 8, size // 8, 9))
    for y in range(size):
        for x in range(size):
            best = (0.0, 0.0)
            for channel in range(3):
                across = picture[y, min(x + 1, size - 1), channel] - picture[y, max(x - 1, 0), channel]
                down = picture[min(y + 1, size - 1), x, channel] - picture[max(y - 1, 0), x, channel]
                if np.hypot(across, down) > np.hypot(*best):
                    best = (across, down)
            angle = np.degrees(np.arctan2(best[1], best[0])) % 180
            lower, share = divmod(angle / 20, 1)
            cells[y // 8, x // 8, int(lower) % 9] += np.hypot(*best) * (1 - share)
            cells[y // 8, x // 8, (int(lower) + 1) % 9] += np.hypot(*best) * share
    blocks = []
    for y in range(size // 8 - 1):
        for x in range(size // 8 - 1):
            block = cells[y : y + 2, x : x + 2].reshape(-1)
            block = np.minimum(block / np.linalg.norm(block), 0.2)
            blocks.append(block / np.linalg.norm(block))
    return np.array(blocks)


def test_hog_is_what_the_paper_describes_computed_pixel_by_pixel() -> None:
    picture = np.random.default_rng(1).random((24, 24, 3)).astype(np.float32)
    features = oriented_gradients(torch.from_numpy(picture).permute(2, 0, 1)[None])[0].numpy()
    # [directions of a block's four cells, places]: one unit vector for each block
    ours = features.reshape(36, 4).T * 2  # four blocks of length 1, and the whole of length 1
    np.testing.assert_allclose(ours, hog_by_loops(picture), atol=1e-4)


def test_a_brighter_picture_has_the_same_gradients() -> None:
    picture = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(oriented_gradients(picture), oriented_gradients(picture * 0.5 + 0.2), atol=1e-4, rtol=0)


def test_colours_are_those_of_the_picture_wherever_they_are() -> None:
    picture = torch.rand(1, 3, 16, 16)
    turned = picture.flip(2, 3)
    torch.testing.assert_close(colours(picture), colours(turned))
    assert colours(picture).norm().item() == pytest.approx(1.0, abs=1e-5)
    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 1.0
    assert colours(red).argmax().item() == 3 * 16


@pytest.mark.parametrize(("ref", "dim"), [("pixels", 3072), ("hog", 388), ("hog@64", 1828), ("pixels@16", 768)])
def test_features_are_saved_and_opened_again(ref: str, dim: int, tmp_path: Path) -> None:
    product = opened(ref)
    vectors = product.embed_pixels(drawn(3, product.size))
    assert vectors.shape == (3, dim) == (3, product.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    product.save(tmp_path, card="# Features\n")
    again = opened(str(tmp_path))
    np.testing.assert_array_equal(again.embed_pixels(drawn(3, product.size)), vectors)
    assert kind_of(ref) == kind_of(str(tmp_path)) == "image" and began_as(str(tmp_path)) is None
    assert base_digest(str(tmp_path)) and base_digest(ref) != base_digest("hog@96")


def test_features_are_never_trained() -> None:
    with pytest.raises(ConfigError, match=r"no weights that could be trained.*--base scratch:resnet-mini"):
        opened("hog").ready_to_train()
