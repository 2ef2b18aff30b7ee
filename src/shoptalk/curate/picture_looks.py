"""What a picture looks like, small enough to compare each with all: exact and near duplicates of pictures.

    look = look_of(picture)                     # refuses what is no picture
    table = LookTable(most_bits=6)
    table.near(look)                            # the number of an earlier one that looks alike, or None
    table.add(look)

A look is a difference hash of 256 bits (whether each cell of a 17 x 16 grey picture is brighter than the next to its
right; Krawetz, "Kind of like that", 2013), an 8 x 8 thumbnail in colour, and a hash of the pixels. Two are alike where
few bits differ and the thumbnails differ little as well: of drawings on white most bits say nothing, and there the
thumbnails tell them apart. Copies that were scaled, saved again or made a little brighter are alike; cropped and turned
ones are not. Where no bit may differ, pictures of equal pixels are alike and no others.

Every look is compared with all that are about as bright: two seconds for 20,000 pictures, four times that for twice as
many (measured on CIFAR-10, one AVX2 core).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8, UInt64
from PIL import Image

from shoptalk.image.decode import LARGEST_BYTES, LARGEST_PIXELS, open_picture, picture_bytes
from shoptalk.records import Picture

BITS = 256
THUMBNAIL = 8
_BRIGHTNESS = 6.0
"""Mean difference of two thumbnails, of 255, up to which they may be of one picture. So their mean brightness differs
by no more than that either."""
_STRIP = 1_000_000
"""Pixels that are hashed at once."""
_FIRST_ROWS = 16


@dataclass(frozen=True, eq=False)
class PictureLook:
    """What a picture looks like."""

    bits: UInt64[np.ndarray, "4"]
    """The difference hash."""
    thumbnail: UInt8[np.ndarray, "192"]
    pixels: bytes
    """A hash of the picture's size and of all its pixels."""


_REMEMBERED = 100_000
_remembered: OrderedDict[str, PictureLook] = OrderedDict()
"""Of the pictures that were decoded last, by their hash; 600 bytes each. Reading decodes, the rules look."""


def look_of(picture: Picture, data: bytes | None = None, *, most_pixels: int = LARGEST_PIXELS) -> PictureLook:
    """What the picture of a file looks like; `data` are the file's bytes, where they were read already.

    Raises:
        RefusedPicture: the file is no picture that can be read.
    """
    look = _remembered.get(picture.sha256)
    if look is None:
        data = picture_bytes(picture.path, most=LARGEST_BYTES) if data is None else data
        look = look_at(open_picture(data, most_pixels=most_pixels))
        _remembered[picture.sha256] = look
        if len(_remembered) > _REMEMBERED:
            _remembered.popitem(last=False)
    return look


def look_at(image: Image.Image) -> PictureLook:
    """What an image in RGB looks like."""
    grey = image.resize((17, 16), Image.Resampling.BOX).convert("L")
    cells = np.asarray(grey, dtype=np.int16)
    small = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return PictureLook(
        np.packbits(cells[:, 1:] > cells[:, :-1]).view(np.uint64),
        np.asarray(small, dtype=np.uint8).reshape(-1),
        _hash_of_pixels(image),
    )


def _hash_of_pixels(image: Image.Image) -> bytes:
    width, height = image.size
    hashed = hashlib.sha256(f"{width}x{height}".encode())
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        hashed.update(strip.tobytes())
    return hashed.digest()[:16]


def alike(one: PictureLook, other: PictureLook, *, most_bits: int) -> bool:
    """Whether two looks are of one picture."""
    if one.pixels == other.pixels or not most_bits:
        return one.pixels == other.pixels
    shelf = _Shelf()
    shelf.add(other, 0)
    return bool(len(shelf.near(one, most_bits)))


class _Shelf:
    """Looks of about one brightness, in arrays that double as they fill."""

    def __init__(self) -> None:
        self._used = 0
        self._bits = np.zeros((_FIRST_ROWS, 4), dtype=np.uint64)
        self._thumbnails = np.zeros((_FIRST_ROWS, 3 * THUMBNAIL**2), dtype=np.uint8)
        self._numbers = np.zeros(_FIRST_ROWS, dtype=np.int64)

    def add(self, look: PictureLook, number: int) -> None:
        if self._used == len(self._numbers):
            self._bits, self._thumbnails, self._numbers = (
                np.concatenate([array, np.zeros_like(array)]) for array in (self._bits, self._thumbnails, self._numbers)
            )
        self._bits[self._used], self._thumbnails[self._used] = look.bits, look.thumbnail
        self._numbers[self._used] = number
        self._used += 1

    def near(self, look: PictureLook, most_bits: int) -> Int[np.ndarray, " n"]:
        """The numbers of the looks that are alike."""
        differing = np.bitwise_count(self._bits[: self._used] ^ look.bits).sum(axis=1, dtype=np.int16)
        few = np.flatnonzero(differing <= most_bits)
        if not len(few):
            return few
        apart = np.abs(self._thumbnails[few].astype(np.int16) - look.thumbnail.astype(np.int16)).mean(axis=1)
        return np.asarray(self._numbers[few[apart <= _BRIGHTNESS]])


class LookTable:
    """Looks by number; about 600 bytes each."""

    def __init__(self, *, most_bits: int) -> None:
        """`most_bits` of 256 may differ; with 0 only pictures of equal pixels are alike.

        Raises:
            ValueError: fewer bits than 0, or more than there are.
        """
        if not 0 <= most_bits <= BITS:
            raise ValueError(f"{most_bits} bits; expected 0 to {BITS}")
        self._most_bits = most_bits
        self._equal: dict[bytes, list[int]] = {}
        self._pixels: list[bytes] = []
        self._shelves: dict[int, _Shelf] = {}
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def add(self, look: PictureLook) -> int:
        """Its number."""
        number = self._used
        self._equal.setdefault(look.pixels, []).append(number)
        self._pixels.append(look.pixels)
        if self._most_bits:
            self._shelves.setdefault(_brightness(look), _Shelf()).add(look, number)
        self._used += 1
        return number

    def near(self, look: PictureLook) -> int | None:
        """The smallest number of a look that is alike; where several are, one of equal pixels."""
        equal = self._equal.get(look.pixels)
        return equal[0] if equal else min(self._all_near(look), default=None)

    def pixels_of(self, number: int) -> bytes:
        """The hash of the pixels of a look by its number."""
        return self._pixels[number]

    def all_near(self, look: PictureLook) -> list[int]:
        """The numbers of all that are alike, ascending."""
        return sorted(set(self._all_near(look)))

    def _all_near(self, look: PictureLook) -> Iterator[int]:
        yield from self._equal.get(look.pixels, ())
        if self._most_bits:
            place = _brightness(look)
            for shelf in (self._shelves.get(place + step) for step in (-1, 0, 1)):
                if shelf is not None:
                    yield from shelf.near(look, self._most_bits).tolist()


def _brightness(look: PictureLook) -> int:
    """The shelf that a look belongs to: those that may be alike differ by one at most."""
    return int(look.thumbnail.mean() // _BRIGHTNESS)


def look_clusters(looks: Sequence[PictureLook], *, most_bits: int) -> Int[np.ndarray, " N"]:
    """The number of each look's cluster; clusters are what likeness chains together, numbered by their first."""
    table, parent = LookTable(most_bits=most_bits), list(range(len(looks)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for number, look in enumerate(looks):
        for other in table.all_near(look):
            a, b = root(number), root(other)
            parent[max(a, b)] = min(a, b)
        table.add(look)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(i), len(numbers)) for i in range(len(looks))], dtype=np.int64)
