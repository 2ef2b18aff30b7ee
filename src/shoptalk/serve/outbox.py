"""Jobs: work for later, stored in the transaction of its cause; who takes one holds it for the length of a lease."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shoptalk.serve.rows import JobRow, WebhookRow, new_id, utc_now

LEASE = timedelta(seconds=60)
WAITS = tuple(timedelta(seconds=seconds) for seconds in (2, 10, 60, 300, 1800, 7200))
"""How long after its n-th failure a job is tried again; after the last it is given up."""
EVENTS = (
    "message.received",
    "reply.sent",
    "handover.requested",
    "handover.answered",
    "handover.released",
    "lead.created",
    "feedback.given",
)


@dataclass(frozen=True)
class Job:
    """A job that was taken."""

    id: str
    site: str
    kind: str
    payload: dict[str, Any]
    attempts: int


def plan(session: Session, site: str, kind: str, payload: dict[str, Any], *, due: datetime | None = None) -> str:
    """Have something done, once this transaction is."""
    now = utc_now()
    job = JobRow(id=new_id("job"), site_id=site, kind=kind, payload=payload, due=due or now, attempts=0, created=now)
    session.add(job)
    return job.id


def tell(session: Session, site: str, event: str, content: dict[str, Any]) -> None:
    """Have an event sent to every webhook of the site that asked for it."""
    for hook in session.scalars(select(WebhookRow).where(WebhookRow.site_id == site)):
        if event in hook.events:
            body = {"id": new_id("evt"), "event": event, "at": utc_now().isoformat(), "data": content}
            plan(session, site, "webhook", {"webhook": hook.id, "body": body})


def take(session: Session, kind: str, *, most: int = 8) -> Sequence[Job]:
    """Jobs of a kind that are due and that nobody holds; they are the caller's for the length of a lease."""
    now = utc_now()
    rows = session.scalars(
        select(JobRow)
        .where(
            JobRow.kind == kind,
            JobRow.done.is_(None),
            JobRow.failed.is_(None),
            JobRow.due <= now,
            (JobRow.leased_until.is_(None)) | (JobRow.leased_until < now),
        )
        .order_by(JobRow.due)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        row.leased_until = now + LEASE
        row.attempts += 1
    return [Job(row.id, row.site_id, row.kind, row.payload, row.attempts) for row in rows]


def finish(session: Session, job: Job, *, error: str | None = None) -> None:
    """A job is done; or it is tried again later, and given up after the last wait."""
    row = session.get(JobRow, job.id)
    if row is None or row.attempts != job.attempts:  # erased, or another has taken it since
        return
    now = utc_now()
    row.leased_until = None
    row.error = error
    if error is None:
        row.done = now
    elif job.attempts > len(WAITS):
        row.failed = now
    else:
        row.due = now + WAITS[job.attempts - 1]


def try_again(session: Session, site: str, job: str) -> bool:
    """Take a job that was given up off the dead-letter list, to be tried from the beginning."""
    changed = session.execute(
        update(JobRow)
        .where(JobRow.id == job, JobRow.site_id == site, JobRow.failed.is_not(None))
        .values(failed=None, attempts=0, due=utc_now(), leased_until=None)
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined]
