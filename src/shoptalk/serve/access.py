"""Who asks, and what they may: keys for programs and people, short-lived tokens for visitors' browsers."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import jwt
from sqlalchemy import select
from sqlalchemy.orm import Session

from shoptalk.errors import InputError
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import MAIN_SITE, KeyRow, SiteRow, new_id, utc_now

SCOPES = ("chat", "agent", "knowledge", "admin")
"""What a key may be for; `admin` includes the others. All of them end at the key's own site."""
OWNER = "owner"
"""Whoever started the server: admin of the main site, who also makes sites and their keys."""
VISITOR = "visitor"
KEY = "st_"
"""What every key begins with."""
SITE_NAME = r"[a-z0-9-]{1,40}"
ORIGIN = r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
KEY_NAME = r"[\w.@-]{1,80}"
_ALGORITHM = "HS256"
_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class Principal:
    """Who a request comes from."""

    site: str
    id: str
    """Of the key or the visitor: idempotency keys, limits and feedback are theirs."""
    name: str
    scopes: frozenset[str]
    visitor: str | None = None
    """Where set, only this visitor's conversations are there."""

    def may(self, *scopes: str) -> bool:
        """Whether one of these is theirs."""
        return bool(self.scopes & {*scopes})


def owner_of(site: str = MAIN_SITE) -> Principal:
    """Who started the server."""
    return Principal(site, OWNER, OWNER, frozenset({OWNER, *SCOPES}))


def digest_of(key: str) -> str:
    """What is kept of a key. Keys are random, 256 bits, so that no salt and no slow hash is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def make_key(session: Session, site: str, name: str, scopes: Sequence[str]) -> tuple[KeyRow, str]:
    """A new key: its row, and the key itself, which is shown this once.

    Raises:
        InputError: there is no such site or scope.
    """
    unknown = sorted(set(scopes) - {*SCOPES})
    if unknown or not scopes:
        raise InputError(f"A key's scopes are some of {', '.join(SCOPES)}; given {', '.join(unknown) or 'none'}.")
    if session.get(SiteRow, site) is None:
        raise InputError(f"There is no site {site!r}. `shoptalk keys RUN` lists the sites there are.")
    key = KEY + secrets.token_urlsafe(32)
    row = KeyRow(
        id=new_id("key"), site_id=site, name=name, digest=digest_of(key), scopes=sorted(set(scopes)), created=utc_now()
    )
    session.add(row)
    return row, key


def revoke_key(session: Session, key_id: str, *, site: str | None = None) -> bool:
    """A key is worth nothing from now on."""
    row = session.get(KeyRow, key_id)
    if row is None or (site is not None and row.site_id != site):
        return False
    row.revoked = row.revoked or utc_now()
    return True


def any_key(session: Session) -> bool:
    """Whether there is a key that still opens something."""
    return session.scalar(select(KeyRow.id).where(KeyRow.revoked.is_(None)).limit(1)) is not None


def of_key(session: Session, key: str) -> Principal | None:
    """Whose key this is."""
    row = session.scalar(select(KeyRow).where(KeyRow.digest == digest_of(key)))
    return None if row is None else holder_of(row)


def holder_of(row: KeyRow) -> Principal | None:
    """Whoever has this key; None where it was revoked."""
    if row.revoked is not None:
        return None
    scopes = frozenset(SCOPES) if "admin" in row.scopes else frozenset(row.scopes)
    return Principal(row.site_id, row.id, row.name, scopes)


def same_secret(given: str, expected: str) -> bool:
    """Whether two secrets are one, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def visitor_token(
    site: SiteRow, visitor: str, origin: str, *, lasts: timedelta, use: Literal["visit", "resume"] = "visit"
) -> str:
    """What a visitor's browser shows: signed with its own site's secret, and good from one origin only."""
    return signed(site.id, site.secret, {"sub": visitor, "origin": origin}, use=use, lasts=lasts)


