"""What a model has written, on disk a line each, so that writing goes on where it was stopped.

journal = BatchJournal(work / "judged.jsonl", JudgedQuestion, total=212, batch=16)
journal.append(rows)           # written and flushed before it returns
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from shoptalk.artifact import storage_errors
from shoptalk.errors import AbsentError
from shoptalk.readback import MOST_LOG_BYTES, complaint, damaged, read_bytes
from shoptalk.records import Frozen

R = TypeVar("R", bound=Frozen)


class BatchJournal(Generic[R]):
    """The file. What is decoded together comes out a little differently in other company, so only whole batches count:
    a run that was stopped goes on with the batches of one that was not.
    """

    def __init__(self, path: Path, kind: type[R], *, total: int, batch: int) -> None:
        """`total` records of this `kind` are written in all, `batch` at a time.

        Raises:
            ArtifactError: a line that was written whole is none.
        """
        self._path, self._kind = path, kind
        lines = self._lines()
        whole = len(lines) if len(lines) == total else len(lines) // batch * batch
        self.rows: list[R] = [self._row(number, line) for number, line in enumerate(lines[:whole], 1)]
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.truncate(path, sum(len(line) + 1 for line in lines[:whole]))

    def append(self, rows: Sequence[R]) -> None:
        """Add a batch; it is on disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        with storage_errors(self._path), self._path.open("ab") as file:
            file.writelines(row.model_dump_json().encode("utf-8") + b"\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        self.rows.extend(rows)

    def _lines(self) -> list[bytes]:
        """The lines that were written to their ends."""
        try:
            return read_bytes(self._path, most=MOST_LOG_BYTES).split(b"\n")[:-1]
        except AbsentError:
            return []

    def _row(self, number: int, line: bytes) -> R:
        try:
            return self._kind.model_validate_json(line)
        except ValidationError as error:
            raise damaged(self._path, f"line {number}: {complaint(error)}") from error
