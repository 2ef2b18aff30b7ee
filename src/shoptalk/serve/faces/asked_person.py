"""A visitor asks for a person, or an agent steps in: the hand-overs that faces begin, each in one transaction."""

from datetime import timedelta

from sqlalchemy.orm import Session

from shoptalk.assistant.phrases import PHRASES
from shoptalk.serve.conversations import Incoming, accept, unanswered
from shoptalk.serve.faces.looks import Looks
from shoptalk.serve.handover import hand_over
from shoptalk.serve.rows import ConversationRow, utc_now
from shoptalk.serve.threads import add_message, answer_with, conversation_of


def person_wanted(
    session: Session, incoming: Incoming, *, told: str, note: str, patience: timedelta
) -> ConversationRow:
    """Store the wish as the visitor's message, tell them, and hand the conversation over."""
    accepted = accept(session, incoming)
    row = conversation_of(session, incoming.site, accepted.conversation, visitor=incoming.visitor)
    if row.held_by == "assistant":
        _tell_and_hand_over(session, row, told, note or f"- {incoming.text}", "customer_request", patience)
    return row


def step_in(session: Session, site: str, conversation: str, *, agent: str, told: str, patience: timedelta) -> None:
    """An agent takes a conversation that the assistant has; the visitor is told."""
    row = conversation_of(session, site, conversation)
    if row.held_by == "assistant":
        _tell_and_hand_over(session, row, told, "", "policy", patience)
        row.agent = agent


def told_in(language: str, looks: Looks, *, is_open: bool) -> str:
    """What a visitor is told who is passed on, in their page's language."""
    key = "escalate" if is_open else "escalate_closed"
    phrases = PHRASES.get(language, PHRASES["en"])
    return looks.texts.get(f"{key}.{language}") or looks.texts.get(key) or phrases[key]


def _tell_and_hand_over(
    session: Session, row: ConversationRow, told: str, note: str, reason: str, patience: timedelta
) -> None:
    missing = unanswered(session, row.id).messages
    message = add_message(session, row, role="assistant", text=told, at=utc_now(), owner="assistant")
    if reason == "customer_request":  # an agent who steps in answers what stands unanswered
        answer_with(session, row, missing, message)
    hand_over(session, row, reason=reason, note=note, patience=patience)
