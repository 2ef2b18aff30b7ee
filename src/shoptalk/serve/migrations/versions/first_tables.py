"""The first tables."""

import sqlalchemy as sa
from alembic import op

from shoptalk.serve.rows import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them; a table comes after those that it names."""
    _sites()
    _conversations()
    _replies()


def _sites() -> None:
    """Sites, the keys to them, and the work that is done for them later."""
    op.create_table(
        "site",
        _word("id"),
        _word("name"),
        _word("public_key"),
        _word("secret"),
        sa.Column("origins", sa.JSON(), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("public_key"),
    )
    op.create_table(
        "api_key",
        _word("id"),
        _word("site_id"),
        _word("name"),
        _word("digest"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("revoked", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index(op.f("ix_api_key_site_id"), "api_key", ["site_id"], unique=False)
    op.create_table(
        "job",
        _word("id"),
        _word("site_id"),
        _word("kind"),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("due", UtcTime(), nullable=False),
        sa.Column("leased_until", UtcTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done", UtcTime(), nullable=True),
        sa.Column("failed", UtcTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_job_site_id"), "job", ["site_id"], unique=False)
    op.create_index("ix_job_waiting", "job", ["done", "failed", "due"], unique=False)
    op.create_table(
        "webhook",
        _word("id"),
        _word("site_id"),
        sa.Column("url", sa.Text(), nullable=False),
        _word("secret"),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_webhook_site_id"), "webhook", ["site_id"], unique=False)


def _conversations() -> None:
    """Conversations, their messages, and how they went."""
    op.create_table(
        "conversation",
        _word("id"),
        _word("site_id"),
        _word("visitor"),
        _word("channel"),
        sa.Column("context", sa.JSON(), nullable=False),
        _word("held_by"),
        _word("agent", nullable=True),
        sa.Column("handover_at", UtcTime(), nullable=True),
        _word("handover_reason", nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("updated", UtcTime(), nullable=False),
        sa.Column("closed", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_conversation_site_id"), "conversation", ["site_id"], unique=False)
    op.create_index(op.f("ix_conversation_visitor"), "conversation", ["visitor"], unique=False)
    op.create_table(
        "message",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        _word("id"),
        _word("site_id"),
        _word("conversation_id"),
        _word("role"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        _word("author", nullable=True),
        _word("owner"),
        _word("idempotency_key", nullable=True),
        _word("answered_by", nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("site_id", "owner", "idempotency_key"),
    )
    op.create_index(op.f("ix_message_answered_by"), "message", ["answered_by"], unique=False)
    op.create_index(op.f("ix_message_conversation_id"), "message", ["conversation_id"], unique=False)
    op.create_table(
        "conversation_outcome",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _word("site_id"),
        _word("conversation_id"),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("first_reply", UtcTime(), nullable=True),
        sa.Column("last_reply", UtcTime(), nullable=True),
        sa.Column("first_human_reply", UtcTime(), nullable=True),
        sa.Column("handover_at", UtcTime(), nullable=True),
        _word("handover_reason", nullable=True),
        sa.Column("resolved", UtcTime(), nullable=True),
        sa.Column("reopened", UtcTime(), nullable=True),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("conversation_id", "episode"),
    )
    op.create_index(op.f("ix_conversation_outcome_site_id"), "conversation_outcome", ["site_id"], unique=False)
    op.create_table(
        "gap",
        _word("id"),
        _word("site_id"),
        _word("conversation_id"),
        _word("message_id"),
        sa.Column("question", sa.Text(), nullable=False),
        _word("grouping"),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("human_answer", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_gap_conversation_id"), "gap", ["conversation_id"], unique=False)
    op.create_index(op.f("ix_gap_grouping"), "gap", ["grouping"], unique=False)
    op.create_index(op.f("ix_gap_site_id"), "gap", ["site_id"], unique=False)
    op.create_table(
        "lead",
        _word("id"),
        _word("site_id"),
        _word("conversation_id"),
        _word("name"),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_lead_conversation_id"), "lead", ["conversation_id"], unique=False)
    op.create_index(op.f("ix_lead_email"), "lead", ["email"], unique=False)
    op.create_index(op.f("ix_lead_site_id"), "lead", ["site_id"], unique=False)


def _replies() -> None:
    """What each reply rests on, and what readers think of it."""
    op.create_table(
        "reply_trace",
        _word("message_id"),
        _word("decision"),
        _word("reason"),
        _word("path"),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=True),
        _word("run"),
        _word("encoder"),
        _word("index_version"),
        sa.Column("sentences", sa.JSON(), nullable=False),
        sa.Column("turns", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.PrimaryKeyConstraint("message_id"),
    )
    op.create_index(op.f("ix_reply_trace_decision"), "reply_trace", ["decision"], unique=False)
    op.create_table(
        "reply_source",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _word("message_id"),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("passage", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("section", sa.Text(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("link", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_reply_source_message_id"), "reply_source", ["message_id"], unique=False)
    op.create_table(
        "feedback",
        _word("id"),
        _word("site_id"),
        _word("message_id"),
        _word("owner"),
        _word("thumbs"),
        _word("reason", nullable=True),
        sa.Column("correction", sa.Text(), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id", "owner"),
    )
    op.create_index(op.f("ix_feedback_site_id"), "feedback", ["site_id"], unique=False)


def _word(name: str, *, nullable: bool = False) -> "sa.Column[str]":
    """A column of ids, names and other short words."""
    return sa.Column(name, sa.String(length=200), nullable=nullable)
