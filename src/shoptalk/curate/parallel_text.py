"""Parallel text: a table whose rows hold a source and what it becomes, such as a sentence and its translation.

    pairs, drops = read_parallel(Path("pairs.tsv"), ("en", "de"), CurateConfig(), say=print)

Tables have a header that names their columns, JSON Lines have keys.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.columns import column_named
from shoptalk.curate.encodings import UTF8
from shoptalk.curate.files import Bad, RefusedFile, Row, encoding_of, json_rows, suffix_of
from shoptalk.curate.limits import refuse_oversized
from shoptalk.curate.readers.shared import left_out
from shoptalk.curate.sources import count_by_reason, first_left_out, read_as
from shoptalk.curate.tables import csv_rows, csv_table
from shoptalk.errors import SourceError
from shoptalk.records import Drop, Frozen

COLUMNS = ("source", "target")
"""Of a file whose columns nobody has named."""
_TABLES, _LINES = (".csv", ".tsv"), ".jsonl"


class ParallelPair(Frozen):
    """A text and what it becomes."""

    id: str
    source: str
    target: str


def read_parallel(
    path: Path, columns: tuple[str, str], config: CurateConfig, *, say: Callable[[str], None]
) -> tuple[list[ParallelPair], list[Drop]]:
    """The pairs of a file in file order, and the rows left out; a row that says again what one before it says is a drop
    ("duplicate").

    Args:
        path: .tsv, .csv or .jsonl, gzip or not.
        columns: the names of the source's and the target's column, in whatever case.
        config: the limits.
        say: is told of an encoding that is not UTF-8.

    Raises:
        SourceError: the file is missing, unreadable, too large or of another format, lacks a column, or has no usable
            rows.
    """
    _refuse_missing(path)
    name = printable(path.name)
    pairs: dict[tuple[str, str], ParallelPair] = {}
    drops: list[Drop] = []
    try:
        refuse_oversized(path, config)
        encoding = encoding_of(path)
        if encoding != UTF8:
            say(read_as(name, encoding))
        for row in _rows(path, encoding, columns):
            item = row if isinstance(row, Bad) else _pair(row, name, columns)
            if isinstance(item, ParallelPair):
                first = pairs.setdefault((item.source, item.target), item)
                if first is item:
                    continue
                item = Bad(row.number, "duplicate", f"same source and target as {first.id}", sample(item.source))
            drops.append(left_out(name, item))
    except RefusedFile as refused:
        raise SourceError(f"Cannot read the pairs in {path}: {refused.reason} ({refused.detail}).") from refused
    if not pairs:
        raise SourceError(
            f"{path} has no usable pairs: {count_by_reason(drops) if drops else 'it is empty'}.{first_left_out(drops)} "
            f"Give rows with a {columns[0]!r} and a {columns[1]!r}."
        )
    return list(pairs.values()), drops


def _refuse_missing(path: Path) -> None:
    if path.is_dir() or not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SourceError(f"The parallel text {path} {what}. Give a .tsv, .csv or .jsonl file, gzip or not.")
    if suffix_of(path) not in (*_TABLES, _LINES):
        raise SourceError(
            f"The parallel text {path} has an unknown extension. Give a .tsv, .csv or .jsonl file, gzip or not."
        )


def _rows(path: Path, encoding: str, columns: tuple[str, str]) -> Iterator[Row | Bad]:
    if suffix_of(path) == _LINES:
        yield from json_rows(path, encoding)
        return
    table = csv_table(path, encoding, [[column] for column in columns])
    lacking = [column for column in columns if column_named(column, table.columns) is None]
    if lacking:
        there = ", ".join(printable(column) for column in table.columns)
        raise SourceError(
            f"{path} has no column {' and no column '.join(map(repr, lacking))}. Its first row: {sample(there)}."
            f"{table.hint} Name the columns of source and target with --columns NAME,NAME; where the file has no "
            "header, write one."
        )
    if table.refusal is not None:
        raise SourceError(f"{path} {table.refusal}")
    yield from csv_rows(table)


def _pair(row: Row, name: str, columns: tuple[str, str]) -> ParallelPair | Bad:
    cells = []
    for column in columns:
        key = column_named(column, row.value)
        value = None if key is None else row.value[key]
        if value is not None and not isinstance(value, str):
            detail = f"{column!r} is {type(value).__name__}, expected a string"
            return Bad(row.number, "wrong-type", detail, sample(str(row.value)))
        text = repair(value or "")
        if not text:
            lacks = f"no {column!r}; --columns names the columns of source and target"
            return Bad(row.number, "no-pair", lacks, sample(str(row.value)))
        cells.append(text)
    return ParallelPair(id=f"{name}#{row.number}", source=cells[0], target=cells[1])
