"""Webhooks and addresses that others give: signed, tried again, and never into one's own network."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shoptalk.serve import outbox, workers
from shoptalk.serve.outbound import ask, is_public
from shoptalk.serve.refusals import Refused
from shoptalk.serve.service_settings import ServeSettings
from tests.serve.test_handover import wait_for
from tests.serve.test_replies import ask as ask_assistant

Serve = Callable[..., TestClient]


class Listener(ThreadingHTTPServer):
    """Keeps what it is sent, and answers with the statuses that it is given, the last one for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses = [200]
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Listener)
        self.server.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = self.server.statuses.pop(0) if len(self.server.statuses) > 1 else self.server.statuses[0]
        self.send_response(status)
        self.send_header("location", "http://127.0.0.1:1/")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr(outbox, "WAITS", (timedelta(0), timedelta(0)))


def hooked(serve: Serve, listener: Listener) -> tuple[TestClient, str]:
    client = serve(settings=ServeSettings(turn_seconds=0.0, private_targets=("127.0.0.1",)))
    made = client.post("/v1/webhooks", json={"url": f"{listener.address}/in", "events": ["reply.sent"]})
    assert made.status_code == 201, made.text
    return client, made.json()["secret"]


def test_an_event_arrives_signed(serve: Serve, listener: Listener) -> None:
    client, secret = hooked(serve, listener)
    answer = ask_assistant(client, "A bicycle?")
    wait_for(lambda: bool(listener.received))
    headers, body = listener.received[0]
    at, _, signed = headers["shoptalk-signature"].removeprefix("t=").partition(",v1=")
    assert signed == hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert told["event"] == "reply.sent" and told["data"]["message"] == answer["message"]


def test_what_fails_is_tried_again_with_the_same_id(serve: Serve, listener: Listener, impatient: None) -> None:
    client, _ = hooked(serve, listener)
    listener.statuses = [500, 200]
    ask_assistant(client, "A bicycle?")
    wait_for(lambda: len(listener.received) == 2)
    assert len({json.loads(body)["id"] for _, body in listener.received}) == 1
    assert client.get("/v1/dead-letters").json()["data"] == []


def test_what_always_fails_becomes_a_dead_letter_that_can_be_tried_again(
    serve: Serve, listener: Listener, impatient: None
) -> None:
    client, _ = hooked(serve, listener)
    listener.statuses = [302]  # a redirect is no success, and is not followed
    ask_assistant(client, "A bicycle?")
    wait_for(lambda: bool(client.get("/v1/dead-letters").json()["data"]), seconds=10)
    (letter,) = client.get("/v1/dead-letters").json()["data"]
    assert "302" in letter["error"] and letter["attempts"] == 3
    listener.statuses = [200]
    assert client.post(f"/v1/dead-letters/{letter['id']}/retry").status_code == 200
    wait_for(lambda: len(listener.received) == 4)
    assert client.get("/v1/dead-letters").json()["data"] == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "ff02::1", "fe80::1%eth0",
    ],
)  # fmt: skip
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:220:1::1", "::ffff:93.184.215.14"])
def test_an_address_outside_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/",
        "http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://user:pass@93.184.215.14/", "http://93.184.215.14:0/",
    ],
)  # fmt: skip
def test_a_webhook_inside_is_refused_when_it_is_made(client: TestClient, url: str) -> None:
    made = client.post("/v1/webhooks", json={"url": url, "events": ["reply.sent"]})
    assert made.status_code == 400, made.text
    assert made.json()["error"]["code"] in ("private_address", "unknown_host", "bad_address")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://x/", "ftp://93.184.215.14/", "http://", "javascript:alert(1)"]
)
def test_other_schemes_are_refused(client: TestClient, url: str) -> None:
    assert client.post("/v1/webhooks", json={"url": url, "events": ["reply.sent"]}).status_code in (400, 422)


def test_a_name_that_changes_its_meaning_after_the_check_changes_nothing(listener: Listener) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.9.9.9"]

    status, _, _ = ask(
        "POST",
        f"http://hook.example:{listener.server_port}/",
        body=b"{}",
        private=("hook.example",),
        resolver=rebinding,
    )
    assert status == 200 and asked == ["hook.example"]  # resolved once; the connection went to that address
    assert listener.received[0][0]["host"] == f"hook.example:{listener.server_port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(Refused, match="private network"):
        ask("GET", "http://hook.example/", resolver=lambda host, port: ["93.184.215.14", "127.0.0.1"])


def test_a_webhook_whose_server_is_silent_holds_up_no_hand_over_and_no_summary(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def silent(*_: Any, **__: Any) -> Any:
        go.wait(20)
        raise OSError("timed out")

    monkeypatch.setattr(workers, "ask", silent)
    client = serve(settings=ServeSettings(turn_seconds=0.0, handover_minutes=0.005, private_targets=("127.0.0.1",)))
    client.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/in", "events": ["message.received", "reply.sent"]})
    for _ in range(20):
        ask_assistant(client, "A bicycle?")
    conversation = ask_assistant(client, "I want a person")["conversation"]
    try:
        wait_for(lambda: client.get(f"/v1/conversations/{conversation}").json()["held_by"] == "assistant", seconds=5)
        began = time.monotonic()
        assert client.get(f"/v1/conversations/{conversation}/suggestions").status_code == 200
        assert time.monotonic() - began < 3
    finally:
        go.set()
