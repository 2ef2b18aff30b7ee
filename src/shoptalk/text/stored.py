"""Arrays and texts on disk that are written in one pass and read where they are asked for.

Plain `.npy` files and one file of UTF-8, so that NumPy alone opens them. What is read at random places, texts and
token ids, is read with `pread` and not mapped into memory: the pages of a mapping count as the process's own and pile
up to the size of the file, what `pread` leaves behind is the system's cache.
"""

import io
import itertools
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar, overload

import numpy as np
from jaxtyping import Int, Integer, Shaped

from shoptalk.errors import ArtifactError
from shoptalk.records import Item

_AT_ONCE = 4096
"""Texts that an iteration reads at a time."""
_BUFFER = 65_536

T = TypeVar("T")


class ArrayWriter:
    """A one-dimensional `.npy` file that grows: `extend` it, then `close` it (or leave its `with` block)."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._file = path.open("wb")
        self._held: list[int] = []
        self.length = 0
        self._write_header()

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, number: int) -> None:
        """Add one number."""
        self._held.append(number)
        if len(self._held) >= _BUFFER:
            self._flush()

    def extend(self, numbers: Shaped[np.ndarray, " M"] | Sequence[int]) -> None:
        """Add several numbers; a list is taken for a few, and written together with others."""
        if isinstance(numbers, list):
            self._held.extend(numbers)
            if len(self._held) >= _BUFFER:
                self._flush()
            return
        self._flush()
        self._write(np.asarray(numbers, dtype=self.dtype))

    def close(self) -> None:
        """Write what is held, and how long the array became."""
        if not self._file.closed:
            with self._file:
                self._flush()
                self._file.seek(0)
                self._write_header()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held:
            self._write(np.array(held, dtype=self.dtype))

    def _write(self, numbers: Shaped[np.ndarray, " M"]) -> None:
        self._file.write(numbers.tobytes())
        self.length += len(numbers)

    def _write_header(self) -> None:
        # NumPy leaves room in a header for the first axis to grow, so that it can be written again in its place.
        shape = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, shape)


class StoredArray:
    """A one-dimensional `.npy` file of which slices are read; nothing of it stays in memory.

    Raises:
        ArtifactError: the file is missing, is not a one-dimensional array, or is shorter than it says.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                self._begin = file.tell()
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{path} cannot be read as an array ({error}). Delete its folder and run again."
            ) from None
        self._bytes = _Bytes(path)
        self._length, self.dtype = int(shape[0]), dtype
        if len(shape) != 1 or dtype.hasobject or len(self._bytes) != self._begin + self._length * dtype.itemsize:
            raise ArtifactError(f"{path} is not the array that its header tells of. Delete its folder and run again.")

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: slice) -> Shaped[np.ndarray, " M"]: ...
    @overload
    def __getitem__(self, at: SupportsIndex) -> Any: ...
    def __getitem__(self, at: slice | SupportsIndex) -> Any:
        """The numbers of a slice (of step 1), or one number."""
        if not isinstance(at, slice):
            return self[slice(place := _place(at, len(self)), place + 1)][0]
        begin, end, step = at.indices(len(self))
        if step != 1:
            raise ValueError(f"A stored array is read in slices of step 1, not {step}.")
        size = self.dtype.itemsize
        data = self._bytes.read(self._begin + begin * size, max(0, end - begin) * size)
        return np.frombuffer(data, dtype=self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Shaped[np.ndarray, " N"]:
        """All of it, read into memory."""
        return self[:].astype(dtype if dtype is not None else self.dtype)


class TextWriter:
    """Texts in one file of UTF-8, `NAME.bin` or of another suffix, and where each begins, `NAME.starts.npy`."""

    def __init__(self, folder: Path, name: str, *, suffix: str = ".bin") -> None:
        self._starts = ArrayWriter(folder / f"{name}.starts.npy", np.int64)
        self._file = (folder / f"{name}{suffix}").open("wb")
        self._place = 0
        self._starts.append(0)

    def __enter__(self) -> "TextWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, text: bytes) -> None:
        """Add one text, as UTF-8."""
        self._file.write(text)
        self._place += len(text)
        self._starts.append(self._place)

    def close(self) -> None:
        """Finish both files, the other too where one cannot be written."""
        with self._starts, self._file:
            pass


class StoredTexts(Sequence[str]):
    """The texts that a `TextWriter` wrote: read when asked for, never held. A slice is read at once, into a tuple.

    Raises:
        ArtifactError: a file is missing, or the two do not belong together.
    """

    def __init__(self, folder: Path, name: str, *, suffix: str = ".bin") -> None:
        self._starts = StoredArray(folder / f"{name}.starts.npy")
        self._bytes = _Bytes(folder / f"{name}{suffix}")
        if not len(self._starts) or int(self._starts[-1]) != len(self._bytes):
            raise ArtifactError(f"{folder / name}{suffix} is cut off. Delete {folder} and run again.")

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, at: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> str | tuple[str, ...]:
        if not isinstance(at, slice):
            place = _place(at, len(self))
            return self._read(place, place + 1)[0]
        begin, end, step = at.indices(len(self))
        if step != 1:
            return tuple(self[i] for i in range(begin, end, step))
        return self._read(begin, end)

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), _AT_ONCE):
            yield from self._read(begin, min(begin + _AT_ONCE, len(self)))

    def _read(self, begin: int, end: int) -> tuple[str, ...]:
        if end <= begin:
            return ()
        starts = self._starts[begin : end + 1].tolist()
        if starts[0] < 0 or any(right < left for left, right in itertools.pairwise(starts)):
            raise self._bytes.damaged("its texts do not follow each other")
        data, first = self._bytes.read(starts[0], starts[-1] - starts[0]), starts[0]
        try:
            return tuple(data[left - first : right - first].decode() for left, right in itertools.pairwise(starts))
        except UnicodeDecodeError as error:
            raise self._bytes.damaged("it is no UTF-8 there") from error


