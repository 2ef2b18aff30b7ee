"""Hand-over: the queue, who has a conversation, what people write, and how it goes back to the assistant."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path
from sqlalchemy import select

from shoptalk.assistant.phrases import language_of
from shoptalk.serve.asked_person import turns_in, words_of_handover
from shoptalk.serve.asking import Agent, Talker, TheService, refusals
from shoptalk.serve.gaps import gaps_by_meaning, gaps_by_words
from shoptalk.serve.handover import agent_reply, assign, close, held, pass_on, queue, release
from shoptalk.serve.rows import ASSISTANT, LeadRow
from shoptalk.serve.service import Service
from shoptalk.serve.shapes import (
    AgentMessage,
    AssignRequest,
    ConversationResponse,
    HandoverRequest,
    Listed,
    ThreadMessage,
)
from shoptalk.serve.threads import conversation_of, conversation_record, message_records

router = APIRouter(tags=["hand-over"])
Id = Annotated[str, Path(max_length=200)]


@router.post("/v1/conversations/{id}/handover", response_model=ConversationResponse, responses=refusals(404, 409))
async def request_handover(service: TheService, principal: Talker, id: Id, request: HandoverRequest) -> Any:
    """Have a person take over. The visitor is told; the assistant is silent until the conversation is released."""
    turns = await turns_in(service, principal, id)
    summary: str = await service.in_thread(lambda: service.assistant.summary(turns))
    words = words_of_handover(service, language_of(" ".join(turn.text for turn in turns if turn.role == "user")))

    def change(session: Any) -> dict[str, Any]:
        row = conversation_of(session, principal.site, id, visitor=principal.visitor)
        if row.held_by == ASSISTANT:
            note, patience = request.note or summary, service.patience()
            pass_on(session, row, words=words, reason="customer_request", note=note, patience=patience)
        return conversation_record(session, row)

    return await _changed(service, id, await service.database.write(change))


@router.get("/v1/inbox", response_model=Listed, responses=refusals())
async def inbox(service: TheService, principal: Agent) -> Any:
    """The conversations that people have, those that wait for one first."""
    return {"data": await service.database.read(lambda session: queue(session, principal.site))}


@router.post("/v1/conversations/{id}/assign", response_model=ConversationResponse, responses=refusals(404, 409))
async def take(service: TheService, principal: Agent, id: Id, request: AssignRequest) -> Any:
    """Take a conversation from the queue, or give it to a colleague."""
    agent = request.agent or principal.name
    record = await service.database.write(
        lambda session: conversation_record(
            session, assign(session, principal.site, id, agent=agent, over=request.take_over)
        )
    )
    return await _changed(service, id, record)


@router.post("/v1/conversations/{id}/reply", response_model=ThreadMessage, responses=refusals(404, 409))
async def answer_as_person(service: TheService, principal: Agent, id: Id, request: AgentMessage) -> Any:
    """A person's message. It answers all that stands unanswered in the conversation."""

    def change(session: Any) -> dict[str, Any]:
        agent = request.agent or principal.name
        message = agent_reply(session, principal.site, id, agent=agent, text=request.text)
        return message_records(session, id, after=message.number - 1)[0]

    return await _changed(service, id, await service.database.write(change))


@router.post("/v1/conversations/{id}/release", response_model=ConversationResponse, responses=refusals(404, 409))
async def give_back(service: TheService, principal: Agent, id: Id) -> Any:
    """Give a conversation back to the assistant, which answers what nobody has answered."""

    def change(session: Any) -> dict[str, Any]:
        row = held(session, principal.site, id)
        release(session, row, texts=service.texts)
        return conversation_record(session, row)

    record = await service.database.write(change)
    service.answerer.schedule(id, whole=True)
    return await _changed(service, id, record)


@router.post("/v1/conversations/{id}/close", response_model=ConversationResponse, responses=refusals(404, 409))
async def resolve(service: TheService, principal: Agent, id: Id) -> Any:
    """Close a conversation. A visitor who writes again opens it."""
    record = await service.database.write(
        lambda session: conversation_record(session, close(session, principal.site, id, texts=service.texts))
    )
    return await _changed(service, id, record)


@router.get("/v1/conversations/{id}/suggestions", response_model=Listed, responses=refusals(404))
async def suggestions(service: TheService, principal: Agent, id: Id) -> Any:
    """What the agent might answer."""
    turns = await turns_in(service, principal, id)
    texts: Sequence[str] = await service.in_thread(lambda: service.assistant.suggest(turns))
    return {"data": [{"text": text} for text in texts]}


@router.get("/v1/gaps", response_model=Listed, responses=refusals())
async def gaps(service: TheService, principal: Agent) -> Any:
    """Questions that the knowledge has nothing about, those asked most often first, and what people answered. Questions
    of the same words are one, and of the most frequent those that mean the same.
    """
    groups = await service.database.read(lambda session: gaps_by_words(session, principal.site))
    return {"data": await service.in_thread(lambda: gaps_by_meaning(groups, service.assistant.embed))}


@router.get("/v1/leads", response_model=Listed, responses=refusals())
async def leads(service: TheService, principal: Agent) -> Any:
    """Visitors who want to be written to, the newest first."""

    def read(session: Any) -> list[dict[str, Any]]:
        rows = session.scalars(
            select(LeadRow).where(LeadRow.site_id == principal.site).order_by(LeadRow.at.desc()).limit(500)
        )
        names = ("id", "conversation_id", "name", "email", "at")
        return [{name.removesuffix("_id"): getattr(row, name) for name in names} for row in rows]

    return {"data": await service.database.read(read)}


async def _changed(service: Service, conversation: str, record: Any) -> Any:
    service.news_of(conversation)
    return record
