"""The corpus as objectives see it: a sequence of items, and which of them follow each other in a conversation.

A document contributes one item per turn, or one per passage; a picture comes before its captions. Items of one
conversation keep its number, so that an objective can pair consecutive turns or keep turns of one conversation from
being each other's negatives.

On disk a corpus is a folder of plain arrays (`CorpusWriter`, `open_corpus`): `texts.bin` with `texts.starts.npy`, which
are read where they are asked for, and four numbers an item, mapped into memory, 20 bytes together: `conversation.npy`,
`turn.npy` and `role.npy` (int32), `wording.npy` (int64). `roles.json` names the roles, `pictures.npy` holds the
positions of pictures, and `document.npy` says of each document which line of `documents.jsonl` tells of it. Arrow's IPC
format would hold the same; NumPy needs no dependency.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex, cast, overload

import numpy as np
from jaxtyping import Bool, Int, Int64

from shoptalk.errors import ArtifactError
from shoptalk.records import Document, Item, Picture
from shoptalk.text.stored import ArrayWriter, ChosenItems, StoredTexts, TextWriter, mapped, runs

PARTED_BY = {True: "\n", False: "\n\n"}
"""What parts the turns of a conversation (True), and the passages of a document, where they are read as one text."""
_CHUNK = 100_000


@dataclass(frozen=True)
class Positions(Sequence[int]):
    """Places in a corpus as a sequence of Python's numbers, four bytes each where a list takes forty."""

    numbers: Int[np.ndarray, " P"]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> "Positions": ...
    def __getitem__(self, at: SupportsIndex | slice) -> "int | Positions":
        return Positions(self.numbers[at]) if isinstance(at, slice) else int(self.numbers[at])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Int[np.ndarray, " P"]:
        return np.array(self.numbers, dtype=dtype, copy=copy)


