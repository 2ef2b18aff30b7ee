"""CSV files as people's programs export them: commas, semicolons, tabs or bars, and quotes that go wrong.

A row that is broken costs itself: reading goes on with the line after the one on which it begins.
"""

import contextlib
import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from shoptalk.curate.clean import sample
from shoptalk.curate.files import LINE_CHARACTERS, Bad, Line, RefusedFile, Row, lines

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_ROWS = 100
"""Rows by which the delimiter is told where a header could have several."""
_FEW, _SHARE_OF_WIDE = 3, 0.02
"""Rows with more cells than the header has columns are left out up to the larger of these; more refuse the file."""
_AWAITED_LINES = 20
"""How far beyond a broken row that leaves a quote open the line that closes it may come."""
_REREAD_MOST = 4_000_000
"""Characters read again after broken rows, beyond once the file: a bound for what somebody makes up to waste time."""

T = TypeVar("T")

# Excel's own way of naming the delimiter, in a line before the header.
_SEPARATOR = re.compile(r'"?sep=(.)"?')

# The limit is one for the whole process, and too low (131,072) for a document in a cell.
csv.field_size_limit(max(csv.field_size_limit(), LINE_CHARACTERS))


@dataclass(frozen=True)
class CsvTable:
    """What one reading of a CSV file has found; `rows` counts those below the header, broken ones included."""

    path: Path
    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    rows: int = 0
    wide: int = 0
    """Rows with more cells than columns."""
    first_wide: int = 0
    """The line of the first."""

    @property
    def refusal(self) -> str | None:
        """Why the whole file must be refused, and what to do; None where it can be read."""
        if self.wide <= max(_FEW, _SHARE_OF_WIDE * self.rows):
            return None
        return (
            f"has more cells than columns ({len(self.columns)}) in {self.wide:,} of {self.rows:,} rows, the first in "
            f"line {self.first_wide}, so which cell holds what cannot be told. Put double quotes around each text that "
            f"contains a {_DELIMITERS.get(self.delimiter, self.delimiter)}, or give the rows as .jsonl."
        )


def csv_table(path: Path, encoding: str) -> CsvTable:
    """Read a CSV file once for its delimiter, its columns, and how many rows fit them.

    Raises:
        RefusedFile: as `lines`, "empty", or "bad-csv".
    """
    delimiter = _delimiter(path, encoding)
    records = _records(path, encoding, delimiter)
    header = _header(records)
    if isinstance(header, Bad):
        raise RefusedFile("bad-csv", f"its header cannot be read: {header.detail}")
    table = CsvTable(path, encoding, delimiter, tuple(cell.strip().strip("\ufeff") for cell in header.cells))
    rows = wide = first_wide = 0
    for record in _until_damage(records):
        rows += 1
        if isinstance(record, _Record) and len(record.cells) > len(table.columns):
            wide += 1
            first_wide = first_wide or record.number
    return replace(table, rows=rows, wide=wide, first_wide=first_wide)


def csv_rows(table: CsvTable) -> Iterator[Row | Bad]:
    """The rows of a CSV file by column, without the header; a short row lacks its last columns.

    Raises:
        RefusedFile: as `csv_table`.
    """
    records = _records(table.path, table.encoding, table.delimiter)
    _header(records)
    columns = table.columns
    for record in records:
        if isinstance(record, Bad):
            yield record
        elif len(record.cells) > len(columns):
            detail = (
                f"line {record.number} has {len(record.cells)} cells and the header {len(columns)}; put double quotes "
                f"around a text that contains a {_DELIMITERS.get(table.delimiter, table.delimiter)}"
            )
            yield Bad(record.number, "too-many-cells", detail, sample(table.delimiter.join(record.cells)))
        else:
            yield Row(record.number, dict(zip(columns, record.cells, strict=False)))


# Records


class _Record(NamedTuple):
    number: int
    cells: list[str]


