"""The assistant's knowledge on disk: passages, their vectors and those of their sentences, and the full text.

    write_shelf(folder, documents, encoder, earlier=None)      # inside `artifact.create`
    shelf = Shelf(folder)
    shelf.passage(7).text

| file                    | holds                                                                                |
|-------------------------|--------------------------------------------------------------------------------------|
| `documents.jsonl`       | the documents, one a line                                                            |
| `passages.bin`          | the passages of each, as JSON                                                        |
| `vectors.npy`           | a vector of each passage, float16: for building anew and for comparing a few        |
| `passages.faiss`        | the same for searching: exact, or 8 bits a number beyond `EXACT` passages            |
| `lines.npy`, `scales.npy` | a vector of each sentence, int8, and what 127 stands for                           |
| `first_line.npy`        | where each passage's sentences begin among them, and their number                    |
| `pins.npy`              | a vector of each official answer's question, and `pinned.npy`, its passage           |
| `fulltext/`             | tantivy's index                                                                      |

A shelf is never changed: a new one takes its place (`knowledge.py`), and text that both hold is not embedded again.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Float, Float16, Float32, Int, Int8

from shoptalk.artifact import digest
from shoptalk.assistant import fulltext
from shoptalk.assistant.document_facts import DocumentFacts
from shoptalk.assistant.sections import Passage, Span, passages_of
from shoptalk.errors import ArtifactError
from shoptalk.readback import as_written
from shoptalk.records import Document
from shoptalk.text.stored import StoredTexts, TextWriter

_PIECE = 2048
"""Texts that are embedded at once: so many vectors are held as float32 beside those of the passages."""
EXACT = 20_000
"""Passages up to which the search is exact (docs/decisions says why 8 bits a number beyond)."""


@runtime_checkable
class Embeds(Protocol):
    """Whatever turns texts into unit vectors, a text encoder."""

    def embed(self, items: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the texts in their order."""
        ...


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shelved:
    """What was written."""

    documents: int
    passages: int
    embedded: int
    """Passages whose text the earlier shelf did not hold."""


def write_shelf(
    folder: Path,
    documents: Iterable[Document],
    encoder: Embeds,
    *,
    earlier: "Shelf | None" = None,
    dim: int,
    tell: Callable[[int, int], None] = lambda done, texts: None,
) -> Shelved:
    """Write a shelf into an empty folder. `earlier` must be of the same encoder; its vectors serve again. `tell` is
    called with the number of texts that are embedded, and that of all that are to be.
    """
    passages: list[Passage] = []
    split = earlier.passages_by_document() if earlier is not None else {}
    places: list[int | None] = []
    count = 0
    with TextWriter(folder, "documents", suffix=".jsonl") as kept, TextWriter(folder, "passages") as written:
        for document in documents:
            line = document.model_dump_json(exclude_defaults=True) + "\n"
            kept.append(line.encode("utf-8"))
            before = None if "<" in line else split.get(line)  # pages were split otherwise by earlier versions
            if before is not None and earlier is not None:  # the same document is not split again
                places += before
                parts = [earlier.passage(number) for number in before]
            else:
                parts = passages_of(document)
                places += [None] * len(parts)
            for passage in parts:
                written.append(json.dumps(_as_json(passage), ensure_ascii=False).encode("utf-8"))
                passages.append(passage)
            count += 1
    vectors = _Vectors.room_for(passages, dim)
    fresh = vectors.take_over(passages, places, earlier) if earlier is not None else list(range(len(passages)))
    vectors.embed(passages, fresh, encoder, tell)
    np.save(folder / "vectors.npy", vectors.passages.astype(np.float16))
    np.save(folder / "lines.npy", vectors.lines)
    np.save(folder / "scales.npy", vectors.scales)
    np.save(folder / "first_line.npy", vectors.first)
    _write_index(folder / "passages.faiss", vectors.passages)
    pinned = [n for n, passage in enumerate(passages) if passage.facts.official and passage.facts.question]
    np.save(folder / "pinned.npy", np.array(pinned, dtype=np.int64))
    questions = [passages[n].facts.question or "" for n in pinned]
    np.save(folder / "pins.npy", encoder.embed(questions) if questions else np.zeros((0, dim), dtype=np.float32))
    fulltext.write(folder / "fulltext", ((p.heading, " ".join(line.text for line in p.lines)) for p in passages))
    return Shelved(count, len(passages), len(fresh))


