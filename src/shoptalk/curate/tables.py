"""CSV files as people's programs export them: commas, semicolons, tabs or bars, and quotes that go wrong.

A row that is broken costs itself: reading goes on with the line after the one on which it begins. A `.tsv` whose
quotes are no more than characters of its texts, as parallel text has them, is read line by line.
"""

import contextlib
import csv
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from shoptalk.curate.clean import sample
from shoptalk.curate.files import LINE_CHARACTERS, Bad, Line, RefusedFile, Row, lines, suffix_of

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_ROWS = 100
"""Rows by which the delimiter is told where a header could have several."""
_FEW, _SHARE_OF_WIDE = 3, 0.02
"""Rows with more cells than the header has columns are left out up to the larger of these; more refuse the file."""
_AWAITED_LINES = 20
"""How far beyond a broken row that leaves a quote open the line that closes it may come."""
_ABOVE_MOST = 4
"""Rows that may stand above the header, such as a title: so far it is looked for."""
_FITTING_ENOUGH = 0.5
"""Share of rows with as many cells as the first, from which on the first is no title."""
_REREAD_MOST = 4_000_000
"""Characters read again after broken rows, beyond once the file: a bound for what somebody makes up to waste time."""

T = TypeVar("T")
Wanted = Sequence[Collection[str]]
"""The columns that a table is read for: of each, the names that it may have."""

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
    header: int = 1
    """The line of the header; what stands above it is a title and the like."""
    hint: str = ""
    """What to say beside a missing column, where the header seems to stand further down."""
    rows: int = 0
    wide: int = 0
    """Rows with more cells than columns."""
    first_wide: int = 0
    """The line of the first."""
    fitting: int = 0
    """Rows with as many cells as columns."""
    quoting: bool = True
    """Whether a quote at the beginning of a cell opens a quoted text; else it is a character as any other."""

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


def csv_table(path: Path, encoding: str, wanted: Wanted = ()) -> CsvTable:
    """Read a CSV file once for its delimiter, its columns, and how many rows fit them.

    The header is the first row; or, where that lacks wanted columns, the first of a few later ones that has all of them
    and more cells filled than every row above it.

    Raises:
        RefusedFile: as `lines`, "empty", or "bad-csv".
    """
    delimiter = _delimiter(path, encoding, wanted)
    first = _first_records(path, encoding, delimiter)
    header = _header(first, wanted)
    columns = tuple(cell.strip().strip("\ufeff") for cell in header.cells)
    hint = "" if _has(header.cells, wanted) else _hint(first, wanted) or _title_hint(path, encoding)
    table = CsvTable(path, encoding, delimiter, columns, header=header.number, hint=hint)
    table = _counted(table)
    if table.fitting == table.rows or suffix_of(path) != ".tsv" or delimiter != "\t":
        return table
    plain = _counted(replace(table, quoting=False))
    return plain if plain.fitting > table.fitting else table


def _counted(table: CsvTable) -> CsvTable:
    """With how many rows there are, and how many fit the columns."""
    rows = wide = first_wide = fitting = 0
    for record in _until_damage(_records_of(table)):
        if record.number <= table.header:
            continue
        rows += 1
        if not isinstance(record, _Record):
            continue
        fitting += len(record.cells) == len(table.columns)
        if len(record.cells) > len(table.columns) and _filled(record):
            wide += 1
            first_wide = first_wide or record.number
    return replace(table, rows=rows, wide=wide, first_wide=first_wide, fitting=fitting)


def csv_rows(table: CsvTable) -> Iterator[Row | Bad]:
    """The rows of a CSV file by column, without the header; a short row lacks its last columns. What stands above the
    header is there too, as rows that cannot be used.

    Raises:
        RefusedFile: as `csv_table`.
    """
    columns = table.columns
    for record in _records_of(table):
        if isinstance(record, Bad):
            yield record
        elif record.number == table.header:
            continue
        elif not any(cell.strip() for cell in record.cells):
            yield Bad(record.number, "empty", "no cell of the row holds anything")
        elif record.number < table.header:
            detail = f"it stands above the names of the columns in line {table.header}"
            yield Bad(record.number, "above-header", detail, sample(table.delimiter.join(record.cells)))
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


def _records_of(table: CsvTable) -> Iterator[_Record | Bad]:
    return _records(table.path, table.encoding, table.delimiter, header=table.header, quoting=table.quoting)


