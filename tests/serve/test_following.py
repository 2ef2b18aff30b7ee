"""News reach those who follow a conversation, whenever they come."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from shoptalk.serve.following import news_of
from shoptalk.serve.hub import Hub
from shoptalk.serve.rows import MAIN_SITE, utc_now
from shoptalk.serve.threads import add_message, conversation_of

Serve = Callable[..., TestClient]


def test_a_call_between_reading_and_waiting_is_heard() -> None:
    async def listen() -> list[bool]:
        hub = Hub()
        with hub.listening("c") as listener, hub.listening("other") as other:
            listener.caught_up()
            hub.call("c")  # while what is new is being read
            heard = [await listener.wait(seconds=0.01), await other.wait(seconds=0.01)]
            listener.caught_up()
            return [*heard, await listener.wait(seconds=0.01)]

    assert asyncio.run(listen()) == [True, False, False]


def test_a_reply_that_is_stored_while_the_news_are_read_comes_at_once(serve: Serve) -> None:
    client = serve()
    answer = client.post("/v1/reply", json={"text": "A bicycle?"}).json()
    service = client.app.state.service  # type: ignore[attr-defined]
    read, late = service.database.read, []

    def store_late(session: Any) -> None:
        row = conversation_of(session, MAIN_SITE, answer["conversation"])
        add_message(session, row, role="agent", text="late", at=utc_now(), owner="agent")

    async def read_and_be_overtaken(work: Callable[[Any], Any]) -> Any:
        news = await read(work)
        if not late:
            late.append("agent")
            await service.database.write(store_late)
            service.news_of(answer["conversation"])
        return news

    async def follow() -> list[str]:
        service.database.read = read_and_be_overtaken
        texts: list[str] = []
        async for news in news_of(service, answer["conversation"], after=0, seconds=30):
            texts += [message["text"] for message in news.messages] if news else []
            if "late" in texts:
                break
        return texts

    started = time.monotonic()
    assert client.portal is not None and client.portal.call(follow)[-1] == "late"
    assert time.monotonic() - started < 5  # a sleeper would have waited for the next sign of life, ten seconds


def events_of(stream: str) -> list[tuple[str, Any]]:
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in stream.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def test_a_stream_says_who_has_the_conversation_at_first_and_whenever_that_changes(client: TestClient) -> None:
    answer = client.post("/v1/reply", json={"text": "I want a person"}).json()
    place = f"/v1/conversations/{answer['conversation']}"
    events = events_of(client.get(f"{place}/events?live=true&seconds=0.01").text)
    assert events[0] == ("state", {"held_by": "human", "agent": None, "closed": False})
    assert [name for name, _ in events] == ["state", "message", "message"]
    client.post(f"{place}/assign", json={"agent": "Anna"})
    assert events_of(client.get(f"{place}/events?live=true&seconds=0.01").text)[0][1]["agent"] == "Anna"
