"""All that is particular to SQLite: its settings for many readers and one writer, and a copy while it is in use."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from shoptalk.errors import StorageError

BUSY_MILLISECONDS = 10_000


def prepare_sqlite(engine: Engine, *, writes: bool) -> None:
    """Settings of every connection. A write takes the lock when it begins, so that it is never given up halfway."""

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # else the driver begins transactions where it likes
        # Full: a message that was accepted is on the disk, also when the power goes.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def prove_sqlite_writes(connection: Connection) -> None:
    """Change nothing, yet in a way that the commit writes a page to the disk.

    A change that is rolled back proves nothing here: SQLite writes at the commit. And it leaves out the writing of a
    row that is as it was; of the number that programs may keep in the file it does not.
    """
    number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version = {int(number)}")


def copy_sqlite(source: Path, target: Path) -> None:
    """A complete copy as of one moment, also while a server writes.

    Raises:
        StorageError: the source is damaged, or there is no room.
    """
    with contextlib.closing(sqlite3.connect(source)) as original, contextlib.closing(sqlite3.connect(target)) as copy:
        try:
            original.backup(copy)
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"{source} cannot be copied ({error}). Is the disk full, or the database damaged?"
            ) from None