@dataclass(frozen=True)
class _Vectors:
    """The vectors of all passages, and of all their sentences in 8 bits a number, filled piece by piece."""

    passages: Float32[np.ndarray, "N D"]
    lines: Int8[np.ndarray, "S D"]
    scales: Float32[np.ndarray, " S"]
    first: Int[np.ndarray, " N1"]

    @classmethod
    def room_for(cls, passages: Sequence[Passage], dim: int) -> "_Vectors":
        first = np.cumsum([0, *(len(passage.lines) for passage in passages)])
        n_lines = int(first[-1])
        return cls(
            np.zeros((len(passages), dim), dtype=np.float32),
            np.zeros((n_lines, dim), dtype=np.int8),
            np.full(n_lines, 1e-6, dtype=np.float32),
            first,
        )

    def take_over(self, passages: Sequence[Passage], places: Sequence[int | None], earlier: "Shelf") -> list[int]:
        """Copy what an earlier shelf has; the numbers of the passages that it lacks. `places` are their numbers there,
        None where only their text can tell.
        """
        known = earlier.places() if None in places else {}
        fresh = []
        for number, (passage, place) in enumerate(zip(passages, places, strict=True)):
            before = known.get(_key(passage)) if place is None else place
            if before is None:
                fresh.append(number)
                continue
            self.passages[number] = earlier.vectors[before]
            here, there = _between(self.first, number), _between(earlier.first, before)
            self.lines[here], self.scales[here] = earlier.lines[there], earlier.scales[there]
        return fresh

    def embed(
        self, passages: Sequence[Passage], fresh: Sequence[int], encoder: Embeds, tell: Callable[[int, int], None]
    ) -> None:
        """Fill in the passages of these numbers."""
        texts, done = sum(1 + len(passages[number].lines) for number in fresh), 0
        tell(done, texts)
        for piece in _pieces(passages, fresh):
            spoken = [passages[number].sought for number in piece]
            spoken += [passages[number].sought_line(line) for number in piece for line in passages[number].lines]
            vectors = encoder.embed(spoken)
            self.passages[list(piece)] = vectors[: len(piece)]
            of_lines = vectors[len(piece) :]
            scales = np.maximum(np.abs(of_lines).max(axis=1, initial=1e-6), 1e-6).astype(np.float32)
            rows = np.rint(of_lines / scales[:, None] * 127).astype(np.int8)
            places = np.concatenate([np.arange(self.first[n], self.first[n + 1]) for n in piece])
            self.lines[places], self.scales[places] = rows, scales
            done += len(spoken)
            tell(done, texts)


def _between(first: Int[np.ndarray, " N1"], number: int) -> slice:
    return slice(int(first[number]), int(first[number + 1]))


def _pieces(passages: Sequence[Passage], numbers: Sequence[int]) -> Iterator[list[int]]:
    """The passages in pieces of about `_PIECE` texts."""
    piece: list[int] = []
    held = 0
    for number in numbers:
        piece.append(number)
        held += 1 + len(passages[number].lines)
        if held >= _PIECE:
            yield piece
            piece, held = [], 0
    if piece:
        yield piece


def _write_index(path: Path, vectors: Float[np.ndarray, "N D"]) -> None:
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if len(rows) <= EXACT:
        index: Any = faiss.IndexFlatIP(rows.shape[1])
    else:
        index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(path))


