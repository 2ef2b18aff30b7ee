"""The store on a PostgreSQL of its own: started where it is installed, skipped where it is not."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shoptalk.assistant.reply import Reply
from shoptalk.records import Turn
from shoptalk.serve import database
from shoptalk.serve.application import create_app
from shoptalk.serve.database import Database
from shoptalk.serve.rows import Rows
from shoptalk.serve.service import Service
from shoptalk.serve.service_settings import ServeSettings
from tests.serve import test_handover, test_replies
from tests.serve.conftest import HERE, QUICK
from tests.serve.fakes import FakeAssistant

pytestmark = pytest.mark.slow


def _programs() -> Path | None:
    """The folder of initdb and postgres: on the path, or where Debian puts them."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A URL without a database's name."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (`apt-get install postgresql`)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgresql`)")
    user: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.getuid() == 0:  # it refuses to run as root
            try:
                account = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

        def call(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", str(folder / "data"), *arguments]
            with (folder.parent / f"{folder.name}.log").open("ab") as log:
                subprocess.run(command, check=True, stdout=log, stderr=log, cwd=folder, timeout=60, **user)

        call("initdb", "-A", "trust", "-U", "shoptalk", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://shoptalk@/{{}}?host={folder}"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
            (folder.parent / f"{folder.name}.log").unlink()


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database."""
    import psycopg

    name = f"test_{abs(hash(request.node.nodeid))}"
    folder = server.partition("host=")[2]
    with psycopg.connect(f"host={folder} user=shoptalk dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    yield server.format(name)


@pytest.fixture
def serve(url: str, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """As in conftest.py, over PostgreSQL."""
    clients: list[TestClient] = []

    def start(
        assistant: Any = None, *, settings: ServeSettings = QUICK, peer: tuple[str, int] = HERE, **choices: Any
    ) -> TestClient:
        service = Service(tmp_path, Database(url), assistant or FakeAssistant(), settings, **choices)
        client = TestClient(create_app(service), base_url="http://127.0.0.1:8000", client=peer)
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()


def test_the_steps_lead_to_the_tables_that_the_code_knows(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    there = Database(url)
    with there._writing.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Rows.metadata) == []
    there.close()
    Database(url).close()  # a second start changes nothing


def test_a_server_is_ready_only_where_the_database_may_be_written(
    url: str, serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setattr(database, "PROOF_SECONDS", 0.0)
    assert serve().get("/readyz").json()["status"] == "ready"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("ALTER ROLE shoptalk SET default_transaction_read_only = on")  # as a replica is
    try:
        response = serve().get("/readyz")
    finally:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER ROLE shoptalk RESET default_transaction_read_only")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "storage")


class Wordy(FakeAssistant):
    """Its documents have long names, and so has its intent."""

    def reply(self, turns: Sequence[Turn], **choices: Any) -> Reply:
        reply = super().reply(turns, **choices)
        sources = tuple(replace(source, passage=f"{'folder/' * 60}tariff.md@12345") for source in reply.sources)
        return replace(reply, sources=sources, intent="asks for the price " * 20)


def test_long_names_are_stored_as_they_are(serve: Callable[..., TestClient]) -> None:
    client = serve(Wordy())
    answer = client.post("/v1/reply", json={"text": "A bicycle?"}).json()
    assert answer["sources"][0]["passage"].endswith("@12345") and len(answer["trace"]["intent"]) > 300


@pytest.mark.parametrize("odd", ["%00", "a%00b", "x" * 200, "%F0%9F%9A%B2"])
def test_an_id_that_no_database_may_hold_is_not_there(client: TestClient, odd: str) -> None:
    for path in (
        f"/v1/conversations/{odd}",
        f"/v1/messages/{odd}/trace",
        f"/v1/people/{odd}",
        f"/v1/responses/{odd}",
        f"/v1/conversations/{odd}/events",
    ):
        assert client.get(path).status_code in (200, 400, 404, 422), path
    assert client.post("/v1/reply", json={"text": "x", "conversation": "a\x00b"}).status_code in (404, 422)
    assert client.post("/v1/reply", json={"text": "x\x00y"}).status_code in (200, 422)


# Replies and hand-overs, as on SQLite: the same tests with the fixtures above.
for _module in (test_replies, test_handover):
    globals().update({name: thing for name, thing in vars(_module).items() if name.startswith("test_")})
