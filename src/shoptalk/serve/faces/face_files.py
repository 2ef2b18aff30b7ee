"""Files that pages load: scripts, styles, the owner's colours and logo."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from shoptalk.serve.asking import TheService
from shoptalk.serve.face_words import language_among
from shoptalk.serve.faces.looks import Looks
from shoptalk.serve.faces.sheets import FOR_ALL_PAGES, STATIC, fragment, kept, static_file, widget_script
from shoptalk.serve.refusals import Refused

router = APIRouter(include_in_schema=False)
_YEAR = 365 * 24 * 3600
_SOON = 300


@router.get("/static/{name}")
async def static(request: Request, name: str, v: str = "") -> Response:
    """A script or style sheet."""
    if name not in STATIC:
        raise Refused(404, "http", "There is no such page.")
    return kept(static_file(name), STATIC[name], seconds=_YEAR if v else _SOON, request=request)


@router.get("/colours.css")
async def colours(request: Request) -> Response:
    """The owner's colours."""
    return kept(_looks(request).stylesheet(), "text/css", seconds=_SOON, request=request)


@router.get("/logo")
async def logo(request: Request, v: str = "") -> Response:
    """The owner's logo. A drawing may hold scripts, which nothing here lets run."""
    picture = _looks(request).logo
    if picture is None:
        raise Refused(404, "http", "There is no such page.")
    response = kept(picture.content, picture.kind, seconds=_YEAR if v else _SOON, request=request)
    response.headers["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    response.headers.update(FOR_ALL_PAGES)
    return response


@router.get("/widget.js")
async def widget(request: Request) -> Response:
    """The widget: all of it but the owner's colours and words."""
    response = kept(widget_script(), "text/javascript", seconds=_SOON, request=request)
    response.headers.update(FOR_ALL_PAGES)
    return response


@router.get("/widget/looks")
async def widget_looks(
    request: Request, service: TheService, lang: Annotated[str, Query(max_length=200)] = "en"
) -> Response:
    """The owner's colours and words, in the first of these languages that is here."""
    looks = _looks(request).record(
        language_among(lang), longest=service.settings.longest_message, pictures=service.sees_pictures
    )
    text = json.dumps(looks, ensure_ascii=False)
    response = kept(text, "application/json", seconds=_SOON, request=request)
    response.headers.update(FOR_ALL_PAGES)
    return response


@router.get("/icon.svg")
async def icon(request: Request) -> Response:
    """What stands for a logo in the browser's tab: the first letter of the name."""
    looks = _looks(request)
    values = {"letter": looks.name[:1], "colour": looks.light["accent"], "ink": looks.light["on-accent"]}
    return kept(fragment("icon.svg", values), "image/svg+xml", seconds=_SOON, request=request)


def _looks(request: Request) -> Looks:
    looks: Looks = request.app.state.looks
    return looks
