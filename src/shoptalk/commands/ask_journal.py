"""`RUN/answers.jsonl`: what people have answered, a line each, which are labels of the next `adapt` (`--labels`).

journal = Journal(run / "answers.jsonl", asking="3f2a...", keys=keys, labels=labels)
journal.append(row)            # written and flushed before it returns
journal.rows                   # those of this asking, in their order
"""

import codecs
import json
import os
from collections.abc import Collection, Mapping
from io import FileIO
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from shoptalk.artifact import storage_errors, write_text
from shoptalk.config import did_you_mean
from shoptalk.errors import AbsentError, ArtifactError
from shoptalk.readback import MOST_LOG_BYTES, complaint, damaged, read_bytes
from shoptalk.records import Frozen

FILE = "answers.jsonl"
Given = Literal["answer", "none", "skip", "equal", "bad"]


class AnswerRow(Frozen):
    """A question and what was answered. `text` and `label` come first: the columns of a labels file."""

    text: str
    label: str | None
    """None where no option fits, where texts are equally good or both bad, and where the question was skipped."""
    given: Given
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

    def __init__(self, path: Path, *, asking: str, keys: Collection[str], labels: Collection[str]) -> None:
        """`keys` are those of the messages asked about, `labels` what may be answered; any where there are none.

        Raises:
            ArtifactError: a line is no answer, or none to this asking though it says so; nothing is taken away.
        """
        self._path, self._asking = path, asking
        self.rows: list[AnswerRow] = []
        self.others = 0
        """Rows of other askings."""
        for number, line in enumerate(self._lines(), start=1):
            if not line.strip():
                continue
            try:
                row = AnswerRow.model_validate_json(line)
            except ValidationError as error:
                raise _refused(path, number, complaint(error)) from error
            if row.asking == asking:
                if row.key not in keys:
                    raise _refused(path, number, f"nothing with the key {row.key!r} is asked about")
                if row.label is not None and labels and row.label not in labels:
                    raise _refused(
                        path, number, f"the run has no label {row.label!r}. {did_you_mean(row.label, labels)}"
                    )
                self.rows.append(row)
            else:
                self.others += 1

    def append(self, row: AnswerRow) -> None:
        """Add a row; it is on disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        with storage_errors(self._path), self._path.open("ab", buffering=0) as file:
            begin = file.seek(0, os.SEEK_END)
            try:
                _write_all(file, _line_of(row).encode())
                os.fsync(file.fileno())
            except OSError:
                file.truncate(begin)  # what follows would stand in the line that was cut off
                raise
        self.rows.append(row)

    def withdraw(self) -> AnswerRow | None:
        """Take the last row of this asking away; None where there is none."""
        if not self.rows:
            return None
        last = self.rows.pop()
        lines = self._lines()
        place = max(i for i, line in enumerate(lines) if line.strip() and AnswerRow.model_validate_json(line) == last)
        del lines[place]
        write_text(self._path, "".join(f"{line}\n" for line in lines))
        return last

    def _lines(self) -> list[str]:
        """The lines. One that a kill or a full disk has cut off is no answer, and is taken away; one that lacks nothing
        but its end, as some editors leave it, is one.
        """
        try:
            content = read_bytes(self._path, most=MOST_LOG_BYTES)
        except AbsentError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with storage_errors(self._path):
                if _is_row(content[len(whole) :].removeprefix(codecs.BOM_UTF8)):
                    with self._path.open("ab", buffering=0) as file:
                        _write_all(file, b"\n")
                    whole = content + b"\n"
                else:
                    os.truncate(self._path, len(whole))
        try:
            return whole.decode("utf-8-sig").split("\n")[:-1]
        except UnicodeDecodeError as error:
            raise damaged(self._path, f"it is no text: byte {error.start:,} is not UTF-8") from error


def _line_of(row: AnswerRow) -> str:
    return json.dumps(row.model_dump(), ensure_ascii=False) + "\n"


def _write_all(file: FileIO, content: bytes) -> None:
    while content:
        content = content[file.write(content) or 0 :]


def _is_row(line: bytes) -> bool:
    try:
        AnswerRow.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _refused(path: Path, number: int, reason: str) -> ArtifactError:
    """A person has written these lines, and perhaps edited them since: they are not to be deleted for one of them."""
    return ArtifactError(
        f"{path}, line {number}: {reason.rstrip('.')}. Mend that line or take it out, then run this again; the others "
        "count as they stand."
    )
