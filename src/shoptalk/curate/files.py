"""From bytes to rows: files that may be compressed, in the wrong encoding, cut off, or one endless line.

What is wrong with a row is yielded as a `Bad` in its place; what is wrong with a whole file raises `RefusedFile`.
Nothing here reads more than `LINE_CHARACTERS` of a line into memory.
"""

import codecs
import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoptalk.curate.clean import sample
from shoptalk.curate.encodings import (
    MARKED,
    UNDECODABLE,
    decode_line,
    is_utf8,
    narrow_encoding,
    spoken,
    undecodable,
    wide_encoding,
)

LINE_CHARACTERS = 1_000_000
_HEAD_BYTES = 65_536
_SAMPLE_BYTES = 4 * _HEAD_BYTES
"""Of a file, from its first byte that is not ASCII, on which its encoding is told."""
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_SHARE_OF_CONTROLS = 0.05
"""Of a file's head: with more control characters it is no text, whatever its encoding."""
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b"))
_MISNAMED = {
    b"PK\x03\x04": "a ZIP file, such as Excel's .xlsx; open it there and save it as CSV UTF-8 or as text",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file; open it there and save it as CSV UTF-8 or as text",
    b"\x1f\x8b": "gzip-compressed; add .gz to its name",
    b"%PDF": "a PDF; save its text as UTF-8",
}


class RefusedFile(Exception):  # noqa: N818 - not an error of the run: it becomes a drop
    """A whole file cannot be read; `reason` is a drop's reason, `detail` says what was found and what to do."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class SourceFile:
    """A file to read."""

    path: Path
    name: str
    """Such as "conversations/june.jsonl"; no other file of the listing has it."""
    given: bool
    """Named by the user, not found in a folder."""


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
    """A line or row that cannot be used, and why; `text` is what could be decoded of a line."""

    number: int
    reason: str
    detail: str
    sample: str = ""
    text: str = ""


def suffix_of(path: Path) -> str:
    """The end of a file's name, such as ".csv", in lower case and without a ".gz" after it; empty where it has none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def encoding_of(path: Path) -> str:
    """The encoding of a text file, told from a sample; UTF-8 where everything is ASCII.

    Raises:
        RefusedFile: "unreadable" (cannot be opened, damaged compression) or "binary".
    """
    with _open_bytes(path) as file:
        head = file.read(_HEAD_BYTES)
        wide = wide_encoding(head)
        _refuse_binary(head, wide)
        if wide is not None:
            return wide
        # A damaged file is read up to the damage; whoever reads it will meet that again.
        with contextlib.suppress(EOFError, OSError, zlib.error):
            while head and head.isascii():
                head = file.read(_HEAD_BYTES)
            head += file.readline(_HEAD_BYTES)
            while len(head) < _SAMPLE_BYTES and (more := file.readline(_HEAD_BYTES)):
                head += more
    if len(head) >= _SAMPLE_BYTES and not head.endswith(b"\n"):
        head = _whole_characters(head)
    return narrow_encoding([line for line in head.splitlines() if not line.isascii()])


def _whole_characters(data: bytes) -> bytes:
    """Without a last character that the end of a sample may have cut."""
    return data if data[-1] < 0x80 else data.rstrip(_CONTINUATIONS)[:-1]


def lines(path: Path, encoding: str) -> Generator[Line | Bad, None, None]:
    """The lines of a text file in its encoding, the blank ones included.

    Raises:
        RefusedFile: "unreadable" (cannot be opened, damaged compression).
    """
    wide = encoding.startswith(("utf-16", "utf-32"))
    with _open_bytes(path) as stream:
        # Every encoding but UTF-16 and UTF-32 has ASCII's line ends. Its lines are parted as bytes, which are decoded
        # line by line, so that a byte that does not belong costs its own line.
        most = LINE_CHARACTERS if wide else 4 * LINE_CHARACTERS
        file = (
            io.TextIOWrapper(stream, encoding=encoding, errors=MARKED) if wide else io.TextIOWrapper(stream, "latin-1")
        )
        number = 0
        while text := file.readline(most + 1):
            number += 1
            ended = text.endswith("\n")
            if not wide:
                text = _decoded(text, encoding, first=number == 1)
            text = text.removesuffix("\n")
            if len(text) > LINE_CHARACTERS:
                detail = f"line {number} has over {LINE_CHARACTERS:,} characters; put line breaks between its texts"
                yield Bad(number, "line-too-long", detail, sample(text))
            else:
                yield _checked(number, text, encoding)
            while not ended and (text := file.readline(most)):
                ended = text.endswith("\n")


def json_rows(path: Path, encoding: str) -> Iterator[Row | Bad]:
    """The objects of a JSON Lines file; blank lines are passed over.

    Raises:
        RefusedFile: as `lines`.
    """
    for line in lines(path, encoding):
        if isinstance(line, Bad):
            yield line
        elif line.text.strip():
            yield _parsed(line)


def _decoded(text: str, encoding: str, *, first: bool) -> str:
    """A line of bytes, each read as one character, in the file's encoding and without UTF-8's byte order mark."""
    if text.isascii():
        return text
    data = text.encode("latin-1")
    return decode_line(data.removeprefix(codecs.BOM_UTF8) if first else data, encoding)


def _checked(number: int, text: str, encoding: str) -> Line | Bad:
    if "\0" in text:
        return Bad(number, "binary", f"line {number} holds NUL bytes", sample(text), text)
    if undecodable(text):
        readable = text.replace(UNDECODABLE, "\ufffd")
        name = spoken(encoding)
        detail = (
            f"line {number} holds bytes that are not {name}, the encoding of the rest; correct it and save as UTF-8"
        )
        return Bad(number, f"not-{encoding.replace('utf-8', 'utf8')}", detail, sample(readable), readable)
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
def _open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes, unpacked where its name says that they are packed."""
    with _refusals():
        if not path.is_file():
            path.stat()  # says why, where there is nothing at all
            what = "it is a folder; give a file" if path.is_dir() else "not a regular file"
            raise RefusedFile("unreadable", what)
        with contextlib.ExitStack() as stack:
            stream: Any = stack.enter_context(path.open("rb"))
            if path.suffix.lower() == ".gz":
                stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
            yield stream


def _refuse_binary(head: bytes, wide: str | None) -> None:
    """Refuse a file whose head is no text in any encoding: NULs in most of its lines, or control characters all over
    where it is not UTF-8. A few NULs cost only their lines.
    """
    for magic, what in _MISNAMED.items():
        if head.startswith(magic):
            raise RefusedFile("binary", f"it is no text but {what}")
    readable = head.decode(wide, "replace").encode("latin-1", "replace") if wide is not None else head
    parts = [part for part in readable.splitlines() if part]
    with_nul = sum(b"\0" in part for part in parts)
    controls = len(readable) - len(readable.translate(None, _CONTROLS))
    if with_nul > len(parts) / 2 or (controls > _SHARE_OF_CONTROLS * len(readable) and not is_utf8(head)):
        tried = spoken(wide) if wide else "UTF-8, UTF-16 and Windows-1252"
        detail = f"it holds NUL bytes or control characters, so it is no text in {tried}; save it as UTF-8 text"
        raise RefusedFile("binary", detail)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise RefusedFile("unreadable", "the compressed file is cut off; copy it again") from error
    except (OSError, zlib.error) as error:
        raise RefusedFile("unreadable", getattr(error, "strerror", None) or str(error)) from error
