"""Keys, sites, visitors' tokens and webhooks: what the owner and the admins of a site look after."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from shoptalk.serve.access import VISITOR, make_key, read_token, revoke_key, visitor_token
from shoptalk.serve.asking import Admin, Owner, TheService, forwarded_address, refusals, slow_down
from shoptalk.serve.database import new_site
from shoptalk.serve.outbound import check_url, checked_address, resolve
from shoptalk.serve.outbox import try_again
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import JobRow, KeyRow, SiteRow, WebhookRow, new_id, utc_now
from shoptalk.serve.service import Service
from shoptalk.serve.shapes import KeyRequest, Listed, SiteRequest, TokenRequest, WebhookRequest

router = APIRouter(tags=["administration"])
Id = Annotated[str, Path(max_length=200)]


@router.post("/v1/widget/token", responses=refusals())
async def widget_token(service: TheService, http: Request, request: TokenRequest) -> dict[str, Any]:
    """A visitor's token for some minutes, for a browser on an origin of the site, and what brings the visitor back."""
    slow_down(service, f"address {forwarded_address(http)}", service.settings.per_address)
    origin = http.headers.get("origin")

    def read(session: Any) -> tuple[SiteRow | None, str | None]:
        site = session.scalar(select(SiteRow).where(SiteRow.public_key == request.site))
        known = read_token(session, request.resume, origin=origin, use="resume") if request.resume else None
        return site, known.visitor if known is not None and site is not None and known.site == site.id else None

    site, visitor = await service.database.read(read)
    if site is None or origin is None or origin not in site.origins:
        raise Refused(
            403, "unknown_origin", "This site key is not for pages of this origin. `shoptalk keys` lists origins."
        )
    if origin not in service.origins:  # it was added from the command line while this server ran
        await service.read_origins()
    visitor = visitor or new_id(VISITOR)
    short, long = timedelta(minutes=service.settings.token_minutes), timedelta(days=service.settings.resume_days)
    return {
        "token": visitor_token(site, visitor, origin, lasts=short),
        "seconds": int(short.total_seconds()),
        "resume": visitor_token(site, visitor, origin, lasts=long, use="resume"),
    }


@router.get("/v1/sites", response_model=Listed, responses=refusals())
async def sites(service: TheService, principal: Owner) -> Any:
    """The sites there are, with their public keys."""
    rows = await service.database.read(lambda session: session.scalars(select(SiteRow).order_by(SiteRow.id)).all())
    return {"data": [_site(row) for row in rows]}


@router.post("/v1/sites", status_code=201, responses=refusals())
async def put_site(service: TheService, principal: Owner, request: SiteRequest) -> dict[str, Any]:
    """Make a site, or change its name and origins."""

    def store(session: Any) -> dict[str, Any]:
        row = session.get(SiteRow, request.id)
        if row is None:
            row = new_site(request.id, request.name, tuple(request.origins))
            session.add(row)
        row.name, row.origins = request.name, list(request.origins)
        return _site(row)

    record = await service.database.write(store)
    await service.read_origins()
    return record


def _site(row: SiteRow) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "public_key": row.public_key, "origins": row.origins}


@router.post("/v1/sites/{id}/keys", status_code=201, responses=refusals(404))
async def make_site_key(service: TheService, principal: Owner, id: Id, request: KeyRequest) -> dict[str, Any]:
    """A key for a site. It is shown this once."""
    return await _make_key(service, id, request)


@router.get("/v1/keys", response_model=Listed, responses=refusals())
async def keys(service: TheService, principal: Admin) -> Any:
    """The keys of your site; the keys themselves are not kept."""
    rows = await service.database.read(
        lambda session: session.scalars(select(KeyRow).where(KeyRow.site_id == principal.site)).all()
    )
    return {
        "data": [
            {"id": row.id, "name": row.name, "scopes": row.scopes, "created": row.created, "revoked": row.revoked}
            for row in rows
        ]
    }


