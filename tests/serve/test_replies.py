"""Every accepted message is stored before it is answered, and answered exactly once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from shoptalk.serve import answerer, workers
from shoptalk.serve.stored_answers import pieces
from tests.serve.fakes import FakeAssistant

Serve = Callable[..., TestClient]


def ask(client: TestClient, text: str, conversation: str | None = None, **more: Any) -> dict[str, Any]:
    headers = more.pop("headers", {})
    response = client.post("/v1/reply", json={"text": text, "conversation": conversation, **more}, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def thread(client: TestClient, conversation: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = client.get(f"/v1/conversations/{conversation}").json()["messages"]
    return messages


def assert_answered_once(messages: list[dict[str, Any]]) -> None:
    asked = [message["id"] for message in messages if message["role"] == "visitor"]
    answered = [name for message in messages for name in message["answers"]]
    assert sorted(asked) == sorted(answered)


def test_a_reply_has_its_decision_its_cited_sources_and_how_it_came_about(client: TestClient) -> None:
    answer = ask(client, "How much is a bicycle?")
    assert list(answer) == [
        "conversation",
        "message",
        "decision",
        "reason",
        "text",
        "sources",
        "confidence",
        "answers",
        "trace",
    ]
    assert (answer["decision"], answer["reason"]) == ("answer", "supported")
    assert [source["document"] for source in answer["sources"]] == [
        "tariff.md"
    ]  # what was read and not used is not cited
    assert answer["trace"]["versions"]["index"] == "index1"
    messages = thread(client, answer["conversation"])
    assert [message["role"] for message in messages] == ["visitor", "assistant"]
    assert messages[1]["answers"] == [messages[0]["id"]] and messages[1]["id"] == answer["message"]


def test_the_whole_trace_has_what_was_read_and_left_aside(client: TestClient) -> None:
    answer = ask(client, "How much is a bicycle?")
    trace = client.get(f"/v1/messages/{answer['message']}/trace").json()
    assert [(source["document"], source["used"]) for source in trace["sources"]] == [
        ("tariff.md", True),
        ("house.md", False),
    ]
    assert trace["turns"] == [{"role": "user", "text": "How much is a bicycle?"}]


def test_a_follow_up_is_read_with_what_was_said_before(serve: Serve) -> None:
    assistant = FakeAssistant()
    client = serve(assistant)
    first = ask(client, "How much is a bicycle?")
    ask(client, "And on Sundays?", first["conversation"], complete=True)
    assert [turn.role for turn in assistant.asked[-1]] == ["user", "assistant", "user"]


def test_messages_that_follow_fast_are_one_turn_with_one_reply_that_names_them(client: TestClient) -> None:
    conversation = ask(client, "Hello")["conversation"]
    with ThreadPoolExecutor(3) as pool:
        texts = ["I have a bicycle", "a red one", "how much is it?"]
        replies = []
        for text in texts:
            replies.append(pool.submit(ask, client, text, conversation))
            time.sleep(0.05)
        answers = [reply.result() for reply in replies]
    assert len({answer["message"] for answer in answers}) == 1
    messages = thread(client, conversation)
    assert [message["role"] for message in messages] == ["visitor", "assistant", *["visitor"] * 3, "assistant"]
    assert messages[-1]["answers"] == [message["id"] for message in messages[2:5]]


def test_a_message_that_comes_while_its_turn_is_being_answered_is_answered_with_it(serve: Serve) -> None:
    client = serve(FakeAssistant(seconds=0.3))
    conversation = ask(client, "Hello")["conversation"]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, client, "A bicycle", conversation, complete=True)
        time.sleep(0.1)
        second = pool.submit(ask, client, "and a dog", conversation, complete=True)
        assert first.result()["message"] == second.result()["message"]
    assert_answered_once(thread(client, conversation))


def test_the_same_idempotency_key_again_is_the_same_message_again(client: TestClient) -> None:
    first = ask(client, "How much is a bicycle?", headers={"Idempotency-Key": "k1"})
    again = ask(client, "How much is a bicycle?", headers={"Idempotency-Key": "k1"})
    assert first == again
    assert len(thread(client, first["conversation"])) == 2
    other = client.post("/v1/reply", json={"text": "Something else"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 409 and other.json()["error"]["code"] == "idempotency_key_reused"


def test_the_same_key_at_the_same_time_is_stored_once(serve: Serve) -> None:
    client = serve(FakeAssistant(seconds=0.1))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(client, "A bicycle?", headers={"Idempotency-Key": "k"}), range(8)))
    assert len({answer["message"] for answer in answers}) == 1


def test_what_an_earlier_process_left_unanswered_is_answered_once_on_start(serve: Serve) -> None:
    stuck = threading.Event()

    class Stuck(FakeAssistant):
        def reply(self, turns: Any, **choices: Any) -> Any:
            stuck.wait(30)
            return super().reply(turns, **choices)

    first = serve(Stuck())
    begun = ask(serve(), "Hello")["conversation"]
    accepted = first.post(f"/v1/conversations/{begun}/messages", json={"text": "A bicycle?", "complete": True})
    assert accepted.status_code == 202
    second = serve()  # as after a kill: the first process has answered nothing
    for _ in range(100):
        if len(thread(second, begun)) == 4:
            break
        time.sleep(0.02)
    stuck.set()  # and an answer that comes after all is not stored a second time
    time.sleep(0.2)
    messages = thread(second, begun)
    assert len(messages) == 4
    assert_answered_once(messages)


def test_a_reply_that_fails_is_tried_again_and_then_passed_on_to_a_person(serve: Serve) -> None:
    assistant = FakeAssistant()
    client = serve(assistant)
    assistant.failing = 1
    assert ask(client, "A bicycle?")["decision"] == "answer"
    assistant.failing = 9
    answer = ask(client, "A bicycle?")
    assert (answer["decision"], answer["reason"]) == ("escalate", "tool_failure")
    assert_answered_once(thread(client, answer["conversation"]))


def test_where_no_answer_can_be_stored_nobody_is_said_to_have_the_conversation_and_the_same_key_is_answered_later(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = answerer.store_reply

    def full(*given: Any, **choices: Any) -> Any:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr(answerer, "store_reply", full)
    client = serve()
    asked, key = {"text": "A bicycle?"}, {"Idempotency-Key": "once"}
    response = client.post("/v1/reply", json=asked, headers=key)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "not_answered_yet") and "stored" in error["message"]
    assert int(response.headers["retry-after"]) == 5
    monkeypatch.setattr(answerer, "store_reply", stored)
    answer = client.post("/v1/reply", json=asked, headers=key).json()
    assert answer["decision"] == "answer" and answer["conversation"] in error["message"]
    assert_answered_once(thread(client, answer["conversation"]))


def test_too_many_at_once_are_told_to_wait_and_nothing_of_theirs_is_accepted(serve: Serve) -> None:
    from shoptalk.serve.service_settings import ServeSettings

    client = serve(FakeAssistant(seconds=0.3), settings=ServeSettings(most_waiting=2, threads=1))
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: client.post("/v1/reply", json={"text": "A bicycle?"}), range(8)))
    refused = [response for response in responses if response.status_code == 429]
    assert {response.status_code for response in responses} == {200, 429}
    assert all(int(response.headers["retry-after"]) >= 1 for response in refused)


def test_a_stream_has_the_text_in_pieces_and_the_whole_reply_at_its_end(client: TestClient) -> None:
    with client.stream("POST", "/v1/reply", json={"text": "A bicycle?", "stream": True}) as response:
        lines = list(response.iter_lines())
    assert lines[0] == "event: delta" and "event: reply" in lines


def test_events_of_a_conversation_go_on_where_a_stream_broke_off(client: TestClient) -> None:
    answer = ask(client, "A bicycle?")
    address = f"/v1/conversations/{answer['conversation']}/events?seconds=0.1"
    whole = [line for line in client.get(address).text.splitlines() if line.startswith("id: ")]
    assert len(whole) == 2
    rest = client.get(address, headers={"Last-Event-ID": whole[0][4:]}).text
    assert [line for line in rest.splitlines() if line.startswith("id: ")] == whole[1:]


def test_a_gap_is_kept_only_where_retrieval_worked_and_nothing_relevant_was_there(client: TestClient) -> None:
    from sqlalchemy import select

    from shoptalk.serve.rows import GapRow

    for text in ("Do you have a unicorn?", "a unicorn do you have", "What is the weather?", "A bicycle?"):
        ask(client, text)
    gaps = client.app.state.service.database.read_now(lambda session: session.scalars(select(GapRow)).all())  # type: ignore[attr-defined]
    assert len(gaps) == 2 and len({gap.grouping for gap in gaps}) == 1


@given(st.text(alphabet="ab é\n\t.", max_size=60))
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(len(piece.split()) <= 4 for piece in pieces(text))


def test_a_text_of_blanks_is_cut_in_a_time_that_grows_as_it_does() -> None:
    began = time.monotonic()
    assert len(pieces(" " * 30_000)) == 1
    assert time.monotonic() - began < 2  # seven seconds, where the time grows with the square


def test_what_could_not_be_stored_for_a_while_is_answered_later_without_another_start(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [True]
    stored = answerer.store_reply

    def store(*given: Any, **choices: Any) -> Any:
        if full[0]:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        return stored(*given, **choices)

    monkeypatch.setattr(answerer, "store_reply", store)
    monkeypatch.setattr(workers, "REFRESH_SECONDS", 0.05)
    monkeypatch.setattr(workers, "LEFT_LYING", timedelta(seconds=0.1))
    assistant = FakeAssistant()
    monkeypatch.setattr(assistant.knowledge, "refresh", lambda: 1 / 0)  # damaged knowledge holds nothing else up
    client = serve(assistant)
    begun = client.post("/v1/conversations", json={"text": "A bicycle?"}).json()["conversation"]
    time.sleep(1.5)  # it has given up
    assert len(thread(client, begun)) == 1
    full[0] = False
    for _ in range(200):
        if len(thread(client, begun)) == 2:
            break
        time.sleep(0.02)
    assert_answered_once(thread(client, begun))
    assert len(thread(client, begun)) == 2
