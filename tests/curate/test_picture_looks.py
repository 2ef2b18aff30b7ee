"""Near duplicates of pictures on plain ground: another text is another picture, a copy is the same one."""

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from shoptalk.curate.picture_looks import LookTable, alike, look_at

PAGES = (
    "The meeting of Tuesday is moved\nto Friday at ten.\nPlease bring your keys.",
    "The parcel of Monday is moved\nto Sunday at six.\nPlease bring your card.",
)


def sign(text: str, size: tuple[int, int], height: int) -> Image.Image:
    """Black on white, `height` pixels high, in the middle."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).multiline_text(
        (size[0] // 2, size[1] // 2), text, fill="black", font=ImageFont.load_default(height), anchor="mm"
    )
    return image


def saved(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("height", [16, 32, 64])
@pytest.mark.parametrize("texts", [("12:40", "12:45"), ("Gate 3", "Gate 8"), ("Room 101", "Room 107"), PAGES])
def test_different_texts_on_white_are_not_alike(texts: tuple[str, str], height: int) -> None:
    looks = [look_at(sign(text, (640, 480), height)) for text in texts]
    assert not alike(looks[0], looks[1], most_bits=12)
    table = LookTable(most_bits=12)
    table.add(looks[0])
    assert table.near(looks[1]) is None


@pytest.mark.parametrize("height", [32, 64])
def test_a_text_on_white_that_was_saved_again_is_found(height: int) -> None:
    image = sign("Gate 3", (640, 480), height)
    assert all(alike(look_at(image), look_at(saved(image, quality)), most_bits=12) for quality in (90, 75))


def test_one_cell_that_differs_much_is_enough_to_tell_two_pictures_apart() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(cells).resize((128, 128), Image.Resampling.BICUBIC)
    other = image.copy()
    other.paste(tuple(255 - value for value in image.getpixel((40, 40))), (36, 36, 44, 44))
    looks = look_at(image), look_at(other)
    differing = int(np.bitwise_count(looks[0].bits ^ looks[1].bits).sum())
    assert differing <= 12 and not alike(*looks, most_bits=12)


def test_the_same_drawing_elsewhere_on_the_ground_is_another_picture() -> None:
    looks = []
    for left in (100, 1_700):
        image = Image.new("RGB", (2_000, 1_000), "white")
        image.paste("black", (left, 500, left + 24, 520))
        looks.append(look_at(image))
    assert not alike(looks[0], looks[1], most_bits=12)


def textured(seed: int, grain: int) -> Image.Image:
    """An even surface, as of cloth, with a grain of so many pixels."""
    rng = np.random.default_rng(seed)
    small = rng.normal(128, 20, (256 // grain, 256 // grain)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.kron(small, np.ones((grain, grain), dtype=np.uint8))).convert("RGB")


@pytest.mark.parametrize("grain", [1, 2, 4])
def test_two_pieces_of_one_even_surface_are_two_pictures(grain: int) -> None:
    one, other = look_at(textured(0, grain)), look_at(textured(1, grain))
    assert not alike(one, other, most_bits=12)
    assert alike(one, look_at(saved(textured(0, grain), 90)), most_bits=12)


@pytest.mark.parametrize("texts", [("Gate 3", "Gate 8"), ("12:40", "12:45")])
def test_different_texts_on_a_ground_that_grows_brighter_are_not_alike(texts: tuple[str, str]) -> None:
    looks = []
    for text in texts:
        ground = np.tile(np.linspace(190, 245, 640), (480, 1)).astype(np.uint8)
        image = Image.fromarray(ground).convert("RGB")
        ImageDraw.Draw(image).text((320, 240), text, fill="black", font=ImageFont.load_default(64), anchor="mm")
        looks.append(look_at(image))
    assert not alike(*looks, most_bits=12)


def test_thousands_of_plain_pictures_are_compared_in_seconds() -> None:
    table, begun = LookTable(most_bits=12), time.process_time()
    for number in range(1_500):
        look = look_at(sign(f"{number:04}", (64, 48), 24))
        table.near(look)
        table.add(look)
    assert time.process_time() - begun < 30.0


def product_shot(seed: int) -> Image.Image:
    """A drawn thing on a plain ground, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (160, 160), tuple(int(c) for c in rng.integers(170, 240, 3)))
    left, top, width, height = (int(n) for n in rng.integers(20, 70, 4))
    ImageDraw.Draw(image).rectangle(
        (left, top, left + width, top + height), fill=tuple(int(c) for c in rng.integers(0, 160, 3))
    )
    noisy = np.asarray(image, dtype=np.int16) + rng.normal(0, 4, (160, 160, 1)).astype(np.int16)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def test_copies_of_pictures_on_a_plain_and_noisy_ground_are_alike_and_others_are_not() -> None:
    looks = [look_at(product_shot(seed)) for seed in range(30)]
    copies = [look_at(saved(product_shot(seed), 60)) for seed in range(30)]
    found = [[alike(look, copy, most_bits=12) for copy in copies] for look in looks]
    assert np.diag(found).mean() >= 0.9
    assert not (np.array(found) & ~np.eye(30, dtype=bool)).any()
