"""From bytes to rows: files that may be compressed, in the wrong encoding, cut off, or one endless line.

What is wrong with a row is yielded as a `Bad` in its place; what is wrong with a whole file raises `RefusedFile`.
Nothing here reads more than `LINE_CHARACTERS` of a line into memory.
"""

import codecs
import contextlib
import csv
import gzip
import io
import json
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from shoptalk.curate.clean import sample

FORMATS = (".txt", ".md", ".csv", ".jsonl")
LINE_CHARACTERS = 1_000_000
_HEAD_BYTES = 65_536
_DELIMITERS = ",;\t"


class RefusedFile(Exception):  # noqa: N818 - not an error of the run: it becomes a drop
    """A whole file cannot be read; `reason` is a drop's reason, `detail` says what was found and what to do."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Line:
    """One line of text without its newline; `number` counts from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Row:
    """One row of a table or one JSON object, by column; `number` is the line it begins on."""

    number: int
    value: dict[str, Any]


@dataclass(frozen=True)
class Bad:
    """A line or row that cannot be used, and why."""

    number: int
    reason: str
    detail: str
    sample: str = ""


def format_of(path: Path) -> str | None:
    """ ".txt", ".md", ".csv" or ".jsonl" (gzip or not), or None where the name says none of them."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def lines(path: Path) -> Generator[Line | Bad, None, None]:
    """The lines of a text file, the blank ones included.

    Raises:
        RefusedFile: "unreadable" (cannot be opened, damaged compression) or "binary".
    """
    with _open_text(path) as file:
        number = 0
        while text := file.readline(LINE_CHARACTERS + 1):
            number += 1
            if len(text) > LINE_CHARACTERS and not text.endswith("\n"):
                yield Bad(number, "line-too-long", f"over {LINE_CHARACTERS:,} characters", sample(text))
                while text and not text.endswith("\n"):
                    text = file.readline(LINE_CHARACTERS)
                continue
            yield _checked(number, text.rstrip("\n"))


def json_rows(path: Path) -> Iterator[Row | Bad]:
    """The objects of a JSON Lines file; blank lines are passed over.

    Raises:
        RefusedFile: as `lines`.
    """
    for line in lines(path):
        if isinstance(line, Bad):
            yield line
        elif line.text.strip():
            yield _parsed(line)


def csv_columns(path: Path) -> tuple[list[str], str]:
    """The header of a CSV file, and the delimiter (comma, semicolon or tab) that splits it into most columns.

    Raises:
        RefusedFile: as `lines`, or "empty".
    """
    with contextlib.closing(lines(path)) as found:
        header = next((line.text for line in found if isinstance(line, Line) and line.text.strip()), None)
    if header is None:
        raise RefusedFile("empty", "no header and no rows")
    # A header cell that itself holds a newline is split here; such a file reports its odd columns.
    try:
        rows = {delimiter: next(csv.reader([header], delimiter=delimiter)) for delimiter in _DELIMITERS}
    except csv.Error as error:
        raise RefusedFile("bad-csv", f"its header cannot be read: {error}") from error
    best = max(_DELIMITERS, key=lambda delimiter: len(rows[delimiter]))
    return [cell.strip() for cell in rows[best]], best


def csv_rows(path: Path) -> Iterator[Row | Bad]:
    """The rows of a CSV file by column, without the header; a short row lacks its last columns.

    Raises:
        RefusedFile: as `csv_columns`.
    """
    columns, delimiter = csv_columns(path)
    feed = _Feed(path)
    next(line for line in feed if line.strip())  # the header, which `csv_columns` has read
    # Strict: a quote that is never closed is an error here and not one cell that swallows the rest of the file.
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        begin = feed.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield from feed.take_bad()
            yield Bad(begin, "bad-csv", f"lines {begin} to {feed.number}: {error}", feed.text)
            continue
        yield from feed.take_bad()
        if cells is None:
            return
        if cells:
            yield Row(begin, dict(zip(columns, cells, strict=False)))


class _Feed(Iterator[str]):
    """The good lines of a file for `csv.reader`, which number is the latest, and the bad ones set aside."""

    def __init__(self, path: Path) -> None:
        self._lines = lines(path)
        self._bad: list[Bad] = []
        self.number = 0
        self.text = ""

    def __next__(self) -> str:
        for line in self._lines:
            self.number = line.number
            if isinstance(line, Line):
                self.text = sample(line.text)
                return line.text + "\n"
            self._bad.append(line)
        raise StopIteration

    def take_bad(self) -> list[Bad]:
        taken, self._bad = self._bad, []
        return taken


def _checked(number: int, text: str) -> Line | Bad:
    if "\0" in text:
        return Bad(number, "binary", f"line {number} holds NUL bytes", sample(text))
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            byte = ord(text[error.start]) & 0xFF
            advice = f"byte 0x{byte:02x} in line {number} is not UTF-8; save the file as UTF-8"
            return Bad(number, "not-utf8", advice, sample(text))
    return Line(number, text)


def _parsed(line: Line) -> Row | Bad:
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        return Bad(line.number, "bad-json", str(error) or "too deeply nested", sample(line.text))
    if not isinstance(value, dict):
        found = type(value).__name__
        return Bad(line.number, "wrong-type", f"expected a JSON object, found {found}", sample(line.text))
    return Row(line.number, value)


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """The file as text: unpacked by its name, decoded by its byte order mark; bytes that are not UTF-8 are escaped."""
    with _refusals():
        if not path.is_file():
            path.stat()  # says why, where there is nothing at all
            raise RefusedFile("unreadable", "not a regular file")
        with contextlib.ExitStack() as stack:
            stream: Any = stack.enter_context(path.open("rb"))
            if path.suffix.lower() == ".gz":
                stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
            head = stream.read(_HEAD_BYTES)
            stream.seek(0)
            wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            if "\0" in (head.decode("utf-16", "replace") if wide else head.decode("latin-1")):
                raise RefusedFile("binary", "it holds NUL bytes, so it is not a text")
            encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
            yield stack.enter_context(io.TextIOWrapper(stream, encoding=encoding, errors=errors))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise RefusedFile("unreadable", "the compressed file is cut off; copy it again") from error
    except (OSError, zlib.error) as error:
        raise RefusedFile("unreadable", getattr(error, "strerror", None) or str(error)) from error
