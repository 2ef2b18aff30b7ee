"""`/v1/pictures/…`: what a visitor sent, for those who may read the conversation."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from shoptalk.serve.access import Principal
from shoptalk.serve.asking import Talker, TheService, refusals
from shoptalk.serve.service import Service
from shoptalk.serve.shown_pictures import picture_file

router = APIRouter(tags=["conversations"])
Id = Annotated[str, Path(max_length=200)]
_HEADERS = {"content-security-policy": "default-src 'none'; sandbox", "cache-control": "private, max-age=86400"}
"""It is a picture and nothing else, and only its reader's browser keeps it."""


@router.get(
    "/v1/pictures/{id}",
    response_class=Response,
    responses={**refusals(404), 200: {"description": "The picture.", "content": {"image/jpeg": {}}}},
)
async def picture(service: TheService, principal: Talker, id: Id) -> Response:
    """A picture that came with a message, as a JPEG file."""
    return await picture_response(service, principal, id)


async def picture_response(service: Service, principal: Principal, id: str) -> Response:
    """The same for whoever asks; visitors have their own alone."""
    data = await service.database.read(
        lambda session: picture_file(session, principal.site, id, visitor=principal.visitor)
    )
    return Response(data, media_type="image/jpeg", headers=_HEADERS)
