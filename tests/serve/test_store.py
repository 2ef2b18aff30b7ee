"""The tables, the batching encoder, and what other databases would be sent."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable

from shoptalk.errors import StorageError
from shoptalk.serve.batcher import BatchingEncoder
from shoptalk.serve.database import Database, sqlite_url, upgrade
from shoptalk.serve.rows import Rows, SiteRow, utc_now
from shoptalk.serve.sqlite import copy_sqlite

SERVE = Path(__file__).parents[2] / "src" / "shoptalk" / "serve"


def test_the_steps_lead_to_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = create_engine(sqlite_url(tmp_path / "x.db"))
    upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Rows.metadata) == []
    upgrade(engine)  # a second time changes nothing
    engine.dispose()


def test_readers_see_what_was_written_and_the_write_ahead_log_is_on(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "x.db"))
    assert (tmp_path / "x.db-wal").exists()
    database.close()


def test_the_tables_can_be_made_in_postgresql_and_only_one_file_knows_sqlite() -> None:
    for table in Rows.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))
    for path in SERVE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "sqlite.py" or not any(word in text for word in ("PRAGMA", "sqlite3", "INSERT OR", "rowid"))


def test_texts_of_many_threads_are_embedded_in_few_batches_and_each_gets_its_own() -> None:
    begun, go = threading.Event(), threading.Event()

    class Slow:
        def embed(self, items: Sequence[str]) -> np.ndarray:
            begun.set()
            go.wait(10)
            return np.array([[float(text)] for text in items], dtype=np.float32)

    encoder = BatchingEncoder(Slow())
    vectors: dict[int, float] = {}

    def ask(number: int) -> None:
        vectors[number] = float(encoder.embed([str(number)])[0, 0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    threads[0].start()
    begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    while encoder._waiting.qsize() < 19:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert vectors == {number: float(number) for number in range(20)} and encoder.batches == 2


def test_an_encoder_that_fails_fails_for_those_who_asked_and_goes_on() -> None:
    class Failing:
        def embed(self, items: Sequence[str]) -> np.ndarray:
            if "bad" in items:
                raise RuntimeError("no")
            return np.zeros((len(items), 1), dtype=np.float32)

    encoder = BatchingEncoder(Failing())
    try:
        encoder.embed(["bad"])
        raise AssertionError
    except RuntimeError:
        assert len(encoder.embed(["good"])) == 1


def test_what_visitors_write_is_in_no_error_of_the_database(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "x.db"))

    def twice(session: Session) -> None:
        for _ in range(2):
            session.add(SiteRow(id="shop", name="My secret", public_key="k", secret="s", origins=[], created=utc_now()))
            session.flush()
            session.expunge_all()

    with pytest.raises(IntegrityError) as error:
        database.write_now(twice)
    assert "My secret" not in str(error.value)
    database.close()


@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
def test_a_file_that_is_no_database_is_named_as_damaged_and_an_empty_one_is_begun(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.db").write_bytes(content)
    if not content:
        Database(sqlite_url(tmp_path / "x.db")).close()
        return
    with pytest.raises(StorageError, match=r"x\.db is damaged, or is none .* `shoptalk restore`"):
        Database(sqlite_url(tmp_path / "x.db"))
    with pytest.raises(StorageError, match=r"x\.db cannot be copied"):
        copy_sqlite(tmp_path / "x.db", tmp_path / "copy.db")
