"""Conversations and their messages, as rows: what accepting, answering and handing over have in common."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import ConversationRow, MessageRow, OutcomeRow, ReplySourceRow, TraceRow, new_id
from shoptalk.serve.shapes import CitedSource
from shoptalk.serve.shown_pictures import pictures_of


def conversation_of(session: Session, site: str, conversation: str, *, visitor: str | None = None) -> ConversationRow:
    """A site's conversation, locked where the database can; also the visitor's own, where one is named."""
    rows = select(ConversationRow).where(ConversationRow.id == conversation, ConversationRow.site_id == site)
    if visitor is not None:
        rows = rows.where(ConversationRow.visitor == visitor)
    row = session.scalar(rows.with_for_update())
    if row is None:
        raise Refused(
            404,
            "conversation_not_found",
            f"There is no conversation {conversation[:80]!r} here. Leave it out to begin one.",
        )
    return row


def add_message(
    session: Session,
    conversation: ConversationRow,
    *,
    role: str,
    text: str,
    at: datetime,
    owner: str,
    author: str | None = None,
    idempotency_key: str | None = None,
) -> MessageRow:
    """Store one."""
    message = MessageRow(
        id=new_id("msg"),
        site_id=conversation.site_id,
        conversation_id=conversation.id,
        role=role,
        text=text,
        at=at,
        author=author,
        owner=owner,
        idempotency_key=idempotency_key,
    )
    session.add(message)
    session.flush()
    return message


def waiting_among(messages: Sequence[MessageRow]) -> list[MessageRow]:
    """The visitor's messages that nobody has answered."""
    return [message for message in messages if message.role == "visitor" and message.answered_by is None]


def reopen(session: Session, conversation: ConversationRow, at: datetime) -> None:
    """Open a closed conversation: another episode of it begins."""
    last = outcome_of(session, conversation.id)
    last.reopened = at
    conversation.closed = None
    session.add(OutcomeRow(site_id=conversation.site_id, conversation_id=conversation.id, episode=last.episode + 1))
    session.flush()


def outcome_of(session: Session, conversation: str) -> OutcomeRow:
    """The row of a conversation's last episode."""
    return session.scalars(
        select(OutcomeRow)
        .where(OutcomeRow.conversation_id == conversation)
        .order_by(OutcomeRow.episode.desc())
        .limit(1)
    ).one()


def messages_of(session: Session, conversation: str, *, after: int = 0) -> Sequence[MessageRow]:
    """A conversation's messages in the order in which they were stored."""
    return session.scalars(
        select(MessageRow)
        .where(MessageRow.conversation_id == conversation, MessageRow.number > after)
        .order_by(MessageRow.number)
    ).all()


def answer_with(session: Session, conversation: ConversationRow, messages: Sequence[str], answer: MessageRow) -> bool:
    """Let visitors' messages name their answer; False where one of them has another one already."""
    answered = session.execute(
        update(MessageRow)
        .where(
            MessageRow.conversation_id == conversation.id,
            MessageRow.id.in_(messages),
            MessageRow.role == "visitor",
            MessageRow.answered_by.is_(None),
        )
        .values(answered_by=answer.id)
    )
    return int(answered.rowcount) == len(messages)  # type: ignore[attr-defined]


def conversation_record(session: Session, conversation: ConversationRow) -> dict[str, Any]:
    """A conversation as `/v1/conversations/{id}` shows it."""
    return {
        "id": conversation.id,
        "held_by": conversation.held_by,
        "agent": conversation.agent,
        "created": conversation.created,
        "closed": conversation.closed is not None,
        "messages": message_records(session, conversation.id),
    }


def message_records(session: Session, conversation: str, *, after: int = 0) -> list[dict[str, Any]]:
    """Messages as they are shown: a reply names those it answers, what was decided, and what it rests on."""
    messages = messages_of(session, conversation)
    answers: dict[str, list[str]] = {}
    for message in messages:
        if message.answered_by is not None:
            answers.setdefault(message.answered_by, []).append(message.id)
    replies = [message.id for message in messages if message.number > after and message.role == "assistant"]
    cited = _cited(session, replies)
    decided = session.execute(
        select(TraceRow.message_id, TraceRow.decision).where(TraceRow.message_id.in_(replies))
    ).all()
    decisions = {row.message_id: row.decision for row in decided}
    pictures = pictures_of(session, conversation)
    return [
        {
            "id": message.id,
            "number": message.number,
            "role": message.role,
            "text": message.text,
            "at": message.at,
            "author": message.author,
            "answers": answers.get(message.id, []),
            "decision": decisions.get(message.id),
            "sources": cited.get(message.id, []),
            "picture": pictures.get(message.id),
        }
        for message in messages
        if message.number > after
    ]


SOURCE_FIELDS = tuple(CitedSource.model_fields)


def _cited(session: Session, messages: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The passages that each message rests on, the best first."""
    rows = session.scalars(
        select(ReplySourceRow)
        .where(ReplySourceRow.message_id.in_(messages), ReplySourceRow.used)
        .order_by(ReplySourceRow.message_id, ReplySourceRow.rank)
    )
    cited: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        cited.setdefault(row.message_id, []).append({name: getattr(row, name) for name in SOURCE_FIELDS})
    return cited
