"""Behind a real socket: clients that are slow or leave, and whatever a generator of requests thinks of."""

import asyncio
import contextlib
import json
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import hypothesis
import pytest

from shoptalk.serve import server
from shoptalk.serve.service_settings import ServeSettings
from tests.serve.live import live_server


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.4)
    with live_server(tmp_path, ServeSettings(body_seconds=0.4, turn_seconds=0.1)) as place:
        yield place


def connected(address: str) -> socket.socket:
    parts = urlsplit(address)
    assert parts.hostname and parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=5)


def answered(stream: socket.socket) -> bool:
    """Whether /healthz says that all is well; its answer is read to the end."""
    read = b""
    while b'{"status":"ok"}' not in read and (piece := stream.recv(4000)):
        read += piece
    return read.startswith(b"HTTP/1.1 200")


def test_a_client_that_never_ends_its_headers_is_let_go(address: str) -> None:
    with connected(address) as stream:
        stream.sendall(b"POST /v1/reply HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        began = time.monotonic()
        assert stream.recv(100) == b""  # closed
        assert time.monotonic() - began < 3
    assert httpx2.get(f"{address}/healthz").status_code == 200


def test_a_client_that_never_ends_its_body_is_told_and_let_go(address: str) -> None:
    host = urlsplit(address).netloc
    with connected(address) as stream:
        head = (
            f"POST /v1/reply HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
        )
        stream.sendall(head.encode() + b'{"text": "A bi')
        assert stream.recv(4000).startswith(b"HTTP/1.1 408")
    assert httpx2.get(f"{address}/healthz").status_code == 200


def test_headers_without_end_are_refused(address: str) -> None:
    with connected(address) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 200_000)
        with contextlib.suppress(ConnectionError):
            assert stream.recv(4000)[:12] in (b"HTTP/1.1 400", b"")


def test_who_leaves_before_the_reply_finds_it_when_they_come_back(address: str) -> None:
    host = urlsplit(address).netloc
    body = b'{"text": "A bicycle?"}'
    head = f"POST /v1/reply HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nIdempotency-Key: k1\r\n"
    with connected(address) as stream:
        stream.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    time.sleep(0.3)
    answer = httpx2.post(f"{address}/v1/reply", content=body, headers={
        "Content-Type": "application/json", "Idempotency-Key": "k1"}).json()  # fmt: skip
    messages = httpx2.get(f"{address}/v1/conversations/{answer['conversation']}").json()["messages"]
    assert len(messages) == 2 and messages[1]["id"] == answer["message"]


def test_a_reply_comes_to_those_who_follow_the_conversation(address: str) -> None:
    conversation = httpx2.post(f"{address}/v1/reply", json={"text": "Hello"}).json()["conversation"]
    place = f"{address}/v1/conversations/{conversation}"
    httpx2.post(f"{place}/messages", json={"text": "A bicycle?"})  # answered once its turn is over
    roles: list[str] = []
    with httpx2.stream("GET", f"{place}/events?after=2&seconds=5", timeout=10) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                roles.append(json.loads(line[6:])["role"])
            if len(roles) == 2:
                break
    assert roles == ["visitor", "assistant"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_that_can_be_thought_of_is_a_fault_of_the_server_or_breaks_its_description(tmp_path: Path) -> None:
    import schemathesis
    from schemathesis.checks import load_all_checks, not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    load_all_checks()
    checks = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
    with warnings.catch_warnings(), live_server(tmp_path, ServeSettings(turn_seconds=0.0)) as address:
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        tried = 0
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.path.endswith("/events"):  # as long as one listens
                continue

            @hypothesis.settings(
                max_examples=25, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
            )
            @hypothesis.seed(0)
            @hypothesis.given(case=operation.as_strategy())
            def attempt(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=checks)

            attempt()
            tried += 1
    assert tried > 30


def test_a_client_that_never_ends_the_headers_of_a_later_request_is_let_go(address: str) -> None:
    host = urlsplit(address).netloc
    with connected(address) as stream:
        for _ in range(2):
            stream.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answered(stream)
        began = time.monotonic()
        stream.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert stream.recv(4000) == b""  # closed
        assert time.monotonic() - began < 3


def test_a_client_that_asks_again_and_again_on_one_connection_is_not_let_go(address: str) -> None:
    host = urlsplit(address).netloc
    with connected(address) as stream:
        for _ in range(8):
            stream.sendall(b"GET /healthz HTTP/1.1\r\n")
            time.sleep(0.15)  # in all three times as long as a request may take
            stream.sendall(f"Host: {host}\r\n\r\n".encode())
            assert answered(stream)


def test_whoever_speaks_as_a_proxy_does_by_default_is_no_owner(address: str) -> None:
    host = urlsplit(address).netloc
    for version, status in (("1.1", b"200"), ("1.0", b"401")):
        with connected(address) as stream:
            stream.sendall(f"GET /v1/models HTTP/{version}\r\nHost: {host}\r\n\r\n".encode())
            assert stream.recv(4000).startswith(b"HTTP/1.1 " + status)


def test_a_reply_is_not_held_back_until_its_headers_are_acknowledged() -> None:
    """Nagle's algorithm with a client's delayed acknowledgement costs 40 ms on a connection that is kept."""

    async def delays_are_off() -> bool:
        off: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            stream = writer.get_extra_info("socket")
            off.set_result(bool(stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
            writer.close()

        listening = server._bound("127.0.0.1", 0)
        async with await asyncio.start_server(accepted, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                return await asyncio.wait_for(off, timeout=5)
            finally:
                writer.close()

    assert asyncio.run(delays_are_off())
