"""Augmentation of whole batches of pictures, with the chain of each paper.

    view = augment(pictures, ids, seed=7, step=120, view=0, chain=SIMCLR, size=32, mean=mean, std=std)

What happens to a picture is a function of (seed, step, id, view): it does not depend on the pictures beside it, nor on
threads. A chain is: crop and resize, mirror, colour jitter, grey, blur, solarise, normalise.

- Crop: as torchvision's RandomResizedCrop, of whole pixels, ten attempts, else the whole square. Resizing is Pillow's
  `resize` without its rounding to bytes: it averages where it shrinks. Both directions are matrices of weights.
- Jitter: brightness, contrast, saturation and hue in an order drawn for each picture, each clamped to 0..1. The first
  three are those of Pillow's ImageEnhance. Hue turns colours in the YIQ plane, which keeps their luminance, by the
  share of a full turn that the papers turn them in HSV: so each of the four is a 3 x 3 matrix and an offset.
- Blur: Gaussian, its deviation given for pictures of 224 pixels and scaled to the size; pixels beyond the border have
  no weight. The papers cut the kernel at a tenth of the picture; here it is whole.

Everything is in float32 from the crop on, where the papers' chains round to bytes between the operations.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8, UInt64
from pydantic import Field, field_validator
from threadpoolctl import ThreadpoolController
from torch import Tensor

from shoptalk.records import Frozen

Range = tuple[float, float]


class Chain(Frozen):
    """The parameters of a chain of augmentations. The defaults are MoCo v2's without its blur."""

    scale: Range = Field(default=(0.2, 1.0), description="least and largest share of the picture's area in the crop")
    ratio: Range = Field(default=(3 / 4, 4 / 3), description="least and largest width / height of the crop")
    resize: Literal["bilinear", "bicubic"] = Field(default="bilinear", description="how the crop is resized")
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of mirroring")
    jitter: float = Field(default=0.8, ge=0, le=1, description="probability of the colour jitter")
    brightness: float = Field(default=0.4, ge=0, le=1, description="factors are drawn from 1 - this to 1 + this")
    contrast: float = Field(default=0.4, ge=0, le=1, description="likewise")
    saturation: float = Field(default=0.4, ge=0, le=1, description="likewise")
    hue: float = Field(default=0.1, ge=0, le=0.5, description="the largest turn of the hue, of a full turn")
    gray: float = Field(default=0.2, ge=0, le=1, description="probability of grey")
    blur: float = Field(default=0.0, ge=0, le=1, description="probability of the blur")
    sigma: Range = Field(default=(0.1, 2.0), description="deviations of the blur, in pixels of a picture of 224")
    solarize: float = Field(default=0.0, ge=0, le=1, description="probability of inverting what is above one half")

    @field_validator("scale", "ratio", "sigma")
    @classmethod
    def _ascending(cls, ends: Range, field: Any) -> Range:
        low, high = ends
        least, most = (0.0 if field.field_name == "sigma" else 1e-6), (1.0 if field.field_name == "scale" else 1e6)
        if not least <= low <= high <= most:
            raise ValueError(f"expected two numbers from {least:g} to {most:g}, the smaller first")
        return ends


SIMCLR = Chain(scale=(0.08, 1.0), resize="bicubic")
"""Chen, Kornblith, Norouzi & Hinton 2020, as its appendix B.9 has it for small pictures: colours of strength 0.5, no
blur. (Of ImageNet's pictures: strength 1, which is twice each jitter, and `blur` of 0.5.)"""
MOCO2 = Chain(blur=0.5)
"""Chen, Fan, Girshick & He 2020 (MoCo v2), section 3 and its code."""
BYOL_FIRST = Chain(scale=(0.08, 1.0), resize="bicubic", saturation=0.2, blur=1.0)
"""Grill et al. 2020, table 6: of the first view."""
BYOL_SECOND = Chain(scale=(0.08, 1.0), resize="bicubic", saturation=0.2, blur=0.1, solarize=0.2)
"""Of the second view."""
DINO_GLOBAL = Chain(scale=(0.4, 1.0), resize="bicubic", saturation=0.2, blur=1.0)
"""Caron et al. 2021, section 3.1 and its code: of the first view of most of the picture."""
DINO_SECOND = Chain(scale=(0.4, 1.0), resize="bicubic", saturation=0.2, blur=0.1, solarize=0.2)
"""Of the second."""
DINO_LOCAL = Chain(
    scale=(0.05, 0.4), resize="bicubic", saturation=0.2, blur=0.5, sigma=(0.1 * 224 / 96, 2.0 * 224 / 96)
)
"""Of the small views of small parts. The code blurs views of 96 and of 224 pixels by equally many pixels."""
MAE = Chain(scale=(0.2, 1.0), resize="bicubic", jitter=0.0, gray=0.0)
"""He et al. 2022, table 8: crop and mirror only."""
CLIP = Chain(scale=(0.9, 1.0), ratio=(1.0, 1.0), resize="bicubic", flip=0.0, jitter=0.0, gray=0.0)
"""Radford et al. 2021, section 2.4: a random square crop only, of the size that OpenCLIP gives it."""