@dataclass(frozen=True)
class Corpus:
    """N items in document order, those of a document next to each other.

    `conversation[i]` numbers the document of item i; `turn[i]` is its place among the turns of that conversation,
    and -1 for passages of plain documents: these stand in their text's order, and documents in one that nothing may
    learn from. A turn that was left out of training leaves a gap in these numbers. `role[i]` is the place in `roles` of
    the role that the turn was written in, and -1 where that is not known.
    """

    items: Sequence[Item]
    conversation: Int[np.ndarray, " N"]
    turn: Int[np.ndarray, " N"]
    digest: str
    """Content hash of the artifact the corpus was read from."""
    hashes: Int64[np.ndarray, " N"] | None = field(default=None, repr=False)
    """What `wording` is, where it is known already."""
    role: Int[np.ndarray, " N"] | None = field(default=None, repr=False)
    """None where no item's role is known."""
    roles: tuple[str, ...] = ()
    documents: Sequence[Document] = field(default=(), repr=False)
    """By the numbers in `conversation`; empty where they are not known. On disk one is read when it is asked for."""
    shown: Int[np.ndarray, " P"] | None = field(default=None, repr=False)
    """What `pictures` are, where it is known already."""

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def texts(self) -> Sequence[str]:
        """The items of a corpus that holds texts alone.

        Raises:
            TypeError: there are pictures among them.
        """
        if len(self.pictures):
            n = len(self.pictures)
            raise TypeError(f"{n:,} of {len(self):,} items of this corpus are pictures; read its `items`.")
        return cast(Sequence[str], self.items)

    @cached_property
    def pictures(self) -> "Positions":
        """The positions of the items that are pictures."""
        if self.shown is not None:
            return Positions(self.shown)
        places = [i for i, item in enumerate(self.items) if isinstance(item, Picture)]
        return Positions(np.array(places, dtype=np.int64))

    @cached_property
    def wording(self) -> Int64[np.ndarray, " N"]:
        """A 64-bit hash of each item: equal for equal ones, and for different ones once in 10^19 pairs."""
        if self.hashes is not None:
            return self.hashes
        return np.fromiter((wording_of(_told_apart_by(item)) for item in self.items), dtype=np.int64, count=len(self))

    def role_of(self, i: SupportsIndex) -> str:
        """The role of item i; empty where it is not known."""
        number = -1 if self.role is None else int(self.role[i.__index__()])
        return self.roles[number] if number >= 0 else ""

    def in_role(self, *names: str) -> Bool[np.ndarray, " N"]:
        """Which items have one of these roles, such as "assistant" and "agent"."""
        if self.role is None:
            return np.zeros(len(self), dtype=bool)
        return np.isin(self.role, [number for number, name in enumerate(self.roles) if name in names])

    def document_of(self, i: SupportsIndex) -> Document:
        """The document of item i, with its id, its source and its metadata.

        Raises:
            IndexError: the corpus does not know its documents.
        """
        return self.documents[int(self.conversation[i.__index__()])]

    def passages(self) -> "Positions":
        """The position of each passage of a plain document: texts that are neither turns nor pictures."""
        plain = np.asarray(self.turn) < 0
        plain[self.pictures.numbers] = False
        return Positions(np.flatnonzero(plain))

    def part(self, positions: Int[np.ndarray, " P"], *, digest: str) -> "Corpus":
        """The items at these positions, in ascending order. They are not copied, and documents keep their numbers."""
        return Corpus(
            items=ChosenItems(self.items, positions),
            conversation=self.conversation[positions],
            turn=self.turn[positions],
            digest=digest,
            hashes=None if self.hashes is None else self.hashes[positions],
            role=None if self.role is None else self.role[positions],
            roles=self.roles,
            documents=self.documents,
            shown=None if self.shown is None else np.flatnonzero(np.isin(positions, self.shown)),
        )

    def sample(self, most: int, *, seed: int) -> "Corpus":
        """Whole documents at random, in their order, until they hold about `most` items; all where they hold fewer.

        The items are not copied.
        """
        if len(self) <= most:
            return self
        sizes = np.diff(runs(self.conversation), append=len(self))
        order = np.random.default_rng(seed).permutation(len(sizes))
        taken = np.zeros(len(sizes), dtype=bool)
        taken[order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))]] = True
        return self.part(np.flatnonzero(np.repeat(taken, sizes)), digest=f"{self.digest}:{most}:{seed}")

    def contexts(self) -> "Positions":
        """The position of each turn that the next item answers."""
        kind = np.int32 if len(self) < 2**31 else np.int64
        found = [np.zeros(0, dtype=kind)]
        for begin in range(0, len(self) - 1, _CHUNK):  # in parts, so that nothing else of the corpus's size is held
            here, there = slice(begin, begin + _CHUNK), slice(begin + 1, begin + _CHUNK + 1)
            turn, follows = self.turn[here], self.turn[there]
            n = len(follows)
            # A turn that was dropped leaves a gap: its neighbours did not follow each other.
            pairs = (turn[:n] >= 0) & (follows == turn[:n] + 1)
            pairs &= self.conversation[here][:n] == self.conversation[there]
            found.append((np.flatnonzero(pairs) + begin).astype(kind))
        return Positions(np.concatenate(found))

    def pairs(self) -> Int[np.ndarray, "P 2"]:
        """(context, reply): each two consecutive turns of a conversation, as positions in `items`."""
        contexts = self.contexts().numbers
        return np.stack([contexts, contexts + 1], axis=1)


