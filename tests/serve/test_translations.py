"""Threads in the agents' language: for agents alone, within limits, one at a time, and sent to nobody."""

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shoptalk.serve.refusals import Refused
from shoptalk.serve.routes import translation_route
from shoptalk.serve.service_settings import ServeSettings
from shoptalk.serve.translations import MOST_MESSAGES, MOST_WAITING, Translations, within_limits
from tests.serve.fakes import FakeTranslator
from tests.serve.test_replies import ask, thread

Serve = Callable[..., TestClient]


def translation(client: TestClient, conversation: str, **headers: Any) -> Any:
    return client.get(f"/v1/conversations/{conversation}/translation", **headers)


def test_each_message_is_translated_and_what_was_said_stays(serve: Serve) -> None:
    translator = FakeTranslator()
    client = serve(translator=translator)
    conversation = ask(client, "How much is a bicycle?")["conversation"]
    before = thread(client, conversation)
    told = translation(client, conversation).json()
    assert (told["source"], told["target"], told["left_out"]) == ("en", "de", 0)
    assert [row["message"] for row in told["data"]] == [message["id"] for message in before]
    assert [row["text"] for row in told["data"]] == [f"<b>de</b>: {message['text']}" for message in before]
    assert thread(client, conversation) == before
    assert threading.current_thread().name not in translator.threads
    assert all(name.startswith("translate") for name in translator.threads)


def test_a_message_is_translated_once_and_forgotten_with_its_visitor(serve: Serve) -> None:
    translator = FakeTranslator()
    client = serve(translator=translator)
    conversation = ask(client, "How much is a bicycle?")["conversation"]
    first = translation(client, conversation).json()
    assert translation(client, conversation).json() == first and len(translator.asked) == 1
    ask(client, "And a dog?", conversation)
    translation(client, conversation)
    assert translator.asked[1:] == [["And a dog?"]]  # the same answer again is known
    client.delete("/v1/people/somebody")
    translation(client, conversation)
    assert len(translator.asked) == 3 and len(translator.asked[2]) == 3


def test_without_a_translator_the_route_says_so_and_the_desk_offers_nothing(client: TestClient) -> None:
    conversation = ask(client, "A bicycle?")["conversation"]
    refused = translation(client, conversation)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_translator")
    assert "ranslate" not in client.get(f"/inbox/{conversation}").text


def test_agents_alone_have_threads_translated(serve: Serve) -> None:
    client = serve(translator=FakeTranslator(), peer=("203.0.113.5", 4000), key="the-owner", open_here=False)
    owner = {"Authorization": "Bearer the-owner"}
    conversation = client.post("/v1/reply", json={"text": "A bicycle?"}, headers=owner).json()["conversation"]
    for scope, status in (("agent", 200), ("chat", 403), ("knowledge", 403)):
        made = client.post("/v1/keys", json={"name": scope, "scopes": [scope]}, headers=owner).json()
        answer = translation(client, conversation, headers={"Authorization": f"Bearer {made['key']}"})
        assert answer.status_code == status, scope
    assert translation(client, conversation).status_code == 401
    page = client.get(f"/inbox/{conversation}?translated=true", follow_redirects=False)
    assert page.status_code == 401 and "de:" not in page.text


def test_of_a_long_thread_the_newest_messages_are_translated() -> None:
    assert within_limits(["a"] * (MOST_MESSAGES + 5), most_characters=1_000) == MOST_MESSAGES
    assert within_limits(["aaa", "bb", "cc"], most_characters=4) == 2
    assert within_limits(["aaaaa"], most_characters=4) == 0 and within_limits([], most_characters=4) == 0


