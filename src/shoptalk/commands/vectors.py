"""The vectors of a corpus on disk, and the hidden folder in which they are made.

    work = Work.beside(out)
    plan = work.resumed(key) or work.prepared(card, items, shard=16_384, passage_characters=1_000)
    for number in range(work.finished_shards(plan), plan.shards): ... work.write(plan, number, vectors)
    work.publish(plan.card, out)

A shard is on the disk before it is counted, and the array is moved to its place last: after any crash the same calls
continue. Nothing here knows what an encoder is.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Int8, Shaped

from shoptalk.artifact import storage_errors, write_text
from shoptalk.curate.curation import to_corpus
from shoptalk.errors import ArtifactError, StorageError
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import Kind
from shoptalk.readback import as_written, read_record, read_text
from shoptalk.records import Document, Drop, Frozen, Item, Picture

Dtype = Literal["float32", "float16", "int8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


class VectorsCard(Frozen):
    """`NAME.json`, the description of the vectors beside it. The same `key` means that nothing is left to do."""

    kind: Literal["vectors"] = "vectors"
    key: str
    model: str
    dtype: Dtype
    precision: Precision
    prompt: str | None = None
    """The name of what the model put before each text."""
    texts: int
    """How many texts and pictures there are."""
    dimensions: int
    left_out: int
    sources: dict[str, str]


def card_of(out: Path) -> VectorsCard | None:
    """The card beside a finished result; None where there is none."""
    try:
        return read_record(out.with_suffix(".json"), VectorsCard)
    except ArtifactError:
        return None


class ShardPlan(Frozen):
    """The plan of the work folder: written after the rows and before the first vector."""

    card: VectorsCard
    shard: int
    """Texts in a shard; the last one may have fewer."""
    offsets: tuple[int, ...]
    """Where each shard's lines begin in the file of rows, and where the last one's end."""

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Work:
    """The hidden folder beside the result."""

    folder: Path

    @classmethod
    def beside(cls, out: Path) -> "Work":
        """That of the result `out`."""
        return cls(out.with_name(f".{out.name}.embedding"))

    @property
    def _plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def _rows(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def _vectors(self) -> Path:
        return self.folder / "vectors.npy"

    @property
    def _scales(self) -> Path:
        return self.folder / "scales.npy"

    @property
    def _done(self) -> Path:
        return self.folder / "done"

    def finished_shards(self, plan: ShardPlan) -> int:
        """How many shards are on the disk; none where that is not known."""
        with contextlib.suppress(ArtifactError), as_written(self._done):
            done = int(read_text(self._done))
            return done if 0 <= done <= plan.shards else 0
        return 0

    def resumed(self, key: str) -> ShardPlan | None:
        """The plan that an earlier process left for the same key; what belongs to any other is removed."""
        plan = None
        with contextlib.suppress(ArtifactError):
            plan = read_record(self._plan, ShardPlan)
        if plan is not None and plan.card.key == key:
            return plan
        # The plan is deleted first: while it is there, the other files are taken to be complete.
        for file in (self._plan, self._done, self._rows, self._vectors, self._scales):
            file.unlink(missing_ok=True)
        return None

    def prepared(
        self,
        begun: VectorsCard,
        items: Iterable[Document | Drop],
        *,
        shard: int,
        passage_characters: int,
        kind: Kind = "text",
    ) -> ShardPlan:
        """Write every text and picture of `items` that a model of this `kind` reads into the file of rows, and make
        room for their vectors.

        Returns the plan, on the disk unless there was nothing at all.

        Raises:
            StorageError: the disk has no room.
        """
        with storage_errors(self._rows):
            texts, left_out, offsets = _write_rows(self._rows, items, passage_characters, shard, kind)
            card = begun.model_copy(update={"texts": texts, "left_out": left_out})
            plan = ShardPlan(card=card, shard=shard, offsets=offsets)
            if texts:
                _make_room(self.folder, texts * (card.dimensions * np.dtype(card.dtype).itemsize + 4))
                _empty_array(self._vectors, (texts, card.dimensions), card.dtype)
                if card.dtype == "int8":
                    _empty_array(self._scales, (texts, 1), "float32")
                write_text(self._plan, plan.model_dump_json())
        return plan

    def items(self, plan: ShardPlan, shard: int) -> list[Item]:
        """The texts and pictures of a shard."""
        begin, end = plan.offsets[shard : shard + 2]
        with self._rows.open("rb") as file:
            file.seek(begin)
            lines = file.read(end - begin).decode("utf-8", "surrogatepass")
        return [_item(line) for line in lines.split("\n")[:-1]]

    def sample(self, plan: ShardPlan, most: int) -> tuple[list[Item], int]:
        """Up to `most` texts and pictures from shards all over the file of rows, and how many bytes their rows have."""
        shards = np.unique(np.linspace(0, plan.shards - 1, num=8).astype(int)).tolist()
        lines: list[bytes] = []
        with self._rows.open("rb") as file:
            for shard in shards:
                file.seek(plan.offsets[shard])
                lines += islice(file, most // len(shards))
        return [_item(line.decode("utf-8", "surrogatepass")) for line in lines], sum(map(len, lines))

    def write(self, plan: ShardPlan, shard: int, vectors: Float32[np.ndarray, "n D"]) -> None:
        """Store a shard's unit vectors, in the result's type, and count it as finished."""
        at = shard * plan.shard
        if plan.card.dtype == "int8":
            integers, scales = quantise(vectors)
            _place(self._scales, at, scales)
            _place(self._vectors, at, integers)
        else:
            _place(self._vectors, at, vectors.astype(plan.card.dtype))
        write_text(self._done, str(shard + 1))

    def publish(self, card: VectorsCard, out: Path) -> None:
        """Move what is finished to its place, the array last. After a crash in the middle the same call goes on."""
        with storage_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            out.unlink(missing_ok=True)
            write_text(out.with_suffix(".json"), card.model_dump_json(indent=1))
            if card.dtype != "int8":
                out.with_suffix(".scales.npy").unlink(missing_ok=True)
            for written, place in (
                (self._rows, out.with_suffix(".jsonl")),
                (self._scales, out.with_suffix(".scales.npy")),
                (self._vectors, out),
            ):
                if written.exists():
                    written.replace(place)
            shutil.rmtree(self.folder)


def quantise(
    vectors: Float32[np.ndarray, "n D"],
) -> tuple[Int8[np.ndarray, "n D"], Float32[np.ndarray, "n 1"]]:
    """Symmetric 8-bit integers with one scale per vector, its largest magnitude over 127: vectors ≈ integers * scales.

    Scales per vector need no pass over the corpus beforehand, and cosines between the integers need no scale at all.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    # A vector of zeros, or of numbers too small for float32 to divide by, becomes zeros.
    scales = np.where(largest > 1e-30, largest / np.float32(127), np.float32(1)).astype(np.float32)
    return np.rint(vectors / scales).astype(np.int8), scales


