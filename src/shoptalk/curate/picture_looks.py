"""What a picture looks like, small enough to compare each with all: exact and near duplicates of pictures.

    look = look_of(picture)                     # refuses what is no picture
    table = LookTable(most_bits=12)
    table.near(look)                            # the number of an earlier one that looks alike, or None
    table.add(look)

A look is a difference hash of 256 bits (whether the next cell to the right is brighter than each of a 17 x 16 grey
picture; Krawetz, "Kind of like that", 2013; here brighter by more than noise is), an 8 x 8 thumbnail in colour, and a
hash of the pixels. Two are alike where few bits differ and the thumbnails differ little as well, on average and in each
cell. Of a picture that is mostly plain these say little: "12:40" and "12:45" on white differ in no bit and in no cell.
So its look also has what stands on the plain ground, cut out and drawn in 32 x 32 grey cells, which must differ little
in each cell and lie in the same place. Copies that were scaled, saved again or made a little brighter are alike;
cropped and turned ones are not, and neither are some copies of drawings in low quality. Two pages of text in which one
word differs may be alike still. Where no bit may differ, pictures of equal pixels are alike and no others. What that
finds and misses is measured: docs/log.md, 2026-11-30.

A look is compared with those alone that share a band of bits with it, which are all that can be alike (`_Hashes`):
1.7 seconds for the 20,000 pictures of CIFAR-10 (one core of a processor with AMX). Pictures that are mostly plain share
bands with one another, so that their time grows by the square: 0.5 seconds for 2,000 signs on white, 2.2 for 4,000.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int32, UInt8, UInt64
from PIL import Image

from shoptalk.image.decode import LARGEST_BYTES, LARGEST_PIXELS, open_picture, picture_bytes
from shoptalk.records import Picture

BITS = 256
THUMBNAIL = 8
_MOST_APART = 6 * 3 * THUMBNAIL**2
"""Summed difference of two thumbnails up to which they may be of one picture: 6 of 255 on average."""
_MOST_CELL_APART = 10
"""Difference of two thumbnails in one cell and colour up to which they may be of one picture, of 255."""
_BRIGHTER = 4
"""How much brighter, of 255, the next cell must be for its bit: where a picture is plain, less is noise, of the camera
or of JPEG, and would make other bits of every copy.
"""
_PLAIN_SHARE = 0.7
"""Share of the hash's neighbouring cells without a difference from which a picture is mostly plain. Photographs of
clothes have up to 0.41, CIFAR-10 up to 0.75, texts on white 0.72 and more.
"""
_INK, _INK_SIDE = 48, 32
"""Difference from the ground from which a pixel stands on it, and the cells of a side in which that is drawn."""
_MOST_INK_APART = 48
"""Difference of two such drawings in one cell up to which they may be of one picture, of 255. Of different texts it is
102 and more, of nine copies in ten as JPEG of quality 75 at most 34.
"""
_LEAST_TOGETHER, _EVEN, _FILLED = 0.7, 1.0, 0.8
"""Correlation of two such drawings from which they may be of one picture, the deviation below which one has none, and
the share of the picture that must be drawn.
"""
_MOST_MOVED = 4
"""And of an edge of what was cut out, in 255ths of the picture's side."""
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
    ink: UInt8[np.ndarray, "1028"] | None = None
    """Of a picture that is mostly plain, where what stands on the ground begins and ends, and how it looks."""


_REMEMBERED = 100_000
_remembered: OrderedDict[str, PictureLook] = OrderedDict()
"""Of the pictures that were decoded last, by their hash; 600 bytes each, 1,800 of plain ones. Reading decodes, the
rules look.
"""


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
    plain = (np.abs(np.diff(cells, axis=1)) <= _BRIGHTER).mean() >= _PLAIN_SHARE
    small = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return PictureLook(
        np.packbits(np.diff(cells, axis=1) > _BRIGHTER).view(np.uint64),
        np.asarray(small, dtype=np.uint8).reshape(-1),
        _hash_of_pixels(image),
        _ink_of(image) if plain else None,
    )


def _ink_of(image: Image.Image) -> UInt8[np.ndarray, "1028"]:
    """What stands on a plain ground: its left, top, right and lower edge in 255ths of the side, then its cells."""
    grey = image.convert("L")
    ground = grey.histogram()
    middle = int(np.searchsorted(np.cumsum(ground), sum(ground) / 2))
    box = grey.point([255 * (abs(value - middle) > _INK) for value in range(256)]).getbbox()
    left, top, right, low = box or (0, 0, *grey.size)
    edges = np.array([left / grey.width, top / grey.height, right / grey.width, low / grey.height])
    drawn = grey.resize((_INK_SIDE, _INK_SIDE), Image.Resampling.BOX, box=(left, top, right, low))
    return np.concatenate([np.rint(255 * edges), np.asarray(drawn).ravel()]).astype(np.uint8)


