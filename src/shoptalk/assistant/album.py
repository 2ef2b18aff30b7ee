"""The album: a run's pictures, each with its document, and which of them a visitor's picture shows, if any.

    album = Album.open(Path("runs/signs"))           # a run of pictures, or of pictures with captions
    seen = album.recognise(picture)                   # None: it is like none of them, or too little like one
    seen.document, seen.caption, seen.confidence

A copy of a picture that is in the album lies near it, and so does many a picture that is not. How near is near enough
is fitted to distorted copies (`album_calibration.py`), before anything is recognised.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from shoptalk.artifact import create, handed_out, key_of, open_artifact, write_text
from shoptalk.assistant.album_calibration import AlbumCalibration, calibrated_album, likeness
from shoptalk.assistant.album_reading import READINGS, SeesPictures, chosen_reading, embedded, reading_of
from shoptalk.curate.curation import read_documents
from shoptalk.errors import InputError
from shoptalk.image.decode import RefusedPicture, open_picture
from shoptalk.image.pixels import square, square_of
from shoptalk.readback import read_record, refuse_no_run
from shoptalk.records import Document
from shoptalk.text.corpus import plain_wording

FOLDER = "album"
MAX_WRONG = 0.05
"""Most wrong ones among the pictures that are recognised."""


@dataclass(frozen=True)
class Recognised:
    """Which of the album's pictures a visitor's picture shows."""

    document: Document
    caption: str
    """The first of its captions; empty where it has none."""
    confidence: float
    """How likely that is, 0 to 1."""


class Album:
    """The pictures of a run that an assistant recognises."""

    def __init__(
        self,
        encoder: SeesPictures,
        documents: Sequence[Document],
        vectors: Float[np.ndarray, "N D"],
        calibration: AlbumCalibration,
    ) -> None:
        self.calibration = calibration
        self.documents = tuple(documents)
        self._encoder, self._vectors = encoder, vectors
        self._same = _same_captions(self.documents)

    @classmethod
    def open(
        cls, run: Path, *, max_wrong: float = MAX_WRONG, tell: Callable[[str], None] = lambda line: None
    ) -> "Album":
        """The album of a run, from its folders; it is made and calibrated where there is none for its encoder yet,
        which reads the picture files. Where some could not be read then, and more than it holds can be now, it is made
        again.

        Raises:
            ArtifactError: a folder is missing or damaged.
            InputError: the run has no pictures, or its encoder reads none.
        """
        refuse_no_run(run)
        from shoptalk.nn.bases import open_base  # which imports transformers

        artifact, corpus = handed_out(run / "encoder"), handed_out(run / "corpus")
        encoder = open_base(str(run / "encoder"))
        if not isinstance(encoder, SeesPictures):
            raise InputError(
                f"The encoder of {run} reads no pictures. Give a run of `shoptalk adapt --task picture` or `--task "
                "caption`."
            )
        settings = {"max_wrong": max_wrong, "size": encoder.size, "readings": READINGS}
        parents = {"encoder": artifact.content, "corpus": corpus.content}
        stands = open_artifact(run / FOLDER, key=key_of(kind=FOLDER, config=settings, parents=parents)) is not None
        left_out = _left_out(run) if stands else 0
        if not stands or (left_out and _more_can_be_read(run, encoder.size)):
            tell(f"pictures: embedding those of {run} and calibrating on distorted copies")
            documents, pictures = _read(run, encoder.size, tell)
            with create(run / FOLDER, kind=FOLDER, config=settings, parents=parents) as folder:
                same = _same_captions(documents)
                name = chosen_reading(encoder, pictures, same=same, max_wrong=max_wrong, tell=tell)
                reading = reading_of(name, encoder)
                vectors = embedded(reading, pictures)
                result = calibrated_album(
                    pictures, vectors, lambda some: embedded(reading, some), max_wrong=max_wrong, same=same
                ).model_copy(update={"reading": name})
                np.save(folder / "vectors.npy", vectors)
                write_text(folder / "documents.jsonl", "".join(f"{entry.model_dump_json()}\n" for entry in documents))
                write_text(folder / "calibration.json", result.model_dump_json(indent=1))
        elif left_out:
            tell(_gone(left_out))
        handed_out(run / FOLDER)
        result = read_record(run / FOLDER / "calibration.json", AlbumCalibration)
        kept = _documents_in(run)
        tell(f"pictures: {result.sentence}")
        reading = reading_of(result.reading, encoder)
        return cls(reading, kept, np.load(run / FOLDER / "vectors.npy", allow_pickle=False), result)

    def recognise(self, data: bytes) -> Recognised | None:
        """Which picture of the album a visitor's file shows; None where none is near enough to be sure.

        Raises:
            RefusedPicture: the file is no picture that can be read.
        """
        if self.calibration.threshold is None:
            return None
        vector = self._encoder.embed_pixels(square(open_picture(data), self._encoder.size)[None])[0]
        cosines = self._vectors @ vector
        confidence = self.calibration.weights(likeness(cosines, self._same))
        if confidence < self.calibration.threshold:
            return None
        document = self.documents[int(cosines.argmax())]
        caption = next((turn.text for turn in document.turns if turn.text.strip()), "")
        return Recognised(document, caption, confidence)


def _documents_in(run: Path) -> list[Document]:
    """The documents of the album that stands there."""
    # Not `splitlines`: a caption may hold signs at which that would cut it.
    lines = (run / FOLDER / "documents.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [Document.model_validate_json(line) for line in lines]


def _left_out(run: Path) -> int:
    """How many of the run's pictures could not be read when the album was made."""
    return sum(1 for _ in _with_pictures(run)) - len(_documents_in(run))


