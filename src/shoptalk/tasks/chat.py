"""Does a language model foretell what the agent says? Bits per byte of the replies of held-out conversations.

Each reply stands where the model's chat template puts it, after what was said before; only its own tokens count, its
end of turn included where it is whole. It needs no labels. What is resampled is conversations, one reply of each. A
look reads its beginning and that of the message before it, the verdict more of both. All replies together count as one
text (`tasks/language_model.py`), so that a short reply weighs less than a long one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.curate.clean import printable
from shoptalk.errors import InputError
from shoptalk.nn.language_model import LanguageModel
from shoptalk.probes.bits_per_byte import per_mean_byte
from shoptalk.records import Measure
from shoptalk.tasks.judge import Final, Ground, Judge, Score
from shoptalk.tasks.language_model import remark_on
from shoptalk.text.chat import PASSAGES, Message, answered, messages_of, rendered
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import AGENTS

MOST = 125
"""Conversations of which a reply is asked for."""
ENOUGH = 400
"""Conversations in the sources that hold out enough for a verdict."""
MOST_ROLES = 6
"""Roles that a message names."""


class Room(NamedTuple):
    """How much of a conversation is read."""

    before: int
    """Messages before the reply, at most."""
    characters: int
    """Of each message, at most."""


JUDGED, LOOKED_AT = Room(before=3, characters=200), Room(before=1, characters=60)
"""For the verdict, and at a look: 8,600 tokens where every message is as long, half of them SmolLM2's template."""
MEASURE = Measure(
    name="bits per byte of replies",
    unit="bits",
    difference="bits",
    finding="needs {adapted} a byte of what agents replied in unseen conversations against {base}",
    examples="conversations with replies",
    lower_is_better=True,
    decimals=3,
    trained="model",
    grows=False,
)