class CorpusWriter:
    """Writes a corpus into an empty folder, document by document."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files = ExitStack()  # closes them all, whichever of them cannot be written
        self._texts = self._files.enter_context(TextWriter(folder, "texts"))
        self._conversation = self._array("conversation", np.int32)
        self._turn = self._array("turn", np.int32)
        self._role = self._array("role", np.int32)
        self._wording = self._array("wording", np.int64)
        self._pictures = self._array("pictures", np.int64)
        self._document = self._array("document", np.int64)
        self._roles: dict[str, int] = {}
        self._documents = 0
        self._items = 0

    def __enter__(self) -> "CorpusWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()
        (self._folder / "roles.json").write_text(json.dumps(list(self._roles), ensure_ascii=False), encoding="utf-8")

    def add(
        self, items: Sequence[Item], *, are_turns: bool, roles: Sequence[str] = (), document: int | None = None
    ) -> None:
        """The turns or passages of one document; empty ones are passed over and leave a gap in `turn`.

        Args:
            items: in their order.
            are_turns: whether they follow each other.
            roles: of each item, empty where it has none; none at all where no item has one.
            document: its line in `documents.jsonl`, where that has others besides those that are added here.
        """
        if roles and len(roles) != len(items):
            raise ValueError(f"{len(items)} items have {len(roles)} roles; expected one of each, or none.")
        filled = [place for place, item in enumerate(items) if item]
        self._conversation.extend([self._documents] * len(filled))
        self._turn.extend(filled if are_turns else [-1] * len(filled))
        self._role.extend([self._role_number(roles[place]) for place in filled] if roles else [-1] * len(filled))
        self._wording.extend([self._append(items[place], at) for at, place in enumerate(filled, start=self._items)])
        self._items += len(filled)
        self._document.append(self._documents if document is None else document)
        self._documents += 1

    def _array(self, name: str, dtype: Any) -> ArrayWriter:
        return self._files.enter_context(ArrayWriter(self._folder / f"{name}.npy", dtype))

    def _role_number(self, role: str) -> int:
        return self._roles.setdefault(role, len(self._roles)) if role else -1

    def _append(self, item: Item, at: int) -> int:
        """Write an item and return its wording; `at` is its position."""
        if isinstance(item, str):
            data = item.encode("utf-8")
            self._texts.append(data)
            return wording_of(data)
        self._pictures.append(at)
        self._texts.append(item.model_dump_json().encode("utf-8"))
        return wording_of(_told_apart_by(item))


class _WithPictures(Sequence[Item]):
    """Stored items of which those at the positions `pictures`, ascending, are pictures, written as JSON."""

    def __init__(self, texts: StoredTexts, pictures: Int[np.ndarray, " P"]) -> None:
        self._texts = texts
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, at: SupportsIndex) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Item | tuple[Item, ...]:
        places = range(len(self))[at]
        if isinstance(places, range):
            return tuple(self[i] for i in places)
        text, nearest = self._texts[places], int(np.searchsorted(self._pictures, places))
        is_picture = nearest < len(self._pictures) and self._pictures[nearest] == places
        return Picture.model_validate_json(text) if is_picture else text


def open_corpus(folder: Path, *, digest: str, documents: Sequence[Document] = ()) -> Corpus:
    """The corpus that a `CorpusWriter` wrote; nothing but its outline is read.

    Args:
        folder: where it is.
        digest: content hash of the artifact that it belongs to.
        documents: the lines of `documents.jsonl`, where they are wanted.

    Raises:
        ArtifactError: a file is missing, damaged, or does not belong with the others.
    """
    arrays = {name: mapped(folder / f"{name}.npy") for name in ("conversation", "turn", "role", "wording")}
    texts = StoredTexts(folder, "texts")
    pictures, lines = mapped(folder / "pictures.npy"), mapped(folder / "document.npy")
    for name, array in arrays.items():
        if array.shape != (len(texts),):
            raise ArtifactError(
                f"{folder / name}.npy has {array.shape} numbers for {len(texts)} texts. Delete {folder} and run again."
            )
    conversation = arrays["conversation"]
    if len(conversation) and not 0 <= conversation[0] <= conversation[-1] < len(lines):
        raise ArtifactError(f"{folder}/conversation.npy counts other documents. Delete {folder} and run again.")
    if len(pictures) and not 0 <= pictures[0] <= pictures[-1] < len(texts):
        raise ArtifactError(f"{folder}/pictures.npy counts other texts. Delete {folder} and run again.")
    return Corpus(
        items=_WithPictures(texts, pictures) if len(pictures) else texts,
        conversation=arrays["conversation"],
        turn=arrays["turn"],
        digest=digest,
        hashes=arrays["wording"],
        role=arrays["role"],
        roles=_role_names(folder / "roles.json"),
        documents=ChosenItems(documents, lines) if documents else (),
        shown=pictures,
    )


def _role_names(path: Path) -> tuple[str, ...]:
    try:
        return tuple(map(str, json.loads(path.read_bytes())))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}). Delete its folder and run again.") from None


def wording_of(data: bytes) -> int:
    """The hash of an item that `Corpus.wording` holds: the first eight bytes of its BLAKE2b, signed."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)


def plain_wording(caption: str) -> str:
    """Equal of captions that differ in case and white space alone: they are one caption."""
    return " ".join(caption.casefold().split())


def _told_apart_by(item: Item) -> bytes:
    """A text itself, and of a picture its hash."""
    return (item.sha256 if isinstance(item, Picture) else item).encode("utf-8")
