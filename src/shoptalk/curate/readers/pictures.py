"""Pictures: a document each, from a file of its own, from a zip, or from a row that names one.

A zip is read as a folder would be (`zips.py`). Of a row the column `curate.image_column` names the file, beside the
table or in `curate.picture_folder`, or inside a zip there (`photographs.zip/cat/1.jpg`). Rows that name one picture are
its captions: the turns of one document. So there is a turn or a drop for each of them.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.columns import column_named
from shoptalk.curate.files import Bad, Row, SourceFile
from shoptalk.curate.groups import together
from shoptalk.curate.picture_looks import look_of
from shoptalk.curate.readers.nearby import NearbyPictures
from shoptalk.curate.readers.shared import left_out, metadata_of
from shoptalk.curate.zips import members
from shoptalk.image.decode import RefusedPicture, is_packed, picture_bytes
from shoptalk.records import Document, Drop, Metadata, Picture, Turn

CAPTION = "caption"
"""The role of a picture's captions."""
MILLION = 1_000_000
"""Bytes of a megabyte, and pixels of a megapixel."""
_THREADS = 2
_CHUNK = 64
"""Pictures that are decoded at once."""


def picture_at(path: str, config: CurateConfig) -> Picture:
    """The picture of a file, which has been decoded once to see that it is one.

    Raises:
        RefusedPicture: it is none, or too large.
    """
    if printable(path) != path:
        raise RefusedPicture("unreadable", "its name is not UTF-8; rename it")
    most_bytes, most_pixels = int(config.picture_megabytes * MILLION), int(config.picture_megapixels * MILLION)
    try:
        data = picture_bytes(path, most=most_bytes)
        picture = Picture(path=path, sha256=hashlib.sha256(data).hexdigest())
        look_of(picture, data, most_pixels=most_pixels)
    except RefusedPicture as refusal:
        if not refusal.limit:
            raise
        setting = f"curate.picture_mega{refusal.limit}"
        raise RefusedPicture(refusal.reason, f"{refusal}, or raise {setting}", limit=refusal.limit) from refusal
    return picture


def pictures_at(paths: Sequence[str], config: CurateConfig) -> Iterator[Picture | RefusedPicture]:
    """Of each path the picture, or why there is none; decoded by several threads."""

    def one(path: str) -> Picture | RefusedPicture:
        try:
            return picture_at(path, config)
        except RefusedPicture as refusal:
            return refusal

    with ThreadPoolExecutor(_THREADS) as threads:
        for begin in range(0, len(paths), _CHUNK):
            yield from threads.map(one, paths[begin : begin + _CHUNK])


def read_picture(file: SourceFile, config: CurateConfig) -> Iterator[Document | Drop]:
    """The picture of a file of its own."""
    try:
        picture = picture_at(str(file.path.absolute()), config)
    except RefusedPicture as refusal:
        yield _refused(refusal, file.name, file.name)
    else:
        yield Document(id=file.name, source=file.name, picture=picture)


def read_zip(file: SourceFile, config: CurateConfig) -> Iterator[Document | Drop]:
    """The pictures of a zip, by their names, and a drop for whatever else lies in it.

    Raises:
        RefusedFile: as `members`.
    """
    there, counts = members(file.path), dict[str, int]()
    outer = str(file.path.absolute())
    pictures = pictures_at([f"{outer}/{member.name}" for member in there if member.refusal is None], config)
    for member in there:
        name = f"{file.name}/{printable(member.name)}"
        counts[name] = counts.get(name, 0) + 1
        id = name if counts[name] == 1 else f"{name}~{counts[name]}"
        if member.refusal is not None:
            reason, detail = member.refusal
            yield Drop(id=id, source=file.name, reason=reason, detail=detail)
            continue
        picture = next(pictures)
        if isinstance(picture, RefusedPicture):
            yield _refused(picture, id, file.name)
        else:
            yield Document(id=id, source=file.name, picture=picture)


# Tables


def image_column(row: dict[str, Any], config: CurateConfig) -> str | None:
    """The key of a JSON object that names a picture's file, or None."""
    return _image_column(config.image_column, tuple(row)) if config.image_column else None


@lru_cache(maxsize=256)
def _image_column(wanted: str, keys: tuple[str, ...]) -> str | None:
    return column_named(wanted, keys)


def picture_name(row: Row, column: str) -> str | Bad:
    """The picture's file that a row names."""
    value = row.value.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return Bad(row.number, "no-picture", f"no {column!r}", sample(str(row.value)))
    if not isinstance(value, str):
        detail = f"{column!r} is {type(value).__name__}, expected the name of a picture's file"
        return Bad(row.number, "wrong-type", detail, sample(str(row.value)))
    if "://" in value[:16] or value.startswith("data:"):
        detail = f"{column!r} is an address, and addresses are not fetched; download the picture and name its file"
        return Bad(row.number, "no-picture", detail, sample(value))
    return value.strip()