def _same_ink(inks: UInt8[np.ndarray, "n 1028"], ink: UInt8[np.ndarray, "1028"]) -> Bool[np.ndarray, " n"]:
    """Which of n drawings of what stands on a ground are of one picture with another such drawing.

    Where it fills the picture, as of cloth or sand, the drawing is of a grain: those of one picture go up and down
    together, which evenly grey ones cannot. On a smaller thing a grain is the camera's, and no copy has it.
    """
    near = np.abs(inks[:, :4].astype(np.int16) - ink[:4]).max(axis=1) <= _MOST_MOVED
    same = np.zeros(len(inks), dtype=bool)
    cells, other = inks[near, 4:].astype(np.float32), ink[4:].astype(np.float32)
    little = np.abs(cells - other).max(axis=1) <= _MOST_INK_APART
    cells, other = cells - cells.mean(axis=1, keepdims=True), other - other.mean()
    sizes, size = np.linalg.norm(cells, axis=1), np.linalg.norm(other)
    left, top, right, low = ink[:4].astype(np.int32)
    even = (np.maximum(sizes, size) < _EVEN * _INK_SIDE) | ((right - left) * (low - top) < _FILLED * 255**2)
    same[near] = little & (even | (cells @ other >= _LEAST_TOGETHER * sizes * size))
    return same


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
    hashes = _Hashes(most_bits)
    hashes.add(other)
    return bool(len(hashes.near(one)))


_MIX = np.array(
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F],
    dtype=np.uint64,
)
"""Odd numbers, by which the four words of a band and its number are multiplied."""
_BLOCK = 1024
"""Looks that are compared one by one before they are sorted by their bands."""


@dataclass(frozen=True)
class _Sorted:
    """A block of neighbouring rows, each under the key of each of its bands."""

    begin: int
    end: int
    keys: UInt64[np.ndarray, " k"]
    """Ascending."""
    rows: Int32[np.ndarray, " k"]

    def with_any(self, keys: UInt64[np.ndarray, " B"]) -> Int[np.ndarray, " c"]:
        """The rows that have one of the keys, some of them several times; all rows where that is no more work."""
        places = np.searchsorted(self.keys, keys), np.searchsorted(self.keys, keys, side="right")
        if not (counts := places[1] - places[0]).any():
            return np.zeros(0, dtype=np.int64)
        if counts.sum() >= self.end - self.begin:
            return np.arange(self.begin, self.end)
        return np.concatenate([self.rows[first:last] for first, last in zip(*places, strict=True)])


