"""HTML pages and fragments from templates that escape everything, with headers that let nothing else in."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shoptalk.serve.face_words import language_among
from shoptalk.serve.faces.looks import direction_of
from shoptalk.serve.refusals import Refused

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
STATIC = {
    "faces.css": "text/css",
    "live.js": "text/javascript",
}
"""All files that are given out as they are."""
WIDGET = ("widget.css", "line.js", "view.js", "chat.js", "start.js")
FOR_ALL_PAGES = {"cross-origin-resource-policy": "cross-origin"}
"""What other sites' pages may load, also those that are shut off from everything that does not allow it."""


@cache
def static_file(name: str) -> str:
    """A file's text."""
    return (files("shoptalk.serve.faces") / "static" / name).read_text(encoding="utf-8")


@cache
def widget_script() -> str:
    """The widget: its files as one, in a room of its own on the page that loads it, and its styles as a text in it."""
    folder = files("shoptalk.serve.faces") / "static" / "widget"
    style, *parts = ((folder / name).read_text(encoding="utf-8") for name in WIDGET)
    return "\n".join(('(() => {\n"use strict";', f"const STYLE = {json.dumps(style)};", *parts, "})();\n"))


def static_path(name: str) -> str:
    """Where a file is to be had; another text has another address."""
    return f"/static/{name}?v={hashlib.sha256(static_file(name).encode()).hexdigest()[:12]}"


def safe_link(link: str | None) -> str | None:
    """A source's link, if it leads to a web page."""
    try:
        parts = urlsplit(link or "")
    except ValueError:
        return None
    return link if parts.scheme in ("http", "https") and parts.netloc else None


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shoptalk.serve.faces"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"safe_link": safe_link, "clock": _clock}
    environment.globals |= {"static": static_path}
    return environment


TEMPLATES = _environment()


def fragment(template: str, values: Mapping[str, Any]) -> str:
    """A template's text."""
    return TEMPLATES.get_template(template).render(values)


def sheet(template: str, values: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """A template as a page, which nobody but its reader's browser keeps."""
    headers = {"content-security-policy": POLICY, "cache-control": "no-store", "referrer-policy": "same-origin"}
    # Under "no-referrer" browsers send forms with `Origin: null`, which says nothing.
    return HTMLResponse(fragment(template, values), status, headers=headers)


def kept(content: str | bytes, kind: str, *, seconds: int, request: Request) -> Response:
    """Something that browsers may keep, for ever where its address says which version was asked for."""
    data = content.encode() if isinstance(content, str) else content
    headers = {"cache-control": f"public, max-age={seconds}", "vary": "Accept-Encoding"}
    if isinstance(content, str) and "gzip" in request.headers.get("accept-encoding", ""):
        data = _packed(data)
        headers["content-encoding"] = "gzip"
    headers["etag"] = tag = f'"{hashlib.sha256(data).hexdigest()[:24]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


@lru_cache(maxsize=64)
def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def wants_sheet(request: Request) -> bool:
    """Whether a browser shows what comes back to a reader."""
    return not request.url.path.startswith("/v1/") and "text/html" in request.headers.get("accept", "")


def problem_sheet(request: Request, refusal: Refused) -> Response:
    """A refusal as a page."""
    looks = request.app.state.looks
    language = language_among(request.headers.get("accept-language", ""))
    values = {"looks": looks, "language": language, "direction": direction_of(language), "sentence": refusal.sentence}
    response = sheet("problem.html", values, status=refusal.status)
    if refusal.retry_after is not None:
        response.headers["retry-after"] = str(max(1, round(refusal.retry_after)))
    return response
