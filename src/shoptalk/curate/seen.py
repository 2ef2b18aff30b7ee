"""What was seen before in a stream of millions, in a few bytes each."""

import hashlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

_FULLEST = 0.8
_ALIGNED = 16


class Table:
    """Numbers from 1 to 2^32 - 1 by text, of which only a 64-bit hash is kept: 15 to 30 bytes a text.

    Two different texts are taken for one with a probability of n² / 2^65 among n texts: once in 300,000 corpora of ten
    million. A dictionary of the same would take about 170 bytes a text.
    """

    def __init__(self) -> None:
        self._reserve(2**10)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def get(self, text: bytes) -> int:
        """The text's number, 0 where it has none."""
        return self._numbers[self._slot(_hash(text))]

    def set(self, text: bytes, number: int) -> None:
        """Give the text a number."""
        key = _hash(text)
        slot = self._slot(key)
        if not self._keys[slot]:
            if self._used >= _FULLEST * len(self._keys):
                self._grow()
                slot = self._slot(key)
            self._keys[slot] = key
            self._used += 1
        self._numbers[slot] = number

    def _slot(self, key: int) -> int:
        """Where the key is or would go: linear probing from the place that its low bits name."""
        keys, mask = self._keys, self._mask
        slot = key & mask
        while keys[slot] and keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        keys, numbers = self._keys, self._numbers
        self._reserve(2 * len(keys))
        for key, number in zip(keys, numbers, strict=True):
            if key:
                slot = self._slot(key)
                self._keys[slot], self._numbers[slot] = key, number

    def _reserve(self, slots: int) -> None:
        self._keys, self._numbers = array("Q", bytes(8 * slots)), array("I", bytes(4 * slots))
        self._mask = slots - 1


class Names:
    """Strings by number, in a file: for what is rarely asked again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = _ALIGNED  # so that no number is 0

    def add(self, name: str) -> int:
        """The name's number, below 2^32 for 64 GB of names."""
        data = name.encode("utf-8")
        data = len(data).to_bytes(4, "little") + data
        number, aligned = self._end // _ALIGNED, -len(data) % _ALIGNED
        self._file.seek(self._end)
        self._file.write(data + bytes(aligned))
        self._end += len(data) + aligned
        return number

    def __getitem__(self, number: int) -> str:
        self._file.seek(number * _ALIGNED)
        return self._file.read(int.from_bytes(self._file.read(4), "little")).decode("utf-8")


@contextmanager
def names() -> Iterator[Names]:
    """Names in a temporary file that goes when they do."""
    with TemporaryFile() as file:
        yield Names(file)


def _hash(text: bytes) -> int:
    # 0 marks a slot that is free.
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1
