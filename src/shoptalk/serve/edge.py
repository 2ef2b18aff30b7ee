"""What every request passes: limits on its size and pace, safe headers, origins, counting, and a line in the log."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response

from shoptalk.errors import StorageError
from shoptalk.serve.refusals import Refused
from shoptalk.serve.service import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger("shoptalk.serve")
_SAFETY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"
_ALLOWED = "authorization, content-type, idempotency-key, last-event-id"
_FOR_ALL_PAGES = {"/widget.js", "/widget/looks", "/v1/widget/token"}
"""What pages of any origin may read: nothing of a visitor, and why they are given no token."""
_PERSONAL = (
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "[email]"),
    (re.compile(r"\b(?:st|pk|secret|whsec)_[\w-]{8,}"), "[key]"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "[token]"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"), "[address]"),
    (re.compile(r"\+?\d(?:[ \-/().]?\d){6,}"), "[number]"),
)


def masked(text: str) -> str:
    """A line for the log, without what could name a person or open a door."""
    for pattern, sign in _PERSONAL:
        text = pattern.sub(sign, text)
    return text


class MaskingFormatter(logging.Formatter):
    """The time, then the line; masks all of what is said, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return f"{self.formatTime(record)} {masked(super().format(record))}"  # a time would be taken for a number


class Edge:
    """Around the application, nearest to the network."""

    def __init__(self, app: App, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin if origin in self.service.origins or scope["path"] in _FOR_ALL_PAGES else None
        begun = False
        refusals: list[Refused] = []

        async def answer(message: Message) -> None:
            nonlocal begun
            if refusals and not begun:
                return  # what is said instead is said below
            if message["type"] == "http.response.start":
                begun = True
                self._finish(MutableHeaders(raw=message["headers"]), allowed, api=scope["path"].startswith("/v1/"))
                self._count(scope, int(message["status"]), time.perf_counter() - started)
            await send(message)

        try:
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                response: Response = Response(status_code=204 if allowed else 403)
                await response(scope, receive, answer)
                return
            _refuse_nul(scope)
            self._check_length(headers)
            await self.app(scope, self._paced(receive, refusals), answer)
            if refusals and not begun:
                await refusal_response(refusals.pop())(scope, receive, answer)
        except Refused as refusal:
            if begun:
                raise
            refusals.clear()
            await refusal_response(refusal)(scope, receive, answer)
        except (OperationalError, StorageError) as error:
            # The disk is full, or another program holds the database or the knowledge. What a StorageError says names
            # folders and is for the owner: it goes into the log alone.
            reason = error.orig if isinstance(error, OperationalError) else error
            log.error("%s %s: nothing can be stored: %s", scope["method"], route_of(scope), reason)
            if begun:
                raise
            refusals.clear()
            sentence = "Nothing can be stored at present. Send it again in a moment, under the same Idempotency-Key."
            await refusal_response(Refused(503, "storage", sentence, retry_after=5.0))(scope, receive, answer)
        except Exception:
            log.exception("%s %s failed", scope["method"], route_of(scope))
            if begun:
                raise
            refusals.clear()
            fault = Refused(500, "internal_error", "This is a fault of the server. Its log says more.")
            await refusal_response(fault)(scope, receive, answer)

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise Refused(400, "bad_length", "Content-Length is no number.")
        if int(length) > self.service.settings.largest_body:
            raise self._too_large()

    def _too_large(self) -> Refused:
        most = self.service.settings.largest_body
        return Refused(413, "too_large", f"A request may have {most:,} bytes. Send less at once.")

    def _paced(self, receive: Receive, refusals: list[Refused]) -> Receive:
        """The body, as long as it comes within its time and size. What is wrong with it is also kept in `refusals`: the
        reader may take it for a body that cannot be parsed.
        """
        arrived, complete = 0, False
        ends = time.monotonic() + self.service.settings.body_seconds

        async def paced() -> Message:
            nonlocal arrived, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                refusals.append(Refused(408, "too_slow", "The request did not arrive in time. Send it again."))
                raise refusals[0] from None
            if message["type"] == "http.request":
                arrived += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if arrived > self.service.settings.largest_body:
                    refusals.append(self._too_large())
                    raise refusals[0]
            return message

        return paced

    def _finish(self, headers: MutableHeaders, origin: str | None, *, api: bool) -> None:
        for name, value in _SAFETY.items():
            headers.setdefault(name, value)
        headers.setdefault("content-security-policy", _NO_PAGE)
        if api:
            headers.setdefault("cache-control", "no-store")
        headers.add_vary_header("Origin")
        if origin is not None:
            headers["access-control-allow-origin"] = origin
            headers["access-control-allow-headers"] = _ALLOWED
            headers["access-control-allow-methods"] = "GET, POST, DELETE"
            headers["access-control-expose-headers"] = "retry-after"
            headers["access-control-max-age"] = "600"

    def _count(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        route = route_of(scope)
        self.service.measures.requests.labels(scope["method"], route, str(status)).inc()
        self.service.measures.request_seconds.labels(route).observe(seconds)
        log.info("%s %s: status %d in %.1f ms", scope["method"], route, status, 1000 * seconds)


def _refuse_nul(scope: MutableMapping[str, Any]) -> None:
    """No name holds the character that databases cannot: neither of a path nor of a question behind it."""
    if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
        raise Refused(400, "unreadable", "The address holds the character NUL, which nothing here has in its name.")


def route_of(scope: MutableMapping[str, Any]) -> str:
    """The route's pattern, never what stands in its place in the path."""
    return str(getattr(scope.get("route"), "path", "no route"))


def refusal_response(refusal: Refused) -> JSONResponse:
    """A refusal as it is sent."""
    headers = {} if refusal.retry_after is None else {"retry-after": str(max(1, round(refusal.retry_after)))}
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(refusal.body(), refusal.status, headers=headers)
