import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.image.distort import DISTORTIONS, Distortion, distort


def ramp(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 255 * (x + y) / (height + width)], axis=-1).astype(np.uint8)


@given(st.integers(4, 40), st.integers(4, 40), st.sampled_from(DISTORTIONS), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_copy_has_the_size_of_its_picture_and_is_the_same_for_the_same_seed(
    height: int, width: int, how: Distortion, seed: int
) -> None:
    picture = ramp(height, width)
    copy = distort(picture, how, seed=seed)
    assert copy.shape == picture.shape
    np.testing.assert_array_equal(copy, distort(picture, how, seed=seed))


@pytest.mark.parametrize("how", DISTORTIONS)
def test_copies_differ_from_their_picture_and_from_each_other(how: Distortion) -> None:
    picture = ramp(48, 48)
    copies = [distort(picture, how, seed=seed) for seed in range(6)]
    assert all((copy != picture).any() for copy in copies)
    assert any((copies[0] != copy).any() for copy in copies[1:])


def test_a_cropped_copy_is_a_part_of_its_picture_made_larger() -> None:
    picture = ramp(64, 64)
    copy = distort(picture, "cropped", seed=1).astype(int)
    assert np.ptp(copy[..., 0]) < np.ptp(picture[..., 0].astype(int))
    assert (np.diff(copy[32, 4:-4, 0]) >= -1).all(), "its order from left to right is kept"


def test_a_photographed_copy_stays_where_it_was_but_for_its_edges() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[24:40, 24:40] = 255
    copy = distort(picture, "photographed", seed=3).mean(axis=-1)
    assert copy[28:36, 28:36].mean() > 2 * copy[:8].mean()