_ATTEMPTS = 10
"""At a crop that lies within the picture."""
_CHUNK = 32
"""Pictures that go through all operations at a time, so that they stay in the processor's cache."""
_BLUR_SIZE = 224
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([[0.30, 0.59, 0.11], [0.599, -0.2773, -0.3217], [0.213, -0.5251, 0.3121]])
"""Of red, green and blue."""
_RGB = np.linalg.inv(_YIQ)


def augment(
    pictures: UInt8[np.ndarray, "n S S 3"],
    ids: Sequence[int] | Int[np.ndarray, " n"],
    *,
    seed: int,
    step: int,
    view: int,
    chain: Chain,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Float[Tensor, "n 3 {size} {size}"]:
    """A view of each picture.

    Args:
        pictures: squares of bytes.
        ids: of each picture, a number that stays the same wherever it occurs.
        seed, step, view: with the id, all that the random numbers of a picture depend on.
        chain: what is done.
        size: the side of the views, in pixels.
        mean, std: of each channel, subtracted and divided by at the end.
    """
    views = np.empty((len(pictures), 3, size, size), dtype=np.float32)
    numbers = uniforms(ids, seed=seed, step=step, view=view, count=_NUMBERS)
    middle, spread = (np.asarray(values, dtype=np.float32)[:, None] for values in (mean, std))

    def fill(begin: int) -> None:
        part = slice(begin, begin + _CHUNK)
        draws = _Draws(numbers[part], pictures.shape[1], chain)
        values = _cropped(pictures[part], draws, size, chain.resize)
        planes = values.reshape(len(values), 3, -1)
        _jitter(planes, draws, chain)
        _to_gray(planes, draws.gray)
        _blur(values, draws.blurred, draws.sigma * (size / _BLUR_SIZE))
        _solarize(planes, draws.solarized)
        planes -= middle
        planes /= spread
        views[part] = values

    # Each matrix is small: BLAS is to use one thread for it, and the chunks are shared out among threads instead.
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(fill, range(0, len(pictures), _CHUNK)))
    return torch.from_numpy(views)


@cache
def _libraries() -> ThreadpoolController:
    """Of NumPy's BLAS, which is loaded with it: looking for it takes milliseconds."""
    return ThreadpoolController()


# Random numbers -----------------------------------------------------------------------------------------------------

_FLIP, _JITTER, _GRAY, _BLUR, _SIGMA, _SOLARIZE, _LEFT, _TOP = range(8)
_FACTORS, _ORDER, _CROPS = 8, 12, 16
"""Where the four factors, the four numbers that order them, and the attempts' areas and ratios begin."""
_NUMBERS = _CROPS + 2 * _ATTEMPTS


def uniforms(
    ids: Sequence[int] | Int[np.ndarray, " n"], *, seed: int, step: int, view: int, count: int
) -> Float[np.ndarray, "n count"]:
    """Numbers from 0 up to 1 for each id: SplitMix64 (Steele, Lea & Flood 2014) begun at a hash of all four."""
    state = np.zeros(len(ids), dtype=np.uint64)
    for part in (seed, step, view):
        state = _mixed(state + np.array([part & (2**64 - 1)], dtype=np.uint64) + _GOLDEN)
    state = _mixed(state + np.asarray(ids, dtype=np.int64).astype(np.uint64) + _GOLDEN)
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    numbers: Float[np.ndarray, "n count"] = (_mixed(state[:, None] + steps) >> np.uint64(11)) * 2.0**-53
    return numbers


