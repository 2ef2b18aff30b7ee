"""What a picture looks like, small enough to compare each with all: near duplicates of pictures.

    look = look_of(picture)                     # refuses what is no picture
    table = LookTable(most_bits=6)
    table.near(look)                            # the number of an earlier one that looks alike, or None
    table.add(look)

A look is a difference hash of 256 bits (whether each cell of a 17 x 16 grey picture is brighter than the next to its
right; Krawetz, "Kind of like that", 2013) and an 8 x 8 thumbnail in colour. Two are alike where few bits differ and the
thumbnails differ little as well: of drawings on white most bits say nothing, and there the thumbnails tell them apart.
Copies that were scaled, saved again or made a little brighter are alike; cropped and turned ones are not.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from shoptalk.image.decode import open_picture, picture_bytes
from shoptalk.records import Picture

BITS = 256
_BANDS = 16
"""Parts of a hash. Two hashes of which fewer bits differ than there are parts have an equal part."""
MOST_BITS = _BANDS - 1
THUMBNAIL = 8
_BRIGHTNESS = 6.0
"""Mean difference of two thumbnails, of 255, up to which they may be of one picture."""


@dataclass(frozen=True, eq=False)
class PictureLook:
    """What a picture looks like."""

    bits: UInt8[np.ndarray, "32"]
    """The difference hash, packed."""
    thumbnail: UInt8[np.ndarray, "192"]


_REMEMBERED = 16_384
_remembered: OrderedDict[str, PictureLook] = OrderedDict()
"""Of the pictures that were decoded last, by their hash: reading decodes, the rules of curation then look."""


def look_of(picture: Picture, data: bytes | None = None) -> PictureLook:
    """What the picture of a file looks like; `data` are the file's bytes, where they were read already.

    Raises:
        RefusedPicture: the file is no picture that can be read.
    """
    look = _remembered.get(picture.sha256)
    if look is None:
        look = look_at(open_picture(picture_bytes(picture.path) if data is None else data))
        _remembered[picture.sha256] = look
        if len(_remembered) > _REMEMBERED:
            _remembered.popitem(last=False)
    return look


def look_at(image: Image.Image) -> PictureLook:
    """What an image looks like."""
    grey = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.BOX), dtype=np.int16)
    small = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return PictureLook(np.packbits(grey[:, 1:] > grey[:, :-1]), np.asarray(small, dtype=np.uint8).reshape(-1))


def alike(one: PictureLook, other: PictureLook, *, most_bits: int) -> bool:
    """Whether two looks are of one picture."""
    if int(np.bitwise_count(one.bits ^ other.bits).sum()) > most_bits:
        return False
    difference = np.abs(one.thumbnail.astype(np.int16) - other.thumbnail.astype(np.int16)).mean()
    return bool(difference <= (_BRIGHTNESS if most_bits else 0.0))


class LookTable:
    """Looks by number; 400 bytes each."""

    def __init__(self, *, most_bits: int) -> None:
        """`most_bits` of 256 may differ; with 0 only looks that are equal in all are alike.

        Raises:
            ValueError: more bits than `MOST_BITS`.
        """
        if not 0 <= most_bits <= MOST_BITS:
            raise ValueError(f"{most_bits} bits; expected 0 to {MOST_BITS}")
        self._most_bits = most_bits
        self._looks: list[PictureLook] = []
        self._parts: dict[tuple[int, bytes], list[int]] = {}

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, look: PictureLook) -> int:
        """Its number."""
        number = len(self._looks)
        self._looks.append(look)
        for place in _parts_of(look):
            self._parts.setdefault(place, []).append(number)
        return number

    def near(self, look: PictureLook) -> int | None:
        """The smallest number of a look that is alike."""
        return min(self.all_near(look), default=None)

    def all_near(self, look: PictureLook) -> list[int]:
        """The numbers of all that are alike."""
        candidates = {number for place in _parts_of(look) for number in self._parts.get(place, ())}
        return [number for number in candidates if alike(look, self._looks[number], most_bits=self._most_bits)]


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


def _parts_of(look: PictureLook) -> list[tuple[int, bytes]]:
    data, size = look.bits.tobytes(), BITS // 8 // _BANDS
    return [(place, data[place * size : (place + 1) * size]) for place in range(_BANDS)]
