"""Pictures as squares of bytes: decoded once, kept once, the same after a kill."""

import errno
import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shoptalk.errors import SourceError, StorageError
from shoptalk.image import pixels as kept
from shoptalk.image.decode import MOST_PIXELS
from shoptalk.image.pixels import decode_all, decode_to, square, square_of
from shoptalk.records import Item, Picture


def pictures(folder: Path, n: int) -> list[Picture]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(n):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)).save(path)
        made.append(Picture(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    return made


def test_an_item_that_is_a_picture_has_a_row_and_equal_files_share_it(tmp_path: Path) -> None:
    first, second = pictures(tmp_path, 2)
    again = Picture(path=first.path, sha256=first.sha256)
    items: list[Item] = ["a caption", first, second, "another", again]
    pixels = decode_all(items, size=8)
    assert pixels.rows.tolist() == [-1, 0, 1, -1, 0] and pixels.array.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(pixels.take([4]), pixels.take([1]))
    with pytest.raises(IndexError, match="item 3 is no picture"):
        pixels.take([1, 3])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_a_square_of_any_picture_has_its_size(width: int, height: int, size: int) -> None:
    assert square(Image.new("RGB", (width, height), "red"), size).shape == (size, size, 3)


def test_a_square_is_what_the_processor_of_transformers_makes() -> None:
    from transformers import CLIPImageProcessor

    rng = np.random.default_rng(1)
    processor = CLIPImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, do_rescale=False, do_normalize=False
    )
    for shape in ((40, 23), (16, 16), (17, 50), (9, 12)):
        image = Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
        np.testing.assert_array_equal(square(image, 16), theirs)


def test_decoding_goes_on_where_a_process_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = pictures(tmp_path, 10)
    monkeypatch.setattr(kept, "_CHUNK", 3)
    opened: list[str] = []
    read = kept.picture_bytes

    def counted(path: str, *, most: int) -> bytes:
        opened.append(path)
        if len(opened) == 8:
            raise KeyboardInterrupt
        return read(path, most=most)

    monkeypatch.setattr(kept, "picture_bytes", counted)
    with pytest.raises(KeyboardInterrupt):
        decode_to(tmp_path / "pixels", items, size=8, digest="d")
    pixels = decode_to(tmp_path / "pixels", items, size=8, digest="d")
    np.testing.assert_array_equal(pixels.array, decode_all(items, size=8).array)
    assert opened[8:12] == [item.path for item in items[6:10]][:4] or set(opened[8:]) >= {items[6].path}
    assert not (tmp_path / "pixels.half").exists()
    before = len(opened)
    decode_to(tmp_path / "pixels", items, size=8, digest="d")
    assert len(opened) == before, "a finished array is not decoded again"


def test_a_full_disk_is_said_and_decoding_goes_on_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written and not mapped: where a map's disk is full, the system ends the process (SIGBUS)."""
    items = pictures(tmp_path, 10)
    monkeypatch.setattr(kept, "_CHUNK", 3)
    space = 1_000

    def full(file: int) -> None:
        about = os.fstat(file)
        if stat.S_ISREG(about.st_mode) and about.st_size > space:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="The disk is full"):
        decode_to(tmp_path / "pixels", items, size=8, digest="d")
    space = 1_000_000
    pixels = decode_to(tmp_path / "pixels", items, size=8, digest="d")
    np.testing.assert_array_equal(pixels.array, decode_all(items, size=8).array)


def test_a_picture_that_has_changed_since_is_named_and_not_taken_for_what_was_judged(tmp_path: Path) -> None:
    first, second = pictures(tmp_path, 2)
    Path(first.path).write_bytes(Path(second.path).read_bytes())
    with pytest.raises(SourceError, match=r"0\.png.*holds other bytes than then"):
        decode_to(tmp_path / "pixels", [first, second], size=8, digest="d")


def test_a_picture_that_has_gone_since_is_named(tmp_path: Path) -> None:
    items = pictures(tmp_path, 3)
    Path(items[1].path).unlink()
    with pytest.raises(SourceError, match=r"1\.png was read before and cannot be now"):
        decode_all(items, size=8)


@pytest.mark.parametrize("shape", [(60_000, 1), (1, 60_000), (4_000, 3)])
def test_a_picture_as_narrow_as_a_line_becomes_a_square_in_little_memory(shape: tuple[int, int]) -> None:
    image = Image.new("RGB", shape, "black")
    middle = (shape[0] // 2, shape[1] // 2)
    image.paste("white", (middle[0] - 1, middle[1] - 1, middle[0] + 1, middle[1] + 1))
    cut = square(image, 96)
    assert cut.shape == (96, 96, 3) and cut[:, :, 0].max() > 100


def test_a_picture_of_up_to_sixteen_times_its_width_is_scaled_whole() -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 80, 3), dtype=np.uint8)
    whole = Image.fromarray(values).resize((128, 8), Image.Resampling.BICUBIC).crop((60, 0, 68, 8))
    np.testing.assert_array_equal(square(Image.fromarray(values), 8), np.asarray(whole))


def test_a_picture_that_the_settings_allowed_is_read_though_it_is_larger_than_others_may_be(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, MOST_PIXELS // 10_000 + 1)).save(path)
    picture = Picture(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert square_of(picture, 8).shape == (8, 8, 3)


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    half = tmp_path / "pixels.half"
    half.mkdir()
    (half / ".done.json.1a2b3c4d").write_text("{")
    decode_to(tmp_path / "pixels", pictures(tmp_path, 2), size=8, digest="d")
    assert not half.exists()
