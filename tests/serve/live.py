"""A server of this process behind a real socket."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from shoptalk.serve.application import create_app
from shoptalk.serve.database import Database, sqlite_url
from shoptalk.serve.server import PatientProtocol
from shoptalk.serve.service import Service
from shoptalk.serve.service_settings import ServeSettings
from tests.serve.fakes import FakeAssistant


@contextlib.contextmanager
def live_server(
    folder: Path, settings: ServeSettings, *, assistant: Any = None, port: int = 0, **choices: Any
) -> Iterator[str]:
    """Its address. With a port and the same folder it is a server that comes back."""
    service = Service(
        folder, Database(sqlite_url(folder / "serve.db")), assistant or FakeAssistant(), settings, **choices
    )
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    config = uvicorn.Config(create_app(service), http=PatientProtocol, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    ends = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < ends
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
