"""Every picture of a corpus as a square of bytes, decoded once and mapped into memory.

    pixels = decode_to(run / "pixels", corpus.items, size=32, digest=corpus.digest)
    pixels.take([3, 4])                       # [2, 32, 32, 3]

A picture's bytes are found by what its file held (its SHA-256), so equal files are decoded and kept once.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32, UInt8
from PIL import Image

from shoptalk.artifact import create, key_of, open_artifact, storage_errors, write_text
from shoptalk.errors import ArtifactError, SourceError
from shoptalk.image.decode import LARGEST_BYTES, LARGEST_PIXELS, RefusedPicture, open_picture, picture_bytes
from shoptalk.records import Item, Picture

KIND, ARRAY, HASHES, HALF = "pixels", "pixels.npy", "hashes.txt", ".half"
_THREADS = 2
_LONGEST = 16
_CHUNK = 512
"""Pictures that are decoded before what was done is written down."""


@dataclass(frozen=True)
class Pixels:
    """M different pictures of one size, and which of them each of a corpus's N items is."""

    array: UInt8[np.ndarray, "M S S 3"]
    rows: Int32[np.ndarray, " N"]
    """Of each item, its row of the array; -1 for an item that is no picture."""
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Sequence[int] | Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n S S 3"]:
        """The pictures at these positions of the corpus.

        Raises:
            IndexError: an item there is no picture.
        """
        rows = self.rows[np.asarray(positions, dtype=np.int64)]
        if len(rows) and rows.min() < 0:
            raise IndexError(f"item {np.asarray(positions)[int(rows.argmin())]} is no picture")
        pictures: UInt8[np.ndarray, "n S S 3"] = np.ascontiguousarray(self.array[rows])
        return pictures


def square(image: Image.Image, size: int) -> UInt8[np.ndarray, "S S 3"]:
    """The shorter side becomes `size` (bicubic), and the middle square is cut out: what the CLIPImageProcessor of
    transformers does, bit for bit.

    Of a picture that is over 16 times as long as wide the middle is cut out before, which changes the last bits at the
    most: a line of 60,000 pixels would else become millions of pixels long.
    """
    width, height = image.size
    short = min(width, height)
    if max(width, height) > _LONGEST * short:
        width, height = min(width, _LONGEST * short), min(height, _LONGEST * short)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    if short != size:
        image = image.resize((int(size * width / short), int(size * height / short)), Image.Resampling.BICUBIC)
    width, height = image.size
    left, top = (width - size) // 2, (height - size) // 2
    return np.array(image.crop((left, top, left + size, top + size)), dtype=np.uint8)


def resized(pictures: UInt8[np.ndarray, "n S S 3"], size: int) -> UInt8[np.ndarray, "n T T 3"]:
    """Squares in another size, by the mean of the pixels that each new one covers."""
    if pictures.shape[1] == size:
        return pictures
    shape = (size, size)
    return np.stack([np.asarray(Image.fromarray(one).resize(shape, Image.Resampling.BOX)) for one in pictures])


def square_of(picture: Picture, size: int, *, unchanged: bool = True) -> UInt8[np.ndarray, "S S 3"]:
    """A picture's file as such a square, by no limits but Pillow's, for curation has judged it by the settings.

    Raises:
        RefusedPicture: it cannot be read (any more); with `unchanged` also "changed", where its file holds other bytes
            than its hash says.
    """
    data = picture_bytes(picture.path, most=LARGEST_BYTES)
    if unchanged and hashlib.sha256(data).hexdigest() != picture.sha256:
        raise RefusedPicture("changed", "its file holds other bytes than then")
    return square(open_picture(data, most_pixels=LARGEST_PIXELS), size)


def decode_all(items: Sequence[Item], *, size: int) -> Pixels:
    """Every picture among the items, in memory.

    Raises:
        SourceError: one of them cannot be read (any more).
    """
    pictures, rows = _distinct(items)
    array = np.zeros((len(pictures), size, size, 3), dtype=np.uint8)
    for begin, part in _decoded(pictures, size, 0, unchanged=False):
        array[begin : begin + len(part)] = part
    return Pixels(array, rows, size)


