import numpy as np
import pytest
import torch

from shoptalk.nn.tiny_pictures import tiny_image_encoder
from shoptalk.objectives.toy import SHAPES, toy_pictures


def test_toy_pictures_are_drawings_of_shapes_that_differ_within_a_shape():
    corpus, pixels = toy_pictures(48)
    assert len(corpus) == len(corpus.pictures) == len(pixels) == 48
    assert pixels.array.shape == (48, 16, 16, 3)
    assert np.array_equal(pixels.array, toy_pictures(48)[1].array)
    assert not np.array_equal(pixels.array, toy_pictures(48, seed=1)[1].array)
    assert len(np.unique(pixels.array.reshape(48, -1), axis=0)) == 48
    # A disc is a blob, stripes are rows of one colour: along a row they change less than any other shape.
    changes = np.abs(np.diff(pixels.array.astype(float), axis=2)).mean((1, 2, 3)).reshape(-1, len(SHAPES))
    assert changes.mean(0).argmin() == SHAPES.index("stripes")


@pytest.mark.parametrize("form", ["resnet", "vit"])
def test_a_tiny_image_encoder_is_the_same_for_a_seed_and_leaves_the_global_randomness_alone(form: str):
    state = torch.get_rng_state()
    one, same, other = (tiny_image_encoder(form, seed=seed) for seed in (0, 0, 1))  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)
    pictures = toy_pictures(8)[1].take(range(8))
    assert np.array_equal(one.embed_pixels(pictures), same.embed_pixels(pictures))
    assert not np.allclose(one.embed_pixels(pictures), other.embed_pixels(pictures))
    assert one.embed_pixels(pictures).shape == (8, 32) and not one.network.training