def _records(
    path: Path, encoding: str, delimiter: str, *, header: int = 0, quoting: bool = True
) -> Iterator[_Record | Bad]:
    """The records of a file, the header (of the line `header`, else the first) included and blank lines passed over.

    A record that cannot be parsed costs its first line. The lines that the parser took for the rest of it are read
    again: a quote that is never closed would else swallow all rows up to the next quote.
    """
    feed = _Feed(path, encoding)
    # Strict: a quote in the wrong place is an error and not a cell that goes on for many rows.
    reader = csv.reader(
        feed, delimiter=delimiter, strict=True, quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    )
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
        if not width or number == header:
            width = len(cells)
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


# Header and delimiter


def _first_records(path: Path, encoding: str, delimiter: str) -> list[_Record]:
    """Those among which the header is."""
    records = _records(path, encoding, delimiter)
    first = next(records, None)
    if first is None:
        raise RefusedFile("empty", "no header and no rows")
    if isinstance(first, Bad):
        raise RefusedFile("bad-csv", f"its header cannot be read: {first.detail}")
    more = islice(_until_damage(records), _ABOVE_MOST)
    return [first, *(record for record in more if isinstance(record, _Record))]


def _header(first: Sequence[_Record], wanted: Wanted) -> _Record:
    if _has(first[0].cells, wanted):
        return first[0]
    for place, record in enumerate(first):
        above = max((_filled(title) for title in first[:place]), default=0)
        if _has(record.cells, wanted) and above < _filled(record):
            return record
    return first[0]


def _has(cells: Iterable[str], wanted: Wanted) -> bool:
    """Whether cells name all wanted columns, in whatever case."""
    names = {cell.strip().strip("\ufeff").casefold() for cell in cells}
    return bool(wanted) and all(any(name.strip().casefold() in names for name in column) for column in wanted)


def _filled(record: _Record) -> int:
    """How many cells hold something."""
    return sum(bool(cell.strip()) for cell in record.cells)


def _hint(first: Sequence[_Record], wanted: Wanted) -> str:
    """Where a row below the first has the wanted columns, but too little is above it or beside them to be certain."""
    lines_with = [record.number for record in first[1:] if _has(record.cells, wanted)]
    if not lines_with:
        return ""
    return f" If line {lines_with[0]} is its header, delete what stands above it."


def _title_hint(path: Path, encoding: str) -> str:
    """Where the first row has one cell, as a title has, and those below it have several."""
    head = _head(path, encoding)
    delimiter, fitting = _best_delimiter(head)
    if not fitting:
        delimiter, _ = _best_delimiter(head[1:])
    rows = [[cell for cell in _cells(line, delimiter) if cell.strip()] for line in head[: _ABOVE_MOST + 1]]
    if len(rows) < 3 or len(rows[0]) != 1 or min(map(len, rows[1:])) < 2:
        return ""
    return (
        f" Its first row has one cell, “{sample(rows[0][0])}”, and those below it have more: if that is a title, "
        "delete it, so that the file begins with the names of its columns."
    )


def _head(path: Path, encoding: str) -> list[str]:
    """The first lines that are not blank."""
    with contextlib.closing(lines(path, encoding)) as file:
        filled = (line.text for line in _until_damage(file) if line.text.strip())
        return list(islice(filled, _SAMPLE_ROWS + 1))


def _delimiter(path: Path, encoding: str, wanted: Wanted) -> str:
    """What parts the cells: what a `sep=` line says, or what makes the wanted columns of a line below a title, or else
    the delimiter by which the first rows fit the header best.
    """
    head = _head(path, encoding)
    if head and (named := _SEPARATOR.fullmatch(head[0].strip())) is not None:
        return named[1]
    best, fitting = _best_delimiter(head)
    for line in head[: _ABOVE_MOST + 1] if fitting < _FITTING_ENOUGH else ():
        making = [other for other in _DELIMITERS if _has(cells := _cells(line, other), wanted) and len(cells) > 1]
        if making and line is not head[0]:
            return making[0]
        if making:
            break
    return best


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a cell over the limit
        return []


def _best_delimiter(head: Sequence[str]) -> tuple[str, float]:
    """That by which the first rows have as many cells as the first of them, best by best, and the share that has; a
    comma and 0 where the first has one cell by all of them.
    """
    best, most = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(head, delimiter=delimiter)]
        except csv.Error:  # a cell over the limit
            continue
        if not widths:
            continue
        fitting = sum(width == widths[0] for width in widths) / len(widths)
        if widths[0] > 1 and (fitting, widths[0]) > most:
            best, most = delimiter, (fitting, widths[0])
    return best, most[0]
