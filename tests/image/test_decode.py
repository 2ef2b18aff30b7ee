"""A picture's file: decoded within limits, or refused with a reason."""

import io
import random
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoptalk.image.decode import RefusedPicture, open_picture, picture_bytes
from tests.image.hostile import KINDS, bomb


def data_of(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def reason(data: bytes, **limits: int) -> str:
    with pytest.raises(RefusedPicture) as refused:
        open_picture(data, **limits)
    return refused.value.reason


def test_what_is_transparent_becomes_white() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(open_picture(data_of(image))).min() == 255
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 128, 0] + [0] * 765)
    assert np.asarray(open_picture(data_of(palette, "PNG", transparency=0))).min() == 255


def test_a_picture_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    image = Image.new("RGB", (8, 4), "black")
    assert open_picture(data_of(image, "JPEG", exif=exif)).size == (4, 8)


def test_sixteen_bits_of_grey_are_scaled_to_eight() -> None:
    ramp = np.linspace(0, 65_535, 16, dtype=np.uint16).reshape(4, 4)
    decoded = np.asarray(open_picture(data_of(Image.fromarray(ramp))))[..., 0]
    np.testing.assert_allclose(decoded.ravel(), ramp.ravel() / 257, atol=1)


def test_printing_colours_and_palettes_become_rgb() -> None:
    cmyk = open_picture(data_of(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = np.asarray(cmyk)[2, 2].tolist()
    assert cmyk.mode == "RGB" and red > 200 and green < 60 and blue < 60
    assert open_picture(data_of(Image.new("1", (4, 4), 1))).mode == "RGB"


def test_of_an_animation_the_first_frame_is_read() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "green", "blue")]
    data = data_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    red, green, blue = np.asarray(open_picture(data))[0, 0].tolist()
    assert red > 200 and green < 20 and blue < 20


def test_what_is_no_picture_is_refused_whatever_its_name() -> None:
    assert reason(b"") == "empty"
    assert reason(b"name,label\nx,y\n") == "not-a-picture"
    assert reason(b"<svg xmlns='http://www.w3.org/2000/svg'/>") == "not-a-picture"
    assert reason(data_of(Image.new("RGB", (4, 4)))[:40]) in ("damaged", "not-a-picture")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    assert reason(bomb) == "too-many-pixels"
    assert reason(data_of(Image.new("RGB", (100, 100))), most_pixels=9_999) == "too-many-pixels"