class _Feed(Iterator[str]):
    """A file's lines for `csv.reader`, and those of the record at hand, which can be put back."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._lines = lines(path, encoding)
        self._waiting: deque[Line | Bad] = deque()
        self._read = self._reread = 0
        self.record: list[Line | Bad] = []
        self.fault: Bad | None = None
        """The record's first line that cannot be used."""
        self._characters = 0

    def __next__(self) -> str:
        if self._waiting:
            line = self._waiting.popleft()
        else:
            line = next(self._lines)
            self._read += len(line.text)
        if isinstance(line, Bad):
            self.fault = self.fault or line
        self.record.append(line)
        self._characters += len(line.text) + 1
        if self._characters > LINE_CHARACTERS + 1:
            raise csv.Error(f"a row of over {LINE_CHARACTERS:,} characters")
        return line.text + "\n"

    def begin(self) -> None:
        """Forget the last record."""
        self.record, self.fault, self._characters = [], None, 0

    def put_back(self) -> None:
        """Let all lines of the record but its first be read again."""
        again = self.record[1:]
        self._reread += sum(len(line.text) for line in again)
        if self._reread > _REREAD_MOST + self._read:
            raise RefusedFile("bad-csv", "its quotes open and close in the wrong places; export it again, or as .jsonl")
        self._waiting.extendleft(reversed(again))


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[_Record | Bad]:
    """The records of a file, the header included and blank lines passed over.

    A record that cannot be parsed costs its first line. The lines that the parser took for the rest of it are read
    again: a quote that is never closed would else swallow all rows up to the next quote.
    """
    feed = _Feed(path, encoding)
    # Strict: a quote in the wrong place is an error and not a cell that goes on for many rows.
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    width = 0
    broken = swallowed = awaited = 0  # lines: the broken row's, the last that it swallowed, the last that may close it
    while True:
        feed.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            first, last = feed.record[0], feed.record[-1]
            broken, swallowed = first.number, last.number
            awaited = last.number + _AWAITED_LINES if _is_open(feed.record) else 0
            feed.put_back()
            yield first if isinstance(first, Bad) else _broken(first, last, error)
            continue
        if cells is None:
            return
        number = feed.record[0].number
        if feed.fault is not None:
            yield replace(feed.fault, number=number)
            continue
        if len(cells) < 2 and not any(line.text.strip(" ") for line in feed.record):
            continue
        if not width and _SEPARATOR.fullmatch(delimiter.join(cells)):
            continue
        width = width or len(cells)
        closing = (number <= swallowed or number <= awaited) and _is_open(feed.record)
        if closing or (number <= swallowed and len(cells) != width):
            yield Bad(number, "bad-csv", f"part of the broken row of line {broken}", sample(feed.record[0].text))
        else:
            yield _Record(number, cells)
        if closing:
            awaited = 0


def _is_open(record: Sequence[Line | Bad]) -> bool:
    """Whether there is a quote too many or too few."""
    return sum(line.text.count('"') for line in record) % 2 == 1


def _broken(first: Line, last: Line | Bad, error: csv.Error) -> Bad:
    if first is last:
        detail = f"line {first.number}: {error}; write a quote within a quoted text twice"
    else:
        detail = (
            f"line {first.number} opens a quote that is not closed by line {last.number} ({error}); "
            f"the lines after {first.number} are read as rows of their own"
        )
    return Bad(first.number, "bad-csv", detail, sample(first.text))


def _until_damage(items: Iterator[T]) -> Iterator[T]:
    """What can be read of a file that is cut off; whoever reads its rows meets the damage in its place."""
    try:
        yield from items
    except RefusedFile as refused:
        if refused.reason != "unreadable":
            raise


def _header(records: Iterator[_Record | Bad]) -> _Record | Bad:
    header = next(records, None)
    if header is None:
        raise RefusedFile("empty", "no header and no rows")
    return header


def _delimiter(path: Path, encoding: str) -> str:
    """What parts the cells: the delimiter by which the first rows have as many cells as the header, best by best."""
    with contextlib.closing(lines(path, encoding)) as file:
        filled = (line.text for line in _until_damage(file) if line.text.strip())
        head = list(islice(filled, _SAMPLE_ROWS + 1))
    if not head:
        return ","
    if (named := _SEPARATOR.fullmatch(head[0].strip())) is not None:
        return named[1]
    best, most = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(head, delimiter=delimiter)]
        except csv.Error:  # a cell over the limit
            continue
        fitting = sum(width == widths[0] for width in widths) / len(widths)
        if widths[0] > 1 and (fitting, widths[0]) > most:
            best, most = delimiter, (fitting, widths[0])
    return best
