"""A server over a fake assistant, and clients of it: one on this machine, and strangers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shoptalk.serve.application import create_app
from shoptalk.serve.database import Database, sqlite_url
from shoptalk.serve.service import Service
from shoptalk.serve.service_settings import ServeSettings
from tests.serve.fakes import FakeAssistant

HERE = ("127.0.0.1", 50000)
QUICK = ServeSettings(turn_seconds=0.2)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Starts servers on one database; each call is a process that starts anew."""
    clients: list[TestClient] = []

    def start(
        assistant: Any = None, *, settings: ServeSettings = QUICK, peer: tuple[str, int] = HERE, **choices: Any
    ) -> TestClient:
        database = Database(sqlite_url(tmp_path / "serve.db"))
        service = Service(tmp_path, database, assistant or FakeAssistant(), settings, **choices)
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
