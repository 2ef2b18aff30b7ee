"""What is kept about one person: given to them, or erased."""

import base64
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from shoptalk.serve.rows import (
    ConversationRow,
    FeedbackRow,
    GapRow,
    JobRow,
    LeadRow,
    MessageRow,
    OutcomeRow,
    PictureRow,
    ReplySourceRow,
    TraceRow,
)
from shoptalk.serve.threads import conversation_record


def conversations_of(session: Session, site: str, person: str) -> Sequence[ConversationRow]:
    """A person's conversations: of the visitor of this id, or who left this address, in capitals or not."""
    left = select(LeadRow.conversation_id).where(LeadRow.site_id == site, func.lower(LeadRow.email) == person.lower())
    visitors = select(ConversationRow.visitor).where(ConversationRow.id.in_(left))
    return session.scalars(
        select(ConversationRow).where(
            ConversationRow.site_id == site,
            or_(ConversationRow.visitor == person, ConversationRow.visitor.in_(visitors)),
        )
    ).all()


def export_person(session: Session, site: str, person: str) -> dict[str, Any]:
    """All that is kept about a person."""
    conversations = conversations_of(session, site, person)
    ids = [row.id for row in conversations]
    messages = select(MessageRow.id).where(MessageRow.conversation_id.in_(ids))
    leads = session.scalars(select(LeadRow).where(LeadRow.conversation_id.in_(ids)))
    feedback = session.scalars(select(FeedbackRow).where(FeedbackRow.message_id.in_(messages)))
    return {
        "conversations": [
            {**conversation_record(session, row), "visitor": row.visitor, "note": row.note, "context": row.context}
            for row in conversations
        ],
        "pictures": [
            {"id": row.id, "message": row.message_id, "jpeg": base64.b64encode(row.data).decode()}
            for row in session.scalars(select(PictureRow).where(PictureRow.conversation_id.in_(ids)))
        ],
        "leads": [{"name": row.name, "email": row.email, "at": row.at} for row in leads],
        "feedback": [
            {"message": row.message_id, "thumbs": row.thumbs, "reason": row.reason, "correction": row.correction}
            for row in feedback
        ],
    }


def erase_person(session: Session, site: str, person: str) -> dict[str, int]:
    """Delete all that is kept about a person, what waits to be sent elsewhere included; how many rows of each kind."""
    conversations = [row.id for row in conversations_of(session, site, person)]
    messages = list(session.scalars(select(MessageRow.id).where(MessageRow.conversation_id.in_(conversations))))
    jobs = [
        row.id for row in session.scalars(select(JobRow).where(JobRow.site_id == site)) if _names(row, conversations)
    ]
    erased = {}
    for name, statement in (
        ("jobs", delete(JobRow).where(JobRow.id.in_(jobs))),
        ("feedback", delete(FeedbackRow).where(FeedbackRow.message_id.in_(messages))),
        ("sources", delete(ReplySourceRow).where(ReplySourceRow.message_id.in_(messages))),
        ("traces", delete(TraceRow).where(TraceRow.message_id.in_(messages))),
        ("gaps", delete(GapRow).where(GapRow.conversation_id.in_(conversations))),
        ("leads", delete(LeadRow).where(LeadRow.conversation_id.in_(conversations))),
        ("outcomes", delete(OutcomeRow).where(OutcomeRow.conversation_id.in_(conversations))),
        ("pictures", delete(PictureRow).where(PictureRow.conversation_id.in_(conversations))),
        ("messages", delete(MessageRow).where(MessageRow.conversation_id.in_(conversations))),
        ("conversations", delete(ConversationRow).where(ConversationRow.id.in_(conversations))),
    ):
        erased[name] = int(session.execute(statement).rowcount)  # type: ignore[attr-defined]
    return erased


def _names(job: JobRow, conversations: Sequence[str]) -> bool:
    content = job.payload.get("body", {}).get("data", {}) if job.kind == "webhook" else job.payload
    return content.get("conversation") in conversations
