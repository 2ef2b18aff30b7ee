"""The formats that are read: a file each, and one dict that names them all.

    for item in READERS[".csv"](file, "utf-8", CurateConfig()):  # a Document or a Drop

A reader gives a document or a drop for each text of a file, in the order in which they stand there: for each row of a
table, for each line of a list, else for the file. What is wrong with the file as a whole raises `RefusedFile`. It
repairs the texts that it reads (`clean.repair`), keeps their roles and what a row says beside them (`metadata_of`), and
holds one row, or a part of a text file, at a time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from shoptalk.config import CurateConfig
from shoptalk.curate.files import SourceFile, suffix_of
from shoptalk.curate.readers.csv import read_csv
from shoptalk.curate.readers.jsonl import read_jsonl
from shoptalk.curate.readers.md import read_md
from shoptalk.curate.readers.pictures import read_picture, read_zip
from shoptalk.curate.readers.txt import read_txt
from shoptalk.image.decode import SUFFIXES
from shoptalk.records import Document, Drop

Reader = Callable[[SourceFile, str, CurateConfig], Iterator[Document | Drop]]
"""From a file, its encoding and the settings."""

READERS: dict[str, Reader] = {
    ".txt": read_txt,
    ".md": read_md,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
}
"""By the end of a file's name; each may be followed by ".gz"."""


PictureReader = Callable[[SourceFile, CurateConfig], Iterator[Document | Drop]]
"""From a file and the settings: no text, so no encoding."""

PICTURE_READERS: dict[str, PictureReader] = {".zip": read_zip, **dict.fromkeys(SUFFIXES, read_picture)}
"""By the end of a file's name."""


def format_of(path: Path) -> str | None:
    """The key of the file's reader, or None where its name says none of them."""
    if (suffix := path.suffix.lower()) in PICTURE_READERS:
        return suffix
    suffix = suffix_of(path)
    return suffix if suffix in READERS else None
