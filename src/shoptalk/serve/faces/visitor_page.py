"""The page at `/`: it works without a script; with one, messages and replies come as they are stored."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from shoptalk.serve.asked_person import ask_for_person
from shoptalk.serve.asking import TheService
from shoptalk.serve.conversations import Incoming
from shoptalk.serve.face_words import language_among
from shoptalk.serve.faces.browser_sessions import VISITOR_COOKIE, BrowserSession, Visit, checked_form, keep_cookie
from shoptalk.serve.faces.looks import Looks, direction_of
from shoptalk.serve.faces.sheets import fragment, sheet
from shoptalk.serve.following import SIGN_OF_LIFE, news_of
from shoptalk.serve.refusals import Refused
from shoptalk.serve.routes.picture_routes import picture_response
from shoptalk.serve.routes.reply_route import event
from shoptalk.serve.routes.thread_routes import give_feedback, place_after
from shoptalk.serve.rows import HUMAN, ConversationRow, FeedbackRow, new_id
from shoptalk.serve.service import Service
from shoptalk.serve.shapes import FeedbackReason, FeedbackRequest, MessageRequest
from shoptalk.serve.stored_answers import pieces
from shoptalk.serve.threads import conversation_of, message_records

router = APIRouter(include_in_schema=False)
After = Annotated[int, Query(ge=0, le=2**53)]


@router.get("/")
async def page(request: Request, service: TheService, visit: Visit, new: str | None = None) -> Response:
    """The visitor's conversation, or the beginning of one."""
    owner = visit.principal.id

    def read(session: Session) -> tuple[ConversationRow | None, Sequence[dict[str, Any]], set[str]]:
        row = None
        if new is None and not visit.fresh:
            row = session.scalar(
                select(ConversationRow)
                .where(ConversationRow.site_id == visit.principal.site, ConversationRow.visitor == owner)
                .order_by(ConversationRow.created.desc())
                .limit(1)
            )
        if row is None:
            return None, (), set()
        messages = message_records(session, row.id)
        rated = select(FeedbackRow.message_id).where(
            FeedbackRow.owner == owner, FeedbackRow.message_id.in_([message["id"] for message in messages])
        )
        return row, messages, set(session.scalars(rated))

    row, messages, rated = await service.database.read(read)
    values = _values(request, visit) | {
        "conversation": row.id if row is not None else "",
        "held": row is not None and row.held_by == HUMAN,
        "messages": messages,
        "rated": rated,
        "last": messages[-1]["number"] if messages else 0,
        "key": new_id("form"),
    }
    response = sheet("page.html", values)
    lasts = timedelta(days=service.settings.resume_days)
    keep_cookie(request, response, VISITOR_COOKIE, visit.cookie("page", lasts=lasts), lasts=lasts)
    return response


@router.post("/ask")
async def ask(request: Request, service: TheService, visit: Visit) -> Response:
    """A message. Without a script the browser waits for the reply; a script is told where to follow it."""
    fields = await checked_form(request, visit)
    shown = await service.picture_of(fields.get("picture") or None)
    incoming = replace(_incoming(visit, fields, fields.get("text", ""), silent=shown is not None), picture=shown)
    if not _has_script(request):
        answer = await service.answer(incoming, whole=True)
        return RedirectResponse(f"/#{answer.message or 'end'}", 303)
    conversation, message = await service.receive(incoming, whole=incoming.conversation is None)
    return JSONResponse({"conversation": conversation, "message": message, "key": new_id("form")}, 202)


@router.get("/pictures/{id}")
async def picture(service: TheService, visit: Visit, id: Annotated[str, Path(max_length=200)]) -> Response:
    """A picture that this visitor sent."""
    return await picture_response(service, visit.principal, id)