def test_what_is_left_out_is_told_by_the_route_and_by_the_page(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(translator=FakeTranslator(), settings=ServeSettings(turn_seconds=0.0, longest_message=100))
    monkeypatch.setattr(translation_route, "MOST_CHARACTERS", 100)
    conversation = ask(client, f"A bicycle? {'x' * 80}")["conversation"]
    told = translation(client, conversation).json()
    assert told["left_out"] == 1 and [row["text"] for row in told["data"]] == [
        "<b>de</b>: A bicycle travels for 4 euros."
    ]
    assert "Of older messages 1 is not translated." in client.get(f"/inbox/{conversation}?translated=true").text


def test_threads_are_translated_one_at_a_time_and_too_many_are_refused() -> None:
    translator = FakeTranslator(seconds=0.2)
    translations = Translations(translator)

    async def all_at_once() -> list[Any]:
        texts = [[f"message {number}"] for number in range(MOST_WAITING + 2)]
        return await asyncio.gather(*(translations.of(each) for each in texts), return_exceptions=True)

    ended = asyncio.run(all_at_once())
    refused = [one for one in ended if isinstance(one, Refused)]
    assert translator.busiest == 1 and len(translator.asked) == MOST_WAITING
    assert [(one.status, one.code, one.retry_after) for one in refused] == [(429, "busy", 5.0)] * 2


def test_two_agents_who_ask_for_the_same_thread_have_it_translated_once() -> None:
    translator = FakeTranslator(seconds=0.1)
    translations = Translations(translator)

    async def both() -> list[Any]:
        return await asyncio.gather(translations.of(["one", "two"]), translations.of(["two", "one"]))

    first, second = asyncio.run(both())
    assert first == second and translator.asked == [["one", "two"]]


def test_a_translator_that_fails_takes_no_thread_from_the_desk(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    translator = FakeTranslator()
    translator.failing = True
    client = serve(translator=translator)
    conversation = ask(client, "A bicycle?")["conversation"]
    refused = translation(client, conversation)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "translation_failed")
    assert refused.headers["retry-after"] == "5" and "someone@" not in refused.text
    page = client.get(f"/inbox/{conversation}?translated=true")
    assert page.status_code == 200 and "A bicycle travels for 4 euros." in page.text
    assert "The translator failed" in page.text and "Machine translation" not in page.text
    translator.failing = False
    assert translation(client, conversation).status_code == 200


def test_the_desk_shows_translations_as_a_machines_and_whatever_it_writes_as_text(serve: Serve) -> None:
    client = serve(translator=FakeTranslator())
    conversation = ask(client, "an endless bicycle")["conversation"]
    place = f"/inbox/{conversation}"
    plain = client.get(place).text
    assert f'href="{place}?translated=true"' in plain and "Machine translation" not in plain
    page = client.get(f"{place}?translated=true").text
    assert page.count("Machine translation, unverified") == 2 and "the visitor does not see it" in page
    assert "&lt;b&gt;de&lt;/b&gt;: an endless bicycle" in page and "<b>de</b>" not in page
    assert page.count("its end is missing") == 1 and ">an endless bicycle</p>" in page
    answer = re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.S)
    assert answer == [""]  # nothing of it is put into the agent's answer


def test_a_visitor_never_sees_a_translation(serve: Serve) -> None:
    client = serve(translator=FakeTranslator())
    page = client.get("/").text
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    sent = client.post("/ask", data={**form, "text": "A bicycle?"}, headers={"Origin": "http://127.0.0.1:8000"})
    conversation = re.findall(r"conv_[0-9a-f]+", sent.text)[0]
    assert translation(client, conversation).status_code == 200
    for path in ("/", "/?translated=true", f"/events?conversation={conversation}&seconds=0.01"):
        assert "ranslat" not in client.get(path).text
    desk = client.get(f"/inbox/events?conversation={conversation}&seconds=0.01").text
    assert "event: message" in desk and "Machine translation" not in desk


def test_what_the_owner_should_know_of_the_translator_stands_behind_the_rest(serve: Serve) -> None:
    client = serve(about_translator="Threads are not translated: it is too poor.")
    assert client.get("/readyz").json()["remarks"] == ["Threads are not translated: it is too poor."]


def test_what_was_being_translated_while_somebody_was_erased_is_not_remembered() -> None:
    translator = FakeTranslator(seconds=0.1)
    translations = Translations(translator)

    async def erased_meanwhile() -> None:
        under_way = asyncio.create_task(translations.of(["secret"]))
        waiting = asyncio.create_task(translations.of(["another secret"]))
        await asyncio.sleep(0.03)
        translations.forget()
        await asyncio.gather(under_way, waiting)
        await translations.of(["secret", "another secret"])

    asyncio.run(erased_meanwhile())
    assert translator.asked == [["secret"], ["another secret"], ["secret", "another secret"]]


def test_the_end_stops_what_is_being_translated() -> None:
    translator = FakeTranslator()
    Translations(translator).close()
    assert translator.stopped
