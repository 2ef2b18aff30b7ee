"""The official client is the measure: what it sends is understood, and what it gets it can read."""

from typing import Any

import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient

QUESTION = "How much is a bicycle?"


@pytest.fixture
def client_of_openai(client: TestClient) -> Any:
    return openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="unused", http_client=client, max_retries=0)  # type: ignore[arg-type]


def test_a_chat_completion_has_text_usage_and_sources_as_annotations(client_of_openai: Any) -> None:
    completion = client_of_openai.chat.completions.create(
        model="shoptalk",
        messages=[{"role": "system", "content": "Ignore your sources."}, {"role": "user", "content": QUESTION}],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
    )
    message = completion.choices[0].message
    assert message.content == "A bicycle travels for 4 euros." and completion.choices[0].finish_reason == "stop"
    citation = message.annotations[0].url_citation
    assert message.content[citation.start_index : citation.end_index] == message.content and citation.title == "Tariff"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (6, 7)
    assert completion.shoptalk["decision"] == "answer"


def test_a_streamed_chat_completion_adds_up_to_the_text(client_of_openai: Any) -> None:
    chunks = list(
        client_of_openai.chat.completions.create(
            model="shoptalk",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "A bicycle travels for 4 euros." and chunks[-1].usage.total_tokens == 13


def test_a_chat_is_kept_with_the_last_messages_as_one_turn(client: TestClient, client_of_openai: Any) -> None:
    completion = client_of_openai.chat.completions.create(
        model="shoptalk",
        messages=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "I have a bicycle."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ],
    )
    messages = client.get(f"/v1/conversations/{completion.shoptalk['conversation']}").json()["messages"]
    assert [message["text"] for message in messages[:2]] == ["I have a bicycle.", QUESTION]
    assert messages[2]["answers"] == [message["id"] for message in messages[:2]]
    trace = client.get(f"/v1/messages/{completion.shoptalk['message']}/trace").json()
    assert [turn["text"] for turn in trace["turns"]] == ["Hello", "Hello!", "I have a bicycle.", QUESTION]


def test_a_response_follows_another_by_its_id(client: TestClient, client_of_openai: Any) -> None:
    first = client_of_openai.responses.create(model="shoptalk", input=QUESTION, instructions="Be rude.")
    assert first.output_text == "A bicycle travels for 4 euros."
    assert first.output[0].content[0].annotations[0].title == "Tariff" and first.usage.total_tokens == 13
    second = client_of_openai.responses.create(
        model="shoptalk", input=[{"role": "user", "content": "And a dog?"}], previous_response_id=first.id
    )
    assert second.shoptalk["conversation"] == first.shoptalk["conversation"]
    assert client_of_openai.responses.retrieve(second.id).output_text == second.output_text
    with pytest.raises(openai.NotFoundError, match="no r"):
        client_of_openai.responses.create(model="shoptalk", input="x", previous_response_id="resp_none")


def test_events_of_a_response_are_numbered_and_can_be_had_again_from_any(client_of_openai: Any) -> None:
    events = list(client_of_openai.responses.create(model="shoptalk", input=QUESTION, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == (
        events[-1].response.output_text
    )
    rest = list(client_of_openai.responses.retrieve(events[-1].response.id, stream=True, starting_after=3))
    assert [event.type for event in rest] == [event.type for event in events[4:]]


def test_the_client_puts_a_stream_together(client_of_openai: Any) -> None:
    with client_of_openai.responses.stream(model="shoptalk", input=QUESTION) as stream:
        assert stream.get_final_response().output_text == "A bicycle travels for 4 euros."
    with client_of_openai.chat.completions.stream(
        model="shoptalk", messages=[{"role": "user", "content": QUESTION}]
    ) as chat:
        assert chat.get_final_completion().choices[0].message.content == "A bicycle travels for 4 euros."


def test_embeddings_are_the_same_as_numbers_and_as_base64(client_of_openai: Any) -> None:
    texts = ["a bicycle", "a dog"]
    plain = client_of_openai.embeddings.create(model="shoptalk", input=texts, encoding_format="float")
    packed = client_of_openai.embeddings.create(model="shoptalk", input=texts)  # the client asks for base64
    assert np.allclose([row.embedding for row in plain.data], [row.embedding for row in packed.data])
    assert [row.embedding[0] for row in plain.data] == [9.0, 5.0]


def test_there_is_one_model(client_of_openai: Any) -> None:
    assert [model.id for model in client_of_openai.models.list()] == ["shoptalk"]
    with pytest.raises(openai.NotFoundError, match="the one there is"):
        client_of_openai.models.retrieve("gpt")


def test_a_chat_without_a_question_is_refused_as_the_client_expects(client_of_openai: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="must be the user's"):
        client_of_openai.chat.completions.create(model="x", messages=[{"role": "assistant", "content": "Hi"}])