class _Hashes:
    """Difference hashes with their thumbnails, of which those that are alike are found without comparing all.

    A hash is cut into one band more than bits may differ. Of two hashes that differ in so few, at least one band is
    the same (the pigeonhole principle), so only hashes that share a band are compared, and none is missed. The newest
    `_BLOCK` are compared one by one; older ones are in sorted blocks, each over twice as long as the next.
    """

    def __init__(self, most_bits: int) -> None:
        self._most_bits = most_bits
        self._used = self._sorted = 0
        self._bits = np.zeros((_FIRST_ROWS, 4), dtype=np.uint64)
        self._thumbnails = np.zeros((_FIRST_ROWS, 3 * THUMBNAIL**2), dtype=np.uint8)
        self._light = np.zeros(_FIRST_ROWS, dtype=np.int32)  # each thumbnail's sum
        self._ink_of = np.full(_FIRST_ROWS, -1, dtype=np.int32)  # each row's place below, if it is mostly plain
        self._inks = np.zeros((_FIRST_ROWS, 4 + _INK_SIDE**2), dtype=np.uint8)
        self._inked = 0
        self._blocks: list[_Sorted] = []
        # Every band has bits from all over the picture: one of a plain background's bits alone would tell nothing.
        band = np.arange(BITS) % (most_bits + 1) == np.arange(most_bits + 1)[:, None]
        self._masks = np.packbits(band, axis=1).view(np.uint64)

    def add(self, look: PictureLook) -> None:
        """The next row."""
        if self._used == len(self._bits):
            self._bits, self._thumbnails, self._light = (
                np.concatenate([array, np.zeros_like(array)]) for array in (self._bits, self._thumbnails, self._light)
            )
            self._ink_of = np.concatenate([self._ink_of, np.full_like(self._ink_of, -1)])
        self._bits[self._used], self._thumbnails[self._used] = look.bits, look.thumbnail
        self._light[self._used] = look.thumbnail.sum(dtype=np.int32)
        if look.ink is not None:
            if self._inked == len(self._inks):
                self._inks = np.concatenate([self._inks, np.zeros_like(self._inks)])
            self._inks[self._inked], self._ink_of[self._used] = look.ink, self._inked
            self._inked += 1
        self._used += 1
        if self._used - self._sorted == _BLOCK:
            self._sort()

    def near(self, look: PictureLook) -> Int[np.ndarray, " n"]:
        """The rows of the looks that are alike, some of them several times."""
        newest = self._few_bits(np.arange(self._sorted, self._used), look)
        keys = self._keys(look.bits[None])[0] if self._blocks else np.zeros(0, dtype=np.uint64)
        rows = np.concatenate([newest, *(self._few_bits(block.with_any(keys), look) for block in self._blocks)])
        if not len(rows):
            return rows
        # Thumbnails differ by no less than their sums do, of which there is one a row.
        rows = rows[np.abs(self._light[rows] - look.thumbnail.sum(dtype=np.int32)) <= _MOST_APART]
        differences = np.abs(self._thumbnails[rows].astype(np.int16) - look.thumbnail.astype(np.int16))
        little = (differences.sum(axis=1, dtype=np.int32) <= _MOST_APART) & (
            differences.max(axis=1) <= _MOST_CELL_APART
        )
        rows = np.asarray(rows[little])
        if look.ink is None:
            return rows
        # Where only one of two is plain enough to have it, the others decide.
        places = self._ink_of[rows]
        same = places < 0
        same[~same] = _same_ink(self._inks[places[~same]], look.ink)
        return np.asarray(rows[same])

    def _few_bits(self, rows: Int[np.ndarray, " c"], look: PictureLook) -> Int[np.ndarray, " n"]:
        """Those of the rows whose hashes differ little enough."""
        if not len(rows):
            return rows
        differing = np.bitwise_count(self._bits[rows] ^ look.bits).sum(axis=1, dtype=np.int16)
        return np.asarray(rows[differing <= self._most_bits])

    def _keys(self, bits: UInt64[np.ndarray, "n 4"]) -> UInt64[np.ndarray, "n B"]:
        """A number for each band and what it holds: equal for equal ones, and hardly ever for others."""
        words = (bits[:, None] & self._masks) * _MIX[:4]
        numbers = np.arange(len(self._masks), dtype=np.uint64) * _MIX[4]
        keys: UInt64[np.ndarray, "n B"] = words.sum(axis=2, dtype=np.uint64) + numbers
        return keys

    def _sort(self) -> None:
        """Sort the newest rows by their bands, with the blocks before them that are not over twice as long."""
        begin = self._sorted
        while self._blocks and begin - self._blocks[-1].begin <= 2 * (self._used - begin):
            begin = self._blocks.pop().begin
        keys = self._keys(self._bits[begin : self._used]).ravel()
        order = np.argsort(keys)
        rows = (begin + order // len(self._masks)).astype(np.int32)
        self._blocks.append(_Sorted(begin, self._used, keys[order], rows))
        self._sorted = self._used


class LookTable:
    """Looks by number; about 600 bytes each, and 1,800 of a picture that is mostly plain."""

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
        self._hashes = _Hashes(most_bits)

    def __len__(self) -> int:
        return len(self._pixels)

    def add(self, look: PictureLook) -> int:
        """Its number."""
        number = len(self._pixels)
        self._equal.setdefault(look.pixels, []).append(number)
        self._pixels.append(look.pixels)
        if self._most_bits:
            self._hashes.add(look)
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
            yield from self._hashes.near(look).tolist()


def look_clusters(looks: Sequence[PictureLook], *, most_bits: int) -> Int[np.ndarray, " N"]:
    """The number of each look's cluster; clusters are what likeness chains together, numbered by their first."""
    table, parent = LookTable(most_bits=most_bits), list(range(len(looks)))
    first: dict[bytes, int] = {}
    placed: list[int] = []
    """The look of each number of the table: of equal pixels the first alone, as the others are like the same looks."""

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for number, look in enumerate(looks):
        known = look.pixels in first
        alike = [first[look.pixels]] if known else [placed[other] for other in table.all_near(look)]
        for other in alike:
            a, b = root(number), root(other)
            parent[max(a, b)] = min(a, b)
        if not known:
            first[look.pixels] = number
            placed.append(number)
            table.add(look)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(i), len(numbers)) for i in range(len(looks))], dtype=np.int64)
