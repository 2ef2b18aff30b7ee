"""`/v1/reply`: a message in, the decision and the reply out, with all that it rests on."""

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from shoptalk.serve.access import VISITOR, Principal
from shoptalk.serve.asking import IdempotencyKey, Talker, TheService, refusals
from shoptalk.serve.conversations import Incoming
from shoptalk.serve.shapes import ReplyRequest, ReplyResponse
from shoptalk.serve.stored_answers import StoredAnswer, pieces

router = APIRouter(tags=["replies"])


@router.post(
    "/v1/reply",
    response_model=ReplyResponse,
    responses={
        **refusals(404, 409),
        200: {"description": "The reply; as events where `stream` is true.", "content": {"text/event-stream": {}}},
    },
)
async def reply(
    service: TheService, principal: Talker, request: ReplyRequest, idempotency_key: IdempotencyKey = None
) -> Any:
    """Answer a visitor's message. It is stored before it is answered, and answered once, also if you send it again
    under the same `Idempotency-Key` because the connection broke.
    """
    incoming = Incoming(
        site=principal.site,
        owner=principal.id,
        text=request.text,
        picture=await service.picture_of(request.picture),
        visitor=visitor_of(principal, request.visitor, begun=request.conversation is not None),
        conversation=request.conversation,
        key=idempotency_key,
        channel="widget" if VISITOR in principal.scopes else "reply",
    )
    answer = await service.answer(incoming, whole=request.conversation is None or request.complete is True)
    if request.stream:
        return StreamingResponse(_events(answer), media_type="text/event-stream")
    return answer.record()


def visitor_of(principal: Principal, named: str | None, *, begun: bool) -> str | None:
    """Whose conversation it is: a visitor's own, or the one that a program names for a new conversation."""
    return principal.visitor or (None if begun else named)


async def _events(answer: StoredAnswer) -> AsyncIterator[str]:
    for number, piece in enumerate(pieces(answer.text), start=1):
        yield event("delta", {"text": piece}, number=number)
    yield event("reply", answer.record())


def event(name: str, content: Any, *, number: int | None = None) -> str:
    """One server-sent event."""
    line = "" if number is None else f"id: {number}\n"
    return f"event: {name}\n{line}data: {json.dumps(content, ensure_ascii=False, default=str)}\n\n"
