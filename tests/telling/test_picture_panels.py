"""What the report shows of pictures, whatever has become of their files."""

from pathlib import Path

import numpy as np
from PIL import Image

from shoptalk.image.decode import MOST_BYTES
from shoptalk.nn.scratch_pictures import PICTURE_SIZES, scratch_pictures
from shoptalk.records import Picture
from shoptalk.telling.picture_panels import _attention, cls_attention, shown


def saved(path: Path, *, length: int = 0) -> Picture:
    """A picture's file, filled up with zeros to a length."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    with path.open("r+b") as file:
        file.truncate(max(length, path.stat().st_size))
    return Picture(path=str(path), sha256=path.stem.ljust(64, "0"))


def test_a_picture_that_raised_limits_let_in_is_shown_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    pictures = [saved(tmp_path / "a.png"), saved(tmp_path / "b.png", length=MOST_BYTES + 1), saved(tmp_path / "c.png")]
    (tmp_path / "c.png").unlink()
    assert [shown(picture, "") is not None for picture in pictures] == [True, True, False]
    network = scratch_pictures(PICTURE_SIZES["scratch:vit-nano"]).network
    maps = _attention(network, pictures, lambda picture: Path(picture.path).name)
    assert [row.picture.name for row in maps] == ["a.png", "b.png"]
    assert _attention(network, pictures[2:], lambda picture: "") == ()


def test_a_map_says_how_much_each_head_attends_to_each_patch() -> None:
    network = scratch_pictures(PICTURE_SIZES["scratch:vit-nano"]).network
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    maps = cls_attention(network, pictures)
    assert maps.shape == (3, 4, 8, 8) and maps.min() > 0
    assert (maps.sum((2, 3)) < 1).all()  # the rest is [CLS]'s own
