"""One process that serves a run: it binds, opens, tells where it is, and ends gracefully."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.assistant_settings import load_settings
from shoptalk.assistant.opened_translator import opened_translator
from shoptalk.errors import InputError
from shoptalk.readback import refuse_no_run
from shoptalk.serve.access import any_key, check_binding, is_loopback
from shoptalk.serve.application import DRAIN_SECONDS, create_app
from shoptalk.serve.backups import DATABASE, serving
from shoptalk.serve.batcher import BatchingEncoder
from shoptalk.serve.database import Database, sqlite_url
from shoptalk.serve.edge import MaskingFormatter
from shoptalk.serve.service import Service
from shoptalk.serve.service_settings import load_serve_settings

KEY_VARIABLE = "SHOPTALK_KEY"
HEADER_SECONDS = 10.0
THREADS_WITH_GENERATOR = 24
"""Replies at once where a language model words them and nothing else is set: their threads wait for it."""
_LARGEST_HEADERS = 64 * 1024


class PatientProtocol(H11Protocol):
    """Closes a connection whose request, the first or a later one, does not begin to arrive whole in time: slow clients
    hold nothing.
    """

    _watched = False

    def connection_made(self, transport: Any) -> None:
        """A client has come."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come."""
        super().data_received(data)
        if self._incomplete() and not self._watched:
            self._watch()

    def _incomplete(self) -> bool:
        """Whether a request is on its way; between two of them uvicorn's own limit holds."""
        return self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None

    def _watch(self) -> None:
        self._watched = True
        self.loop.call_later(HEADER_SECONDS, self._close_if_not_whole, self.cycle)

    def _close_if_not_whole(self, before: object) -> None:
        self._watched = False
        if self.transport.is_closing() or not self._incomplete():
            return
        if self.cycle is before:  # no request came whole meanwhile
            self.transport.close()
        else:
            self._watch()


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    db: str | None = None,
    config: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve a run until the process is told to stop; what was accepted until then is answered first.

    Raises:
        InputError: the address cannot be had, or may not be without a key; or a setting is wrong.
        ArtifactError: the run lacks something, or it is damaged.
    """
    began = time.monotonic()
    refuse_no_run(run)
    settings = load_serve_settings(run, config)
    key = os.environ.get(KEY_VARIABLE) or None
    _log_to_standard_error()
    with serving(run), _bound(host, port) as listening:
        database = Database(db or sqlite_url(run / DATABASE))
        try:
            check_binding(host, has_key=key is not None or database.read_now(any_key))
            assistant = Assistant.open(run, settings=load_settings(run, config), through=BatchingEncoder, tell=tell)
            translator, about_translator = opened_translator(run)
        except BaseException:
            database.close()
            raise
        if assistant.generator is not None and "threads" not in settings.model_fields_set:
            settings = settings.model_copy(update={"threads": THREADS_WITH_GENERATOR})
        service = Service(
            run,
            database,
            assistant,
            settings,
            key=key,
            open_here=is_loopback(host),
            translator=translator,
            about_translator=about_translator,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(service),
                http=PatientProtocol,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=_LARGEST_HEADERS,
                timeout_graceful_shutdown=int(DRAIN_SECONDS),
            )
        )
        name = f"[{host}]" if ":" in host else host
        place = f"http://{name}:{listening.getsockname()[1]}"

        def ready() -> None:
            for line in (_line(run, place, time.monotonic() - began), *service.remarks):
                tell(line)

        asyncio.run(_run(server, service, listening, ready))


async def _run(server: uvicorn.Server, service: Service, listening: socket.socket, ready: Callable[[], None]) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    while not serving.done():
        if server.should_exit:
            service.stop_taking()
        await asyncio.wait([serving], timeout=0.1)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _line(run: Path, place: str, seconds: float) -> str:
    return f"Serving {run} at {place} (ready in {seconds:.1f} s). Ctrl-C ends it."


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens, so that nothing is loaded for an address that cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio turns Nagle's algorithm off only where the protocol is named. With it a reply's body waits for the
        # client to acknowledge its headers: 40 ms on a connection that is kept.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(512)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"Cannot listen at {host}:{port} ({error}). Another program may be there: give another --port, or --host."
        ) from None
    return listening


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter("%(levelname)s %(message)s"))
    for name in ("shoptalk.serve", "uvicorn.error"):
        log = logging.getLogger(name)
        log.handlers[:] = [handler]
        log.propagate = False
        log.setLevel(logging.WARNING)