class ChosenItems(Sequence[T]):
    """Some of a sequence, which is not copied: number i is `whole[positions[i]]`."""

    def __init__(self, whole: Sequence[T], positions: Integer[np.ndarray, " N"]) -> None:
        self._whole = whole
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, at: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[T, ...]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> T | tuple[T, ...]:
        if isinstance(at, slice):
            return tuple(self._whole[i] for i in self._positions[at].tolist())
        return self._whole[int(self._positions[_place(at, len(self))])]


class TextsOf(Sequence[str]):
    """The texts among items, which are not copied, in their places; an empty text where an item is a picture."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(item if isinstance(item, str) else "" for item in self._items[at])
        item = self._items[at.__index__()]
        return item if isinstance(item, str) else ""


def mapped(path: Path) -> Integer[np.ndarray, " N"]:
    """A `.npy` file as an array that is read where it is used; for arrays small enough to stay in memory whole.

    Raises:
        ArtifactError: the file is missing, damaged, or not a list of whole numbers.
    """
    try:
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read as an array ({error}). Delete its folder and run again.") from None
    if array.ndim != 1 or array.dtype.kind != "i":
        raise ArtifactError(f"{path} holds no list of whole numbers. Delete its folder and run again.")
    return array


class _Bytes:
    """A file of which parts are read; its handle is closed when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read ({error.strerror}). Delete its folder and run again.") from None
        weakref.finalize(self, os.close, self._handle)
        self._path = path
        self._length = os.fstat(self._handle).st_size

    def __len__(self) -> int:
        return self._length

    def damaged(self, reason: str) -> ArtifactError:
        """The error about content that was not written so."""
        return ArtifactError(f"{self._path} is damaged ({reason}). Delete its folder and run again.")

    def read(self, begin: int, length: int) -> bytes:
        """Exactly `length` bytes from `begin` on."""
        data = os.pread(self._handle, length, begin)
        if len(data) == length:
            return data
        # One call gives at most 2 GiB.
        parts = io.BytesIO()
        while data:
            parts.write(data)
            data = os.pread(self._handle, length - parts.tell(), begin + parts.tell())
        if parts.tell() < length:
            raise ArtifactError(f"{self._path} became shorter while it was read. Delete its folder and run again.")
        return parts.getvalue()


def _place(at: SupportsIndex, length: int) -> int:
    place = at.__index__()
    if not -length <= place < length:
        raise IndexError(f"Position {place} of {length}.")
    return place % length if length else 0


def runs(numbers: Integer[np.ndarray, " N"]) -> Int[np.ndarray, " R"]:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.concatenate([[len(numbers) > 0], numbers[1:] != numbers[:-1]])[: len(numbers)])