def beside(path: Path, name: str, config: CurateConfig) -> str:
    """Where the picture lies that a table names: in `curate.picture_folder`, where that holds it, else beside the
    table, unless the name says where.

    A table that Windows wrote parts folders by backslashes, which elsewhere are letters of a name.
    """
    folders = [Path(config.picture_folder).expanduser().absolute()] if config.picture_folder else []
    places = [folder / spelt for folder in (*folders, path.absolute().parent) for spelt in _spellings(name)]
    return next((str(place) for place in places if _holds(str(place))), str(places[0]))


def with_nearby(refusal: RefusedPicture, path: str, nearby: NearbyPictures) -> str:
    """Why the picture at `path` was refused; where it is missing, with one near the table that may be meant."""
    near = nearby.of(path) if refusal.reason == "missing" else None
    return refusal.detail if near is None else f"{refusal.detail}; {near} may be meant"


def _spellings(name: str) -> list[str]:
    return [name, name.replace("\\", "/")] if "\\" in name else [name]


def _holds(place: str) -> bool:
    """Whether there is such a file, by itself or in a zip."""
    return os.path.isfile(place) or is_packed(place)  # noqa: PTH113 (never raises)


@dataclass
class _Named:
    """A picture that rows name: as the first names it, where it lies, what that says beside, each row's captions."""

    name: str
    path: str
    number: int
    metadata: Metadata
    rows: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)


class NamedPictures:
    """The pictures that the rows of a table name, which are complete when all rows are read; their captions are held.

    for row in rows:
        bad = named.add(row)                    # None where it names a picture
    yield from named.documents()
    """

    def __init__(self, file: SourceFile, column: str, text: str | None, config: CurateConfig) -> None:
        """`column` names the picture and `text` the caption, where there is one; in JSON it may be a list of them."""
        self._file, self._column, self._text, self._config = file, column, text, config
        self._places: dict[str, str] = {}
        """Of each name the file that it is a spelling of."""
        self._named: dict[str, _Named] = {}
        """By these files."""

    def add(self, row: Row) -> Bad | None:
        """Take a row; what is wrong where it names no picture's file."""
        name = picture_name(row, self._column)
        if isinstance(name, Bad):
            return name
        if name not in self._places:
            path = beside(self._file.path, name, self._config)
            place = self._places[name] = os.path.realpath(path) if _holds(path) else path
            if place not in self._named:
                read = tuple(column for column in (self._column, self._text) if column is not None)
                metadata = metadata_of(row.value, read=read, config=self._config)
                self._named[place] = _Named(name, path, row.number, metadata)
        value = row.value.get(self._text) if self._text is not None else None
        parts = value if isinstance(value, list) else [value]
        captions = tuple(text for part in parts if isinstance(part, str) and (text := repair(part)))
        self._named[self._places[name]].rows.append((row.number, captions))
        return None

    def documents(self) -> Iterator[Document | Drop]:
        """A document for each picture, in the order in which the rows first name them, and a drop for each row that
        adds nothing to one. Copies of a file are one picture, with the captions of all, where they belong together:
        those of another customer may have to stay unseen.
        """
        firsts: dict[tuple[str, ...], tuple[_Named, Picture]] = {}
        nearby = NearbyPictures(self._file.path.absolute().parent)
        pictures = pictures_at([named.path for named in self._named.values()], self._config)
        for named, picture in zip(self._named.values(), pictures, strict=True):
            if isinstance(picture, RefusedPicture):
                detail = with_nearby(picture, named.path, nearby)
                for number, captions in named.rows:
                    bad = Bad(number, picture.reason, detail, sample(" ".join([named.name, *captions])))
                    yield left_out(self._file.name, bad)
            else:
                whose = picture.sha256, *together(named.metadata, self._config)
                if whose in firsts:
                    firsts[whose][0].rows.extend(named.rows)
                else:
                    firsts[whose] = (named, picture)
        for named, picture in firsts.values():
            yield from self._one(named, picture)

    def _one(self, named: _Named, picture: Picture) -> Iterator[Document | Drop]:
        captions: dict[str, None] = {}
        repeats = []
        for number, texts in named.rows:
            fresh = dict.fromkeys(text for text in texts if text not in captions)
            if not fresh and number != named.number:
                what = "the same picture and caption" if texts else "the same picture, and no caption"
                repeats.append(Bad(number, "duplicate", f"{what} as in line {named.number}", sample(" ".join(texts))))
            captions |= fresh
        yield Document(
            id=f"{self._file.name}#{named.number}",
            source=self._file.name,
            picture=picture,
            turns=tuple(Turn(role=CAPTION, text=text) for text in captions),
            metadata=named.metadata,
        )
        yield from (left_out(self._file.name, bad) for bad in repeats)


def _refused(refusal: RefusedPicture, id: str, source: str) -> Drop:
    return Drop(id=id, source=source, reason=refusal.reason, detail=printable(refusal.detail))
