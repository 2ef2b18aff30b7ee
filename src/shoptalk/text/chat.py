"""Conversations as a model's chat template writes them, and which of the tokens the assistant said.

Templates differ in what they put around a turn, and few say which part of it is the assistant's. So it is found by
what every template must be able to do: write a conversation up to an assistant's turn with the words that ask for it
(`add_generation_prompt`), and with that turn. What the second has more than the first, its token that ends the turn
included, is what the assistant says. White space that a template puts after that token belongs to nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.errors import ConfigError
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import AGENTS, TOOLS, Replies

Role = Literal["system", "user", "assistant"]
_REPAIR = (
    "Correct chat_template.jinja in its folder (chat_template in tokenizer_config.json where there is none), or give "
    "another model, such as smollm2."
)
PASSAGES = ("passage", "passages", "context", "document")
"""Roles of turns that hold what was retrieved for the next answer: they are written before the user's next words."""


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

    @property
    def taught(self) -> Bool[np.ndarray, " L"]:
        """What the assistant says."""
        return np.asarray(self.spoken >= 0)

    def last(self, length: int) -> "Rendered":
        """The last tokens alone."""
        return Rendered(self.ids[-length:], self.spoken[-length:])


def messages_of(corpus: Corpus, begin: int, end: int) -> list[Message]:
    """The turns of a conversation at positions of a corpus, as messages that alternate and begin with the user's.

    An agent's turns (`AGENTS`) are the assistant's, retrieved passages stand before the user's next words, what tools
    say and prompts of the system are left out, and everybody else is the user. Where nobody's role is known, speakers
    take turns. Turns of one role that follow each other are one message; what an agent says before anybody asked is
    left out.
    """
    messages: list[Message] = []
    waiting: list[str] = []
    silent: tuple[str, ...] = TOOLS
    if any(name.casefold() in AGENTS and name.casefold() != "system" for name in corpus.roles):
        silent = (*TOOLS, "system")  # an agent only where a corpus has no other, as in `Replies`
    for place in range(begin, end):
        name, text = corpus.role_of(place).casefold(), corpus.texts[place]
        if name in silent or not text.strip():
            continue
        if name in PASSAGES:
            waiting.append(text)
            continue
        role: Role = "assistant" if name in AGENTS or (not name and int(corpus.turn[place]) % 2) else "user"
        if role == "user" and waiting:
            text, waiting = "\n\n".join([*waiting, text]), []
        if messages and messages[-1].role == role:
            messages[-1] = Message(role, f"{messages[-1].text}\n{text}")
        elif messages or role == "user":
            messages.append(Message(role, text))
    return messages


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


def rendered(tokenizer: Any, messages: Sequence[Message]) -> Rendered:
    """A conversation's tokens by the tokenizer's chat template.

    Raises:
        ConfigError: there is no template, it cannot write this conversation, or what it writes for the beginning of a
            conversation is not the beginning of what it writes for all of it.
        ValueError: a turn of the assistant is empty.
    """
    whole = _written(tokenizer, messages, asking=False)
    spans = []
    for place, message in enumerate(messages):
        if message.role != "assistant":
            continue
        if not message.text.strip():
            raise ValueError(
                f"Turn {place + 1} of a conversation, the assistant's, is empty; nothing is learned of it."
            )
        begin = len(before := _written(tokenizer, messages[:place], asking=True))
        end = len(after := _written(tokenizer, messages[: place + 1], asking=False).rstrip())
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
        if _unmarked(message.text, _markers(tokenizer)).strip() not in whole[begin:end]:
            raise ConfigError(
                f"The chat template of {tokenizer.name_or_path!r} does not write all of what the assistant says in "
                f"turn {place + 1} of a conversation: it cuts or changes '{message.text[:60]}'. {_REPAIR}"
            )
        spans.append((begin, end))
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    spoken = np.full(len(offsets), -1, dtype=np.int64)
    for number, (begin, end) in enumerate(spans):
        # A token that began before the assistant did was not said by it.
        spoken[(offsets[:, 0] >= begin) & (offsets[:, 0] < end)] = number
    return Rendered(np.asarray(encoded["input_ids"], dtype=np.int64), spoken)


def _written(tokenizer: Any, messages: Sequence[Message], *, asking: bool) -> str:
    markers = _markers(tokenizer)
    turns = [{"role": message.role, "content": _unmarked(message.text, markers)} for message in messages]
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            f"{tokenizer.name_or_path!r} has no chat template, so it is not known how it writes a conversation. Give a "
            "model that has one, such as smollm2 or scratch:gpt-nano, or add chat_template.jinja to its folder."
        )
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=asking)
    except Exception as error:  # templates raise anything
        raise ConfigError(
            f"The chat template of {tokenizer.name_or_path!r} cannot write a conversation of the turns "
            f"{', '.join(message.role for message in messages)}: {str(error).rstrip('.')}. {_REPAIR}"
        ) from error
    return text


def _markers(tokenizer: Any) -> list[str]:
    return [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]


def _unmarked(text: str, markers: Sequence[str]) -> str:
    """The text without markers of the template: a space in each keeps what somebody wrote from ending a turn."""
    for marker in markers:
        text = text.replace(marker, f"{marker[:1]} {marker[1:]}")
    return text
