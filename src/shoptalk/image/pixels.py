"""Every picture of a corpus as an array of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from shoptalk.image.decode import open_picture, picture_bytes
from shoptalk.records import Item, Picture


@dataclass(frozen=True)
class Pixels:
    """M pictures of one size, and which of a corpus's N items each belongs to."""

    array: UInt8[np.ndarray, "M S S 3"]
    rows: Int[np.ndarray, " N"]
    """Of each item, its row; -1 for an item that is no picture."""
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Sequence[int] | Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n S S 3"]:
        """The pictures at these positions of the corpus."""
        pictures: UInt8[np.ndarray, "n S S 3"] = self.array[self.rows[np.asarray(positions, dtype=np.int64)]]
        return pictures


def square(image: Image.Image, size: int) -> UInt8[np.ndarray, "S S 3"]:
    """The shorter side becomes `size` (bicubic), and the middle square is cut out."""
    width, height = image.size
    short = min(width, height)
    if short != size:
        image = image.resize((int(size * width / short), int(size * height / short)), Image.Resampling.BICUBIC)
    width, height = image.size
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def decode_all(items: Sequence[Item], *, size: int) -> Pixels:
    """Every picture among the items, in memory."""
    pictures = [item for item in items if isinstance(item, Picture)]
    array = np.zeros((len(pictures), size, size, 3), dtype=np.uint8)
    for row, picture in enumerate(pictures):
        array[row] = square(open_picture(picture_bytes(picture.path)), size)
    shown = np.array([isinstance(item, Picture) for item in items], dtype=bool)
    rows = np.where(shown, np.cumsum(shown) - 1, -1).astype(np.int32)
    return Pixels(array, rows, size)


def decode_to(folder: Path, items: Sequence[Item], *, size: int, digest: str) -> Pixels:
    """The same, kept in a folder."""
    pixels = decode_all(items, size=size)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "pixels.npy", pixels.array)
    return Pixels(np.load(folder / "pixels.npy", mmap_mode="r"), pixels.rows, size)
