"""Conversations as a model's chat template writes them, and which of the tokens the assistant said.

Templates differ in what they put around a turn, and few say which part of it is the assistant's. So it is found by
what every template must be able to do: write a conversation up to an assistant's turn with the words that ask for it
(`add_generation_prompt`), and with that turn. What the second has more than the first, its token that ends the turn
included, is what the assistant says. White space that a template puts after that token belongs to nobody.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.errors import ConfigError
from shoptalk.text.chat_template import write
from shoptalk.text.chat_tokens import parted, special_numbers, stretch_of
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import AGENTS, TOOLS, Replies

Role = Literal["system", "user", "assistant"]
_REPAIR = (
    "Correct chat_template.jinja in its folder (chat_template in tokenizer_config.json where there is none), or give "
    "another model, such as smollm2."
)
_IN_BRACKETS = re.compile(r"<[^<>\s]{1,60}>|\[/?[^\W\d][^\[\]\s]{0,60}\]")
_MARKERS_OF: WeakKeyDictionary[Any, tuple[str, tuple[str, ...]]] = WeakKeyDictionary()
"""Each tokenizer's template, and the markers that it writes."""
PASSAGES = ("passage", "passages", "context", "document")
"""Roles of turns that hold what was retrieved for the next answer: they are written before the user's words to which
that answer is given.
"""


class Message(NamedTuple):
    """A turn as chat templates know it."""

    role: Role
    text: str


_CHECKED = 50
"""Turns of the assistant."""
_NAMED = 8
"""Turns whose roles a message names."""


@dataclass(frozen=True)
class Rendered:
    """A conversation's tokens."""

    ids: Int[np.ndarray, " L"]
    spoken: Int[np.ndarray, " L"]
    """Which of the assistant's turns each token belongs to, counted from 0; -1 of what it does not say."""
    cut: bool = False
    """Whether it has tokens before these."""

    @property
    def taught(self) -> Bool[np.ndarray, " L"]:
        """What the assistant says."""
        return np.asarray(self.spoken >= 0)


def messages_of(corpus: Corpus, begin: int, end: int) -> list[Message]:
    """The turns of a conversation at positions of a corpus, as messages that alternate and begin with the user's.

    An agent's turns (`AGENTS`) are the assistant's, what tools say is left out, and so are prompts ("system", where the
    corpus has another agent); everybody else is the user. Where nobody's role is known, speakers take turns. Turns of
    one role that follow each other are one message. Retrieved passages stand, in their order, before all of the user's
    words that the next reply answers, whether they were retrieved before, between or after those words; what is
    retrieved after the last of the conversation's replies, and no words of the user follow, is left out. So is what an
    agent says before anybody asked.
    """
    messages: list[Message] = []
    waiting: list[str] = []
    placed: dict[int, list[str]] = {}
    has_agent = any(name.casefold() in AGENTS and name.casefold() != "system" for name in corpus.roles)
    silent = (*TOOLS, "system") if has_agent else TOOLS
    for place in range(begin, end):
        name, text = corpus.role_of(place).casefold(), corpus.texts[place]
        if name in silent or not text.strip():
            continue
        if name in PASSAGES:
            waiting.append(text)
            continue
        role: Role = "assistant" if name in AGENTS or (not name and int(corpus.turn[place]) % 2) else "user"
        if role == "assistant" and messages:
            asked = len(messages) - (1 if messages[-1].role == "user" else 2)
            placed[asked], waiting = [*placed.get(asked, ()), *waiting], []
        if messages and messages[-1].role == role:
            messages[-1] = Message(role, f"{messages[-1].text}\n{text}")
        elif messages or role == "user":
            messages.append(Message(role, text))
    if messages and messages[-1].role == "user":
        placed[len(messages) - 1] = waiting
    return [Message(role, "\n\n".join([*placed.get(place, ()), text])) for place, (role, text) in enumerate(messages)]


def answered(corpus: Corpus) -> Int[np.ndarray, " C"]:
    """The numbers of the conversations in which the assistant answers: whose turns, as `messages_of` knows them, hold a
    reply, and before it a turn of the user.
    """
    replies = Replies.of(corpus)
    named = np.full(len(corpus), -1) if corpus.role is None else np.asarray(corpus.role)
    roles = [name.casefold() for name in corpus.roles]
    agents = [number for number, name in enumerate(roles) if name in AGENTS]
    nameless = [-1, *(number for number, name in enumerate(roles) if not name)]
    passages = [number for number, name in enumerate(roles) if name in PASSAGES]
    odd = np.asarray(corpus.turn) % 2 == 1
    assistants = np.isin(named, agents) | (np.isin(named, nameless) & odd)
    asks = replies.spoken & ~assistants & ~np.isin(named, passages)
    conversation = np.asarray(corpus.conversation)
    given = replies.positions[assistants[replies.positions]]
    asked = np.cumsum(asks)  # up to each place, and before its conversation
    begins = np.searchsorted(conversation, conversation[given])
    after_words = asked[given] - asked[begins] + asks[begins] > 0
    return np.unique(conversation[given[after_words]])