def _more_can_be_read(run: Path, size: int) -> bool:
    """Whether the picture files are there of more documents than the album holds: one that was made from files which
    have gone since is better than none.
    """
    held = {document.id for document in _documents_in(run)}
    lacking = (document for document in _with_pictures(run) if document.id not in held)
    if not any(_pixels_of(document, size) is not None for document in lacking):
        return False
    return sum(_pixels_of(document, size) is not None for document in _with_pictures(run)) > len(held)


def _pixels_of(document: Document, size: int) -> UInt8[np.ndarray, "S S 3"] | None:
    """The document's picture; None where its file has gone or holds another."""
    assert document.picture is not None
    try:
        return square_of(document.picture, size)
    except RefusedPicture:
        return None


def _gone(missing: int) -> str:
    return f"pictures: {missing} of the run's picture files have gone or hold another picture, and are left out"


def _read(run: Path, size: int, tell: Callable[[str], None]) -> tuple[list[Document], UInt8[np.ndarray, "N S S 3"]]:
    """The run's documents that have a picture, and their pictures; those that cannot be read any more are told."""
    documents, pictures, missing = list[Document](), list[UInt8[np.ndarray, "S S 3"]](), 0
    for document in _with_pictures(run):
        pixels = _pixels_of(document, size)
        if pixels is None:
            missing += 1
            continue
        pictures.append(pixels)
        documents.append(document)
    if missing:
        tell(_gone(missing))
    if len(documents) < 2:
        raise InputError(
            f"{run} has {len(documents)} pictures that can be read; an album needs two. Put its sources back where "
            "they were when it was made."
        )
    return documents, np.stack(pictures)


def _same_captions(documents: Sequence[Document]) -> Int[np.ndarray, " N"]:
    """One number for all documents with the same captions (but for case and white space); one of its own for a picture
    without any.
    """
    number: dict[object, int] = {}
    captions = [tuple(plain_wording(turn.text) for turn in document.turns if turn.text) for document in documents]
    return np.array([number.setdefault(text or at, len(number)) for at, text in enumerate(captions)], dtype=np.int64)


def _with_pictures(run: Path) -> Iterator[Document]:
    for document in read_documents(run / "corpus"):
        if document.picture is not None:
            yield document
