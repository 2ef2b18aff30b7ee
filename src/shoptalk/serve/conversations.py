"""A message is accepted, then answered: the transactions that every reply consists of. Each takes a session of one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shoptalk.assistant.reply import Decision, Reply
from shoptalk.records import Turn
from shoptalk.serve.handover import hand_over
from shoptalk.serve.outbox import tell
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import (
    ASSISTANT,
    HUMAN,
    ConversationRow,
    GapRow,
    MessageRow,
    OutcomeRow,
    PictureRow,
    ReplySourceRow,
    TraceRow,
    new_id,
    utc_now,
)
from shoptalk.serve.shown_pictures import keep_picture, last_picture
from shoptalk.serve.threads import (
    add_message,
    answer_with,
    conversation_of,
    messages_of,
    outcome_of,
    reopen,
    waiting_among,
)
from shoptalk.serve.uploads import Upload

ROLES = {"visitor": "user", "assistant": "assistant", "agent": "agent"}
"""What the assistant calls those who wrote a message."""
_OF_LATE = 10_000
"""Messages among which one that was left unanswered is looked for while the server runs."""


@dataclass(frozen=True)
class Incoming:
    """A visitor's message as it arrived."""

    site: str
    owner: str
    """The visitor, or the API key that speaks for visitors."""
    text: str
    visitor: str | None = None
    conversation: str | None = None
    """None begins a conversation."""
    key: str | None = None
    """The same key again is the same message again."""
    channel: str = "reply"
    context: tuple[Turn, ...] = ()
    earlier: tuple[str, ...] = ()
    """What the visitor wrote just before, in messages of their own, to be answered together with `text`."""
    picture: Upload | None = None
    """What the visitor shows with it."""


@dataclass(frozen=True)
class Accepted:
    """A message that is stored, whether it is answered or not."""

    conversation: str
    message: str
    repeated: bool
    held_by: str


@dataclass(frozen=True)
class Waiting:
    """A conversation's messages without an answer, and all that was said before and in them."""

    conversation: str
    messages: tuple[str, ...]
    turns: tuple[Turn, ...]
    held_by: str
    decisions: tuple[Decision, ...] = ()
    """What the assistant decided in this conversation before, the oldest first."""
    picture: bytes | None = None
    """What the visitor shows with these messages, the last where there are several."""


def accept(session: Session, incoming: Incoming) -> Accepted:
    """Store a visitor's message, unless it is there already under its idempotency key."""
    if incoming.key is not None and (earlier := _repeated(session, incoming)) is not None:
        return earlier
    now = utc_now()
    conversation = _conversation_of(session, incoming, now)
    for text in incoming.earlier:
        add_message(session, conversation, role="visitor", text=text, at=now, owner=incoming.owner)
    message = add_message(
        session,
        conversation,
        role="visitor",
        text=incoming.text,
        at=now,
        owner=incoming.owner,
        idempotency_key=incoming.key,
    )
    if incoming.picture is not None:
        keep_picture(session, message, incoming.picture)
    conversation.updated = now
    if conversation.closed is not None:
        reopen(session, conversation, now)
    tell(session, incoming.site, "message.received", {"conversation": conversation.id, "message": message.id})
    return Accepted(conversation.id, message.id, False, conversation.held_by)


def _repeated(session: Session, incoming: Incoming) -> Accepted | None:
    message = session.scalar(
        select(MessageRow).where(
            MessageRow.site_id == incoming.site,
            MessageRow.owner == incoming.owner,
            MessageRow.idempotency_key == incoming.key,
        )
    )
    if message is None:
        return None
    shown = session.scalar(select(PictureRow.digest).where(PictureRow.message_id == message.id))
    if (
        message.text != incoming.text
        or shown != (incoming.picture.digest if incoming.picture else None)
        or (incoming.conversation or message.conversation_id) != message.conversation_id
    ):
        raise Refused(
            409, "idempotency_key_reused", "This Idempotency-Key came with another message before. Give each its own."
        )
    conversation = session.get_one(ConversationRow, message.conversation_id)
    return Accepted(conversation.id, message.id, True, conversation.held_by)


def _conversation_of(session: Session, incoming: Incoming, now: datetime) -> ConversationRow:
    if incoming.conversation is not None:
        return conversation_of(session, incoming.site, incoming.conversation, visitor=incoming.visitor)
    conversation = ConversationRow(
        id=new_id("conv"),
        site_id=incoming.site,
        visitor=incoming.visitor or new_id("visitor"),
        channel=incoming.channel,
        context=[turn.model_dump() for turn in incoming.context],
        held_by=ASSISTANT,
        created=now,
        updated=now,
    )
    session.add(conversation)
    session.add(OutcomeRow(site_id=incoming.site, conversation_id=conversation.id, episode=1))
    session.flush()
    return conversation


