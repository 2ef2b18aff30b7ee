"""Every text's token ids, from which batches are made: in memory for a few texts, on disk for a corpus.

Ids are kept in as few bytes as the vocabulary needs: two for the usual 30,000 pieces.
"""

import itertools
import json
import operator
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int, Integer

from shoptalk.artifact import create, digest, key_of, open_artifact, storage_errors
from shoptalk.readback import as_written
from shoptalk.text.stored import ArrayWriter, StoredArray

AT_ONCE = 2_000
"""Texts given to the tokenizer in one call, which spreads them over its threads and takes some 10 kB for each."""
SHARD = 100_000
"""Texts tokenised between two points that an interrupted run can continue from."""
_LENGTHS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Tokenised:
    """Every text's token ids, special tokens included, in one flat array, in memory or on disk."""

    flat: Integer[np.ndarray, " T"] | StoredArray
    starts: Int[np.ndarray, " N1"] | StoredArray
    """Where each text begins, and one past the end of the last: N + 1 numbers."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: SupportsIndex) -> Int[np.ndarray, " L"]:
        at = operator.index(i)  # NumPy's integers too
        if not 0 <= at < len(self):
            raise IndexError(f"Text {at} of {len(self)}.")
        begin, end = self.starts[at : at + 2]
        return self.flat[begin:end].astype(np.int64)

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """Tokens of each text: 4 bytes per text, computed at each call."""
        lengths = np.empty(len(self), dtype=np.int32)
        for begin in range(0, len(self), _LENGTHS_AT_ONCE):
            part = self.starts[begin : begin + _LENGTHS_AT_ONCE + 1]
            lengths[begin : begin + len(part) - 1] = np.diff(part)
        return lengths


def tokenise(tokenizer: Any, texts: Sequence[str], *, max_length: int, special: bool = True) -> Tokenised:
    """Token ids of every text, cut at `max_length` tokens (special tokens included), in memory. Without `special` none
    are put around a text, and a marker that stands in a text, such as "<|endoftext|>", is read as its letters.
    """
    return _tokenised(tokenizer, texts, range(len(texts)), max_length, special)


def tokenise_to(
    folder: Path,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_length: int,
    digest: str,
    shard: int = SHARD,
    special: bool = True,
) -> Tokenised:
    """As `tokenise`, into the artifact `folder` (`ids.npy`, `starts.npy`), unless it is there already.

    Texts are read and written `shard` at a time; an interrupted call continues with the first shard that is not
    finished. The tokenizer spreads its work over the cores, unless TOKENIZERS_PARALLELISM or RAYON_NUM_THREADS says
    otherwise.

    Args:
        folder: where the artifact goes; unfinished shards wait in a hidden folder beside it.
        tokenizer: a transformers tokenizer.
        texts: any number of texts, read in slices.
        max_length: most tokens of a text.
        digest: what the texts are: equal for equal texts.
        shard: texts in a shard.
        special: whether special tokens are put around a text.

    Raises:
        StorageError: the folder cannot be written.
    """
    settings = {"max_length": max_length} | ({} if special else {"special": False})
    parents = {"corpus": digest, "tokenizer": tokenizer_digest(tokenizer)}
    key = key_of(kind="tokens", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        waiting = folder.with_name(f".{folder.name}.shards-{key[:12]}-{shard}")
        with storage_errors(folder):
            waiting.mkdir(parents=True, exist_ok=True)
        shards = [waiting / f"{begin // shard:06}.npz" for begin in range(0, len(texts), shard)]
        for path, begin in zip(shards, range(0, len(texts), shard), strict=True):
            if not path.exists():
                places = range(begin, min(begin + shard, len(texts)))
                _write_shard(path, _tokenised(tokenizer, texts, places, max_length, special))
        with create(folder, kind="tokens", config=settings, parents=parents) as inside:
            _join(inside, shards, _id_type(tokenizer))
        for left in folder.parent.glob(f".{folder.name}.shards-*"):
            shutil.rmtree(left, ignore_errors=True)
    return open_tokens(folder)


def open_tokens(folder: Path) -> Tokenised:
    """The ids that `tokenise_to` left, read from disk text by text.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    with as_written(folder):
        return Tokenised(flat=StoredArray(folder / "ids.npy"), starts=StoredArray(folder / "starts.npy"))


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of all that decides a text's ids: the whole pipeline of a fast tokenizer, the vocabulary of another."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return digest([type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.special_tokens_map])
    # Each call sets truncation and padding in the tokenizer; they are not part of what it is.
    return digest(json.loads(backend.to_str()) | {"truncation": None, "padding": None})


def _tokenised(tokenizer: Any, texts: Sequence[str], places: range, max_length: int, special: bool) -> Tokenised:
    kind = _id_type(tokenizer)
    flats, lengths = [np.zeros(0, dtype=kind)], [np.zeros(1, dtype=np.int64)]
    for flat, counts in _encoded(tokenizer, texts, places, max_length, special):
        flats.append(flat.astype(kind))
        lengths.append(counts)
    return Tokenised(flat=np.concatenate(flats), starts=np.cumsum(np.concatenate(lengths)))


def _encoded(
    tokenizer: Any, texts: Sequence[str], places: range, max_length: int, special: bool
) -> Iterator[tuple[Int[np.ndarray, " T"], Int[np.ndarray, " n"]]]:
    """The flat ids and the lengths of `AT_ONCE` texts at a time."""
    for begin in range(places.start, places.stop, AT_ONCE):
        part = list(texts[begin : min(begin + AT_ONCE, places.stop)])
        rows = tokenizer(
            part,
            truncation=True,
            max_length=max_length,
            add_special_tokens=special,
            **({} if special else {"split_special_tokens": True}),
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        flat = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
        yield flat, lengths


def _id_type(tokenizer: Any) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if len(tokenizer) <= 2**16 else np.uint32


def _write_shard(path: Path, tokens: Tokenised) -> None:
    """All of a shard or nothing."""
    unfinished = path.with_suffix(".part")
    with storage_errors(path), unfinished.open("wb") as file:
        np.savez(file, flat=tokens.flat, starts=tokens.starts)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _join(folder: Path, shards: Sequence[Path], kind: type[np.unsignedinteger[Any]]) -> None:
    with ArrayWriter(folder / "ids.npy", kind) as ids, ArrayWriter(folder / "starts.npy", np.int64) as starts:
        starts.append(0)
        for path in shards:
            with np.load(path, allow_pickle=False) as part:
                starts.extend(part["starts"][1:] + ids.length)
                ids.extend(part["flat"])
