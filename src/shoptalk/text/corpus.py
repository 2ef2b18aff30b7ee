"""The corpus as objectives see it: a sequence of texts, and which of them follow each other in a conversation.

A document contributes one text per turn, or one per passage. Texts of one conversation keep its number, so that an
objective can pair consecutive turns or keep turns of one conversation from being each other's negatives.

On disk a corpus is a folder of plain arrays (`CorpusWriter`, `open_corpus`): `texts.bin` with `texts.starts.npy`, which
are read where they are asked for, and three numbers a text, mapped into memory, 16 bytes together: `conversation.npy`
and `turn.npy` (int32), `wording.npy` (int64). Arrow's IPC format would hold the same; NumPy needs no dependency.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
from jaxtyping import Int, Int64

from shoptalk.errors import ArtifactError
from shoptalk.text.stored import ArrayWriter, ChosenTexts, StoredTexts, TextWriter, mapped, runs

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
    """N texts in document order, those of a document next to each other.

    `conversation[i]` numbers the document of text i; `turn[i]` is its place among the turns of that conversation,
    and -1 for passages of plain documents, whose order nothing may learn from. A turn that was left out of training
    leaves a gap in these numbers.
    """

    texts: Sequence[str]
    conversation: Int[np.ndarray, " N"]
    turn: Int[np.ndarray, " N"]
    digest: str
    """Content hash of the artifact the corpus was read from."""
    hashes: Int64[np.ndarray, " N"] | None = field(default=None, repr=False)
    """What `wording` is, where it is known already."""

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def wording(self) -> Int64[np.ndarray, " N"]:
        """A 64-bit hash of each text: equal for equal texts, and for different ones once in 10^19 pairs."""
        if self.hashes is not None:
            return self.hashes
        return np.fromiter((wording_of(text.encode()) for text in self.texts), dtype=np.int64, count=len(self))

    def sample(self, most: int, *, seed: int) -> "Corpus":
        """Whole documents at random, in their order, until they hold about `most` texts; all where they hold fewer.

        The texts are not copied.
        """
        if len(self) <= most:
            return self
        sizes = np.diff(runs(self.conversation), append=len(self))
        order = np.random.default_rng(seed).permutation(len(sizes))
        taken = np.zeros(len(sizes), dtype=bool)
        taken[order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))]] = True
        kept = np.flatnonzero(np.repeat(taken, sizes))
        return Corpus(
            texts=ChosenTexts(self.texts, kept),
            conversation=self.conversation[kept],
            turn=self.turn[kept],
            digest=f"{self.digest}:{most}:{seed}",
            hashes=None if self.hashes is None else self.hashes[kept],
        )

    def contexts(self) -> "Positions":
        """The position of each turn that the next text answers."""
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
        """(context, reply): each two consecutive turns of a conversation, as positions in `texts`."""
        contexts = self.contexts().numbers
        return np.stack([contexts, contexts + 1], axis=1)


class CorpusWriter:
    """Writes a corpus into an empty folder, document by document."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._texts = TextWriter(folder, "texts")
        self._conversation = ArrayWriter(folder / "conversation.npy", np.int32)
        self._turn = ArrayWriter(folder / "turn.npy", np.int32)
        self._wording = ArrayWriter(folder / "wording.npy", np.int64)
        self._documents = 0
        self.texts = 0

    def __enter__(self) -> "CorpusWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self._texts, self._conversation, self._turn, self._wording):
            part.close()

    def add(self, texts: Sequence[str], *, are_turns: bool) -> None:
        """The turns or passages of one document; empty ones are passed over and leave a gap in `turn`."""
        for place, text in enumerate(texts):
            if text:
                data = text.encode("utf-8")
                self._texts.append(data)
                self._conversation.append(self._documents)
                self._turn.append(place if are_turns else -1)
                self._wording.append(wording_of(data))
                self.texts += 1
        self._documents += 1


def open_corpus(folder: Path, *, digest: str) -> Corpus:
    """The corpus that a `CorpusWriter` wrote; nothing but its outline is read.

    Raises:
        ArtifactError: a file is missing, damaged, or does not belong with the others.
    """
    arrays = {name: mapped(folder / f"{name}.npy") for name in ("conversation", "turn", "wording")}
    texts = StoredTexts(folder, "texts")
    for name, array in arrays.items():
        if array.shape != (len(texts),):
            raise ArtifactError(
                f"{folder / name}.npy has {array.shape} numbers for {len(texts)} texts. Delete {folder} and run again."
            )
    return Corpus(texts, arrays["conversation"], arrays["turn"], digest, hashes=arrays["wording"])


def wording_of(text: bytes) -> int:
    """The hash of a text that `Corpus.wording` holds: the first eight bytes of its BLAKE2b, signed."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)