@router.post("/person")
async def person(request: Request, service: TheService, visit: Visit) -> Response:
    """The visitor wants a person."""
    fields = await checked_form(request, visit)
    looks: Looks = request.app.state.looks
    language = language_of_request(request)
    incoming = _incoming(visit, fields, looks.words(language)["person"])
    accepted = await ask_for_person(service, visit.principal, incoming, language=language)
    if not _has_script(request):
        return RedirectResponse("/#end", 303)
    return JSONResponse({"conversation": accepted.conversation, "key": new_id("form")}, 202)


@router.post("/feedback")
async def feedback(request: Request, service: TheService, visit: Visit) -> Response:
    """Thumbs, with a reason where they are down."""
    fields = await checked_form(request, visit)
    try:
        wish = FeedbackRequest(
            thumbs=fields.get("thumbs", ""),  # type: ignore[arg-type]
            reason=fields.get("reason") or None,  # type: ignore[arg-type]
            correction=fields.get("correction", "").strip() or None,
        )
    except ValidationError:
        raise Refused(422, "unreadable", "Choose whether the answer helped, and what was wrong with it.") from None
    message = fields.get("message", "")
    await give_feedback(service, visit.principal, message, wish)
    if not _has_script(request):
        return RedirectResponse(f"/#{urlencode({'': message})[1:]}", 303)
    return JSONResponse({"message": message})


@router.get("/events")
async def follow(
    request: Request,
    service: TheService,
    visit: Visit,
    conversation: Annotated[str, Query(max_length=200)],
    after: After = 0,
    seconds: Annotated[float, Query(gt=0, le=3600)] = 3600.0,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """The conversation's messages as pieces of the page, from where a broken stream left off."""
    principal = visit.principal
    await service.database.read(
        lambda session: conversation_of(session, principal.site, conversation, visitor=principal.visitor)
    )
    after = place_after(last_event_id, after)
    stream = _pieces_of_page(service, conversation, after, seconds, _values(request, visit))
    return StreamingResponse(stream, media_type="text/event-stream")


async def _pieces_of_page(
    service: Service, conversation: str, after: int, seconds: float, values: dict[str, Any]
) -> AsyncIterator[str]:
    async with contextlib.aclosing(news_of(service, conversation, after=after, seconds=seconds)) as stream:
        async for news in stream:
            if news is None:
                yield SIGN_OF_LIFE
                continue
            held = news.state["held_by"] == HUMAN
            for message in news.messages:
                if not news.first and message["role"] == "assistant":
                    for piece in pieces(message["text"]):
                        yield event("delta", {"id": message["id"], "text": piece})
                html = fragment("message.html", values | {"message": message, "rated": set()})
                record = {"id": message["id"], "role": message["role"], "held": held, "html": html}
                yield event("message", record, number=message["number"])


def language_of_request(request: Request) -> str:
    """The reader's language, as their browser says."""
    return language_among(request.headers.get("accept-language", ""))


def _values(request: Request, visit: BrowserSession) -> dict[str, Any]:
    looks: Looks = request.app.state.looks
    language = language_of_request(request)
    return {
        "looks": looks,
        "words": looks.words(language),
        "language": language,
        "direction": direction_of(language),
        "sign": visit.form_sign,
        "reasons": get_args(FeedbackReason),
        "face": "visitor",
        "sees_pictures": request.app.state.service.sees_pictures,
    }


def _incoming(visit: BrowserSession, fields: dict[str, str], text: str, *, silent: bool = False) -> Incoming:
    """What a form says; `silent` may it be where it shows a picture."""
    try:
        text = MessageRequest(text=text).text if text.strip() or not silent else ""
    except ValidationError:
        raise Refused(
            422, "unreadable", "The message is empty, or cannot be read. Go back and write it again."
        ) from None
    return Incoming(
        site=visit.principal.site,
        owner=visit.principal.id,
        text=text.strip(),
        visitor=visit.principal.visitor,
        conversation=fields.get("conversation") or None,
        key=fields.get("key", "")[:200] or None,
        channel="page",
    )


def _has_script(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")
