"""Who a route is for: dependencies that find out who asks, and hold them to their rate."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shoptalk.serve.access import (
    KEY,
    OWNER,
    VISITOR,
    Principal,
    address_of,
    from_this_machine,
    of_key,
    owner_of,
    read_token,
    refuse_unknown,
    same_secret,
)
from shoptalk.serve.refusals import Refused
from shoptalk.serve.service import Service

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key of `shoptalk keys`, SHOPTALK_KEY, or a visitor's token of `/v1/widget/token`.",
)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


async def asker(
    request: Request, service: TheService, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """Who asks."""
    peer = request.client.host if request.client else None
    address, version = forwarded_address(request), request.scope.get("http_version", "1.1")
    here = service.open_here and service.key is None
    here = here and from_this_machine(peer, dict(request.headers), version=version)
    key = bearer.credentials if bearer is not None else ""
    if here and not key.startswith(KEY) and key.count(".") != 2:
        return owner_of()  # clients of OpenAI's make always send a key; here it need not mean anything
    if not key:
        raise refuse_unknown()
    if service.key is not None and same_secret(key, service.key):
        principal: Principal | None = owner_of()
    elif key.count(".") == 2:
        origin = request.headers.get("origin")
        principal = await service.database.read(lambda session: read_token(session, key, origin=origin))
    else:
        principal = await service.database.read(lambda session: of_key(session, key))
    if principal is None:
        slow_down(service, f"unknown {address}", service.settings.per_address)
        raise refuse_unknown()
    if VISITOR in principal.scopes:
        slow_down(service, f"visitor {principal.id}", service.settings.per_visitor)
        slow_down(service, f"address {address}", service.settings.per_address)
    elif OWNER not in principal.scopes:
        slow_down(service, f"key {principal.id}", service.settings.per_key)
    return principal


def forwarded_address(request: Request) -> str:
    """The address to which a request is counted."""
    return address_of(request.client.host if request.client else None, request.headers.getlist("x-forwarded-for"))


def slow_down(service: Service, name: str, per_minute: int) -> None:
    """Count a request.

    Raises:
        Refused: there were too many.
    """
    seconds = service.rates.wait(name, per_minute)
    if seconds > 0:
        raise Refused(
            429, "rate_limited", "There were too many requests. Wait as long as Retry-After says.", retry_after=seconds
        )


def only(*scopes: str) -> Callable[..., Awaitable[Principal]]:
    """A dependency: who asks, if they have one of these scopes."""

    async def allowed(principal: Annotated[Principal, Depends(asker)]) -> Principal:
        if not principal.may(*scopes):
            raise Refused(403, "not_allowed", f"This needs a key with the scope {' or '.join(map(repr, scopes))}.")
        return principal

    return allowed


Talker = Annotated[Principal, Depends(only("chat", "agent", VISITOR))]
"""Who may write as a visitor, or for one, and read that."""
Reader = Annotated[Principal, Depends(only("chat", "agent"))]
Program = Annotated[Principal, Depends(only("chat"))]
Agent = Annotated[Principal, Depends(only("agent"))]
Keeper = Annotated[Principal, Depends(only("knowledge"))]
Admin = Annotated[Principal, Depends(only("admin"))]
Owner = Annotated[Principal, Depends(only(OWNER))]
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=200, pattern=r"^[\x21-\x7e]+$", description="The same key again is the same message again."),
]

_ERROR = {
    "application/json": {
        "example": {
            "error": {
                "message": "There is no conversation 'conv_1' here. Leave it out to begin one.",
                "type": "not_found_error",
                "code": "conversation_not_found",
                "param": None,
            }
        }
    }
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The statuses with which a route may say no, for its description."""
    meanings = {
        400: "The request cannot be read.",
        401: "No valid key.",
        403: "The key is not for this.",
        404: "There is no such thing here.",
        408: "The request came too slowly.",
        409: "It cannot be done as things stand.",
        413: "The request or message is too large.",
        422: "A field is missing or not as it should be.",
        429: "Too many requests, or too much to do; Retry-After says when to try again.",
        503: "Nothing can be stored or answered at present; Retry-After says when to try again.",
    }
    every = sorted({400, 401, 403, 408, 413, 422, 429, 503, *statuses})
    return {status: {"description": meanings[status], "content": _ERROR} for status in every}
