"""A conversation goes to a person and comes back. While a person has it, the assistant is silent."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shoptalk.assistant.phrases import phrase
from shoptalk.serve.outbox import plan, tell
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import ASSISTANT, HUMAN, ConversationRow, GapRow, MessageRow, utc_now
from shoptalk.serve.threads import (
    add_message,
    answer_with,
    conversation_of,
    messages_of,
    outcome_of,
    reopen,
    waiting_among,
)

REASONS = {
    "customer_request": "customer_request",
    "missing_knowledge": "missing_knowledge",
    "out_of_scope": "unsupported_request",
    "unsupported_request": "unsupported_request",
    "tool_failure": "tool_failure",
    "pending_clarification": "pending_clarification",
    "repetition": "limit",
    "limit": "limit",
}
"""The assistant's reason for handing over, as outcomes count it; any other is a policy."""


def told(session: Session, conversation: str, key: str, texts: Mapping[str, str]) -> str:
    """A sentence of the assistant's in the language that the visitor writes."""
    words = " ".join(message.text for message in messages_of(session, conversation) if message.role == "visitor")
    return phrase(key, words, texts)


def hand_over(session: Session, conversation: ConversationRow, *, reason: str, note: str, patience: timedelta) -> None:
    """Give a conversation to the people's queue. After `patience` without an answer of theirs it comes back (twice that
    where one has taken it); a closed one is open again.
    """
    now = utc_now()
    if conversation.closed is not None:
        reopen(session, conversation, now)
    conversation.held_by = HUMAN
    conversation.agent = None
    conversation.handover_at = now
    conversation.handover_reason = REASONS.get(reason, "policy")
    conversation.note = note
    outcome = outcome_of(session, conversation.id)
    if outcome.handover_at is None:
        outcome.handover_at = now
        outcome.handover_reason = conversation.handover_reason
    reference = {"conversation": conversation.id, "since": now.isoformat()}
    plan(session, conversation.site_id, "handover_timeout", reference, due=now + patience)
    event = {"conversation": conversation.id, "reason": conversation.handover_reason, "note": note}
    tell(session, conversation.site_id, "handover.requested", event)


def pass_on(session: Session, row: ConversationRow, *, words: str, reason: str, note: str, patience: timedelta) -> None:
    """Hand a conversation over and tell the visitor. That answers what the visitor wrote who asked for a person; an
    agent who steps in answers it.
    """
    waiting = [message.id for message in waiting_among(messages_of(session, row.id))]
    message = add_message(session, row, role="assistant", text=words, at=utc_now(), owner="assistant")
    if reason == "customer_request":
        answer_with(session, row, waiting, message)
    hand_over(session, row, reason=reason, note=note, patience=patience)


def held(session: Session, site: str, conversation: str) -> ConversationRow:
    """A conversation that a person may act in."""
    row = conversation_of(session, site, conversation)
    if row.held_by != HUMAN:
        raise Refused(409, "not_handed_over", "The assistant has this conversation. Hand it over first.")
    return row


def assign(session: Session, site: str, conversation: str, *, agent: str, over: bool = False) -> ConversationRow:
    """Let one agent have it. Another's is taken `over` only where that is said."""
    row = held(session, site, conversation)
    if row.agent not in (None, agent) and not over:
        raise Refused(409, "assigned", f"{row.agent} has this conversation. Send `take_over: true` to take it over.")
    row.agent = agent
    return row


def agent_reply(session: Session, site: str, conversation: str, *, agent: str, text: str) -> MessageRow:
    """A person's message: it answers all that stands unanswered."""
    row = assign(session, site, conversation, agent=agent)
    now = utc_now()
    missing = [message.id for message in waiting_among(messages_of(session, row.id))]
    message = add_message(session, row, role="agent", text=text, at=now, owner="agent", author=agent)
    answer_with(session, row, missing, message)
    outcome = outcome_of(session, row.id)
    outcome.first_human_reply = outcome.first_human_reply or now
    row.updated = now
    session.execute(
        update(GapRow).where(GapRow.conversation_id == row.id, GapRow.human_answer.is_(None)).values(human_answer=text)
    )
    tell(session, site, "handover.answered", {"conversation": row.id, "message": message.id, "agent": agent})
    return message


def release(session: Session, row: ConversationRow, *, texts: Mapping[str, str], key: str = "released") -> MessageRow:
    """Give it back to the assistant, which tells the visitor; what nobody answered, it answers."""
    now = utc_now()
    row.held_by = ASSISTANT
    row.agent = None
    row.updated = now
    sentence = told(session, row.id, key, texts)
    message = add_message(session, row, role="assistant", text=sentence, at=now, owner="assistant")
    tell(session, row.site_id, "handover.released", {"conversation": row.id})
    return message


def close(session: Session, site: str, conversation: str, *, texts: Mapping[str, str]) -> ConversationRow:
    """It is resolved, unless the visitor writes again. What stands unanswered is answered by the closing words."""
    row = conversation_of(session, site, conversation)
    now = utc_now()
    if row.closed is None:
        missing = [message.id for message in waiting_among(messages_of(session, row.id))]
        if row.held_by == ASSISTANT and missing:
            raise Refused(409, "being_answered", "A message is being answered. Close it after that.")
        sentence = told(session, row.id, "closed", texts)
        message = add_message(session, row, role="assistant", text=sentence, at=now, owner="assistant")
        answer_with(session, row, missing, message)
        row.held_by, row.agent, row.closed, row.updated = ASSISTANT, None, now, now
        outcome_of(session, row.id).resolved = now
    return row


def come_back(
    session: Session,
    conversation: str,
    since: str,
    *,
    texts: Mapping[str, str],
    patience: timedelta,
    agent: str | None = None,
) -> ConversationRow | None:
    """The time-out of a hand-over: where nobody has answered since, the assistant has it again. An agent who has taken
    it meanwhile, and is not the `agent` who was waited for, gets as long again.
    """
    row = session.scalars(
        select(ConversationRow).where(ConversationRow.id == conversation).with_for_update()
    ).one_or_none()
    if row is None or row.held_by != HUMAN or row.handover_at != datetime.fromisoformat(since):
        return None
    answers = session.scalar(
        select(func.count())
        .select_from(MessageRow)
        .where(MessageRow.conversation_id == row.id, MessageRow.role == "agent", MessageRow.at >= row.handover_at)
    )
    if answers:
        return None
    if row.agent not in (None, agent):
        reference = {"conversation": row.id, "since": since, "agent": row.agent}
        plan(session, row.site_id, "handover_timeout", reference, due=utc_now() + patience)
        return None
    release(session, row, texts=texts, key="back")
    return row


def queue(session: Session, site: str) -> list[dict[str, Any]]:
    """The conversations that people have, those that wait longest first."""
    rows = session.scalars(
        select(ConversationRow)
        .where(ConversationRow.site_id == site, ConversationRow.held_by == HUMAN)
        .order_by(ConversationRow.agent.is_not(None), ConversationRow.handover_at)
        .limit(500)
    )
    return [
        {
            "conversation": row.id,
            "status": "assigned" if row.agent else "waiting",
            "agent": row.agent,
            "reason": row.handover_reason,
            "note": row.note,
            "since": row.handover_at,
        }
        for row in rows
    ]