def decode_to(folder: Path, items: Sequence[Item], *, size: int, digest: str) -> Pixels:
    """The same as an artifact in `folder`, mapped into memory. What was decoded when a process was killed is kept: the
    same call again goes on.

    Raises:
        SourceError: a picture cannot be read (any more).
        StorageError: the folder cannot be written.
    """
    pictures, rows = _distinct(items)
    settings, parents = {"size": size}, {"corpus": digest}
    if open_artifact(folder, key=key_of(kind=KIND, config=settings, parents=parents)) is None:
        half = folder.with_name(folder.name + HALF)
        _decode_half(half, pictures, size, digest)
        with create(folder, kind=KIND, config=settings, parents=parents) as inside, storage_errors(inside):
            (half / ARRAY).replace(inside / ARRAY)
            write_text(inside / HASHES, "".join(f"{picture.sha256}\n" for picture in pictures))
        # What a killed process was writing may lie there too; the array is safe, so nothing that is left matters.
        shutil.rmtree(half, ignore_errors=True)
    array = np.load(folder / ARRAY, mmap_mode="r", allow_pickle=False)
    if array.shape != (len(pictures), size, size, 3) or array.dtype != np.uint8:
        raise ArtifactError(f"{folder}/{ARRAY} has other pictures. Delete {folder} and run again.")
    return Pixels(array, rows, size)


def _decode_half(half: Path, pictures: Sequence[Picture], size: int, digest: str) -> None:
    """Fill the array, from where an earlier process stopped."""
    state = {"digest": digest, "size": size, "pictures": len(pictures)}
    shape = (len(pictures), size, size, 3)
    with storage_errors(half):
        half.mkdir(parents=True, exist_ok=True)
        begin = _done(half, state)
        if not begin:
            _begin_array(half / ARRAY, shape)
        with (half / ARRAY).open("r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(begin * size * size * 3, os.SEEK_CUR)
            # Written and not mapped: a map of a disk that is full ends the process without a word.
            for start, part in _decoded(pictures, size, begin, unchanged=True):
                file.write(part.tobytes())
                file.flush()
                os.fsync(file.fileno())
                write_text(half / "done.json", json.dumps({**state, "done": start + len(part)}))


def _begin_array(path: Path, shape: tuple[int, ...]) -> None:
    """An array's file as NumPy's, up to where its numbers begin."""
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, about)


def _done(half: Path, state: dict[str, object]) -> int:
    """How many pictures an earlier process has decoded for the same array."""
    try:
        told = json.loads((half / "done.json").read_text(encoding="utf-8"))
        done = told.pop("done")
        return int(done) if told == state and (half / ARRAY).is_file() else 0
    except (OSError, ValueError, KeyError, AttributeError):
        return 0


def _distinct(items: Sequence[Item]) -> tuple[list[Picture], Int32[np.ndarray, " N"]]:
    """Each different picture once, in order, and of each item its number; -1 for texts."""
    number: dict[str, int] = {}
    pictures: list[Picture] = []
    rows = np.full(len(items), -1, dtype=np.int32)
    for at, item in enumerate(items):
        if isinstance(item, Picture):
            if item.sha256 not in number:
                number[item.sha256] = len(pictures)
                pictures.append(item)
            rows[at] = number[item.sha256]
    return pictures, rows


def _decoded(
    pictures: Sequence[Picture], size: int, begin: int, *, unchanged: bool
) -> Iterator[tuple[int, UInt8[np.ndarray, "c S S 3"]]]:
    """Chunks of decoded pictures, each with the number of its first."""

    def one(picture: Picture) -> UInt8[np.ndarray, "S S 3"]:
        try:
            return square_of(picture, size, unchanged=unchanged)
        except RefusedPicture as refusal:
            raise SourceError(
                f"The picture {picture.path} was read before and cannot be now: {refusal.detail}. Put it back where it "
                "was, or run `shoptalk curate` again."
            ) from refusal

    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(begin, len(pictures), _CHUNK):
            yield start, np.stack(list(threads.map(one, pictures[start : start + _CHUNK])))
