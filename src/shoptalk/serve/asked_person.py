"""A visitor asks for a person, or an agent steps in: the hand-overs that faces begin, each in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from shoptalk.assistant.desk_hours import is_open
from shoptalk.assistant.phrases import phrase_in
from shoptalk.records import Turn
from shoptalk.serve.access import Principal
from shoptalk.serve.conversations import Accepted, Incoming, accept, unanswered
from shoptalk.serve.handover import pass_on, told
from shoptalk.serve.rows import ASSISTANT
from shoptalk.serve.service import Service
from shoptalk.serve.threads import conversation_of


async def ask_for_person(service: Service, principal: Principal, incoming: Incoming, *, language: str) -> Accepted:
    """The visitor wants a person: this is stored as their message, and answered by handing the conversation over."""
    service.check_length(incoming.text)
    note = ""
    if incoming.conversation is not None:
        note = await summary_of(service, principal, incoming.conversation)
    words, patience = words_of_handover(service, language), service.patience()
    accepted = await service.database.write(
        lambda session: person_wanted(session, incoming, words=words, note=note, patience=patience)
    )
    service.news_of(accepted.conversation)
    return accepted


def words_of_handover(service: Service, language: str) -> str:
    """What a visitor is told whose conversation goes to a person, as it is open or closed now."""
    settings = service.assistant.settings
    open_now = is_open(settings, datetime.now(UTC).astimezone(ZoneInfo(settings.timezone)))
    return phrase_in(language, "escalate" if open_now else "escalate_closed", settings.texts)


def person_wanted(session: Session, incoming: Incoming, *, words: str, note: str, patience: timedelta) -> Accepted:
    """Store the wish as the visitor's message, tell them, and hand the conversation over."""
    accepted = accept(session, incoming)
    row = conversation_of(session, incoming.site, accepted.conversation, visitor=incoming.visitor)
    if row.held_by == ASSISTANT and not accepted.repeated:
        note = note or f"- {incoming.text}"
        pass_on(session, row, words=words, reason="customer_request", note=note, patience=patience)
    return accepted


def step_in(
    session: Session, site: str, conversation: str, *, agent: str, texts: Mapping[str, str], patience: timedelta
) -> None:
    """An agent takes a conversation that the assistant has; the visitor is told."""
    row = conversation_of(session, site, conversation)
    if row.held_by == ASSISTANT:
        words = told(session, row.id, "joined", texts)
        pass_on(session, row, words=words, reason="policy", note="", patience=patience)
        row.agent = agent


async def summary_of(service: Service, principal: Principal, conversation: str) -> str:
    """What a person who takes a conversation over reads first."""
    turns = await turns_in(service, principal, conversation)
    summary: str = await service.in_thread(lambda: service.assistant.summary(turns))
    return summary


async def turns_in(service: Service, principal: Principal, conversation: str) -> Sequence[Turn]:
    """What was said in a conversation that the asker may see."""

    def read(session: Session) -> Sequence[Turn]:
        row = conversation_of(session, principal.site, conversation, visitor=principal.visitor)
        return unanswered(session, row.id).turns

    return await service.database.read(read)
