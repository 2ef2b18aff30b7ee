"""What is asked of a decoder, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from shoptalk.errors import ConfigError
from shoptalk.text.chat import Message

Reason = Literal["end", "stop", "length", "context", "time"]
"""Why it ended: the model's own end token, a stop string, `max_tokens`, a full context, `seconds`."""


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt and how to go on from it.

    Raises:
        ConfigError: a number is out of range, or a stop string is empty.
    """

    ids: tuple[int, ...]
    """Of the prompt."""
    max_tokens: int = 256
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    top_p: float = 1.0
    """Sampled are only the likeliest tokens that together have this probability (Holtzman et al., 2020)."""
    seed: int = 0
    stop: tuple[str, ...] = ()
    """The text ends before the first of these; one that is a special token of the model is that token."""
    seconds: float | None = None
    """After this long it ends with what it has; the time until it has a slot counts too."""
    continues: bool = False
    """Whether the text goes on from the prompt's last words, so that a space between them belongs to it, which some
    tokenizers write before no first token. A reply begins anew."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}; give 1 or more.")
        if not 0.0 <= self.temperature <= 100.0:
            raise ConfigError(f"The temperature is {self.temperature:g}; give a number from 0 (the likeliest) to 100.")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p is {self.top_p:g}; give a number above 0 and up to 1.")
        if self.seed < 0:
            raise ConfigError(f"The seed is {self.seed}; give 0 or more.")
        if "" in self.stop:
            raise ConfigError("A stop string is empty, and would end every text before it began. Leave it out.")


@dataclass(frozen=True)
class Generated:
    """What was written, why it ended, and what it took."""

    text: str
    ids: tuple[int, ...]
    """Without the end token."""
    reason: Reason
    prompt_tokens: int
    reused: int
    """Tokens of the prompt whose states were still there from a prompt before."""
    steps: int
    """Passes through the model, the prompt's included."""
    drafted: int
    accepted: int
    """Tokens that were guessed from the text so far, and how many of them were right."""
    waited: float = 0.0
    """Seconds until it had a slot."""


@runtime_checkable
class Converses(Protocol):
    """What goes on from texts, and takes turns where it has a chat template: a `Writer`."""

    context: int
    """Tokens of a prompt and its text together."""

    def prompt(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that begins a document."""
        ...

    def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
        """A text for each."""
        ...

    @property
    def converses(self) -> bool:
        """Whether it has a chat template."""
        ...

    def chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The tokens of a conversation, up to where it is to speak."""
        ...
