"""The agents' inbox: who waits, the conversations as they go on, and why the assistant said what it said."""

import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse, Response

from shoptalk.artifact import open_artifact
from shoptalk.serve.asked_person import step_in
from shoptalk.serve.asking import TheService
from shoptalk.serve.faces.browser_sessions import (
    AGENT_COOKIE,
    AGENT_HOURS,
    BrowserSession,
    Desk,
    check_same_origin,
    checked_form,
    form_of,
    keep_cookie,
    sign_in,
)
from shoptalk.serve.faces.inbox_lists import groups_of, thread_of
from shoptalk.serve.faces.sheets import fragment, sheet
from shoptalk.serve.following import HEARTBEAT_SECONDS, SIGN_OF_LIFE
from shoptalk.serve.refusals import Refused
from shoptalk.serve.routes.inbox_routes import answer_as_person, give_back, resolve, suggestions, take
from shoptalk.serve.routes.picture_routes import picture_response
from shoptalk.serve.routes.reply_route import event
from shoptalk.serve.routes.thread_routes import place_after
from shoptalk.serve.routes.translation_route import thread_translation
from shoptalk.serve.service import Service
from shoptalk.serve.shapes import AgentMessage, AssignRequest
from shoptalk.serve.stored_answers import whole_trace
from shoptalk.serve.threads import conversation_of, message_records

router = APIRouter(include_in_schema=False)
Id = Annotated[str, Path(max_length=200)]
_NARROW = timedelta(hours=AGENT_HOURS)


async def to_sign_in(request: Request, error: Exception) -> Response:
    """Where whoever has not signed in is sent."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/inbox/sign-in", 303)
    return HTMLResponse("Sign in first.", 401)


@router.get("/inbox/sign-in")
async def sign_in_page(request: Request) -> Response:
    """Asks for a key."""
    return sheet("sign_in.html", _frame(request) | {"wrong": ""})


@router.post("/inbox/sign-in")
async def signing_in(request: Request, service: TheService) -> Response:
    """Exchanges a key for a cookie."""
    check_same_origin(request)
    key = (await form_of(request)).get("key", "")
    try:
        session = await sign_in(request, service, key)
    except Refused as refusal:
        return sheet("sign_in.html", _frame(request) | {"wrong": refusal.sentence}, status=refusal.status)
    response = RedirectResponse("/inbox", 303)
    keep_cookie(request, response, AGENT_COOKIE, session.cookie("agent", lasts=_NARROW), lasts=_NARROW, path="/inbox")
    return response


@router.post("/inbox/sign-out")
async def sign_out(request: Request, desk: Desk) -> Response:
    """Forgets the cookie."""
    await checked_form(request, desk)
    response = RedirectResponse("/inbox/sign-in", 303)
    response.delete_cookie(AGENT_COOKIE, path="/inbox")
    return response


@router.get("/inbox")
async def inbox(request: Request, service: TheService, desk: Desk) -> Response:
    """Who waits for a person, and what goes on."""
    groups = await service.database.read(partial(groups_of, site=desk.principal.site))
    return sheet("inbox.html", _values(request, desk, "") | {"groups": groups})


@router.get("/inbox/events")
async def follow(
    request: Request,
    service: TheService,
    desk: Desk,
    conversation: Annotated[str, Query(max_length=200)] = "",
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    seconds: Annotated[float, Query(gt=0, le=3600)] = 3600.0,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """The list, who has the open conversation, and its messages, as pieces of the page."""
    if conversation:
        await service.database.read(lambda session: conversation_of(session, desk.principal.site, conversation))
    after = place_after(last_event_id, after)
    stream = _pieces_of_inbox(service, desk, conversation, after, seconds, _values(request, desk, conversation))
    return StreamingResponse(stream, media_type="text/event-stream")


@router.get("/inbox/report")
async def report(service: TheService, desk: Desk) -> Response:
    """The training run's report, shut off from these pages: it brings its own rules for what may run in it."""
    path = service.run / "report.html"
    if not path.is_file():
        raise Refused(404, "http", "The run's folder holds no report.")
    headers = {"content-security-policy": "sandbox allow-scripts; frame-ancestors 'none'", "cache-control": "no-store"}
    return HTMLResponse(path.read_text(encoding="utf-8"), headers=headers)


@router.get("/inbox/pictures/{id}")
async def picture(service: TheService, desk: Desk, id: Id) -> Response:
    """A picture that a visitor sent."""
    return await picture_response(service, desk.principal, id)


@router.get("/inbox/why/{message}")
async def why(request: Request, service: TheService, desk: Desk, message: Id) -> Response:
    """The full trace of an answer, down to the run's report."""
    trace = await service.database.read(lambda session: whole_trace(session, desk.principal.site, message))
    encoder = open_artifact(service.run / "encoder")
    values = _values(request, desk, trace["conversation"]) | {
        "trace": trace,
        "same_encoder": encoder is not None and encoder.content[:12] == trace["trace"]["versions"]["encoder"],
        "verdict": _verdict(service),
        "has_report": (service.run / "report.html").is_file(),
    }
    return sheet("why.html", values)


