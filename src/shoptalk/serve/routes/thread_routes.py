"""`/v1/conversations/…`: reading a conversation, following it, writing into it, and what a reader thinks of a reply."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from shoptalk.assistant.phrases import language_of
from shoptalk.serve.access import VISITOR, Principal
from shoptalk.serve.asked_person import ask_for_person
from shoptalk.serve.asking import IdempotencyKey, Reader, Talker, TheService, refusals
from shoptalk.serve.conversations import Incoming
from shoptalk.serve.face_words import language_among
from shoptalk.serve.following import SIGN_OF_LIFE, news_of
from shoptalk.serve.outbox import tell
from shoptalk.serve.refusals import Refused
from shoptalk.serve.routes.reply_route import event
from shoptalk.serve.rows import FeedbackRow, LeadRow, MessageRow, OutcomeRow, new_id, utc_now
from shoptalk.serve.service import Service
from shoptalk.serve.shapes import (
    ConversationResponse,
    FeedbackRequest,
    LeadRequest,
    MessageAccepted,
    MessageRequest,
)
from shoptalk.serve.stored_answers import pieces, whole_trace
from shoptalk.serve.threads import conversation_of, conversation_record, outcome_of

router = APIRouter(tags=["conversations"])
Id = Annotated[str, Path(max_length=200)]
_LIVE = (
    "Also `state` (who has it, whether it is closed) at first and when that changes; a new reply's pieces as `delta`."
)
After = Annotated[int, Query(ge=0, le=2**53, description="Only messages whose number is larger.")]


@router.get("/v1/conversations/{id}", response_model=ConversationResponse, responses=refusals(404))
async def conversation(service: TheService, principal: Talker, id: Id, after: After = 0) -> Any:
    """A conversation with its messages; a reply names the messages that it answers."""

    def read(session: Any) -> dict[str, Any]:
        row = conversation_of(session, principal.site, id, visitor=principal.visitor)
        record = conversation_record(session, row)
        record["messages"] = [message for message in record["messages"] if message["number"] > after]
        return record

    return await service.database.read(read)


@router.post("/v1/conversations", status_code=202, response_model=MessageAccepted, responses=refusals(409))
async def begin(
    service: TheService, principal: Talker, request: MessageRequest, idempotency_key: IdempotencyKey = None
) -> Any:
    """Begin a conversation with a visitor's message. Its reply comes with the conversation's events."""
    return await _take_in(service, principal, request, None, idempotency_key)


@router.post(
    "/v1/conversations/{id}/messages", status_code=202, response_model=MessageAccepted, responses=refusals(404, 409)
)
async def write(
    service: TheService, principal: Talker, id: Id, request: MessageRequest, idempotency_key: IdempotencyKey = None
) -> Any:
    """Accept a visitor's message. Its reply comes with the conversation's events."""
    return await _take_in(service, principal, request, id, idempotency_key)


async def _take_in(
    service: Service, principal: Principal, request: MessageRequest, conversation: str | None, key: str | None
) -> dict[str, str]:
    incoming = Incoming(
        site=principal.site,
        owner=principal.id,
        text=request.text,
        picture=await service.picture_of(request.picture),
        visitor=principal.visitor,
        conversation=conversation,
        key=key,
        channel="widget" if VISITOR in principal.scopes else "messages",
    )
    if request.person:
        language = language_among(request.language) if request.language else language_of(request.text)
        accepted = await ask_for_person(service, principal, incoming, language=language)
        return {"conversation": accepted.conversation, "message": accepted.message}
    whole = conversation is None or request.complete is True
    conversation, message = await service.receive(incoming, whole=whole)
    return {"conversation": conversation, "message": message}


@router.get(
    "/v1/conversations/{id}/events",
    response_class=StreamingResponse,
    responses={
        **refusals(404),
        200: {
            "description": "Messages, as they are stored.",
            "content": {"text/event-stream": {}},
        },
    },
)
async def follow(
    service: TheService,
    principal: Talker,
    id: Id,
    after: After = 0,
    seconds: Annotated[float, Query(gt=0, le=3600, description="When to end.")] = 3600.0,
    live: Annotated[bool, Query(description=_LIVE)] = False,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> StreamingResponse:
    """Follow a conversation. A stream that broke off goes on where it was: send the last event's id."""
    await service.database.read(lambda session: conversation_of(session, principal.site, id, visitor=principal.visitor))
    after = place_after(last_event_id, after)
    return StreamingResponse(_messages(service, id, after, seconds, live), media_type="text/event-stream")


