"""`/v1/responses`, as OpenAI's clients know it: with its events, and what was said before by `previous_response_id`."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from shoptalk.serve.asking import IdempotencyKey, Program, TheService, refusals
from shoptalk.serve.conversations import Incoming
from shoptalk.serve.refusals import Refused
from shoptalk.serve.routes.chat_completions import MODEL
from shoptalk.serve.routes.openai_shapes import InputItem, ResponseRequest, picture_in, text_of, turns_of
from shoptalk.serve.rows import utc_now
from shoptalk.serve.service import Service
from shoptalk.serve.stored_answers import StoredAnswer, answer_of, conversation_before, pieces, words_in

router = APIRouter(tags=["openai"])
_PREFIX = "resp_"


@router.post(
    "/v1/responses",
    responses={
        **refusals(404, 409),
        200: {"description": "A response; its events where `stream` is true.", "content": {"text/event-stream": {}}},
    },
)
async def respond(
    service: TheService, principal: Program, request: ResponseRequest, idempotency_key: IdempotencyKey = None
) -> Any:
    """Answer the input. Sources are annotations; the decision is in `shoptalk`."""
    given = [InputItem(role="user", content=request.input)] if isinstance(request.input, str) else request.input
    items: list[tuple[str, str]] = [(item.role or "tool", text_of(item.content)) for item in given]
    shown = picture_in([(item.role or "tool", item.content) for item in given])
    before, asked = turns_of(items, show=shown is not None)
    conversation = None
    if request.previous_response_id is not None:
        conversation = await _conversation(service, principal.site, request.previous_response_id)
    incoming = Incoming(
        site=principal.site,
        owner=principal.id,
        text=asked[-1],
        picture=await service.picture_of(shown),
        visitor=None if conversation else request.user,
        conversation=conversation,
        key=idempotency_key,
        channel="responses",
        context=before,
        earlier=asked[:-1],
    )
    answer = await service.answer(incoming, whole=True)
    response = response_record(answer, request.model, request.previous_response_id)
    response["usage"] = _usage(words_in([*(turn.text for turn in before), *asked]), words_in([answer.text]))
    response["metadata"] = request.metadata or {}
    if request.stream:
        return StreamingResponse(_events(response), media_type="text/event-stream")
    return response


@router.get(
    "/v1/responses/{id}",
    responses={
        **refusals(404),
        200: {"description": "The response, or its events.", "content": {"text/event-stream": {}}},
    },
)
async def again(
    service: TheService,
    principal: Program,
    id: Annotated[str, Path(max_length=200)],
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
) -> Any:
    """A response that was given; with `stream`, its events again, from the one after `starting_after`."""
    await _conversation(service, principal.site, id)
    answer = await service.database.read(lambda session: answer_of(session, id.removeprefix(_PREFIX), service.texts))
    response = response_record(answer, MODEL, None)
    response["usage"] = _usage(0, words_in([answer.text]))
    response["metadata"] = {}
    if stream:
        return StreamingResponse(_events(response, after=starting_after), media_type="text/event-stream")
    return response


async def _conversation(service: Service, site: str, response: str) -> str:
    if not response.startswith(_PREFIX):
        raise Refused(404, "response_not_found", f"There is no response {response[:80]!r} here.")
    name = response.removeprefix(_PREFIX)
    return await service.database.read(lambda session: conversation_before(session, site, name))


def response_record(answer: StoredAnswer, model: str, previous: str | None) -> dict[str, Any]:
    """A response."""
    name = answer.message or answer.conversation
    content = {
        "type": "output_text",
        "text": answer.text,
        "annotations": [{"type": "url_citation", **citation} for citation in answer.citations()],
        "logprobs": [],
    }
    return {
        "id": f"{_PREFIX}{name}",
        "object": "response",
        "created_at": int(utc_now().timestamp()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": model or MODEL,
        "output": [
            {"type": "message", "id": name, "status": "completed", "role": "assistant", "content": [content]},
        ],
        "parallel_tool_calls": False,
        "previous_response_id": previous,
        "temperature": None,
        "top_p": None,
        "tool_choice": "none",
        "tools": [],
        "shoptalk": answer.record(),
    }


def _usage(read: int, written: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


async def _events(response: dict[str, Any], *, after: int | None = None) -> AsyncIterator[str]:
    """The events of a response, numbered, so that a stream that broke off can go on."""
    item = response["output"][0]
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}),
        ("response.content_part.added", {**place, "part": {**part, "text": "", "annotations": []}}),
        *(("response.output_text.delta", {**place, "delta": piece, "logprobs": []}) for piece in pieces(part["text"])),
        *(
            ("response.output_text.annotation.added", {**place, "annotation_index": number, "annotation": annotation})
            for number, annotation in enumerate(part["annotations"])
        ),
        ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": response}),
    ]
    for number, (kind, content) in enumerate(events):
        if after is None or number > after:
            event = {"type": kind, "sequence_number": number, **content}
            yield f"event: {kind}\ndata: {json.dumps(event, ensure_ascii=False, default=str)}\n\n"
