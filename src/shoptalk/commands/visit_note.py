"""`shoptalk note`: what a conversation said that says most; and what a language model would write of it, unverified.

    for note in notes(Path("visits.jsonl"), model="smollm2"):
        print(worded(note))

The sentences that were said stand in every note: nothing of them can be wrong. What a model suggests stands apart, each
sentence with the turns that have all of its numbers, names and telling words, or with what none of them has: whoever
signs the note reads it against them.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from shoptalk.assistant.fulltext import COMMON_STEMS, stems
from shoptalk.assistant.ground import sentences_of, unsupported
from shoptalk.assistant.note import note_of
from shoptalk.config.settings import CurateConfig
from shoptalk.curate.clean import printable
from shoptalk.curate.sources import rows_left_out, stream_sources
from shoptalk.errors import InputError
from shoptalk.nn.decoding.generation import Generated, GenerationRequest
from shoptalk.nn.decoding.writer import open_writer
from shoptalk.records import Document, Drop
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
    """Those that have all that it states: one that does, or two together; else those nearest to it."""
    unsupported: str | None
    """What they lack."""


@dataclass(frozen=True)
class VisitNote:
    """The note of one conversation."""

    conversation: str
    said: tuple[SaidLine, ...]
    suggested: tuple[SuggestedLine, ...]
    model: str | None
    """Who suggests."""
    turns: int
    """Of the conversation, those without a text included."""
    unread: int
    """Turns at the beginning that the model had no room for; all of them where it had none for the last either."""

    def told(self) -> dict[str, Any]:
        """What --json prints."""
        return asdict(self) | {"verified": False}


def notes(
    path: Path,
    *,
    model: str | None = None,
    asked: str = ASKED,
    most: int = 5,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[VisitNote]:
    """The note of each conversation in a file or folder, in its order.

    Args:
        path: conversations, in any form that `adapt` reads.
        model: a language model that suggests; none suggests nothing.
        asked: what it is asked to do.
        most: turns that are noted.
        say: is told of rows that cannot be read, of texts that are no conversation, and of an encoding.

    Raises:
        InputError: there is no conversation, or a number is out of range.
        SourceError: the file cannot be read.
        BaseModelError: the model cannot be opened.
    """
    if most < 2:
        raise InputError(f"--most is {most}; give 2 or more: the first and the last turn are always noted.")
    conversations = _conversations(path, say)
    if not conversations:
        raise InputError(
            f"{path} has no conversation. Give JSON Lines with turns or messages, each with a role and a text."
        )
    writer = open_writer(model) if model is not None else None
    for conversation in conversations:
        every = conversation.turns or ()
        # A turn without text keeps its number, as the readers keep its place.
        spoken = [SaidLine(number, turn.role, turn.text.strip()) for number, turn in enumerate(every, 1)]
        spoken = [line for line in spoken if line.text]
        kept = note_of([line.text for line in spoken], most=most)
        suggested, left_out = _suggested(writer, spoken, asked) if writer is not None else ((), 0)
        unread = 0 if not left_out else len(every) if left_out == len(spoken) else spoken[left_out].turn - 1
        quoted = tuple(spoken[place] for place in kept)
        yield VisitNote(conversation.id, quoted, suggested, model, len(every), unread)


def _conversations(path: Path, say: Callable[[str], None]) -> list[Document]:
    """Those of a file or folder; what else it holds is told."""
    items = list(stream_sources([path], CurateConfig(), say=say, pictures=False))
    drops = [item for item in items if isinstance(item, Drop)]
    documents = [item for item in items if isinstance(item, Document)]
    conversations = [document for document in documents if document.turns]
    if drops:
        say(rows_left_out(printable(path.name), drops))
    if others := len(documents) - len(conversations):
        say(
            f"{others:,} of {len(documents):,} texts are no conversations and get no note: each needs turns or "
            "messages, with a role and a text."
        )
    return conversations


def _suggested(writer: Writes, spoken: Sequence[SaidLine], asked: str) -> tuple[tuple[SuggestedLine, ...], int]:
    """What the model writes, sentence by sentence, and how many of the turns that say something it did not read. It
    reads as many of the last as it has room for, found by halving.
    """

    def prompt(left_out: int) -> tuple[int, ...]:
        text = "\n".join(f"{line.role}: {line.text}" for line in spoken[left_out:])
        return writer.chat([Message("user", f"{asked}\n\n{text}")])

    def fits(left_out: int) -> bool:
        return len(prompt(left_out)) + MOST_TOKENS <= writer.context

    left_out = bisect_left(range(len(spoken)), True, key=fits)
    if left_out == len(spoken):
        return (), left_out
    (generated,) = writer.write([GenerationRequest(prompt(left_out), max_tokens=MOST_TOKENS)])
    sentences = sentences_of(generated.text)
    if generated.reason == "length" and len(sentences) > 1:
        sentences.pop()  # it was cut
    return tuple(_checked(sentence, spoken) for sentence in sentences), left_out


def _checked(sentence: str, spoken: Sequence[SaidLine]) -> SuggestedLine:
    """A sentence with the turns that have all of it."""

    def lacking(lines: Sequence[SaidLine]) -> str | None:
        text = "\n".join(f"{_speaker(line.role)}: {line.text}" for line in lines)
        return unsupported(sentence, text, where="turn", shared=1.0)

    alone = [line.turn for line in spoken if lacking([line]) is None]
    if alone:
        return SuggestedLine(sentence, tuple(alone[:2]), None)
    telling = set(stems(sentence)) - COMMON_STEMS
    shares = [telling & set(stems(line.text)) for line in spoken]
    first = max(range(len(spoken)), key=lambda place: len(shares[place]))
    second = max(range(len(spoken)), key=lambda place: len(shares[place] - shares[first]))
    nearest = [spoken[place] for place in sorted({first, second}) if shares[place]]
    reason = lacking(spoken)
    if reason is None and (not nearest or lacking(nearest) is not None):
        reason = "these turns together do not say all of it"
    return SuggestedLine(sentence, tuple(line.turn for line in nearest), reason)


def _speaker(role: str) -> str:
    """Who speaks, as what the model has read too; the number of "speaker 2" is none that anybody said."""
    return " ".join(re.findall(r"[^\W\d_]+", role))


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def worded(note: VisitNote) -> str:
    """The note as text. Whatever was said or written stays on its line: its own line ends could pass for a note's."""
    lines = [_on_one_line(note.conversation), "", "Said:"]
    lines += [f"- {_on_one_line(line.text)}  [{_on_one_line(line.role)}, turn {line.turn}]" for line in note.said]
    if note.model is not None:
        lines += ["", f"Suggested by {note.model}, unverified:"]
        for line in note.suggested:
            near = "near " if line.unsupported and line.turns else ""
            places = f"turn {' and '.join(map(str, line.turns))}" if line.turns else "no turn"
            doubt = f"; but {line.unsupported}" if line.unsupported else ""
            lines.append(f"{'!' if line.unsupported else '?'} {_on_one_line(line.text)}  [{near}{places}{doubt}]")
        if note.unread and note.unread == note.turns:
            lines.append("(nothing: it has no room for the last turn, and has read none)")
        elif not note.suggested:
            lines.append("(nothing)")
        if 0 < note.unread < note.turns:
            lines.append(f"It had no room for the first {note.unread:,} of the {note.turns:,} turns.")
    return "\n".join(lines)
