"""The database: many readers, one writer thread, and its tables at their newest version."""

import asyncio
import importlib.resources
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import alembic.command
import alembic.config
from sqlalchemy import Engine, create_engine, make_url, update
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import Session

from shoptalk.errors import InputError, StorageError
from shoptalk.serve.rows import MAIN_SITE, SiteRow, new_id, utc_now
from shoptalk.serve.sqlite import prepare_sqlite, prove_sqlite_writes

T = TypeVar("T")
READERS = 4
PROOF_SECONDS = 5.0
"""For so long a proof that the database can be written is not repeated: whoever asks may ask often."""


class Database:
    """Reads run in any thread; writes run one after the other in a thread of their own, each a transaction."""

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
            self._lite = self.url.get_backend_name() == "sqlite"
            # What an error tells goes into the log, and the parameters are what visitors wrote.
            self._reading = create_engine(self.url, pool_size=READERS + 2, hide_parameters=True)
            self._writing = create_engine(self.url, pool_size=1, max_overflow=0, hide_parameters=True)
        except (ArgumentError, ModuleNotFoundError) as error:
            raise InputError(
                f"--db {url!r} is no database that can be opened ({error}). Give a URL such as "
                "sqlite:///path/to/serve.db, or leave it out: the database is then inside the run."
            ) from None
        if self._lite:
            prepare_sqlite(self._reading, writes=False)
            prepare_sqlite(self._writing, writes=True)
        self._proof: Future[None] | None = None
        self._proved = -PROOF_SECONDS
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        try:
            upgrade(self._writing)
            self.write_now(_main_site)
        except OperationalError as error:
            raise StorageError(
                f"The database {url} cannot be opened or written ({error.orig}). Look whether its folder is there and "
                "may be written, and whether another program holds it."
            ) from None
        except DatabaseError as error:
            raise StorageError(
                f"The database {url} is damaged, or is none ({error.orig}). Put a backup back with `shoptalk restore`, "
                "or move the file away to begin with an empty one."
            ) from None

    def write_now(self, change: Callable[[Session], T]) -> T:
        """One transaction, from a thread that may wait."""
        return self._writer.submit(self._write, change).result()

    def read_now(self, question: Callable[[Session], T]) -> T:
        """One question, from a thread that may wait."""
        with Session(self._reading) as session:
            return question(session)

    async def write(self, change: Callable[[Session], T]) -> T:
        """One transaction. It is carried out even when whoever waits for it goes away."""
        return await asyncio.shield(asyncio.wrap_future(self._writer.submit(self._write, change)))

    async def read(self, question: Callable[[Session], T]) -> T:
        """One question."""
        return await asyncio.wrap_future(self._readers.submit(self.read_now, question))

    async def prove_writes(self) -> None:
        """Write something that changes nothing, or tell what came of it a moment ago. All who ask while one is under
        way wait for that one, so that probes cannot fill the writer's queue.

        Raises:
            StorageError: it cannot be written: this is a copy that may only be read, or of SQLite, the disk is full.
        """
        if self._proof is None or (self._proof.done() and time.monotonic() - self._proved >= PROOF_SECONDS):
            self._proof = self._writer.submit(self._prove_writes)
        await asyncio.shield(asyncio.wrap_future(self._proof))

    def _prove_writes(self) -> None:
        try:
            with self._writing.connect() as connection, connection.begin() as transaction:
                if self._lite:
                    prove_sqlite_writes(connection)
                else:  # it may write; whether its disk has room only a commit would tell
                    connection.execute(update(SiteRow).where(SiteRow.id == MAIN_SITE).values(name=SiteRow.name))
                    transaction.rollback()
        except DatabaseError as error:
            raise StorageError(f"The database cannot be written ({error.orig}).") from None
        finally:
            self._proved = time.monotonic()

    def _write(self, change: Callable[[Session], T]) -> T:
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            return change(session)

    def close(self) -> None:
        """What was begun is ended; then the connections go."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._reading.dispose()
        self._writing.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of a file."""
    return f"sqlite:///{path}"


def upgrade(engine: Engine) -> None:
    """Bring the tables to their newest version."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(importlib.resources.files("shoptalk.serve") / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


def _main_site(session: Session) -> None:
    if session.get(SiteRow, MAIN_SITE) is None:
        session.add(new_site(MAIN_SITE, "Main", ()))


def new_site(site_id: str, name: str, origins: tuple[str, ...]) -> SiteRow:
    """A site with keys of its own."""
    return SiteRow(
        id=site_id,
        name=name,
        public_key=new_id("pk"),
        secret=new_id("secret") + new_id(""),
        origins=list(origins),
        created=utc_now(),
    )
