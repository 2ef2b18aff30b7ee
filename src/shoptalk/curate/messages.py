"""Messages to be answered, from a file or standard input: a text a line, or JSON Lines with a `text`."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shoptalk.curate.files import Bad, Line, RefusedFile, Row, encoding_of, json_rows, lines
from shoptalk.curate.readers import format_of
from shoptalk.errors import SourceError

EXPECTED = 'Expected one text a line, or JSON Lines such as {"text": "where is my parcel?"}'


def read_messages(path: Path, *, name: str | None = None, what: str = "message") -> list[str]:
    """The messages of a file in their order, whatever its encoding; a blank line between others is an empty message.

    It is JSON Lines where its first line that is not blank begins an object, and then blank lines are passed over.
    `name` is what people know the file as, `what` what it holds.

    Raises:
        SourceError: the file or one of its lines cannot be read, or there is no message in it.
    """
    name = name or str(path)
    if format_of(path) == ".csv":
        raise SourceError(f"{name} is a table, of which the header would be answered too. {EXPECTED}.")
    try:
        encoding = encoding_of(path)
        found = list(lines(path, encoding))
        first = next((line for line in found if not isinstance(line, Line) or line.text.strip()), None)
        if first is None:
            raise SourceError(f"There is no {what} in {name}. {EXPECTED}.")
        if isinstance(first, Line) and first.text.lstrip().startswith("{"):
            return [_text(row, name) for row in json_rows(path, encoding)]
        return _plain(found, name)
    except RefusedFile as refused:
        raise SourceError(f"Cannot read {what}s from {name}: {refused.reason} ({refused.detail}). {EXPECTED}.") from (
            refused
        )


def read_standard_input() -> list[str]:
    """The messages that come in on standard input.

    Raises:
        SourceError: as `read_messages`.
    """
    with tempfile.TemporaryDirectory() as folder:  # its encoding is told by reading it more than once
        path = Path(folder) / "messages"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return read_messages(path, name="standard input")


def _plain(found: Sequence[Line | Bad], name: str) -> list[str]:
    messages = []
    for line in found:
        if isinstance(line, Bad):
            raise _refused(line, name)
        messages.append(line.text.strip())
    while not messages[-1]:
        messages.pop()
    return messages


def _text(row: Row | Bad, name: str) -> str:
    if isinstance(row, Bad):
        raise _refused(row, name)
    text = row.value.get("text")
    if not isinstance(text, str):
        keys = ", ".join(row.value) or "none"
        raise SourceError(f"Line {row.number} of {name} has no 'text' that is a string; its keys: {keys}. {EXPECTED}.")
    return text


def _refused(bad: Bad, name: str) -> SourceError:
    """One line that cannot be read stops all: answers are matched to lines by their order."""
    return SourceError(f"Line {bad.number} of {name} cannot be read: {bad.reason} ({bad.detail}). {EXPECTED}.")