_GOLDEN = np.array([0x9E3779B97F4A7C15], dtype=np.uint64)


def _mixed(state: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = state ^ (state >> np.uint64(31))
    return mixed


class _Draws:
    """What was drawn for n pictures of a side."""

    def __init__(self, numbers: Float[np.ndarray, "n k"], side: int, chain: Chain) -> None:
        self.flipped = numbers[:, _FLIP] < chain.flip
        self.jittered = numbers[:, _JITTER] < chain.jitter
        self.gray = numbers[:, _GRAY] < chain.gray
        self.blurred = numbers[:, _BLUR] < chain.blur
        self.sigma = chain.sigma[0] + numbers[:, _SIGMA] * (chain.sigma[1] - chain.sigma[0])
        self.solarized = numbers[:, _SOLARIZE] < chain.solarize
        strengths = np.array([chain.brightness, chain.contrast, chain.saturation, chain.hue])
        self.factors = (2 * numbers[:, _FACTORS : _FACTORS + 4] - 1) * strengths + _NEUTRAL
        self.order = np.argsort(numbers[:, _ORDER : _ORDER + 4], axis=1, kind="stable")
        self.left, self.top, self.width, self.height = _crops(numbers, side, chain)


_NEUTRAL = np.array([1.0, 1.0, 1.0, 0.0])
"""The factors, and the turn of the hue, that change nothing."""


def _crops(numbers: Float[np.ndarray, "n k"], side: int, chain: Chain) -> tuple[Int[np.ndarray, " n"], ...]:
    """Left, top, width and height in pixels: the first attempt that lies within the picture, else all of it."""
    low, high = chain.scale
    area = side**2 * (low + numbers[:, _CROPS : _CROPS + _ATTEMPTS] * (high - low))
    low, high = (math.log(end) for end in chain.ratio)
    ratio = np.exp(low + numbers[:, _CROPS + _ATTEMPTS : _CROPS + 2 * _ATTEMPTS] * (high - low))
    widths, heights = np.rint(np.sqrt(area * ratio)).astype(int), np.rint(np.sqrt(area / ratio)).astype(int)
    fits = (widths > 0) & (widths <= side) & (heights > 0) & (heights <= side)
    rows, first = np.arange(len(numbers)), fits.argmax(axis=1)
    some = fits.any(axis=1)
    width = np.where(some, widths[rows, first], side)
    height = np.where(some, heights[rows, first], side)
    left = (numbers[:, _LEFT] * (side - width + 1)).astype(int)
    top = (numbers[:, _TOP] * (side - height + 1)).astype(int)
    return left, top, width, height


# Crop, resize, mirror ----------------------------------------------------------------------------------------------


def _cropped(
    pictures: UInt8[np.ndarray, "n S S 3"], draws: _Draws, size: int, resize: str
) -> Float32[np.ndarray, "n 3 size size"]:
    """Values from 0 to 1."""
    side = pictures.shape[1]
    down = resampling(draws.top, draws.height, side, size, resize)
    across = resampling(draws.left, draws.width, side, size, resize)
    across[draws.flipped] = across[draws.flipped, ::-1]
    planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32)
    rows = np.matmul(planes.reshape(len(planes), 3 * side, side), across.transpose(0, 2, 1))
    values: Float32[np.ndarray, "n 3 size size"] = np.matmul(down[:, None], rows.reshape(len(planes), 3, side, size))
    values *= np.float32(1 / 255)
    np.clip(values, 0.0, 1.0, out=values)  # bicubic weights overshoot
    return values


