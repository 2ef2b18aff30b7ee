"""Which files of pictures a table names, for hashes that change when one of them does.

pictures_named(Path("captions.csv"), CurateConfig())     # {"photographs.zip": "3f2a…"}
"""

from pathlib import Path

from shoptalk.artifact import file_digest
from shoptalk.config import CurateConfig
from shoptalk.curate.files import RefusedFile, Row, encoding_of, json_rows, suffix_of
from shoptalk.curate.readers.pictures import beside, image_column, picture_name
from shoptalk.curate.tables import csv_rows, csv_table
from shoptalk.image.decode import archive_of

_LIKE_ASCII = ("utf-8", "utf-8-sig", "ascii", "cp1252", "latin-1", "iso-8859-1")
_PIECE = 1 << 20
"""Bytes that are looked through at once."""


def pictures_named(path: Path, config: CurateConfig) -> dict[str, str]:
    """Each file of pictures that a table names, as it names it, with the SHA-256 of its bytes, or why there is none.

    Empty where the file is no table, or names none. A zip counts once.
    """
    named = dict[str, str]()
    try:
        for name in _names(path, config):
            there = beside(path, name, config)
            inside = archive_of(there)
            outer = there if inside is None else inside[0]
            if outer not in named:
                named[outer] = content_of(Path(outer))
    except RefusedFile:
        return {}
    folder = f"{path.absolute().parent}/"
    return {outer.removeprefix(folder): content for outer, content in named.items()}


def _may_name(path: Path, encoding: str, column: str) -> bool:
    """Whether the column's name stands anywhere in a file of JSON Lines, or may: to look for it in the bytes takes a
    hundredth of what parsing them takes.
    """
    if path.suffix.lower() != ".jsonl" or encoding.lower().replace("_", "-") not in _LIKE_ASCII or not column.isascii():
        return True
    sought, kept = column.strip().lower().encode(), b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            piece = (kept + piece).lower()
            if sought in piece or b"\\u" in piece:
                return True
            kept = piece[-len(sought) :]
    return False


def content_of(path: Path) -> str:
    """The SHA-256 of a file's bytes; "unreadable" where it has none."""
    try:
        return file_digest(path) if path.is_file() else "unreadable"
    except (OSError, ValueError):
        return "unreadable"


def _names(path: Path, config: CurateConfig) -> list[str]:
    """The pictures' files that rows name, each once."""
    if not config.image_column or suffix_of(path) not in (".csv", ".jsonl"):
        return []
    encoding = encoding_of(path)
    if suffix_of(path) == ".csv":
        table = csv_table(path, encoding, ((config.text_column, config.image_column),))
        if image_column(dict.fromkeys(table.columns), config) is None:
            return []
        rows = csv_rows(table)
    elif _may_name(path, encoding, config.image_column):
        rows = json_rows(path, encoding)
    else:
        return []
    names = dict[str, None]()
    for row in rows:
        column = image_column(row.value, config) if isinstance(row, Row) else None
        if isinstance(row, Row) and column is not None:
            name = picture_name(row, column)
            if isinstance(name, str):
                names[name] = None
    return list(names)