def test_half_a_file_is_refused_as_damaged() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "WEBP"):
        data = data_of(noise, kind)
        assert reason(data[: len(data) // 2]) in ("damaged", "not-a-picture")


def test_a_path_through_a_zip_reads_what_lies_inside(tmp_path: Path) -> None:
    picture = data_of(Image.new("RGB", (4, 4), "red"))
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr("cat/1.png", picture)
    assert picture_bytes(f"{tmp_path}/pictures.zip/cat/1.png") == picture
    with pytest.raises(RefusedPicture, match="holds no file"):
        picture_bytes(f"{tmp_path}/pictures.zip/cat/2.png")
    with pytest.raises(RefusedPicture, match="there is no file"):
        picture_bytes(f"{tmp_path}/none.png")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(RefusedPicture, match="cannot be unpacked"):
        picture_bytes(f"{tmp_path}/broken.zip/a.png")


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 1_000_000)
    with pytest.raises(RefusedPicture) as refused:
        picture_bytes(f"{tmp_path}/bomb.zip/a.png", most=100_000)
    assert refused.value.reason == "too-large"


@pytest.mark.parametrize(("values", "expected"), [([0.0, 0.5, 1.0, 1.0], [0, 127, 255, 255]), ([0, 9, 200, 255], None)])
def test_grey_of_fractions_is_scaled_and_of_small_numbers_is_not(
    values: list[float], expected: list[int] | None
) -> None:
    grey = Image.fromarray(np.array(values, dtype=np.float32).reshape(2, 2))
    decoded = np.asarray(open_picture(data_of(grey, "TIFF")))[..., 0].ravel().tolist()
    assert decoded == (expected or values)


def test_dark_grey_of_sixteen_bits_stays_dark() -> None:
    dark = np.array([[0, 100], [200, 255]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        assert np.asarray(open_picture(data_of(Image.fromarray(dark), kind))).max() <= 1


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_grey_beyond_sixteen_bits_is_scaled_by_its_largest_value(kind: type) -> None:
    values = np.array([[0, 100_000], [200_000, 400_000]], dtype=kind)
    decoded = np.asarray(open_picture(data_of(Image.fromarray(values), "TIFF")))[..., 0].ravel()
    np.testing.assert_allclose(decoded, [0, 64, 128, 255], atol=1)


def test_transparency_of_sixteen_bits_of_grey_is_passed_over() -> None:
    grey = Image.fromarray(np.full((4, 4), 60_000, dtype=np.uint16))
    assert np.asarray(open_picture(data_of(grey, "PNG", transparency=60_000))).max() == 233


def test_warnings_are_as_they_were_after_several_threads_have_decoded() -> None:
    before = list(warnings.filters)
    exif = data_of(Image.new("RGB", (64, 64)), "JPEG", exif=b"Exif\0\0" + bytes(range(60)))
    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(open_picture, [exif] * 64))) == 64
    assert list(warnings.filters) == before


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_bytes_are_the_outcome_is_an_rgb_picture_or_a_reason(
    seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    makers = [make for make, _ in KINDS if make is not bomb]
    reasons = Counter[str]()
    for number in range(240):
        _, data = makers[number % len(makers)](rng)
        try:
            image = open_picture(data)
        except RefusedPicture as refusal:
            reasons[refusal.reason] += 1
            assert str(refusal)
        else:
            reasons["read"] += 1
            assert image.mode == "RGB" and min(image.size) > 0
    assert set(reasons) <= {"read", "empty", "not-a-picture", "damaged", "too-many-pixels"} and reasons["read"] > 60
    assert capfd.readouterr() == ("", "")


def test_a_small_jpeg_of_thousands_of_passes_is_refused_before_it_is_decoded() -> None:
    whole = data_of(Image.new("L", (64, 64), 128), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert open_picture(whole[:-2] + 50 * last + b"\xff\xd9").size == (64, 64)
    assert reason(whole[:-2] + 2_000 * last + b"\xff\xd9") == "damaged"


def test_what_looks_like_passes_beside_a_jpegs_picture_is_not_counted() -> None:
    whole = data_of(Image.new("L", (64, 64), 128), "JPEG", comment=b"\xff\xda" * 300)
    assert open_picture(whole + b"\xff\xda" * 300).size == (64, 64)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_python_unpacks_without_bounds_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: int
) -> None:
    outer = tmp_path / "a.zip"
    with zipfile.ZipFile(outer, "w", packing) as archive:
        archive.writestr("a.png", bytes(1_000_000))
        archive.filelist[0].file_size = 1_000  # a lie, in the directory
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *given: pytest.fail("it is unpacked"))
    with pytest.raises(RefusedPicture, match="make the zip again"):
        picture_bytes(f"{outer}/a.png")


def test_many_tags_that_share_their_bytes_are_not_held_each_by_itself() -> None:
    tags = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (278, 4, 1, 4), (279, 4, 1, 16), *((tag, 7, 100_000, 8) for tag in range(1_000, 3_000))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<4sI", b"II*\0", 100_008)
    data = head + bytes(100_000) + struct.pack("<H", len(tags)) + entries + bytes(4)
    tracemalloc.start()
    assert open_picture(data).size == (4, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="Linux has such files")
def test_a_file_that_says_that_it_is_empty_is_read_to_the_limit_only() -> None:
    with pytest.raises(RefusedPicture, match="allowed"):
        picture_bytes("/proc/cpuinfo", most=10)