@router.post("/v1/keys", status_code=201, responses=refusals())
async def make_own_key(service: TheService, principal: Admin, request: KeyRequest) -> dict[str, Any]:
    """A key for your site. It is shown this once."""
    return await _make_key(service, principal.site, request)


async def _make_key(service: Service, site: str, request: KeyRequest) -> dict[str, Any]:
    def store(session: Any) -> dict[str, Any]:
        if session.get(SiteRow, site) is None:
            raise Refused(404, "site_not_found", f"There is no site {site[:80]!r}.")
        row, key = make_key(session, site, request.name, request.scopes)
        return {"id": row.id, "name": row.name, "scopes": row.scopes, "key": key}

    return await service.database.write(store)


@router.delete("/v1/keys/{id}", responses=refusals(404))
async def drop_key(service: TheService, principal: Admin, id: Id) -> dict[str, str]:
    """From now on the key opens nothing."""
    if not await service.database.write(lambda session: revoke_key(session, id, site=principal.site)):
        raise Refused(404, "key_not_found", f"Your site has no key {id[:80]!r}.")
    return {"id": id, "status": "revoked"}


@router.post("/v1/webhooks", status_code=201, responses=refusals())
async def add_webhook(service: TheService, principal: Admin, request: WebhookRequest) -> dict[str, Any]:
    """Have events sent to you, signed with the secret that is shown this once."""
    parts = check_url(request.url)
    await service.outside(lambda: checked_address(parts, private=service.settings.private_targets, resolver=resolve))
    row = WebhookRow(
        id=new_id("hook"),
        site_id=principal.site,
        url=request.url,
        secret=new_id("whsec") + new_id(""),
        events=sorted(set(request.events)),
        created=utc_now(),
    )
    await service.database.write(lambda session: session.add(row))
    return {"id": row.id, "url": row.url, "events": row.events, "secret": row.secret}


@router.get("/v1/webhooks", response_model=Listed, responses=refusals())
async def webhooks(service: TheService, principal: Admin) -> Any:
    """Where events of your site are sent to."""
    rows = await service.database.read(
        lambda session: session.scalars(select(WebhookRow).where(WebhookRow.site_id == principal.site)).all()
    )
    return {"data": [{"id": row.id, "url": row.url, "events": row.events} for row in rows]}


@router.delete("/v1/webhooks/{id}", responses=refusals(404))
async def drop_webhook(service: TheService, principal: Admin, id: Id) -> dict[str, str]:
    """Send nothing there any more."""

    def drop(session: Session) -> bool:
        row = session.get(WebhookRow, id)
        if row is None or row.site_id != principal.site:
            return False
        session.delete(row)
        return True

    if not await service.database.write(drop):
        raise Refused(404, "webhook_not_found", f"Your site has no webhook {id[:80]!r}.")
    return {"id": id, "status": "deleted"}


@router.get("/v1/dead-letters", response_model=Listed, responses=refusals())
async def dead_letters(service: TheService, principal: Admin) -> Any:
    """Jobs that were given up after all their tries, the newest first."""
    rows = await service.database.read(
        lambda session: session.scalars(
            select(JobRow)
            .where(JobRow.site_id == principal.site, JobRow.failed.is_not(None))
            .order_by(JobRow.failed.desc())
            .limit(500)
        ).all()
    )
    names = ("id", "kind", "payload", "attempts", "error", "failed")
    return {"data": [{name: getattr(row, name) for name in names} for row in rows]}


@router.post("/v1/dead-letters/{id}/retry", responses=refusals(404))
async def retry(service: TheService, principal: Admin, id: Id) -> dict[str, str]:
    """Try a job again from the beginning."""
    if not await service.database.write(lambda session: try_again(session, principal.site, id)):
        raise Refused(404, "job_not_found", f"Your site has no job {id[:80]!r} that was given up.")
    return {"id": id, "status": "waiting"}
