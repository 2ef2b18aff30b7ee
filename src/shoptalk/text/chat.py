"""Conversations as a model's chat template writes them, and which of the tokens the assistant said.

Templates differ in what they put around a turn, and few say which part of it is the assistant's. So it is found by
what every template must be able to do: write a conversation up to an assistant's turn with the words that ask for it
(`add_generation_prompt`), and with that turn. What the second has more than the first, its token that ends the turn
included, is what the assistant says. White space that a template puts after that token belongs to nobody.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.errors import ConfigError
from shoptalk.text.chat_template import write
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
    reply.
    """
    replies = Replies.of(corpus).positions
    named = np.full(len(corpus), -1) if corpus.role is None else np.asarray(corpus.role)
    agents = [number for number, name in enumerate(corpus.roles) if name.casefold() in AGENTS]
    nameless = [-1, *(number for number, name in enumerate(corpus.roles) if not name)]
    odd = np.asarray(corpus.turn)[replies] % 2 == 1
    spoken = np.isin(named[replies], agents) | (np.isin(named[replies], nameless) & odd)
    return np.unique(np.asarray(corpus.conversation)[replies[spoken]])


def rendered(
    tokenizer: Any, messages: Sequence[Message], *, most: int | None = None, weights: int | None = None
) -> Rendered:
    """A conversation's tokens by the tokenizer's chat template.

    Args:
        tokenizer: of transformers, with a chat template.
        messages: the conversation.
        most: its last so many tokens alone.
        weights: tokens that the model has weights for.

    Raises:
        ConfigError: there is no template, it cannot write this conversation, what it writes for the beginning of a
            conversation is not the beginning of what it writes for all of it, or it writes a token without weights.
        ValueError: a turn of the assistant is empty.
    """
    turns = _turns(tokenizer, messages)
    whole = _written(tokenizer, turns, asking=False)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    begin_of_read = max(0, len(encoded["input_ids"]) - most) if most is not None else 0
    offsets = np.asarray(encoded["offset_mapping"][begin_of_read:], dtype=np.int64).reshape(-1, 2)
    spoken = np.full(len(offsets), -1, dtype=np.int64)
    places = [place for place, message in enumerate(messages) if message.role == "assistant"]
    for number in reversed(range(len(places))):
        place = places[number]
        if not messages[place].text.strip():
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
        if turns[place]["content"].strip() not in whole[begin:end]:
            raise ConfigError(
                f"The chat template of {tokenizer.name_or_path!r} does not write all of what the assistant says in "
                f"turn {place + 1} of a conversation: it cuts or changes '{messages[place].text[:60]}'. {_REPAIR}"
            )
        # A token that began before the assistant did was not said by it.
        spoken[(offsets[:, 0] >= begin) & (offsets[:, 0] < end)] = number
        if len(offsets) and begin <= offsets[0, 0]:
            break  # the turns before it are not read
    ids = np.asarray(encoded["input_ids"][begin_of_read:], dtype=np.int64)
    _refuse_weightless(tokenizer, ids.tolist(), weights)
    return Rendered(ids, spoken, cut=begin_of_read > 0)


def prompt_ids(tokenizer: Any, messages: Sequence[Message], *, weights: int | None = None) -> tuple[int, ...]:
    """A conversation's tokens by the tokenizer's chat template, up to where the assistant is to speak. `weights` is how
    many tokens the model has weights for.

    Raises:
        ConfigError: there is no template, it cannot write this conversation, or it writes a token without weights.
    """
    written = _written(tokenizer, _turns(tokenizer, messages), asking=True)
    ids: list[int] = tokenizer(written, add_special_tokens=False, verbose=False)["input_ids"]
    _refuse_weightless(tokenizer, ids, weights)
    return tuple(ids)


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
            f"{', '.join(turn['role'] for turn in turns)}: {str(error).rstrip('.')}. {_REPAIR}"
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
    """The text without markers of the template: a space in each keeps what somebody wrote from ending a turn."""
    for marker in markers:
        text = text.replace(marker, f"{marker[:1]} {marker[1:]}")
    return text
