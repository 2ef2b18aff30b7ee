"""Files that pages load: scripts, styles, the owner's colours and logo."""

from fastapi import APIRouter, Request, Response

from shoptalk.serve.faces.looks import Looks
from shoptalk.serve.faces.sheets import STATIC, fragment, kept, static_file
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