def _write_rows(
    path: Path, items: Iterable[Document | Drop], passage_characters: int, shard: int, kind: Kind
) -> tuple[int, int, tuple[int, ...]]:
    """Write one JSON line per text or picture that is read. Returns how many there are, how many documents were left
    out, and the offsets at which the shards begin and the last one ends.
    """
    texts, left_out, at = 0, 0, 0
    offsets: list[int] = []
    with path.open("wb") as file:
        for item in items:
            if isinstance(item, Drop):
                left_out += 1
                continue
            for row in _rows(item, passage_characters, kind):
                if texts % shard == 0:
                    offsets.append(at)
                at += file.write(row.encode("utf-8", "surrogatepass"))
                texts += 1
    return texts, left_out, (*offsets, at)


def _rows(document: Document, passage_characters: int, kind: Kind) -> Iterator[str]:
    """One JSON line for each text and picture of a document that a model of this kind reads."""
    corpus = to_corpus([document], digest="", passage_characters=passage_characters)
    for turn, item in zip(corpus.turn.tolist(), corpus.items, strict=True):
        if not reads(kind, item):
            continue
        content = {"picture": item.path, "sha256": item.sha256} if isinstance(item, Picture) else {"text": item}
        yield json.dumps({"id": document.id, "turn": turn, **content}, ensure_ascii=False) + "\n"


def reads(kind: Kind, item: Item) -> bool:
    """Whether a model of this kind reads the item."""
    return kind == "pair" or isinstance(item, Picture) == (kind == "image")


def _item(row: str) -> Item:
    """What a row is of."""
    fields = json.loads(row)
    return Picture(path=fields["picture"], sha256=fields["sha256"]) if "picture" in fields else str(fields["text"])


def _make_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"The vectors need {needed / 1e9:.1f} GB beside {folder}, where {free / 1e9:.1f} GB are free. Free some "
            "space, give another --out, or --dtype float16 (half the size) or int8 (a quarter)."
        )


def _empty_array(path: Path, shape: tuple[int, int], dtype: str) -> None:
    """Write a .npy file of full size, whose blocks the file system allocates as they are written."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)


def _place(path: Path, first: int, rows: Shaped[np.ndarray, "n D"]) -> None:
    """Write rows into a .npy file from row `first` on, and wait until the disk has them.

    By an ordinary write: with a memory map the system would kill the process where the disk is full.
    """
    header = int(np.load(path, mmap_mode="r").offset)
    with storage_errors(path), path.open("r+b") as file:
        file.seek(header + first * rows[:1].nbytes)
        file.write(np.ascontiguousarray(rows).data)
        file.flush()
        os.fsync(file.fileno())
