"""A stored reply, read back with what it rests on: what every surface of the API is made from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from shoptalk.serve.handover import told
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import ASSISTANT, ConversationRow, MessageRow, ReplySourceRow, TraceRow
from shoptalk.serve.threads import SOURCE_FIELDS


@dataclass(frozen=True)
class StoredAnswer:
    """What was answered to a visitor's message."""

    conversation: str
    message: str | None
    """None while a person has the conversation and has not answered yet."""
    decision: str
    reason: str
    text: str
    confidence: float = 0.0
    sources: tuple[dict[str, Any], ...] = ()
    """The passages that the text rests on, the best first."""
    sentences: tuple[dict[str, Any], ...] = ()
    answers: tuple[str, ...] = ()
    trace: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As `/v1/reply` gives it."""
        return {
            "conversation": self.conversation,
            "message": self.message,
            "decision": self.decision,
            "reason": self.reason,
            "text": self.text,
            "sources": list(self.sources),
            "confidence": self.confidence,
            "answers": list(self.answers),
            "trace": self.trace,
        }

    def citations(self) -> list[dict[str, Any]]:
        """Where in the text which source is cited, as OpenAI's annotations have it."""
        by_rank = {source["rank"]: source for source in self.sources}
        citations, place = [], 0
        for sentence in self.sentences:
            start = self.text.find(sentence["text"], place)
            if start < 0:
                continue
            place = start + len(sentence["text"])
            citations += [
                {
                    "start_index": start,
                    "end_index": place,
                    "title": by_rank[rank]["title"],
                    "url": by_rank[rank]["link"] or f"urn:shoptalk:{quote(by_rank[rank]['passage'], safe=':')}",
                }
                for rank in sentence["sources"]
                if rank in by_rank
            ]
        return citations


def answer_to(session: Session, message: str, texts: Mapping[str, str]) -> StoredAnswer:
    """What was answered to a visitor's message.

    Raises:
        Refused: it is not answered yet, though no person has the conversation: answering failed for now.
    """
    asked = session.scalars(select(MessageRow).where(MessageRow.id == message)).one()
    if asked.answered_by is not None:
        return answer_of(session, asked.answered_by, texts)
    conversation = session.get_one(ConversationRow, asked.conversation_id)
    if conversation.held_by == ASSISTANT:
        raise Refused(
            503,
            "not_answered_yet",
            "The message is stored and will be answered, but it cannot be at present. Send it again in a moment under "
            f"the same Idempotency-Key, or read the conversation {conversation.id!r}.",
            retry_after=5.0,
        )
    return _held(session, conversation.id, texts)


def _held(session: Session, conversation: str, texts: Mapping[str, str]) -> StoredAnswer:
    return StoredAnswer(conversation, None, "escalate", "held_by_person", told(session, conversation, "held", texts))


def answer_of(session: Session, reply: str, texts: Mapping[str, str]) -> StoredAnswer:
    """A reply by its own id, or by its conversation's where a person had not given it yet."""
    if session.get(ConversationRow, reply) is not None:
        return _held(session, reply, texts)
    message = session.scalars(select(MessageRow).where(MessageRow.id == reply)).one()
    answers = tuple(
        session.scalars(select(MessageRow.id).where(MessageRow.answered_by == reply).order_by(MessageRow.number))
    )
    trace = session.get(TraceRow, reply)
    if trace is None:
        reason = "answered_by_person" if message.role == "agent" else "notice"
        return StoredAnswer(message.conversation_id, reply, "escalate", reason, message.text, answers=answers)
    return StoredAnswer(
        conversation=message.conversation_id,
        message=reply,
        decision=trace.decision,
        reason=trace.reason,
        text=message.text,
        confidence=trace.confidence,
        sources=tuple(source for source in _sources(session, reply) if source.pop("used")),
        sentences=tuple(trace.sentences),
        answers=answers,
        trace={
            "path": trace.path,
            "intent": trace.intent,
            "versions": {"run": trace.run, "encoder": trace.encoder, "index": trace.index_version},
            "seconds": trace.seconds,
        },
    )


def _sources(session: Session, reply: str) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(ReplySourceRow).where(ReplySourceRow.message_id == reply).order_by(ReplySourceRow.rank)
    )
    return [{name: getattr(row, name) for name in (*SOURCE_FIELDS, "used")} for row in rows]


def whole_trace(session: Session, site: str, reply: str) -> dict[str, Any]:
    """Why the assistant said this: turns, decision and reason, all passages with their scores, and what answered."""
    message = session.scalar(select(MessageRow).where(MessageRow.id == reply, MessageRow.site_id == site))
    trace = session.get(TraceRow, reply) if message is not None else None
    if message is None or trace is None:
        raise Refused(404, "trace_not_found", f"No reply of the assistant has the id {reply[:80]!r}.")
    answer = answer_of(session, reply, {})  # a reply that there is has its own words
    return {
        **answer.record(),
        "sources": _sources(session, reply),
        "sentences": trace.sentences,
        "turns": trace.turns,
        "at": message.at,
    }


def conversation_before(session: Session, site: str, reply: str) -> str:
    """The conversation that a reply belongs to. Its own id stands for a reply that a person had not given yet."""
    message = session.scalar(
        select(MessageRow).where(MessageRow.id == reply, MessageRow.site_id == site, MessageRow.role != "visitor")
    )
    if message is not None:
        return message.conversation_id
    if session.scalar(select(ConversationRow.id).where(ConversationRow.id == reply, ConversationRow.site_id == site)):
        return reply
    raise Refused(404, "reply_not_found", f"There is no reply {reply[:80]!r} here.")


def words_in(texts: Sequence[str]) -> int:
    """Words and signs: what `usage` counts, for no language model's tokens are used."""
    return sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in texts)


def pieces(text: str) -> list[str]:
    """A text in the pieces in which it is streamed; joined they are the text."""
    bare = text.rstrip()
    words = re.findall(r"\s*\S+", bare)
    parts = ["".join(words[first : first + 4]) for first in range(0, len(words), 4)] or [""]
    return [*parts[:-1], parts[-1] + text[len(bare) :]]
