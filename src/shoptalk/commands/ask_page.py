"""The page of `shoptalk ask`: a small server on this machine alone, on which one person answers one asking.

    ask_on_page(session, run="runs/acme", tell=print)      # returns when it is settled, or raises at Ctrl-C

It listens at 127.0.0.1; `ask_desk.py` says who may see the page and answer on it.
"""

import asyncio
import contextlib
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from shoptalk.commands.ask_desk import Answerable, Desk
from shoptalk.errors import InputError

HOST = "127.0.0.1"
LINGER = 60.0
"""Seconds for which the last page may still take an answer back."""


def ask_on_page(
    session: Answerable,
    *,
    run: str,
    again: str = "",
    tell: Callable[[str], None] = lambda line: None,
    open_browser: bool = True,
    port: int = 0,
    linger: float = LINGER,
) -> None:
    """Ask on a page of this machine until it is settled, or whoever answers stops; every answer is kept either way.

    `run` is what people are asked about, `again` the words after `shoptalk ask` that go on with it where those differ.
    `linger` is for how many seconds after the last answer it may still be taken back.

    Raises:
        KeyboardInterrupt: Ctrl-C, while something is left to ask.
        InputError: the port cannot be had.
        ShoptalkError, OSError: an answer could not be kept.
    """
    with _listening(port) as listening:
        place = f"{HOST}:{listening.getsockname()[1]}"
        desk = Desk(session, run=run, again=again, place=place, linger=linger)
        server = uvicorn.Server(
            uvicorn.Config(
                desk.app(),
                log_config=None,
                log_level="critical",  # a connection that the end cuts off is nothing to tell; the desk tells the rest
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        tell(f"Answer at {desk.address} (Ctrl-C ends it; every answer is kept at once).")
        if open_browser:
            threading.Thread(target=_open, args=(desk.address_for_once,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(server, desk, listening))
    if desk.failure is not None:
        raise desk.failure
    # The server obeys Ctrl-C also in a background job, where Python ignores it and raises nothing. With nothing left to
    # ask it ends as it would have by itself, a little later.
    if not desk.ended() and not session.finished:
        raise KeyboardInterrupt


async def _run(server: uvicorn.Server, desk: Desk, listening: socket.socket) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not serving.done():
        server.should_exit = server.should_exit or desk.ended()
        await asyncio.wait([serving], timeout=0.1)
    await serving


def _open(address: str) -> None:
    """A browser with a window of its own, where there is one: without, the address that was printed is enough."""
    with contextlib.suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        if type(browser) is not webbrowser.GenericBrowser:  # which is one that would take the terminal
            browser.open(address)


def _listening(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(64)
    except (OSError, OverflowError) as error:
        listening.close()
        raise InputError(
            f"Cannot listen at {HOST}:{port} ({error}). Another program may be there: give another port, or none for a "
            "free one."
        ) from None
    return listening
