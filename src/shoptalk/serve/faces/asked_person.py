"""A visitor asks for a person, or an agent steps in: the hand-overs that faces begin, each in one transaction."""

from datetime import timedelta

from sqlalchemy.orm import Session

from shoptalk.serve.conversations import Incoming, accept
from shoptalk.serve.handover import pass_on
from shoptalk.serve.rows import ASSISTANT, ConversationRow
from shoptalk.serve.threads import conversation_of


def person_wanted(
    session: Session, incoming: Incoming, *, told: str, note: str, patience: timedelta
) -> ConversationRow:
    """Store the wish as the visitor's message, tell them, and hand the conversation over."""
    accepted = accept(session, incoming)
    row = conversation_of(session, incoming.site, accepted.conversation, visitor=incoming.visitor)
    if row.held_by == ASSISTANT:
        note = note or f"- {incoming.text}"
        pass_on(session, row, told=told, reason="customer_request", note=note, patience=patience)
    return row


def step_in(session: Session, site: str, conversation: str, *, agent: str, told: str, patience: timedelta) -> None:
    """An agent takes a conversation that the assistant has; the visitor is told."""
    row = conversation_of(session, site, conversation)
    if row.held_by == ASSISTANT:
        pass_on(session, row, told=told, reason="policy", note="", patience=patience)
        row.agent = agent
