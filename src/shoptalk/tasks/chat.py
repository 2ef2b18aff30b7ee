"""Does a language model foretell what the agent says? Bits per byte of the replies of held-out conversations.

Each reply stands where the model's chat template puts it, after what was said before; only its own tokens count, its
end of turn included where it is whole. It needs no labels. What is resampled is conversations, one reply of each. All
replies together count as one text (`tasks/language_model.py`), so that a short reply weighs less than a long one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
BEFORE = 3
"""Messages that are read before it."""
CHARACTERS = 200
"""Of each of them, at most: some 10,000 tokens in all."""
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
    chats: tuple[tuple[Message, ...], ...]
    """Each ends with the reply."""
    remark: str | None = None

    def look(self, product: LanguageModel) -> Score:
        """Of each reply, minus its bits over the mean of bytes."""
        weights = len(product.network.table)
        written = [rendered(product.tokenizer, chat, most=product.max_length, weights=weights) for chat in self.chats]
        replies = []
        for chat, talk in zip(written, self.chats, strict=True):
            counted = chat.spoken == sum(message.role == "assistant" for message in talk) - 1
            if len(talk[-1].text) == CHARACTERS:  # it was cut, and nobody's turn ends there
                counted[np.flatnonzero(counted)[-1:]] = False
            replies.append(counted)
        bits = product.bits_of([chat.ids for chat in written], counted=replies)
        # A reply without a token that counts has no bits, and so none of the bytes either.
        texts = [talk[-1].text if counted.any() else "" for talk, counted in zip(self.chats, replies, strict=True)]
        return -per_mean_byte(bits, texts)[None]

    def final(self, product: LanguageModel, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The same."""
        return Final(self.look(product))


def chat(ground: Ground) -> ChatJudge | None:
    """The judge of replies; None of products that are no language models.

    Raises:
        InputError: fewer than two conversations with a reply are held out.
    """
    if ground.kind != "lm":
        return None
    chats = replies_of(ground.held_out, seed=ground.seed)
    if len(chats) < 2:
        raise InputError(_too_few(ground, len(chats)))
    return ChatJudge(
        key="chat",
        measure=MEASURE,
        tested=np.ones((1, len(chats)), dtype=bool),
        cluster=np.arange(len(chats)),
        items=tuple("\n".join(message.text for message in chat) for chat in chats),
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


def replies_of(corpus: Corpus, *, seed: int, most: int = MOST) -> list[tuple[Message, ...]]:
    """One reply of each of up to `most` conversations, with the messages before it, each cut to its first characters.
    A conversation begins with what a user says. Where passages were retrieved for it they begin a message, and what is
    asked ends it: there the last characters before the reply are read, as many in all.
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
        read = messages[max(0, reply - BEFORE) : reply + 1]
        retrieved = any(corpus.role_of(place).casefold() in PASSAGES for place in range(int(begin), int(end)))
        chats.append(tuple(_from_user(_last(read) if retrieved else _cut(read))))
    return chats


def _from_user(messages: Sequence[Message]) -> Sequence[Message]:
    return messages if messages[0].role == "user" else messages[1:]


def _cut(messages: Sequence[Message]) -> list[Message]:
    return [Message(message.role, message.text.strip()[:CHARACTERS]) for message in messages]


def _last(messages: Sequence[Message]) -> list[Message]:
    """The reply's first characters, and the last of what is read before it."""
    *before, reply = messages
    room, read = BEFORE * CHARACTERS, _cut([reply])
    for message in reversed(before):
        if room > 0:
            text = message.text.strip()[-room:]
            read.insert(0, Message(message.role, text))
            room -= len(text)
    return read