def read_token(session: Session, token: str, *, origin: str | None, use: str = "visit") -> Principal | None:
    """Which visitor a token is of; None where it is none of ours, has run out, or comes from elsewhere."""
    site, claims = claims_of(session, token, use=use) or (None, {})
    if site is None or (origin is not None and origin != claims.get("origin")):
        return None
    if claims.get("origin") and claims["origin"] not in site.origins:
        return None
    visitor = str(claims["sub"])
    return Principal(site.id, visitor, VISITOR, frozenset({VISITOR}), visitor=visitor)


def signed(site: str, secret: str, claims: dict[str, Any], *, use: str, lasts: timedelta) -> str:
    """Claims, signed with a site's secret for one use and for a time."""
    claims = {**claims, "aud": site, "use": use, "exp": utc_now() + lasts}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM, headers={"kid": site})


def claims_of(session: Session, token: str, *, use: str) -> tuple[SiteRow, dict[str, Any]] | None:
    """The site that signed a token for this use, and what it claims; None where none did, or it has run out."""
    try:
        site_id: Any = jwt.get_unverified_header(token).get("kid")
        site = session.get(SiteRow, site_id) if isinstance(site_id, str) else None
        if site is None:
            return None
        claims = jwt.decode(
            token, site.secret, algorithms=[_ALGORITHM], audience=site.id, options={"require": ["exp", "sub", "aud"]}
        )
    except (jwt.InvalidTokenError, ValueError):
        return None
    return (site, claims) if claims.get("use") == use else None


def web_origin(text: str) -> str:
    """An origin as browsers send it: in small letters, without the port that its scheme has anyway.

    Raises:
        InputError: it is none.
    """
    origin = text.lower()
    matched = re.fullmatch(ORIGIN, origin)
    if matched is None:
        raise InputError(
            f"{text[:200]!r} is no web origin. Give scheme and host alone, such as https://example.com; a name with "
            "letters of other scripts as the browser sends it, xn--…."
        )
    return origin.removesuffix(_PORTS[matched[1]])


def is_loopback(host: str) -> bool:
    """Whether an address or name can only be this machine."""
    bare = host.strip("[]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare.partition("%")[0]).is_loopback
    except ValueError:
        return False


def address_of(peer: str | None, forwarded: Sequence[str]) -> str:
    """The address to which a request is counted: behind a proxy on this machine the one that the proxy saw, which it
    puts last into the last `X-Forwarded-For`; what stands before it, anybody may have written.
    """
    seen = forwarded[-1].rpartition(",")[2].strip() if forwarded else ""
    return seen[:60] if seen and peer is not None and is_loopback(peer) else peer or ""


def from_this_machine(peer: str | None, headers: dict[str, str], *, version: str = "1.1") -> bool:
    """Whether a request surely comes from a program on this machine, or from a page that this server itself sent.

    A proxy beside the server would make strangers look local, and a page of another site may name this address. HTTP
    1.0 is what nginx speaks where nobody has told it to name the stranger.
    """
    if peer is None or not is_loopback(peer) or version == "1.0":
        return False
    if any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via", "cf-connecting-ip")):
        return False
    host = headers.get("host", "")
    if not is_loopback(urlsplit(f"//{host}").hostname or "" if _is_host(host) else ""):
        return False
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return False
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _is_host(host: str) -> bool:
    try:
        return bool(urlsplit(f"//{host}").hostname)
    except ValueError:
        return False


def check_binding(host: str, *, has_key: bool) -> None:
    """Refuse to listen where strangers may come while nothing keeps them out.

    Raises:
        InputError: this is no loopback address and there is no key.
    """
    if not is_loopback(host) and not has_key:
        raise InputError(
            f"--host {host} can be reached from other machines, and no key is there to keep strangers out. Set "
            "SHOPTALK_KEY to a long random text, or make a key with `shoptalk keys RUN --add NAME`, or serve on "
            "127.0.0.1."
        )


def refuse_unknown() -> Refused:
    """What is said to those who are not known."""
    return Refused(
        401, "no_valid_key", "Send `Authorization: Bearer KEY` with a key of `shoptalk keys`, or a visitor's token."
    )