def rendered(
    tokenizer: Any, messages: Sequence[Message], *, most: int | None = None, weights: int | None = None
) -> Rendered:
    """A conversation's tokens by the tokenizer's chat template. No token holds the end of the words that ask for a
    reply and the beginning of the reply: they end where they end when it is to be written (`prompt_ids`).

    Args:
        tokenizer: of transformers, with a chat template.
        messages: the conversation.
        most: its last so many tokens alone.
        weights: tokens that the model has weights for.

    Raises:
        ConfigError: there is no template, it cannot write this conversation, what it writes for the beginning of a
            conversation is not the beginning of what it writes for all of it, it leaves out or changes what somebody
            says, or it writes a token without weights.
        ValueError: a turn of the assistant is empty.
    """
    turns = _turns(tokenizer, messages)
    whole = _written(tokenizer, turns, asking=False)
    left, stop = stretch_of(tokenizer, whole), len(whole)
    ids = spoken = left.ids[:0]
    number = sum(message.role == "assistant" for message in messages)
    for place, begin, end in _replies(tokenizer, turns, whole):
        left, reply = parted(tokenizer, whole[:stop], left, begin)
        stop, number = begin, number - 1
        of_reply = np.where(reply.begins < end, number, -1)
        if not (of_reply >= 0).any():
            raise ConfigError(
                f"The tokenizer of {tokenizer.name_or_path!r} has no token for what the assistant says in turn "
                f"{place + 1} of a conversation: '{whole[begin:end][:60]}'. Leave the conversation out, or give "
                "another model, such as smollm2."
            )
        ids, spoken = np.concatenate([reply.ids, ids]), np.concatenate([of_reply, spoken])
        if most is not None and len(ids) >= most:
            break  # the turns before it are not read
    ids, spoken = np.concatenate([left.ids, ids]), np.concatenate([np.full(len(left.ids), -1), spoken])
    cut = max(0, len(ids) - most) if most is not None else 0
    _refuse_lost(tokenizer, turns, whole)
    _refuse_weightless(tokenizer, ids[cut:].tolist(), weights)
    return Rendered(ids[cut:], spoken[cut:], cut=cut > 0)


def refuse_unwritable(tokenizer: Any, messages: Sequence[Message]) -> None:
    """Refuse what `rendered` refuses of a conversation's words, without making tokens of them. Whether a turn is
    written alike when others follow is looked at for the last `_CHECKED` of the assistant's alone, each of which takes
    a rendering of all before it.

    Raises:
        ConfigError: as `rendered`, but for tokens without weights.
        ValueError: a turn of the assistant is empty, or there is none.
    """
    turns = _turns(tokenizer, messages)
    whole = _written(tokenizer, turns, asking=False)
    if not list(islice(_replies(tokenizer, turns, whole), _CHECKED)):
        raise ValueError("The assistant says nothing in a conversation; nothing is learned of it.")
    _refuse_lost(tokenizer, turns, whole, ("user", "assistant"))


def _replies(tokenizer: Any, turns: Sequence[Mapping[str, str]], whole: str) -> Iterator[tuple[int, int, int]]:
    """The places of the assistant's turns, and where each begins and ends in what is written; the last one first."""
    for place in reversed(range(len(turns))):
        if turns[place]["role"] != "assistant":
            continue
        words = turns[place]["content"].strip()
        if not words:
            raise ValueError(
                f"Turn {place + 1} of a conversation, the assistant's, is empty; nothing is learned of it."
            )
        begin = len(before := _written(tokenizer, turns[:place], asking=True))
        end = len(after := _written(tokenizer, turns[: place + 1], asking=False).rstrip())
        if after.startswith(before.rstrip()) and begin >= end:
            raise ConfigError(
                f"The chat template of {tokenizer.name_or_path!r} writes nothing of what the assistant says in turn "
                f"{place + 1} of a conversation, so that nothing can be learned of it. {_REPAIR}"
            )
        if not (whole.startswith(before) and whole.startswith(after) and begin < end):
            raise ConfigError(
                f"The chat template of {tokenizer.name_or_path!r} writes the first {place + 1} turns of a conversation "
                "in another way when more follow, so that it is not known what the assistant said. Give a model whose "
                "template only appends, such as smollm2."
            )
        if words not in whole[begin:end]:
            raise ConfigError(
                f"The chat template of {tokenizer.name_or_path!r} does not write all of what the assistant says in "
                f"turn {place + 1} of a conversation: it cuts or changes '{words[:60]}'. {_REPAIR}"
            )
        yield place, begin, end


def _refuse_lost(
    tokenizer: Any, turns: Sequence[Mapping[str, str]], whole: str, roles: Sequence[str] = ("user",)
) -> None:
    """Refuse a template that leaves out or changes what users say: it would be answered unread."""
    read = 0
    for place, turn in enumerate(turns):
        if turn["role"] not in roles:
            continue
        words = turn["content"].strip()
        read = whole.find(words, read) + len(words)
        if read < len(words):
            raise ConfigError(
                f"The chat template of {tokenizer.name_or_path!r} does not write all of what the {turn['role']} says "
                f"in turn {place + 1} of a conversation: it cuts, changes or leaves out '{words[:60]}'. {_REPAIR}"
            )