def resampling(
    begin: Int[np.ndarray, " n"], extent: Int[np.ndarray, " n"], source: int, target: int, resize: str
) -> Float32[np.ndarray, "n target source"]:
    """Weights that resize the `extent` pixels from `begin` on of a line of `source` pixels to `target` pixels.

    A filter's width is that of a pixel of the line or of the result, whichever is larger.
    """
    step = (extent / target).astype(np.float32)[:, None, None]
    centres = begin[:, None, None].astype(np.float32) + (np.arange(target, dtype=np.float32)[:, None] + 0.5) * step
    places = np.arange(source, dtype=np.float32)
    weights = _FILTERS[resize](np.abs((places + np.float32(0.5) - centres) / np.maximum(step, np.float32(1.0))))
    weights *= ((places >= begin[:, None]) & (places < (begin + extent)[:, None]))[:, None]
    normalised: Float32[np.ndarray, "n target source"] = weights / weights.sum(axis=2, keepdims=True)
    return normalised


def _triangle(distance: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    return np.maximum(np.float32(1.0) - distance, np.float32(0.0))


def _cubic(distance: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Keys 1981 with a = -1/2."""
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return np.where(distance < 1.0, near, np.where(distance < 2.0, far, np.float32(0.0)))


_FILTERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"bilinear": _triangle, "bicubic": _cubic}


# Colours -----------------------------------------------------------------------------------------------------------


def _jitter(planes: Float32[np.ndarray, "n 3 p"], draws: _Draws, chain: Chain) -> None:
    """Brightness, contrast, saturation and hue, in the order that was drawn, where a picture is to be jittered."""
    if chain.jitter == 0.0 or not any((chain.brightness, chain.contrast, chain.saturation, chain.hue)):
        return
    matrices = _matrices(draws.factors)
    matrices[~draws.jittered] = np.eye(3, dtype=np.float32)
    rows = np.arange(len(planes))
    for place in range(4):
        operation = draws.order[:, place]
        contrast = draws.jittered & (operation == 1)
        offset = np.zeros(len(planes), dtype=np.float32)
        gray_mean = planes[contrast].mean(axis=2) @ _LUMINANCE
        offset[contrast] = gray_mean * (1.0 - draws.factors[contrast, 1])
        changed = np.matmul(matrices[rows, operation], planes)
        changed += offset[:, None, None]
        np.clip(changed, 0.0, 1.0, out=planes)


def _matrices(factors: Float[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4 3 3"]:
    """What each operation multiplies colours by. Contrast also moves them towards the picture's mean grey."""
    brightness, contrast, saturation, hue = (factors[:, i, None, None] for i in range(4))
    eye, to_gray = np.eye(3), np.tile(_LUMINANCE, (3, 1))
    turn = np.zeros((len(factors), 3, 3))
    cosine, sine = np.cos(2 * np.pi * factors[:, 3]), np.sin(2 * np.pi * factors[:, 3])
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = cosine
    turn[:, 1, 2], turn[:, 2, 1] = -sine, sine
    hues = np.where(hue == 0.0, eye, _RGB @ turn @ _YIQ)
    each = (brightness * eye, contrast * eye, saturation * eye + (1.0 - saturation) * to_gray, hues)
    return np.stack(each, axis=1).astype(np.float32)


def _to_gray(planes: Float32[np.ndarray, "n 3 p"], where: Bool[np.ndarray, " n"]) -> None:
    if where.any():
        planes[where] = np.matmul(_LUMINANCE.astype(np.float32), planes[where])[:, None]


def _solarize(planes: Float32[np.ndarray, "n 3 p"], where: Bool[np.ndarray, " n"]) -> None:
    if where.any():
        values = planes[where]
        planes[where] = np.where(values >= 0.5, 1.0 - values, values)


# Blur --------------------------------------------------------------------------------------------------------------


def _blur(
    values: Float32[np.ndarray, "n 3 size size"], where: Bool[np.ndarray, " n"], sigma: Float[np.ndarray, " n"]
) -> None:
    if where.any():
        weights = _gaussian(sigma[where], values.shape[2])
        values[where] = weights[:, None] @ values[where] @ weights.transpose(0, 2, 1)[:, None]


def _gaussian(sigma: Float[np.ndarray, " n"], size: int) -> Float32[np.ndarray, "n size size"]:
    """Of each pixel of a line, the weights of all of them."""
    places = np.arange(size)
    squared = (places[:, None] - places) ** 2
    weights = np.exp(-0.5 * squared / np.maximum(sigma, 1e-3)[:, None, None] ** 2)
    normalised: Float32[np.ndarray, "n size size"] = (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)
    return normalised
