"""What the server keeps, as tables (DESIGN, section 5, "Assistant"). Plain SQLAlchemy: any of its databases will do.

A site is what everything else belongs to; a conversation belongs to a visitor of a site; a message to a conversation.
"""

import secrets
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

MAIN_SITE = "main"
"""The site that is there without anybody having made it."""
Holder = Literal["assistant", "human"]
ASSISTANT: Holder = "assistant"
HUMAN: Holder = "human"
"""Who has a conversation."""


def new_id(prefix: str) -> str:
    """An identifier that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(12)}"


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone, also where the database keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As it is stored: in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As it is read: with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Rows(DeclarativeBase):
    """The tables' registry."""

    type_annotation_map = {datetime: UtcTime, dict[str, Any]: JSON, list[Any]: JSON, str: String(200)}  # noqa: RUF012


class SiteRow(Rows):
    """A website or product that visitors come from."""

    __tablename__ = "site"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    public_key: Mapped[str] = mapped_column(unique=True)
    secret: Mapped[str]
    """Signs the tokens of this site's visitors."""
    origins: Mapped[list[Any]]
    """The web origins from which its visitors' browsers may call."""
    created: Mapped[datetime]


class KeyRow(Rows):
    """An API key, by its digest: the key itself is shown once and kept nowhere."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[Any]]
    created: Mapped[datetime]
    revoked: Mapped[datetime | None]


class ConversationRow(Rows):
    """A conversation, and who has it: the assistant, or a person until released."""

    __tablename__ = "conversation"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    visitor: Mapped[str] = mapped_column(index=True)
    channel: Mapped[str]
    context: Mapped[list[Any]]
    """What was said before it came here, as a caller of `/v1/chat/completions` sent it: roles and texts."""
    held_by: Mapped[str]
    """A `Holder`."""
    agent: Mapped[str | None]
    """Who of the people has it; none where it waits."""
    handover_at: Mapped[datetime | None]
    handover_reason: Mapped[str | None]
    note: Mapped[str | None] = mapped_column(Text)
    """What the agent reads first."""
    created: Mapped[datetime]
    updated: Mapped[datetime]
    closed: Mapped[datetime | None]


class MessageRow(Rows):
    """One message. A visitor's names the message that answered it, once there is one."""

    __tablename__ = "message"
    __table_args__ = (UniqueConstraint("site_id", "owner", "idempotency_key"),)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id"), index=True)
    role: Mapped[str]
    """`visitor`, `assistant` or `agent`."""
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    author: Mapped[str | None]
    """The agent's name."""
    owner: Mapped[str]
    """Whose idempotency keys these are: the visitor, or the API key that sent it."""
    idempotency_key: Mapped[str | None]
    answered_by: Mapped[str | None] = mapped_column(index=True)


class PictureRow(Rows):
    """A picture that a visitor sent with a message, as it was written anew when it came."""

    __tablename__ = "message_picture"
    id: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id"), unique=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id"), index=True)
    digest: Mapped[str]
    """SHA-256 of what was sent: the same message again has the same."""
    data: Mapped[bytes] = mapped_column(LargeBinary)
    """A JPEG file."""


class TraceRow(Rows):
    """Why the assistant said what it said; in the transaction that stores the reply."""

    __tablename__ = "reply_trace"
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id"), primary_key=True)
    decision: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    path: Mapped[str]
    confidence: Mapped[float] = mapped_column(Float)
    intent: Mapped[str | None] = mapped_column(Text)
    run: Mapped[str]
    encoder: Mapped[str]
    index_version: Mapped[str]
    sentences: Mapped[list[Any]]
    turns: Mapped[list[Any]]
    """What was read, as roles and texts."""
    seconds: Mapped[dict[str, Any]]


class ReplySourceRow(Rows):
    """A passage that was read for a reply, and whether it was used."""

    __tablename__ = "reply_source"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id"), index=True)
    rank: Mapped[int]
    passage: Mapped[str] = mapped_column(Text)
    document: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    section: Mapped[str] = mapped_column(Text)
    start: Mapped[int]
    end: Mapped[int]
    link: Mapped[str | None] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    score: Mapped[float] = mapped_column(Float)
    used: Mapped[bool]


class OutcomeRow(Rows):
    """What became of an episode of a conversation: from its first message until it is closed."""

    __tablename__ = "conversation_outcome"
    __table_args__ = (UniqueConstraint("conversation_id", "episode"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id"))
    episode: Mapped[int]
    first_reply: Mapped[datetime | None]
    last_reply: Mapped[datetime | None]
    first_human_reply: Mapped[datetime | None]
    handover_at: Mapped[datetime | None]
    handover_reason: Mapped[str | None]
    resolved: Mapped[datetime | None]
    reopened: Mapped[datetime | None]
    rating: Mapped[int | None]


class GapRow(Rows):
    """A question for which retrieval worked and nothing relevant was there, and what a person answered later."""

    __tablename__ = "gap"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id"), index=True)
    message_id: Mapped[str]
    question: Mapped[str] = mapped_column(Text)
    grouping: Mapped[str] = mapped_column(index=True)
    """The question's words, sorted: questions of the same words are one group."""
    at: Mapped[datetime]
    human_answer: Mapped[str | None] = mapped_column(Text)


class FeedbackRow(Rows):
    """What a reader thought of a reply."""

    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("message_id", "owner"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id"))
    owner: Mapped[str]
    thumbs: Mapped[str]
    reason: Mapped[str | None]
    correction: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


class LeadRow(Rows):
    """A visitor who may be written to."""

    __tablename__ = "lead"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id"), index=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(String(320), index=True)
    at: Mapped[datetime]


class WebhookRow(Rows):
    """Where events of a site are sent to."""

    __tablename__ = "webhook"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str]
    events: Mapped[list[Any]]
    created: Mapped[datetime]


class JobRow(Rows):
    """Work that is to be done later, written in the transaction of its cause; a lease says who is at it."""

    __tablename__ = "job"
    __table_args__ = (Index("ix_job_waiting", "done", "failed", "due"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]
    due: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    attempts: Mapped[int]
    done: Mapped[datetime | None]
    failed: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime]
