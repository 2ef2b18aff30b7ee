"""`RUN/answers.jsonl`: what people have answered, a line each, which are labels of the next `adapt` (`--labels`).

journal = Journal(run / "answers.jsonl", asking="3f2a...")
journal.append(row)            # written and flushed before it returns
journal.rows                   # those of this asking, in their order
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from shoptalk.artifact import storage_errors, write_text
from shoptalk.errors import AbsentError
from shoptalk.readback import MOST_LOG_BYTES, complaint, damaged, read_bytes
from shoptalk.records import Frozen

FILE = "answers.jsonl"


class AnswerRow(Frozen):
    """A question and what was answered. `text` and `label` come first: the columns of a labels file."""

    text: str
    label: str | None
    """None where none of the labels fits, and where the question was skipped."""
    given: Literal["answer", "none", "skip"]
    systems: Mapping[str, str]
    """What each system had answered."""
    order: int
    """From 1, among the questions of its asking."""
    again: bool
    """Whether it was asked a second time, to see how consistent the answers are."""
    who: str
    when: str
    key: str
    """Of the message, in its bank."""
    asking: str
    """Which two systems were told apart by it, on which bank."""


class Journal:
    """The file, of which the rows of one asking are read and written; those of others stay as they are."""

    def __init__(self, path: Path, *, asking: str) -> None:
        self._path, self._asking = path, asking
        self.rows: list[AnswerRow] = []
        self.others = 0
        """Rows of other askings."""
        for number, line in enumerate(self._lines(), start=1):
            try:
                row = AnswerRow.model_validate_json(line)
            except ValidationError as error:
                raise damaged(path, f"line {number}: {complaint(error)}") from error
            if row.asking == asking:
                self.rows.append(row)
            else:
                self.others += 1

    def append(self, row: AnswerRow) -> None:
        """Add a row; it is on disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        with storage_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(_line_of(row))
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)

    def withdraw(self) -> AnswerRow | None:
        """Take the last row of this asking away; None where there is none."""
        if not self.rows:
            return None
        last = self.rows.pop()
        lines = self._lines()
        place = max(i for i, line in enumerate(lines) if AnswerRow.model_validate_json(line) == last)
        del lines[place]
        write_text(self._path, "".join(f"{line}\n" for line in lines))
        return last

    def _lines(self) -> list[str]:
        """The finished lines. One that a kill or a full disk has cut off is no answer, and is taken away."""
        try:
            content = read_bytes(self._path, most=MOST_LOG_BYTES)
        except AbsentError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with storage_errors(self._path):
                os.truncate(self._path, len(whole))
        try:
            return whole.decode("utf-8").split("\n")[:-1]
        except UnicodeDecodeError as error:
            raise damaged(self._path, f"it is no text: byte {error.start:,} is not UTF-8") from error


def _line_of(row: AnswerRow) -> str:
    return json.dumps(row.model_dump(), ensure_ascii=False) + "\n"