@router.get("/inbox/{id}")
async def thread(
    request: Request,
    service: TheService,
    desk: Desk,
    id: Id,
    draft: Annotated[int, Query(ge=0, le=20)] = 0,
    translated: bool = False,
) -> Response:
    """One conversation; `translated` also has what the translator writes for each message below it."""
    site = desk.principal.site

    def read(session: Session) -> dict[str, Any]:
        row = conversation_of(session, site, id)
        return thread_of(row) | {"messages": message_records(session, id), "groups": groups_of(session, site)}

    values = _values(request, desk, id) | await service.database.read(read)
    values["suggested"] = suggested = await _suggested(service, desk, id)
    values["draft"] = suggested[draft - 1] if 0 < draft <= len(suggested) else ""
    if translated:
        values["translation"] = await _translation(service, desk, id)
    values["last"] = values["messages"][-1]["number"] if values["messages"] else 0
    return sheet("inbox.html", values)


@router.post("/inbox/{id}/take")
async def take_over(request: Request, service: TheService, desk: Desk, id: Id) -> Response:
    """The agent has it from now on."""
    await checked_form(request, desk)
    await _take(service, desk, id)
    return RedirectResponse(f"/inbox/{id}#text", 303)


@router.post("/inbox/{id}/reply")
async def reply(request: Request, service: TheService, desk: Desk, id: Id) -> Response:
    """The agent's answer; who answers has the conversation."""
    fields = await checked_form(request, desk)
    try:
        message = AgentMessage(text=fields.get("text", "").strip())
    except ValidationError:
        raise Refused(
            422, "unreadable", "The answer is empty, or cannot be read. Go back and write it again."
        ) from None
    await _take(service, desk, id)
    await answer_as_person(service, desk.principal, id, message)
    return RedirectResponse(f"/inbox/{id}#end", 303)


@router.post("/inbox/{id}/release")
async def release(request: Request, service: TheService, desk: Desk, id: Id) -> Response:
    """The assistant has it again."""
    await checked_form(request, desk)
    await give_back(service, desk.principal, id)
    return RedirectResponse(f"/inbox/{id}", 303)


@router.post("/inbox/{id}/close")
async def close(request: Request, service: TheService, desk: Desk, id: Id) -> Response:
    """It is resolved."""
    await checked_form(request, desk)
    await resolve(service, desk.principal, id)
    return RedirectResponse(f"/inbox/{id}", 303)


async def _translation(service: Service, desk: BrowserSession, conversation: str) -> dict[str, Any]:
    """The translations by their messages' ids; or why there are none: the thread is shown all the same."""
    try:
        translated = await thread_translation(service, desk.principal.site, conversation)
    except Refused as refusal:
        return {"refused": refusal.sentence, "left_out": 0, "by_message": {}}
    return {
        "refused": "",
        "left_out": translated["left_out"],
        "by_message": {row["message"]: row for row in translated["data"]},
    }


async def _take(service: Service, desk: BrowserSession, conversation: str) -> None:
    patience, agent, site = service.patience(), desk.principal.name, desk.principal.site
    await service.database.write(
        lambda session: step_in(session, site, conversation, agent=agent, texts=service.texts, patience=patience)
    )
    await take(service, desk.principal, conversation, AssignRequest(take_over=True))


async def _suggested(service: Service, desk: BrowserSession, conversation: str) -> list[str]:
    """Suggested replies; none where the visitor has said nothing."""
    listed = await suggestions(service, desk.principal, conversation)
    return [row["text"] for row in listed["data"]]


async def _pieces_of_inbox(
    service: Service, desk: BrowserSession, conversation: str, after: int, seconds: float, values: dict[str, Any]
) -> AsyncIterator[str]:
    site, ends = desk.principal.site, time.monotonic() + seconds
    shown: dict[str, str] = {}
    with service.hub.listening("inbox") as listener:
        while not service.answerer.draining:
            listener.caught_up()
            groups = await service.database.read(partial(groups_of, site=site))
            parts = {"queue": fragment("queue.html", values | {"groups": groups})}
            if conversation:
                read = partial(_open_thread, site=site, conversation=conversation, after=after)
                state, messages = await service.database.read(read)
                for message in messages:
                    after = message["number"]
                    html = fragment("message.html", values | {"message": message})
                    yield event("message", {"id": message["id"], "role": message["role"], "html": html}, number=after)
                if messages or not shown:
                    values["suggested"] = await _suggested(service, desk, conversation)
                parts["panel"] = fragment("panel.html", values | state)
            for name, html in parts.items():
                if shown.get(name) != html:
                    if name in shown:  # the page has the first of them already
                        yield event(name, {"html": html})
                    shown[name] = html
            left = ends - time.monotonic()
            if left <= 0:
                return
            if not await listener.wait(seconds=min(HEARTBEAT_SECONDS, left)):
                yield SIGN_OF_LIFE


def _open_thread(
    session: Session, site: str, conversation: str, after: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    row = conversation_of(session, site, conversation)
    return thread_of(row), message_records(session, conversation, after=after)


def _frame(request: Request) -> dict[str, Any]:
    return {"looks": request.app.state.looks, "language": "en", "direction": "ltr"}


def _values(request: Request, desk: BrowserSession, conversation: str) -> dict[str, Any]:
    translations = request.app.state.service.translations
    return _frame(request) | {
        "words": request.app.state.looks.words("en"),
        "conversation": conversation,
        "me": desk.principal.name,
        "signed_in": AGENT_COOKIE in request.cookies,
        "sign": desk.form_sign,
        "face": "agent",
        "languages": translations.languages if translations is not None else None,
        "translation": None,
    }


def _verdict(service: Service) -> str:
    try:
        return str(json.loads((service.run / "verdict.json").read_text(encoding="utf-8")).get("sentence", ""))
    except (OSError, ValueError):
        return ""