def unanswered(session: Session, conversation: str) -> Waiting:
    """What is to be answered now. Messages that stand after the first unanswered one are read last."""
    row = session.get_one(ConversationRow, conversation)
    messages = messages_of(session, conversation)
    waiting = waiting_among(messages)
    answered = [message for message in messages if message not in waiting]
    turns = (
        *(Turn(**turn) for turn in row.context),
        *(Turn(role=ROLES[message.role], text=message.text) for message in (*answered, *waiting)),
    )
    decided = session.scalars(
        select(TraceRow.decision)
        .join(MessageRow, MessageRow.id == TraceRow.message_id)
        .where(MessageRow.conversation_id == conversation)
        .order_by(MessageRow.number)
    )
    ids = tuple(message.id for message in waiting)
    return Waiting(conversation, ids, turns, row.held_by, tuple(decided.all()), last_picture(session, ids))  # type: ignore[arg-type]


def left_unanswered(session: Session, *, older: timedelta = timedelta(0)) -> Sequence[str]:
    """The conversations that the assistant has owed an answer for so long."""
    owed = (
        select(MessageRow.conversation_id)
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
        .where(MessageRow.role == "visitor", MessageRow.answered_by.is_(None), ConversationRow.held_by == ASSISTANT)
        .group_by(MessageRow.conversation_id)
        .order_by(MessageRow.conversation_id)
    )
    if older:  # of late: this is asked again and again
        newest = select(func.max(MessageRow.number)).scalar_subquery()
        owed = owed.where(MessageRow.at < utc_now() - older, MessageRow.number > newest - _OF_LATE)
    return session.scalars(owed).all()


@dataclass(frozen=True)
class Stored:
    """A reply that is stored. None as its message: there is more to answer, or a person has the conversation."""

    message: str | None
    joined: bool = False
    """More messages came meanwhile, which are to be answered with it."""


def store_reply(
    session: Session, waiting: Waiting, reply: Reply, *, note: str, patience: timedelta, alone: bool
) -> Stored:
    """A reply with all that it rests on, in one transaction: exactly one for each message.

    `alone` stores it although more messages came meanwhile; they get a reply of their own.
    """
    conversation = session.scalars(
        select(ConversationRow).where(ConversationRow.id == waiting.conversation).with_for_update()
    ).one()
    if conversation.held_by == HUMAN:
        return Stored(None)
    missing = set(unanswered(session, conversation.id).messages)
    if not set(waiting.messages) <= missing:
        return Stored(None)
    if missing != set(waiting.messages) and not alone:
        return Stored(None, joined=True)
    now = utc_now()
    message = add_message(session, conversation, role="assistant", text=reply.text, at=now, owner="assistant")
    if not answer_with(session, conversation, waiting.messages, message):
        session.rollback()
        return Stored(None)
    _keep_trace(session, message, waiting, reply)
    outcome = outcome_of(session, conversation.id)
    outcome.first_reply = outcome.first_reply or now
    outcome.last_reply = now
    conversation.updated = now
    if reply.reason == "missing_knowledge":
        _keep_gap(session, conversation, waiting, now)
    if reply.decision == "escalate":
        hand_over(session, conversation, reason=reply.reason, note=note, patience=patience)
    event = {"conversation": conversation.id, "message": message.id, "decision": reply.decision, "reason": reply.reason}
    tell(session, conversation.site_id, "reply.sent", event)
    return Stored(message.id)


def _keep_trace(session: Session, message: MessageRow, waiting: Waiting, reply: Reply) -> None:
    session.add(
        TraceRow(
            message_id=message.id,
            decision=reply.decision,
            reason=reply.reason,
            path=reply.path,
            confidence=float(reply.confidence),
            intent=reply.intent,
            run=reply.versions.run,
            encoder=reply.versions.encoder,
            index_version=reply.versions.index,
            sentences=[{"text": sentence.text, "sources": list(sentence.sources)} for sentence in reply.sentences],
            turns=[turn.model_dump() for turn in waiting.turns],
            seconds={name: round(float(seconds), 6) for name, seconds in reply.seconds.items()},
        )
    )
    for source in reply.sources:
        session.add(ReplySourceRow(message_id=message.id, **asdict(source)))


def _keep_gap(session: Session, conversation: ConversationRow, waiting: Waiting, now: datetime) -> None:
    question = " ".join(turn.text for turn in waiting.turns[-len(waiting.messages) :])
    gap = GapRow(
        id=new_id("gap"),
        site_id=conversation.site_id,
        conversation_id=conversation.id,
        message_id=waiting.messages[-1],
        question=question,
        grouping=_gap_words(question),
        at=now,
    )
    session.add(gap)


def _gap_words(question: str) -> str:
    """Questions of the same words, whatever their order and case, are one group."""
    words = sorted({"".join(filter(str.isalnum, word)) for word in question.casefold().split()} - {""})
    return " ".join(words)[:200]
