"""The application: routes, who passes them, and what begins and ends with the process."""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shoptalk.errors import InputError
from shoptalk.serve.complaints import complaint_of
from shoptalk.serve.edge import Edge, refusal_response
from shoptalk.serve.faces import face_files, inbox_page, visitor_page
from shoptalk.serve.faces.browser_sessions import SignInFirst
from shoptalk.serve.faces.looks import Looks
from shoptalk.serve.faces.sheets import problem_sheet, wants_sheet
from shoptalk.serve.refusals import Refused
from shoptalk.serve.routes import (
    admin_routes,
    chat_completions,
    embeddings,
    inbox_routes,
    knowledge_routes,
    people_routes,
    picture_routes,
    reply_route,
    responses,
    state_routes,
    thread_routes,
    translation_route,
)
from shoptalk.serve.service import Service
from shoptalk.serve.workers import Workers

log = logging.getLogger("shoptalk.serve")
DRAIN_SECONDS = 15.0
ROUTERS = (
    reply_route.router,
    thread_routes.router,
    chat_completions.router,
    responses.router,
    embeddings.router,
    inbox_routes.router,
    translation_route.router,
    knowledge_routes.router,
    admin_routes.router,
    people_routes.router,
    picture_routes.router,
    state_routes.router,
    visitor_page.router,
    inbox_page.router,
    face_files.router,
)


def create_app(service: Service) -> FastAPI:
    """The application of one server."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await service.read_origins()
        resumed = await service.answerer.resume()
        if resumed:
            log.info("%d conversations had unanswered messages and are being answered", resumed)
        workers = asyncio.create_task(Workers(service).run())
        yield
        await service.answerer.drain(DRAIN_SECONDS)
        workers.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await workers
        service.close()

    app = FastAPI(
        title="Shoptalk",
        version=importlib.metadata.version("shoptalk"),
        description="The assistant of a run: replies with their sources, hand-over to people, and what they rest on.",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.looks = Looks.of(service.assistant.settings, service.run)
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(SignInFirst, inbox_page.to_sign_in)
    app.add_exception_handler(InputError, _wrong_input)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Edge, service=service)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problem_sheet(request, error) if wants_sheet(request) else refusal_response(error)


async def _wrong_input(request: Request, error: Exception) -> Response:
    return refusal_response(Refused(400, "wrong_input", str(error)))


async def _unreadable(request: Request, error: Exception) -> Response:
    """What was sent is not repeated: it may hold anything."""
    assert isinstance(error, RequestValidationError)
    return refusal_response(Refused(422, "unreadable", complaint_of(error.errors())))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences: dict[int, Any] = {404: "There is no such page.", 405: "This page has no such method."}
    sentence = sentences.get(error.status_code, str(error.detail))
    refusal = Refused(error.status_code, "http", sentence)
    response = problem_sheet(request, refusal) if wants_sheet(request) else refusal_response(refusal)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response
