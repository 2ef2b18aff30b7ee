"""A person takes over: the visitor is told, the assistant is silent, nothing is lost, and it comes back."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from shoptalk.assistant.assistant_settings import DAYS, AssistantSettings
from shoptalk.assistant.phrases import language_of
from shoptalk.serve.gaps import gaps_by_meaning
from shoptalk.serve.service_settings import ServeSettings
from tests.serve.fakes import FakeAssistant
from tests.serve.test_replies import ask, assert_answered_once, thread

Serve = Callable[..., TestClient]


def post(client: TestClient, conversation: str, what: str, **body: Any) -> Any:
    return client.post(f"/v1/conversations/{conversation}/{what}", json=body)


def test_who_asks_for_a_person_is_told_and_stands_in_the_queue_with_a_note(client: TestClient) -> None:
    answer = ask(client, "I want a person")
    assert answer["decision"] == "escalate" and "person" in answer["text"]
    (waiting,) = client.get("/v1/inbox").json()["data"]
    assert waiting["conversation"] == answer["conversation"] and waiting["status"] == "waiting"
    assert waiting["reason"] == "customer_request" and "I want a person" in waiting["note"]


def test_while_a_person_has_it_the_assistant_is_silent_and_the_person_answers_what_came(client: TestClient) -> None:
    conversation = ask(client, "I want a person")["conversation"]
    held = ask(client, "How much is a bicycle?", conversation)
    assert (held["decision"], held["reason"], held["message"]) == ("escalate", "held_by_person", None)
    ask(client, "Are you there?", conversation)
    assert post(client, conversation, "assign", agent="Ada").json()["agent"] == "Ada"
    assert post(client, conversation, "reply", text="It is 4 euros.", agent="Ada").json()["answers"]
    messages = thread(client, conversation)
    assert [message["role"] for message in messages] == ["visitor", "assistant", "visitor", "visitor", "agent"]
    assert messages[-1]["author"] == "Ada"
    assert_answered_once(messages)


def test_a_conversation_begins_with_the_wish_for_a_person_in_the_visitors_language(client: TestClient) -> None:
    body = {"text": "Mit einem Menschen sprechen", "person": True, "language": "de-AT,en;q=0.5"}
    headers = {"Idempotency-Key": "wish-1"}
    begun = client.post("/v1/conversations", json=body, headers=headers)
    assert begun.status_code == 202
    conversation = begun.json()["conversation"]
    wish, told = thread(client, conversation)
    assert (wish["text"], wish["id"]) == (body["text"], begun.json()["message"])
    assert "Ich gebe das an einen Menschen weiter" in told["text"] and told["answers"] == [wish["id"]]
    assert [row["conversation"] for row in client.get("/v1/inbox").json()["data"]] == [conversation]
    post(client, conversation, "release")
    again = client.post("/v1/conversations", json=body, headers=headers).json()
    assert again == begun.json()  # the same wish again hands nothing over again
    assert client.get("/v1/inbox").json()["data"] == []


def test_a_conversation_begins_with_a_message_and_its_reply_follows(client: TestClient) -> None:
    begun = client.post("/v1/conversations", json={"text": "How much is a bicycle?"}).json()
    ends = time.monotonic() + 10
    while len(messages := thread(client, begun["conversation"])) < 2:
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert_answered_once(messages)
    long = {"text": "x" * 8_001, "person": True}
    assert client.post("/v1/conversations", json=long).status_code == 413


def test_whoever_is_handed_over_is_told_in_their_own_language(client: TestClient) -> None:
    conversation = ask(client, "Wie viel ist das für ein bicycle?")["conversation"]
    told = post(client, conversation, "handover").json()["messages"][-1]["text"]
    assert "Ich gebe das an einen Menschen weiter" in told


def test_a_visitor_is_told_everything_in_the_language_they_write_or_in_the_owners_words(serve: Serve) -> None:
    assistant = FakeAssistant()
    assistant.settings = AssistantSettings(texts={"closed.de": "Auf bald!"})
    client = serve(assistant)
    conversation = ask(client, "Kann ich mit einer person sprechen, bitte?")["conversation"]
    held = ask(client, "Wo ist die Fähre und wann fährt sie?", conversation)
    assert held["text"] == "Ein Mensch hat dieses Gespräch übernommen und antwortet Ihnen hier."
    post(client, conversation, "reply", text="Am Kai 2.")
    assert "wieder mit dem Assistenten" in post(client, conversation, "release").json()["messages"][-1]["text"]
    assert post(client, conversation, "close").json()["messages"][-1]["text"] == "Auf bald!"


def test_who_writes_arabic_is_handed_over_in_arabic(client: TestClient) -> None:
    conversation = ask(client, "كم سعر الدراجة؟")["conversation"]
    assert post(client, conversation, "handover").json()["messages"][-1]["text"].startswith("سأحيل هذا إلى شخص")
    assert language_of("دوچرخه چند است؟") == "en"  # Persian is none of ours


def test_a_conversation_that_one_agent_has_is_taken_over_only_on_purpose(client: TestClient) -> None:
    conversation = ask(client, "I want a person")["conversation"]
    post(client, conversation, "assign", agent="Ada")
    refused = post(client, conversation, "reply", text="Hello", agent="Bob")
    assert refused.status_code == 409 and "Ada" in refused.json()["error"]["message"]
    assert post(client, conversation, "assign", agent="Bob", take_over=True).json()["agent"] == "Bob"


def test_after_release_the_assistant_answers_what_nobody_has_answered(client: TestClient) -> None:
    conversation = ask(client, "I want a person")["conversation"]
    ask(client, "How much is a bicycle?", conversation)
    assert post(client, conversation, "release").json()["held_by"] == "assistant"
    wait_for(lambda: len(thread(client, conversation)) == 5)
    messages = thread(client, conversation)
    assert "assistant again" in messages[3]["text"] and messages[4]["text"] == "A bicycle travels for 4 euros."
    assert_answered_once(messages)


def test_where_nobody_comes_the_conversation_goes_back_and_the_visitor_is_told(serve: Serve) -> None:
    client = serve(settings=ServeSettings(handover_minutes=0.005))
    conversation = ask(client, "I want a person")["conversation"]
    wait_for(lambda: not client.get("/v1/inbox").json()["data"])
    assert "Nobody was free" in thread(client, conversation)[-1]["text"]


@pytest.mark.parametrize("by_button", [False, True])
def test_what_is_handed_over_at_night_waits_for_the_morning(serve: Serve, by_button: bool) -> None:
    """The visitor was told that somebody answers as soon as it opens."""
    span = "23:30-24:00" if datetime.now(UTC).hour < 12 else "00:00-00:30"
    assistant = FakeAssistant()
    assistant.settings = AssistantSettings(hours=dict.fromkeys(DAYS, span))
    client = serve(assistant, settings=ServeSettings(handover_minutes=0.005))
    conversation = ask(client, "A bicycle?" if by_button else "I want a person")["conversation"]
    if by_button:
        post(client, conversation, "handover")
    time.sleep(1.5)
    assert [row["conversation"] for row in client.get("/v1/inbox").json()["data"]] == [conversation]


def test_an_agent_who_takes_it_and_never_writes_loses_it_again(serve: Serve) -> None:
    client = serve(settings=ServeSettings(handover_minutes=0.04))  # 2.4 s, in which a busy machine lets Ada take it
    conversation = ask(client, "I want a person")["conversation"]
    assert post(client, conversation, "assign", agent="Ada").json()["agent"] == "Ada"
    wait_for(lambda: not client.get("/v1/inbox").json()["data"], seconds=15.0)
    handed_over, back = thread(client, conversation)[-2:]
    assert "Nobody was free" in back["text"]
    waited = datetime.fromisoformat(back["at"]) - datetime.fromisoformat(handed_over["at"])
    assert waited.total_seconds() >= 4.5  # once as long as for anyone, and once for Ada


def test_a_hand_over_that_was_answered_does_not_time_out(serve: Serve) -> None:
    client = serve(settings=ServeSettings(handover_minutes=0.03))
    conversation = ask(client, "I want a person")["conversation"]
    post(client, conversation, "reply", text="I am here.", agent="Ada")
    time.sleep(2.5)
    assert client.get(f"/v1/conversations/{conversation}").json()["held_by"] == "human"


def test_a_visitor_may_ask_by_a_button_and_is_told_once(client: TestClient) -> None:
    conversation = ask(client, "How much is a bicycle?")["conversation"]
    for _ in range(2):
        assert post(client, conversation, "handover").json()["held_by"] == "human"
    assert len(thread(client, conversation)) == 3


def test_a_closed_conversation_opens_again_when_the_visitor_writes_and_each_episode_is_counted(
    client: TestClient,
) -> None:
    from sqlalchemy import select

    from shoptalk.serve.rows import OutcomeRow

    conversation = ask(client, "I want a person")["conversation"]
    post(client, conversation, "reply", text="Done.", agent="Ada")
    assert post(client, conversation, "close").json()["closed"] is True
    again = ask(client, "How much is a bicycle?", conversation)
    assert again["decision"] == "answer" and not client.get(f"/v1/conversations/{conversation}").json()["closed"]
    database = client.app.state.service.database  # type: ignore[attr-defined]
    first, second = database.read_now(
        lambda session: session.scalars(select(OutcomeRow).order_by(OutcomeRow.episode)).all()
    )
    assert first.resolved and first.reopened and first.first_human_reply and first.handover_reason == "customer_request"
    assert second.resolved is None and second.first_reply is not None


def test_a_closed_conversation_that_is_handed_over_is_open_again_and_can_be_closed(client: TestClient) -> None:
    conversation = ask(client, "How much is a bicycle?")["conversation"]
    assert post(client, conversation, "close").json()["closed"] is True
    record = post(client, conversation, "handover").json()
    assert record["held_by"] == "human" and record["closed"] is False
    record = post(client, conversation, "close").json()
    assert record["held_by"] == "assistant" and record["closed"] is True


def test_what_a_person_answered_stands_beside_the_gap_that_led_to_it(client: TestClient) -> None:
    conversation = ask(client, "Do you have a unicorn?")["conversation"]
    post(client, conversation, "handover")
    post(client, conversation, "reply", text="Only on Tuesdays.", agent="Ada")
    (gap,) = client.get("/v1/gaps").json()["data"]
    assert gap["question"] == "Do you have a unicorn?" and gap["answers"] == ["Only on Tuesdays."]


def test_an_agent_is_given_suggestions(client: TestClient) -> None:
    conversation = ask(client, "I want a person")["conversation"]
    rows = client.get(f"/v1/conversations/{conversation}/suggestions").json()["data"]
    assert [row["text"] for row in rows] == ["It is 4 euros.", "Dogs are free."]


def test_an_address_is_kept_only_with_consent(client: TestClient) -> None:
    conversation = ask(client, "How much is a bicycle?")["conversation"]
    lead = {"name": "Eve", "email": "eve@example.com"}
    assert post(client, conversation, "lead", **lead).status_code == 422
    assert post(client, conversation, "lead", **lead, consent=False).status_code == 422
    assert post(client, conversation, "lead", **lead, consent=True).status_code == 201
    assert [row["email"] for row in client.get("/v1/leads").json()["data"]] == ["eve@example.com"]


def test_feedback_is_given_once_and_may_be_changed(client: TestClient) -> None:
    answer = ask(client, "How much is a bicycle?")
    place = f"/v1/messages/{answer['message']}/feedback"
    assert client.post(place, json={"thumbs": "up"}).status_code == 200
    assert client.post(place, json={"thumbs": "down", "reason": "outdated", "correction": "5 euros"}).status_code == 200
    assert client.post(place, json={"thumbs": "down", "reason": "boring"}).status_code == 422
    person = client.app.state.service.database.read_now(_visitor)  # type: ignore[attr-defined]
    (feedback,) = client.get(f"/v1/people/{person}").json()["feedback"]
    assert (feedback["thumbs"], feedback["correction"]) == ("down", "5 euros")


def _visitor(session: Any) -> str:
    from sqlalchemy import select

    from shoptalk.serve.rows import ConversationRow

    visitor: str = session.scalars(select(ConversationRow.visitor)).one()
    return visitor


def test_a_person_is_given_all_and_then_erased_with_all(client: TestClient) -> None:
    from sqlalchemy import func, select

    from shoptalk.serve.rows import JobRow, Rows

    answer = ask(client, "I am eve@example.com and want a person", visitor="eve")
    ask(client, "How much is a bicycle?", visitor="someone-else")
    post(client, answer["conversation"], "lead", name="Eve", email="eve@example.com", consent=True)
    kept = client.get("/v1/people/Eve@example.com").json()
    assert len(kept["conversations"]) == 1 and kept["leads"][0]["name"] == "Eve"
    erased = client.delete("/v1/people/eve").json()["erased"]
    assert erased["messages"] == 2 and erased["leads"] == 1 and erased["jobs"] == 1
    database = client.app.state.service.database  # type: ignore[attr-defined]
    for table in Rows.metadata.sorted_tables:
        rows = database.read_now(lambda session, table=table: session.execute(select(table)).all())
        assert "eve" not in str(rows), table.name
    assert database.read_now(lambda session: session.scalar(select(func.count()).select_from(JobRow))) == 0
    assert client.get(f"/v1/conversations/{answer['conversation']}").status_code == 404


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_gaps_that_mean_the_same_are_one_with_all_their_answers() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    groups: list[dict[str, Any]] = [
        {"question": "a", "asked": 5, "last": at, "answers": ["yes"]},
        {"question": "b", "asked": 4, "last": at, "answers": []},
        {"question": "c", "asked": 2, "last": at + timedelta(days=1), "answers": ["yes", "on Mondays"]},
    ]
    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.95, 0.31]}
    joined = gaps_by_meaning(groups, lambda texts: np.array([vectors[text] for text in texts]))
    assert [(group["question"], group["asked"]) for group in joined] == [("a", 7), ("b", 4)]
    assert joined[0]["last"] == at + timedelta(days=1) and joined[0]["answers"] == ["yes", "on Mondays"]
    assert gaps_by_meaning([], lambda texts: np.zeros((0, 2))) == []