def _key(passage: Passage) -> str:
    """What its vectors depend on."""
    return digest([passage.sought, [passage.sought_line(line) for line in passage.lines]])


def _as_json(passage: Passage) -> dict[str, Any]:
    return {
        "document": passage.document,
        "title": passage.title,
        "section": passage.section,
        "start": passage.start,
        "end": passage.end,
        "text": passage.text,
        "lines": [[line.start, line.end, line.text, line.block, line.row] for line in passage.lines],
        "facts": json.loads(passage.facts.model_dump_json(exclude_defaults=True)),
    }


# --- reading ----------------------------------------------------------------------------------------------------------


class Shelf:
    """An opened shelf; many threads may read it at once. Passages are numbered from 0.

    Raises:
        ArtifactError: a file is missing or damaged, or the files do not belong together.
    """

    def __init__(self, folder: Path, *, content: str = "") -> None:
        self.content = content
        """The content hash of its artifact."""
        with as_written(folder):
            self._passages = StoredTexts(folder, "passages")
            self._documents = StoredTexts(folder, "documents", suffix=".jsonl")
            self.vectors: Float16[np.ndarray, "N D"] = _array(folder / "vectors.npy")
            self.lines: Int8[np.ndarray, "S D"] = _array(folder / "lines.npy")
            self.scales: Float32[np.ndarray, " S"] = _array(folder / "scales.npy")
            self.first: Int[np.ndarray, " N1"] = np.asarray(_array(folder / "first_line.npy"))
            self.pins: Float32[np.ndarray, "P D"] = np.asarray(_array(folder / "pins.npy"))
            self.pinned: Int[np.ndarray, " P"] = np.asarray(_array(folder / "pinned.npy"))
            self.index: Any = faiss.read_index(str(folder / "passages.faiss"))
            self.fulltext = fulltext.FullText(folder / "fulltext")
        counts = {len(self._passages), len(self.vectors), len(self.first) - 1, self.index.ntotal, len(self.fulltext)}
        if len(counts) > 1 or len({len(self.lines), len(self.scales), int(self.first[-1])}) > 1:
            raise ArtifactError(f"{folder} holds parts that do not belong together. Delete it and run again.")

    def __len__(self) -> int:
        return len(self._passages)

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return int(self.vectors.shape[1])

    def passage(self, number: int) -> Passage:
        """One passage."""
        return _passage(self._passages[number])

    def line_vectors(self, number: int) -> Float32[np.ndarray, "L D"]:
        """The vectors of a passage's sentences."""
        here = _between(self.first, number)
        return np.asarray(self.lines[here], dtype=np.float32) * (self.scales[here, None] / 127)

    def places(self) -> dict[str, int]:
        """Each passage's number by what its vectors depend on."""
        return {_key(_passage(text)): number for number, text in enumerate(self._passages)}

    def passages_by_document(self) -> dict[str, list[int]]:
        """Of each document, as the shelf has it, the numbers of its passages."""
        numbers: dict[str, list[int]] = {}
        for number, text in enumerate(self._passages):
            numbers.setdefault(json.loads(text)["document"], []).append(number)
        ids = [json.loads(line)["id"] for line in self._documents]
        once = {id for id, times in Counter(ids).items() if times == 1}  # of others it is not known whose they are
        return {line: numbers.get(id, []) for id, line in zip(ids, self._documents, strict=True) if id in once}

    def documents(self) -> Iterator[Document]:
        """The documents that the passages are of."""
        for line in self._documents:
            yield Document.model_validate_json(line)


def _passage(text: str) -> Passage:
    about = json.loads(text)
    lines = tuple(Span(*line) for line in about.pop("lines"))
    return Passage(**about | {"lines": lines, "facts": _facts(about["facts"])})


def _facts(about: dict[str, Any]) -> DocumentFacts:
    return DocumentFacts.model_validate_json(json.dumps(about)) if about else _PLAIN


_PLAIN = DocumentFacts()


def _array(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)