@dataclass(frozen=True, kw_only=True)
class ChatJudge(Judge):
    """Replies of held-out conversations, read once."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "1 N"]
    cluster: Int[np.ndarray, " N"]
    items: tuple[str, ...]
    shorter: tuple[tuple[Message, ...], ...]
    """Each ends with the beginning of a reply."""
    chats: tuple[tuple[Message, ...], ...]
    """The same with more of the replies, and of what was said before them."""
    remark: str | None = None

    def look(self, product: LanguageModel) -> Score:
        """Of each reply's beginning, minus its bits over the mean of bytes."""
        return _scores(product, self.shorter, most=LOOKED_AT.characters)

    def final(self, product: LanguageModel, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The same of more of each reply, after more of what was said."""
        return Final(_scores(product, self.chats, most=JUDGED.characters))


def _scores(product: LanguageModel, talks: Sequence[Sequence[Message]], *, most: int) -> Score:
    """Of each conversation's last message, cut to `most` characters before, minus its bits over the mean of bytes."""
    weights = len(product.network.table)
    written = [rendered(product.tokenizer, talk, most=product.max_length, weights=weights) for talk in talks]
    replies = []
    for chat, talk in zip(written, talks, strict=True):
        counted = chat.spoken == sum(message.role == "assistant" for message in talk) - 1
        if len(talk[-1].text) == most:  # it was cut, and nobody's turn ends there
            counted[np.flatnonzero(counted)[-1:]] = False
        replies.append(counted)
    bits = product.bits_of([chat.ids for chat in written], counted=replies)
    # A reply without a token that counts has no bits, and so none of the bytes either.
    texts = [talk[-1].text if counted.any() else "" for talk, counted in zip(talks, replies, strict=True)]
    return -per_mean_byte(bits, texts)[None]


def chat(ground: Ground) -> ChatJudge | None:
    """The judge of replies; None of products that are no language models.

    Raises:
        InputError: fewer than two conversations with a reply are held out.
    """
    if ground.kind != "lm":
        return None
    shorter, chats = (replies_of(ground.held_out, room, seed=ground.seed) for room in (LOOKED_AT, JUDGED))
    if len(chats) < 2:
        raise InputError(_too_few(ground, len(chats)))
    return ChatJudge(
        key="chat",
        measure=MEASURE,
        tested=np.ones((1, len(chats)), dtype=bool),
        cluster=np.arange(len(chats)),
        items=tuple("\n".join(message.text for message in chat) for chat in shorter),
        shorter=tuple(shorter),
        chats=tuple(chats),
        remark=remark_on(len(chats), "conversations with replies", ENOUGH, random=ground.random),
    )


def _too_few(ground: Ground, n_held_out: int) -> str:
    """What the sources hold of what is needed."""
    parts = (ground.train, ground.held_out)
    n_answered = sum(len(answered(part)) for part in parts)
    n_all = sum(len(np.unique(np.asarray(part.conversation)[np.asarray(part.turn) >= 0])) for part in parts)
    need = "The task chat is judged by conversations that training never sees, in which an agent answers."
    bring = (
        f"About {ENOUGH} such conversations are enough for a verdict: JSONL with turns or messages, each with a role "
        "(user, assistant) and a text."
    )
    if n_answered:
        count = f"{n_answered:,} of the sources' {n_all:,} conversations are such, and {n_held_out} of them happened"
        return f"{need} {count} to be held out. {bring}"
    roles = sorted({name for part in parts for name in part.roles if name})
    if not n_all or not roles:
        return f"{need} The sources hold {n_all:,} conversations, and none is such. {bring}"
    if any(name.casefold() in AGENTS for name in roles):
        return (
            f"{need} None of the sources' {n_all:,} conversations is such: before no agent's turn stands a turn of a "
            f"customer with words in it. Give the customers' turns, too. {bring}"
        )
    shown = ", ".join(repr(printable(name)) for name in roles[:MOST_ROLES])
    return (
        f"{need} None of the sources' {n_all:,} conversations is such: the roles of their turns are {shown}"
        f"{', ...' if len(roles) > MOST_ROLES else ''}, and an agent's turn that follows another's has one of "
        f"{', '.join(AGENTS)}. Name the agent's role so. {bring}"
    )


def replies_of(corpus: Corpus, room: Room, *, seed: int, most: int = MOST) -> list[tuple[Message, ...]]:
    """One reply of each of up to `most` conversations, whatever the room, with the messages before it, each cut to its
    first characters. A conversation begins with what a user says. Where passages were retrieved for it they begin a
    message, and what is asked ends it: there the last characters before the reply are read, as many in all.
    """
    conversation = np.asarray(corpus.conversation)
    rng = np.random.default_rng(seed)
    chats = []
    for number in sorted(rng.permutation(answered(corpus)).tolist()[:most]):
        begin, end = np.searchsorted(conversation, [number, number + 1])
        messages = messages_of(corpus, int(begin), int(end))
        replies = [place for place, message in enumerate(messages) if message.role == "assistant"]
        if not replies:
            continue
        reply = replies[int(rng.integers(len(replies)))]
        read = messages[max(0, reply - room.before) : reply + 1]
        retrieved = any(corpus.role_of(place).casefold() in PASSAGES for place in range(int(begin), int(end)))
        chats.append(tuple(_from_user((_last if retrieved else _cut)(read, room))))
    return chats


def _from_user(messages: Sequence[Message]) -> Sequence[Message]:
    return messages if messages[0].role == "user" else messages[1:]


def _cut(messages: Sequence[Message], room: Room) -> list[Message]:
    return [Message(message.role, message.text.strip()[: room.characters]) for message in messages]


def _last(messages: Sequence[Message], room: Room) -> list[Message]:
    """The reply's first characters, and the last of what is read before it."""
    *before, reply = messages
    left, read = room.before * room.characters, _cut([reply], room)
    for message in reversed(before):
        if left > 0:
            text = message.text.strip()[-left:]
            read.insert(0, Message(message.role, text))
            left -= len(text)
    return read
