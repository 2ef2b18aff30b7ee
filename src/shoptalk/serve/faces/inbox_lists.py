"""What the inbox lists: conversations that wait, that people have, and that the assistant has."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shoptalk.serve.rows import ASSISTANT, HUMAN, ConversationRow, Holder, MessageRow

Group = tuple[str, list[dict[str, Any]], str]
"""Heading, conversations, and what is said where there are none."""
_MOST = 50
_SNIPPET = 140


def groups_of(session: Session, site: str) -> Sequence[Group]:
    """A site's conversations, those that wait for a person first."""
    waiting = _rows(session, site, HUMAN, ConversationRow.agent.is_(None), order=ConversationRow.handover_at)
    taken = _rows(session, site, HUMAN, ConversationRow.agent.is_not(None), order=ConversationRow.handover_at)
    others = _rows(session, site, ASSISTANT, order=ConversationRow.updated.desc())
    return (
        ("Waiting", waiting, "Nobody waits for a person."),
        ("With people", taken, "Nobody of you has one."),
        ("With the assistant", others, "There are none yet."),
    )


def thread_of(row: ConversationRow) -> dict[str, Any]:
    """Who has a conversation, and why."""
    held = row.held_by == HUMAN
    return {
        "held_by": row.held_by,
        "agent": row.agent,
        "reason": row.handover_reason if held else None,
        "note": row.note if held else None,
        "closed": row.closed is not None,
    }


def _rows(session: Session, site: str, held_by: Holder, *conditions: Any, order: Any) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(ConversationRow)
        .where(ConversationRow.site_id == site, ConversationRow.held_by == held_by, *conditions)
        .order_by(order)
        .limit(_MOST)
    ).all()
    newest = (
        select(func.max(MessageRow.number))
        .where(MessageRow.conversation_id.in_([row.id for row in rows]), MessageRow.role == "visitor")
        .group_by(MessageRow.conversation_id)
    )
    last_words = {
        message.conversation_id: message.text
        for message in session.scalars(select(MessageRow).where(MessageRow.number.in_(newest)))
    }
    return [
        {
            "id": row.id,
            "agent": row.agent,
            "reason": row.handover_reason if held_by == HUMAN else None,
            "since": (row.handover_at or row.updated) if held_by == HUMAN else row.updated,
            "words": last_words.get(row.id, "")[:_SNIPPET],
        }
        for row in rows
    ]
