"""Copies of a picture as visitors send them: photographed from a screen or a page, cropped, or drawn in another style.

    distort(picture, "photographed", seed=0)        # another picture of the same size, the same for the same seed

They are what a picture search is calibrated on (`assistant/album.py`): a copy ought to be recognised, and one of a
picture that is not in the collection refused. Strengths are drawn at random within the ranges named below.
"""

import io
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Distortion = Literal["photographed", "cropped", "restyled"]
DISTORTIONS: tuple[Distortion, ...] = get_args(Distortion)

CORNERS = 0.12
"""Of a photographed picture, how far a corner moves at most, as a share of the side."""
LIGHT = 0.35
"""Of a photographed picture, by how much it is darker on one side than on the other, at most."""
NOISE = 10.0
"""Of a photographed picture, the standard deviation of the sensor's noise at most, of 255."""
QUALITY = (30, 80)
"""Of the JPEG file that a photograph is kept in."""
KEPT = (0.6, 0.9)
"""Of a cropped picture, the share of each side that is left."""


def distort(picture: UInt8[np.ndarray, "H W 3"], how: Distortion, *, seed: int) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of a picture as one of `DISTORTIONS` makes it, of the same size."""
    rng = np.random.default_rng([seed, DISTORTIONS.index(how)])
    image = Image.fromarray(picture)
    changed = {"photographed": _photographed, "cropped": _cropped, "restyled": _restyled}[how](image, rng)
    return np.asarray(changed.convert("RGB").resize(image.size, Image.Resampling.BICUBIC), dtype=np.uint8)


def _photographed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Seen at an angle, in uneven light, slightly out of focus, with noise, and kept as a JPEG file."""
    width, height = image.size
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]], dtype=float)
    moved = corners + rng.uniform(-CORNERS, CORNERS, (4, 2)) * (width, height)
    backdrop = tuple(int(value) for value in rng.integers(0, 256, 3))
    tilted = image.transform(
        image.size,
        Image.Transform.PERSPECTIVE,
        _perspective(corners, moved),
        Image.Resampling.BICUBIC,
        fillcolor=backdrop,
    )
    blurred = tilted.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, width / 64))))
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, LIGHT) * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(-0.15, 0.15)
    tint = rng.uniform(0.9, 1.1, 3)
    seen = np.asarray(blurred, dtype=np.float64) * light[..., None] * tint
    seen += rng.normal(scale=rng.uniform(0, NOISE), size=seen.shape)
    file = io.BytesIO()
    Image.fromarray(seen.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=int(rng.integers(*QUALITY)))
    return Image.open(file)


def _cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A part of it, as large as the whole was."""
    width, height = image.size
    wide, high = (max(1, round(side * rng.uniform(*KEPT))) for side in (width, height))
    left, top = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
    return image.crop((left, top, left + wide, top + high))


def _restyled(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """In fewer colours, in other colours, in grey, or softened: as another hand or another device draws it."""
    style = int(rng.integers(4))
    if style == 0:
        return ImageOps.posterize(image, int(rng.integers(2, 4)))
    if style == 1:
        hue, saturation, value = image.convert("HSV").split()
        shift = int(rng.integers(-24, 25))
        turned = hue.point([(level + shift) % 256 for level in range(256)])
        shifted = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
        return ImageEnhance.Color(shifted).enhance(float(rng.uniform(0.4, 1.8)))
    if style == 2:
        return ImageEnhance.Contrast(ImageOps.grayscale(image).convert("RGB")).enhance(float(rng.uniform(0.7, 1.5)))
    return image.filter(ImageFilter.ModeFilter(3)).filter(ImageFilter.EDGE_ENHANCE)


def _perspective(corners: np.ndarray, moved: np.ndarray) -> tuple[float, ...]:
    """The eight numbers with which Pillow reads each point of the result from the original (a homography)."""
    rows, sides = [], []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        sides += [u, v]
    return tuple(float(number) for number in np.linalg.lstsq(np.array(rows), np.array(sides), rcond=None)[0])
