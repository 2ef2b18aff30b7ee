"""`shoptalk note`: what a conversation said that says most; and what a language model would write of it, unverified.

    for note in notes(Path("visits.jsonl"), model="smollm2"):
        print(worded(note))

The sentences that were said stand in every note: nothing of them can be wrong. What a model suggests stands apart, each
sentence with the turns that say the same, and with what no turn says: whoever signs the note reads it against them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from shoptalk.assistant.fulltext import COMMON_STEMS, stems
from shoptalk.assistant.ground import sentences_of, unsupported
from shoptalk.assistant.note import note_of
from shoptalk.config.settings import CurateConfig
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import InputError
from shoptalk.nn.bases import open_text
from shoptalk.nn.decoding.generation import Generated, GenerationRequest
from shoptalk.nn.decoding.writer import open_writer
from shoptalk.records import Document, Turn
from shoptalk.text.chat import Message

ASKED = "Summarise this conversation in a few sentences, with names and numbers as they were said."
MOST_TOKENS = 160


@runtime_checkable
class Writes(Protocol):
    """What writes, a `Writer`."""

    context: int
    """Tokens of a prompt and its text together."""

    def chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """A prompt's tokens."""
        ...

    def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
        """A text for each."""
        ...


@dataclass(frozen=True)
class SaidLine:
    """A turn that says much."""

    turn: int
    """Its place in the conversation, from 1."""
    role: str
    text: str


@dataclass(frozen=True)
class SuggestedLine:
    """A sentence of the model's."""

    text: str
    turns: tuple[int, ...]
    """Those that say the same; two that are nearest where only the conversation as a whole does."""
    unsupported: str | None
    """What no turn says."""


@dataclass(frozen=True)
class VisitNote:
    """The note of one conversation."""

    conversation: str
    said: tuple[SaidLine, ...]
    suggested: tuple[SuggestedLine, ...]
    model: str | None
    """Who suggests."""
    unread: int
    """Turns at the beginning that the model had no room for."""

    def told(self) -> dict[str, Any]:
        """What --json prints."""
        return asdict(self) | {"verified": False}


def notes(
    path: Path, *, encoder: str = "minilm", model: str | None = None, asked: str = ASKED, most: int = 5
) -> Iterator[VisitNote]:
    """The note of each conversation in a file or folder, in its order.

    Args:
        path: conversations, in any form that `adapt` reads.
        encoder: whose vectors say which turns say most.
        model: a language model that suggests; none suggests nothing.
        asked: what it is asked to do.
        most: turns that are noted.

    Raises:
        InputError: there is no conversation, or a number is out of range.
        SourceError: the file cannot be read.
        BaseModelError: the encoder or the model cannot be opened.
    """
    if most < 2:
        raise InputError(f"--most is {most}; give 2 or more: the first and the last turn are always noted.")
    items = list(stream_sources([path], CurateConfig(), pictures=False))
    conversations = [item for item in items if isinstance(item, Document) and item.turns]
    if not conversations:
        raise InputError(
            f"{path} has no conversation. Give JSON Lines with turns or messages, each with a role and a text."
        )
    embed = open_text(encoder).embed
    writer = open_writer(model) if model is not None else None
    for conversation in conversations:
        turns = [turn for turn in conversation.turns or () if turn.text.strip()]
        kept = iter(note_of([turn.text.strip() for turn in turns], embed, most=most))
        suggested, unread = _suggested(writer, turns, asked) if writer is not None else ((), 0)
        yield VisitNote(conversation.id, tuple(_placed(turns, list(kept))), suggested, model, unread)


def _placed(turns: Sequence[Turn], kept: Sequence[str]) -> Iterator[SaidLine]:
    """What was kept, with its places: each the first that is still free."""
    place = 0
    for text in kept:
        while turns[place].text.strip() != text:
            place += 1
        yield SaidLine(place + 1, turns[place].role, text)
        place += 1


def _suggested(writer: Writes, turns: Sequence[Turn], asked: str) -> tuple[tuple[SuggestedLine, ...], int]:
    """What the model writes, sentence by sentence, and how many turns it did not read."""
    for unread in range(len(turns)):
        spoken = "\n".join(f"{turn.role}: {turn.text.strip()}" for turn in turns[unread:])
        ids = writer.chat([Message("user", f"{asked}\n\n{spoken}")])
        if len(ids) + MOST_TOKENS <= writer.context:
            (generated,) = writer.write([GenerationRequest(ids, max_tokens=MOST_TOKENS)])
            sentences = sentences_of(generated.text)
            if generated.reason == "length" and len(sentences) > 1:
                sentences.pop()  # it was cut
            return tuple(_checked(sentence, turns) for sentence in sentences), unread
    return (), len(turns)


def _checked(sentence: str, turns: Sequence[Turn]) -> SuggestedLine:
    """A sentence with the turns that say the same."""
    alone = [number for number, turn in enumerate(turns, 1) if unsupported(sentence, turn.text) is None]
    if alone:
        return SuggestedLine(sentence, tuple(alone[:2]), None)
    whole = "\n".join(turn.text for turn in turns)
    lacking = unsupported(sentence, whole, where="turn")
    telling = set(stems(sentence)) - COMMON_STEMS
    shared = [len(telling & set(stems(turn.text))) for turn in turns]
    nearest = sorted(range(len(turns)), key=lambda place: (-shared[place], place))[:2]
    return SuggestedLine(sentence, tuple(sorted(place + 1 for place in nearest if shared[place])), lacking)


def worded(note: VisitNote) -> str:
    """The note as text."""
    lines = [note.conversation, "", "Said:"]
    lines += [f"- {line.text}  [{line.role}, turn {line.turn}]" for line in note.said]
    if note.model is not None:
        lines += ["", f"Suggested by {note.model}, unverified:"]
        for line in note.suggested:
            places = f"turn {' and '.join(map(str, line.turns))}" if line.turns else "no turn"
            doubt = f"; but {line.unsupported}" if line.unsupported else ""
            lines.append(f"{'!' if line.unsupported else '?'} {line.text}  [{places}{doubt}]")
        if not note.suggested:
            lines.append("(nothing)")
        if note.unread:
            lines.append(f"It had no room for the first {note.unread:,} of the turns.")
    return "\n".join(lines)
