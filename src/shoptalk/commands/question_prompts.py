"""What a language model reads to write a question and its answer for a passage, and what is read of what it wrote.

A few worked examples and then the passage, as one text that the model goes on from (InPars, Bonifacio et al. 2022,
section 3): any decoder can, with a chat template or without.

    Passage (Reading room – Cards): A reader's card costs 6 marks a year. ...
    Question: What do I pay if I lose my reader's card?
    Answer: A lost card is replaced for 2 marks.

    Passage (Luggage and bicycles – Bicycles): A bicycle costs 4 crowns on all three lines. ...
    Question:

The answers of the examples are sentences of their passages, and small models copy more easily than they word.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shoptalk.assistant.phrases import language_of
from shoptalk.assistant.sections import Passage
from shoptalk.curate.dedup import normalise

STOP = ("\n\n", "\nPassage")
"""What ends a question with its answer: the next example begins."""
_QUESTION = re.compile(r"\s*(?:Question:)?[ \t]*([^\n]+)")
_ANSWER = re.compile(r"\n[ \t]*Answer:[ \t]*([^\n]+)")
_WHOLE = re.compile(r"[.!?…:;\"'”’»)\]。！？]$")


@dataclass(frozen=True)
class WorkedExample:
    """A passage with a question to it, of our own writing."""

    heading: str
    passage: str
    question: str
    answer: str

    @property
    def text(self) -> str:
        """As the model reads it."""
        return f"{_passage(self.heading, self.passage)}\nQuestion: {self.question}\nAnswer: {self.answer}\n\n"


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
COPIED = frozenset(normalise(example.question) for examples in WORKED.values() for example in examples)
"""The examples' own questions, which small models repeat."""


def told(passage: Passage) -> str:
    """A passage's sentences without markup, a row of a table ending as a sentence does."""
    return " ".join(line.text if _WHOLE.search(line.text) else f"{line.text}." for line in passage.lines)


def prompt(passage: Passage, *, examples: int) -> str:
    """What the model goes on from, with the first `examples` of those in the passage's language."""
    worked = WORKED.get(language_of(passage.text), WORKED["en"])[:examples]
    return "".join(example.text for example in worked) + f"{_passage(passage.heading, told(passage))}\nQuestion:"


def most_examples() -> int:
    """How many there are in a language."""
    return max(map(len, WORKED.values()))


def read_question(written: str) -> tuple[str, str]:
    """The question and the answer in what a model wrote; empty where there is none."""
    question, answer = _QUESTION.match(written), _ANSWER.search(written)
    return (question[1].strip() if question else ""), (answer[1].strip() if answer else "")


def _passage(heading: str, text: str) -> str:
    return f"Passage ({heading}): {text}" if heading else f"Passage: {text}"