def prompt_ids(tokenizer: Any, messages: Sequence[Message], *, weights: int | None = None) -> tuple[int, ...]:
    """A conversation's tokens by the tokenizer's chat template, up to where the assistant is to speak. `weights` is how
    many tokens the model has weights for.

    Raises:
        ConfigError: there is no template, it cannot write this conversation, it leaves out or changes what the user
            says, or it writes a token without weights.
    """
    turns = _turns(tokenizer, messages)
    written = _written(tokenizer, turns, asking=True)
    _refuse_lost(tokenizer, turns, written)
    ids: list[int] = tokenizer(written, add_special_tokens=False, verbose=False)["input_ids"]
    _refuse_weightless(tokenizer, ids, weights)
    return tuple(ids)


def end_of_turn(tokenizer: Any) -> int | None:
    """The special token that the chat template writes after what the assistant says; None where there is no template,
    or none that marks the end so.
    """
    turns = [{"role": role, "content": words} for role, words in (("user", "Hi"), ("assistant", "Hello"))]
    try:
        whole = _written(tokenizer, turns, asking=False)
        ((_, begin, end),) = _replies(tokenizer, turns, whole)
    except ConfigError:  # said where a conversation is written
        return None
    behind = whole[begin:end].rpartition(turns[-1]["content"])[2]
    special = special_numbers(tokenizer)
    return next((i for i in tokenizer(behind, add_special_tokens=False)["input_ids"] if i in special), None)


def _roles_of(turns: Sequence[Mapping[str, str]]) -> str:
    """Who speaks, in order; of many turns how the first ones go."""
    roles = [turn["role"] for turn in turns]
    return ", ".join(roles if len(roles) <= _NAMED else [*roles[:_NAMED], f"and {len(roles) - _NAMED:,} more"])


def _refuse_weightless(tokenizer: Any, ids: Sequence[int], weights: int | None) -> None:
    """Refuse tokens that the model has no weights for, as where a base has the tokenizer of its chat version."""
    if weights is None or max(ids, default=0) < weights:
        return
    highest = max(ids)
    token = tokenizer.convert_ids_to_tokens(highest)
    raise ConfigError(
        f"The chat template of {tokenizer.name_or_path!r} writes the token {token!r} (number "
        f"{highest:,}), and the model has weights for {weights:,} tokens. Resize its embeddings first "
        "(`resize_token_embeddings` of transformers), take the model's own tokenizer, or give another model, such as "
        "smollm2."
    )


def _turns(tokenizer: Any, messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages as templates take them, without the template's own markers in what was said."""
    markers = _markers(tokenizer)
    return [{"role": message.role, "content": _unmarked(message.text, markers)} for message in messages]


def _written(tokenizer: Any, turns: Sequence[Mapping[str, str]], *, asking: bool) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            f"{tokenizer.name_or_path!r} has no chat template, so it is not known how it writes a conversation. Give a "
            "model that has one, such as smollm2 or scratch:gpt-nano, or add chat_template.jinja to its folder."
        )
    try:
        return write(tokenizer, turns, asking=asking)
    except ValueError as error:
        raise ConfigError(
            f"The chat template of {tokenizer.name_or_path!r} cannot write a conversation of the turns "
            f"{_roles_of(turns)}: {str(error).rstrip('.')}. {_REPAIR}"
        ) from error


def _markers(tokenizer: Any) -> list[str]:
    """Special tokens, and what the template writes in brackets of its own. A label in plain words ("User:") cannot be
    told from what people write, and is none.
    """
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return list(dict.fromkeys([*special, *_bracketed(tokenizer)]))


def _bracketed(tokenizer: Any) -> tuple[str, ...]:
    """The markers in brackets that the template writes as plain text, such as [INST] or <|user|>."""
    template = str(getattr(tokenizer, "chat_template", None))
    before, markers = _MARKERS_OF.get(tokenizer, ("", ()))
    if before != template:
        written = ""
        for roles in (("user", "assistant", "user"), ("system", "user")):
            with contextlib.suppress(ConfigError):  # said where a conversation is written
                written += _written(tokenizer, [{"role": role, "content": "a b"} for role in roles], asking=True)
        markers = tuple(dict.fromkeys(_IN_BRACKETS.findall(written)))
        _MARKERS_OF[tokenizer] = template, markers
    return markers


def _unmarked(text: str, markers: Sequence[str]) -> str:
    """The text without markers of the template: a space in each keeps what somebody wrote from ending a turn, and one
    stands for a marker of a single character.
    """
    for marker in markers:
        text = text.replace(marker, f"{marker[:1]} {marker[1:]}" if len(marker) > 1 else " ")
    return text
