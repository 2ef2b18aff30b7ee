"""Who sits before a browser: visitors and agents by signed cookies, and forms that only our own pages can send."""

import hashlib
import hmac
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request
from starlette.responses import Response

from shoptalk.serve.access import (
    OWNER,
    VISITOR,
    Principal,
    claims_of,
    from_this_machine,
    holder_of,
    of_key,
    owner_of,
    same_secret,
    signed,
)
from shoptalk.serve.asking import TheService, forwarded_address, slow_down
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import MAIN_SITE, KeyRow, SiteRow, new_id
from shoptalk.serve.service import Service

VISITOR_COOKIE = "shoptalk_visitor"
AGENT_COOKIE = "shoptalk_agent"
AGENT_HOURS = 12
_MOST_FIELDS = 20


class SignInFirst(Exception):  # noqa: N818 (it is what is to be done)
    """The page is for agents, and nobody has signed in."""


class BrowserSession:
    """A principal, and the sign that forms of theirs carry."""

    def __init__(self, principal: Principal, secret: str, *, fresh: bool = False) -> None:
        self.principal = principal
        self.fresh = fresh
        """Whether the browser does not know its cookie yet."""
        self._secret = secret

    @property
    def form_sign(self) -> str:
        """What every form of this session carries; other sites cannot read it."""
        name = f"form {self.principal.site} {self.principal.id}"
        return hmac.new(self._secret.encode(), name.encode(), hashlib.sha256).hexdigest()

    def cookie(self, use: str, *, lasts: timedelta) -> str:
        """The session as a signed text."""
        return signed(self.principal.site, self._secret, {"sub": self.principal.id}, use=use, lasts=lasts)


async def visiting(request: Request, service: TheService) -> BrowserSession:
    """The visitor of the page, new or known."""
    token = request.cookies.get(VISITOR_COOKIE, "")
    site, claims = await _claims(service, token, "page")
    if site is None:
        site = await service.database.read(lambda session: session.get_one(SiteRow, MAIN_SITE))
    fresh = claims is None
    name = new_id(VISITOR) if claims is None else str(claims["sub"])
    principal = Principal(site.id, name, VISITOR, frozenset({VISITOR}), visitor=name)
    slow_down(service, f"address {forwarded_address(request)}", service.settings.per_address)
    if not fresh:
        slow_down(service, f"visitor {name}", service.settings.per_visitor)
    return BrowserSession(principal, site.secret, fresh=fresh)


async def working(request: Request, service: TheService) -> BrowserSession:
    """The agent at the inbox: whoever sits at this machine where it needs no key, else who has signed in.

    Raises:
        SignInFirst: nobody has.
    """
    main = await service.database.read(lambda session: session.get_one(SiteRow, MAIN_SITE))
    peer, version = request.client.host if request.client else None, request.scope.get("http_version", "1.1")
    here = service.open_here and service.key is None
    if here and from_this_machine(peer, dict(request.headers), version=version):
        return BrowserSession(owner_of(), main.secret)
    site, claims = await _claims(service, request.cookies.get(AGENT_COOKIE, ""), "agent")
    if site is None or claims is None:
        raise SignInFirst
    principal = await _agent(service, str(claims["sub"]))
    if principal is None or principal.site != site.id:
        raise SignInFirst
    return BrowserSession(principal, site.secret)


async def sign_in(request: Request, service: Service, key: str) -> BrowserSession:
    """The session of whoever shows a key that agents' work may be done with.

    Raises:
        Refused: it is none, or too many were tried.
    """
    slow_down(service, f"sign-in {forwarded_address(request)}", 30)
    if service.key is not None and same_secret(key, service.key):
        principal: Principal | None = _owner_by_key(service.key)
    else:
        principal = await service.database.read(lambda session: of_key(session, key))
    if principal is None or not principal.may("agent"):
        raise Refused(403, "no_agent_key", "This key is unknown, or is not for agents.")
    site = await service.database.read(lambda session: session.get_one(SiteRow, principal.site))
    return BrowserSession(principal, site.secret)


def _owner_by_key(key: str) -> Principal:
    """The owner, under a name that another SHOPTALK_KEY makes worthless."""
    owner = owner_of()
    return Principal(owner.site, f"{OWNER}-{hashlib.sha256(key.encode()).hexdigest()[:32]}", OWNER, owner.scopes)


async def _agent(service: Service, name: str) -> Principal | None:
    if service.key is not None and same_secret(name, (owner := _owner_by_key(service.key)).id):
        return owner

    def read(session: Any) -> Principal | None:
        row = session.get(KeyRow, name)
        agent = None if row is None else holder_of(row)
        return agent if agent is not None and agent.may("agent") else None

    return await service.database.read(read)


async def _claims(service: Service, token: str, use: str) -> tuple[SiteRow | None, dict[str, Any] | None]:
    return await service.database.read(lambda session: claims_of(session, token, use=use)) or (None, None)


def keep_cookie(
    request: Request, response: Response, name: str, value: str, *, lasts: timedelta, path: str = "/"
) -> None:
    """Have the browser keep a cookie that no script reads and no other site sends."""
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    response.set_cookie(
        name,
        value,
        max_age=int(lasts.total_seconds()),
        path=path,
        httponly=True,
        secure=secure,
        samesite="strict" if name == AGENT_COOKIE else "lax",
    )


def check_same_origin(request: Request) -> None:
    """Browsers say where a form comes from.

    Raises:
        Refused: it comes from another site.
    """
    origin, place = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    if place != "same-origin" or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
        raise Refused(403, "foreign_form", "This form comes from another site. Open the page itself and try again.")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sent the usual way."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Refused(422, "unreadable", "A form is expected.")
    try:
        text = (await request.body()).decode("utf-8")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:
        raise Refused(422, "unreadable", "The form cannot be read.") from None


async def checked_form(request: Request, session: BrowserSession) -> dict[str, str]:
    """The fields of a form that surely comes from a page of this session.

    Raises:
        Refused: it comes from elsewhere, or from a page of another session.
    """
    check_same_origin(request)
    fields = await form_of(request)
    if not same_secret(fields.pop("sign", ""), session.form_sign):
        raise Refused(403, "old_form", "This page is out of date. Load it again and repeat what you did.")
    return fields


Visit = Annotated[BrowserSession, Depends(visiting)]
Desk = Annotated[BrowserSession, Depends(working)]