def place_after(last_event_id: str | None, after: int) -> int:
    """The number of the last message that was received: a stream's last event says it, else who asks."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        return min(int(last_event_id), 2**53)
    return after


async def _messages(service: Service, conversation: str, after: int, seconds: float, live: bool) -> AsyncIterator[str]:
    state = None
    async with contextlib.aclosing(news_of(service, conversation, after=after, seconds=seconds)) as stream:
        async for news in stream:
            if news is None:
                yield SIGN_OF_LIFE
                continue
            if live and news.state != state:
                state = news.state
                yield event("state", state)
            for message in news.messages:
                if live and not news.first and message["role"] == "assistant":
                    for piece in pieces(message["text"]):
                        yield event("delta", {"id": message["id"], "text": piece})
                message["at"] = message["at"].isoformat()
                yield event("message", message, number=message["number"])


@router.post("/v1/messages/{id}/feedback", responses=refusals(404))
async def give_feedback(service: TheService, principal: Talker, id: Id, request: FeedbackRequest) -> dict[str, str]:
    """Thumbs for a reply, why, and what would have been right. A second time replaces the first."""

    def store(session: Any) -> None:
        message = session.scalar(select(MessageRow).where(MessageRow.id == id, MessageRow.site_id == principal.site))
        if message is None or message.role == "visitor":
            raise Refused(404, "reply_not_found", f"There is no reply {id[:80]!r} here.")
        row = conversation_of(session, principal.site, message.conversation_id, visitor=principal.visitor)
        before = session.scalar(
            select(FeedbackRow).where(FeedbackRow.message_id == id, FeedbackRow.owner == principal.id)
        )
        feedback = before or FeedbackRow(id=new_id("fb"), site_id=principal.site, message_id=id, owner=principal.id)
        feedback.thumbs, feedback.reason, feedback.correction = request.thumbs, request.reason, request.correction
        feedback.at = utc_now()
        session.add(feedback)
        outcome: OutcomeRow = outcome_of(session, row.id)
        outcome.rating = 1 if request.thumbs == "up" else -1
        content = {"conversation": row.id, "message": id, "thumbs": request.thumbs, "reason": request.reason}
        tell(session, principal.site, "feedback.given", content)

    await service.database.write(store)
    return {"message": id, "thumbs": request.thumbs}


@router.post("/v1/conversations/{id}/lead", status_code=201, responses=refusals(404))
async def leave_address(service: TheService, principal: Talker, id: Id, request: LeadRequest) -> dict[str, str]:
    """Keep a visitor's name and address, with their consent."""

    def store(session: Any) -> str:
        row = conversation_of(session, principal.site, id, visitor=principal.visitor)
        lead = LeadRow(
            id=new_id("lead"),
            site_id=row.site_id,
            conversation_id=row.id,
            name=request.name,
            email=request.email,
            at=utc_now(),
        )
        session.add(lead)
        content = {"conversation": row.id, "lead": lead.id, "name": lead.name, "email": lead.email}
        tell(session, row.site_id, "lead.created", content)
        return lead.id

    return {"lead": await service.database.write(store)}


@router.get("/v1/messages/{id}/trace", responses=refusals(404))
async def trace(service: TheService, principal: Reader, id: Id) -> dict[str, Any]:
    """Why did it say this: what it read, its decision and reason, every passage with its score, and what answered."""
    return await service.database.read(lambda session: whole_trace(session, principal.site, id))
