"""Pictures: a document each, from a file of its own, from a zip, or from a row that names one.

A zip is read as a folder would be; nothing is written where its names say, so that they may say anything. Of a row the
column `curate.image_column` names the file, beside the table or inside a zip there (`photographs.zip/cat/1.jpg`). Rows
that name one picture are its captions: the turns of one document.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.files import Bad, RefusedFile, Row, SourceFile
from shoptalk.curate.picture_looks import look_of
from shoptalk.curate.readers.shared import left_out, metadata_of
from shoptalk.image.decode import SUFFIXES, RefusedPicture, picture_bytes
from shoptalk.records import Document, Drop, Metadata, Picture, Turn

CAPTION = "caption"
"""The role of a picture's captions."""
MEGABYTE = 1_000_000
_MOST_FILES = 10_000_000


def picture_at(path: str, config: CurateConfig) -> Picture:
    """The picture of a file, which has been decoded once to see that it is one.

    Raises:
        RefusedPicture: it is none, or too large.
    """
    data = picture_bytes(path, most=int(config.picture_megabytes * MEGABYTE))
    picture = Picture(path=path, sha256=hashlib.sha256(data).hexdigest())
    look_of(picture, data)
    return picture


def read_picture(file: SourceFile, config: CurateConfig) -> Iterator[Document | Drop]:
    """The picture of a file of its own."""
    yield _document(str(file.path.absolute()), file.name, file.name, config)


def read_zip(file: SourceFile, config: CurateConfig) -> Iterator[Document | Drop]:
    """The pictures of a zip, by their names, and a drop for whatever else lies in it.

    Raises:
        RefusedFile: it is no zip that can be read, or holds nothing.
    """
    outer, anything = str(file.path.absolute()), False
    for info in sorted(members(file.path), key=lambda info: info.filename):
        if info.is_dir():
            continue
        anything = True
        name = f"{file.name}/{printable(info.filename)}"
        if (problem := name_problem(info.filename)) is not None:
            yield Drop(id=name, source=file.name, reason="unsafe-name", detail=problem)
        elif any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(info.filename).parts):
            yield Drop(id=name, source=file.name, reason="hidden", detail="a name that begins with a dot is not read")
        elif not info.filename.lower().endswith(SUFFIXES):
            detail = f"of a zip only pictures are read: {', '.join(SUFFIXES)}; unpack it for the rest"
            yield Drop(id=name, source=file.name, reason="unknown-format", detail=detail)
        else:
            yield _document(f"{outer}/{info.filename}", name, file.name, config)
    if not anything:
        raise RefusedFile("empty", "the zip holds no files")


def members(path: Path) -> list[zipfile.ZipInfo]:
    """What a zip says that it holds.

    Raises:
        RefusedFile: it is no zip that can be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except Exception as error:  # a damaged zip can make the library raise anything at all
        said = " ".join(str(error).split())[:200]
        raise RefusedFile("unreadable", f"it is no zip that can be read ({said}); make it again") from error
    if len(infos) > _MOST_FILES:
        raise RefusedFile("too-large", f"it holds {len(infos):,} files; at most {_MOST_FILES:,} are read")
    return infos


def name_problem(name: str) -> str | None:
    """Why a name inside a zip is not used; None where it may be."""
    parts = PurePosixPath(name).parts
    if "\0" in name or "\\" in name or name.startswith("/") or ".." in parts or ":" in parts[0]:
        return "a name that leads out of the zip, or that no file can have, is not used"
    return None


def read_rows(
    file: SourceFile, rows: Iterable[Row | Bad], column: str, config: CurateConfig, *, text: str | None
) -> Iterator[Document | Drop]:
    """A document for each picture that rows name, in the order in which they first do; `column` names the picture and
    `text` the caption, where there is one. In JSON a caption may be a list of several.
    """
    captions: dict[str, list[str]] = {}
    firsts: dict[str, Row] = {}
    for row in rows:
        if isinstance(row, Bad):
            yield left_out(file.name, row)
            continue
        shown = named_picture(row, column)
        if isinstance(shown, Bad):
            yield left_out(file.name, shown)
            continue
        firsts.setdefault(shown, row)
        captions.setdefault(shown, []).extend(_captions(row.value.get(text) if text else None))
    read = tuple(name for name in (column, text) if name is not None)
    for name, row in firsts.items():
        metadata = metadata_of(row.value, read=read, config=config)
        yield _document(
            beside(file.path, name), f"{file.name}#{row.number}", file.name, config, captions[name], metadata
        )


def named_picture(row: Row, column: str) -> str | Bad:
    """The name of the picture that a row has."""
    value = row.value.get(column)
    if not isinstance(value, str) or not value.strip():
        return Bad(row.number, "no-picture", f"no {column!r}", sample(str(row.value)))
    return value.strip()


def beside(path: Path, name: str) -> str:
    """Where the picture lies that a table names: beside the table, unless the name says where."""
    return str(path.absolute().parent / name)


def _captions(value: Any) -> Sequence[str]:
    parts = value if isinstance(value, list) else [value]
    return [text for part in parts if isinstance(part, str) and (text := repair(part))]


def _document(
    path: str,
    id: str,
    source: str,
    config: CurateConfig,
    captions: Sequence[str] = (),
    metadata: Metadata = Metadata(),  # noqa: B008 (it never changes)
) -> Document | Drop:
    try:
        picture = picture_at(path, config)
    except RefusedPicture as refusal:
        return Drop(id=id, source=source, reason=refusal.reason, detail=printable(refusal.detail))
    turns = tuple(Turn(role=CAPTION, text=text) for text in dict.fromkeys(captions))
    return Document(id=id, source=source, picture=picture, turns=turns, metadata=metadata)
