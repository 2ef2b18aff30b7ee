"""What a language model reads to write a question to a sentence of a passage, and what is read of what it wrote.

The answer comes first, as in Alberti et al. (2019): it is a sentence of the passage, so that it is right whatever the
model writes, and small models need to write no more than a question. Worked examples of ours show how (few-shot, as in
InPars, Bonifacio et al. 2022): as turns where the model has a chat template, else as one text that it goes on from.

    Passage (Reading room – Cards): A reader's card costs 6 marks a year. ...
    Answer: A lost card is replaced for 2 marks.
    Question: What do I pay if I lose my reader's card?
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from shoptalk.artifact import digest
from shoptalk.assistant.phrases import language_of
from shoptalk.assistant.sections import Passage, Span
from shoptalk.curate.dedup import normalise
from shoptalk.text.chat import Message
from shoptalk.text.stated_facts import NAME, NUMBER

STOP = ("\n",)
"""A question is one line."""
FEWEST_WORDS = 4
"""Of a sentence that is to be asked for."""
_INSTRUCTION = (
    "Write the question that a visitor would ask, to which the given sentence of the passage is the answer.\n\n"
)
_WHOLE = re.compile(r"[.!?…:;\"'”’»)\]。！？]$")
_LABEL = re.compile(r"Question:\s*")


@dataclass(frozen=True)
class WorkedExample:
    """A sentence of a passage with a question to it, of our own writing."""

    heading: str
    passage: str
    question: str
    answer: str

    @property
    def given(self) -> str:
        """What the model is given."""
        return _given(self.heading, self.passage, self.answer)


WORKED: Mapping[str, tuple[WorkedExample, ...]] = {
    "en": (
        WorkedExample(
            "Reading room – Cards",
            "A reader's card costs 6 marks a year and is free for pupils. Bring a paper that shows your name and your "
            "address. A lost card is replaced for 2 marks.",
            "What do I pay if I lose my reader's card?",
            "A lost card is replaced for 2 marks.",
        ),
        WorkedExample(
            "Swimming hall – Opening hours",
            "Monday – opens: 7:00; closes: 21:00. Sunday – opens: 9:00; closes: 18:00. The last ticket is sold an hour "
            "before closing.",
            "Until when is the swimming hall open on a Sunday?",
            "Sunday – opens: 9:00; closes: 18:00.",
        ),
    ),
    "de": (
        WorkedExample(
            "Lesesaal – Ausweise",
            "Ein Ausweis kostet 6 Mark im Jahr und ist für Schüler frei. Bringen Sie ein Papier mit, auf dem Ihr Name "
            "und Ihre Anschrift stehen. Ein verlorener Ausweis wird für 2 Mark ersetzt.",
            "Was zahle ich, wenn ich meinen Ausweis für den Lesesaal verliere?",
            "Ein verlorener Ausweis wird für 2 Mark ersetzt.",
        ),
        WorkedExample(
            "Schwimmhalle – Öffnungszeiten",
            "Montag – öffnet: 7:00; schließt: 21:00. Sonntag – öffnet: 9:00; schließt: 18:00. Die letzte Karte wird "
            "eine Stunde vorher verkauft.",
            "Bis wann hat die Schwimmhalle am Sonntag offen?",
            "Sonntag – öffnet: 9:00; schließt: 18:00.",
        ),
    ),
}
"""By language; passages in another one get the English ones."""
MOST_EXAMPLES = max(map(len, WORKED.values()))
COPIED = frozenset(normalise(example.question) for examples in WORKED.values() for example in examples)
"""The examples' own questions, which small models repeat."""


def prompts_digest() -> str:
    """The hash of all that the model reads beside a passage and its answer: of the prompts to made-up passages in each
    language, with and without a heading, as turns and as one text, behind each number of worked examples.
    """
    written: list[Any] = [STOP]
    for language, heading in product(sorted(WORKED), ("A title", "")):
        text = WORKED[language][0].passage
        lines = (Span(0, len(text), text, 0), Span(0, 0, "A row", 1))
        passage = Passage("d.md", heading, "A section" if heading else "", 0, len(text), text, lines)
        for examples in range(MOST_EXAMPLES + 1):
            turns = [(turn.role, turn.text) for turn in messages(passage, "An answer.", examples=examples)]
            written += [turns, prompt(passage, "An answer.", examples=examples)]
    return digest(written)


def answers_of(passage: Passage, *, each: int, seed: int) -> list[str]:
    """Up to `each` sentences of a passage that are to be asked for, each once: those with a number or a name first, in
    an order that the seed and the passage draw.
    """
    lines = dict.fromkeys(line.text for line in passage.lines if len(line.text.split()) >= FEWEST_WORDS)

    def order(text: str) -> tuple[bool, str]:
        states = NUMBER.search(text) is not None or NAME.search(text) is not None
        return not states, hashlib.sha256(f"{seed}:{passage.id}:{text}".encode("utf-8", "replace")).hexdigest()

    return sorted(lines, key=order)[:each]


def messages(passage: Passage, answer: str, *, examples: int) -> list[Message]:
    """The prompt as turns, with the first `examples` of those in the passage's language."""
    turns: list[Message] = []
    for example in _worked(passage)[:examples]:
        turns += [Message("user", example.given), Message("assistant", example.question)]
    turns.append(Message("user", _given(passage.heading, told(passage), answer)))
    return [Message("user", _INSTRUCTION + turns[0].text), *turns[1:]]


def prompt(passage: Passage, answer: str, *, examples: int) -> str:
    """The same as one text that ends where the question is to come."""
    worked = "".join(f"{each.given}\nQuestion: {each.question}\n\n" for each in _worked(passage)[:examples])
    return f"{worked}{_given(passage.heading, told(passage), answer)}\nQuestion:"


def told(passage: Passage) -> str:
    """A passage's sentences without markup, a row of a table ending as a sentence does."""
    return " ".join(line.text if _WHOLE.search(line.text) else f"{line.text}." for line in passage.lines)


def read_question(written: str) -> str:
    """The question in what a model wrote."""
    return _LABEL.sub("", written.strip().partition("\n")[0], count=1).strip()


def _worked(passage: Passage) -> Sequence[WorkedExample]:
    return WORKED.get(language_of(passage.text), WORKED["en"])


def _given(heading: str, text: str, answer: str) -> str:
    return f"Passage ({heading}): {text}\nAnswer: {answer}" if heading else f"Passage: {text}\nAnswer: {answer}"
