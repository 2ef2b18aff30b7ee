"""`/v1/chat/completions` and `/v1/models`, as OpenAI's clients know them."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from shoptalk.serve.asking import IdempotencyKey, Program, TheService, refusals
from shoptalk.serve.conversations import Incoming
from shoptalk.serve.refusals import Refused
from shoptalk.serve.routes.openai_shapes import ChatRequest, picture_in, text_of, turns_of, usage_of
from shoptalk.serve.stored_answers import StoredAnswer, pieces, words_in

router = APIRouter(tags=["openai"])
MODEL = "shoptalk"


@router.post(
    "/v1/chat/completions",
    responses={
        **refusals(409),
        200: {"description": "A completion; chunks where `stream` is true.", "content": {"text/event-stream": {}}},
    },
)
async def complete(
    service: TheService, principal: Program, request: ChatRequest, idempotency_key: IdempotencyKey = None
) -> Any:
    """Answer the user's last messages. Sources are annotations; the decision is in `shoptalk`.

    A stream that broke off is had again with the same `Idempotency-Key`.
    """
    shown = picture_in([(message.role, message.content) for message in request.messages])
    spoken: list[tuple[str, str]] = [(message.role, text_of(message.content)) for message in request.messages]
    before, asked = turns_of(spoken, show=shown is not None)
    incoming = Incoming(
        site=principal.site,
        owner=principal.id,
        text=asked[-1],
        picture=await service.picture_of(shown),
        visitor=request.user,
        key=idempotency_key,
        channel="chat_completions",
        context=before,
        earlier=asked[:-1],
    )
    answer = await service.answer(incoming, whole=True)
    usage = usage_of(words_in([*(turn.text for turn in before), *asked]), words_in([answer.text]))
    if request.stream:
        with_usage = request.stream_options is not None and request.stream_options.include_usage
        return StreamingResponse(
            _chunks(answer, request.model, usage if with_usage else None), media_type="text/event-stream"
        )
    message = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": annotations(answer)}
    return {
        **_head(answer, request.model, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": usage,
        "shoptalk": answer.record(),
    }


def annotations(answer: StoredAnswer) -> list[dict[str, Any]]:
    """The sources, as this API's annotations have them."""
    return [{"type": "url_citation", "url_citation": citation} for citation in answer.citations()]


def _head(answer: StoredAnswer, model: str, kind: str) -> dict[str, Any]:
    name = answer.message or answer.conversation
    return {"id": f"chatcmpl-{name}", "object": kind, "created": int(time.time()), "model": model or MODEL}


async def _chunks(answer: StoredAnswer, model: str, usage: dict[str, Any] | None) -> AsyncIterator[str]:
    head = _head(answer, model, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        return f"data: {json.dumps({**head, 'choices': choices, **more}, ensure_ascii=False)}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(answer.text):
        yield chunk({"content": piece})
    yield chunk({"annotations": annotations(answer)}, "stop", shoptalk=answer.record())
    if usage is not None:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


def _model() -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": 0, "owned_by": "you"}


@router.get("/v1/models", responses=refusals())
async def models(principal: Program) -> dict[str, Any]:
    """The one model there is: this run."""
    return {"object": "list", "data": [_model()]}


@router.get("/v1/models/{name}", responses=refusals(404))
async def model(principal: Program, name: str) -> dict[str, Any]:
    """The model."""
    if name != MODEL:
        raise Refused(404, "model_not_found", f"There is no model {name[:80]!r} here; the one there is is {MODEL!r}.")
    return _model()
