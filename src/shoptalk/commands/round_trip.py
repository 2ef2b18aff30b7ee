"""The round trip: by a written question alone, an assistant that has learned nothing must come back to its passage.

    trip = RoundTrip(shelf, open_text("minilm"), rank=1, day=date.today())
    [judged] = trip.judged([WrittenQuestion(7, 0, "What does a bicycle cost?", "A bicycle costs 4 crowns.")])
    judged.reason       # None where it survives

Promptagator (Dai et al. 2022, section 3.2) keeps a question where a retriever finds the passage that it was written to
among the first k of all passages, k = 1 in their experiments. Theirs is trained on the questions themselves; this one
is the assistant's as it is without training (`assistant/retrieve.py`: vectors and words), so that what is kept is not
what training made findable. Alberti et al. (2019, section 2) keep a question where its answer comes back, too: here the
extractive answer that the assistant gives from that passage must say what the written answer says.

Before that, what no round trip can tell is looked for: a question must be one, must not hold its answer, and its
numbers and names must stand in the passage, by the rules of the gate (`assistant/ground.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from jaxtyping import Float

from shoptalk.assistant.extract import pick, stitch, worded
from shoptalk.assistant.fulltext import stems
from shoptalk.assistant.ground import unsupported
from shoptalk.assistant.phrases import language_of
from shoptalk.assistant.retrieve import Found, retrieve
from shoptalk.assistant.sections import Passage
from shoptalk.assistant.shelf import Embeds, Shelf
from shoptalk.commands.question_prompts import COPIED
from shoptalk.curate.dedup import normalise
from shoptalk.records import Frozen
from shoptalk.text.number_words import spelt_in
from shoptalk.text.stated_facts import NAME, NUMBER, numbers_in, plain_number

RULES = 6
"""The version of the rules by which questions are asked for and judged: here, in `answers_of` and in what they call
(the gate, retrieval, the extractive answer). Whoever changes what survives raises it, so that work of the rules before
is not gone on with. A test pins the words, patterns and numbers of this file, `question_prompts.py`, `questions.py`
and the gate; what code decides it cannot see, nor what retrieval and the extractive answer go by.
"""
FEWEST_WORDS = 3
"""Of a question: "And then?" could be asked of anything."""
READ = 10
"""Passages among which the one that was meant is looked for, to say at which place it stands."""
SENTENCES = 3
"""Of the extractive answer, as many as the assistant's have at most by default."""
_OF_THE_PROMPT = re.compile(r"\b(?:passage|given (?:sentence|answer)|textstelle|(?:im|des) text(?:es)?)\b", re.I)
"""Words of the prompt, which a visitor has not read."""
_FIRST_PERSON = re.compile(r"\bI['’]\w+")


class JudgedQuestion(Frozen):
    """A question that was written to a passage, and what became of it."""

    passage: int
    """Its number on the shelf."""
    draw: int
    """Which of the questions to it."""
    question: str
    answer: str
    reason: str | None = None
    """Why it is dropped; None where it has survived so far."""
    detail: str = ""


@dataclass(frozen=True)
class WrittenQuestion:
    """A question that a model wrote to a sentence of a passage."""

    passage: int
    draw: int
    question: str
    answer: str
    cut: bool = False
    """Whether the model had not ended when its tokens were used up."""


@dataclass(frozen=True)
class RoundTrip:
    """What judges questions."""

    shelf: Shelf
    encoder: Embeds
    """That of the shelf."""
    rank: int
    """The passage must be among so many."""
    day: date
    """Documents that do not hold on it are not found."""

    def judged(self, written: Sequence[WrittenQuestion]) -> list[JudgedQuestion]:
        """What becomes of each, in their order."""
        reasons = [_of_itself(each, self.shelf.passage(each.passage)) for each in written]
        asked = [number for number, reason in enumerate(reasons) if reason is None]
        if asked:
            vectors = self.encoder.embed([written[number].question for number in asked])
            for number, vector in zip(asked, vectors, strict=True):
                reasons[number] = self._on_the_way_back(written[number], vector)
        return [
            JudgedQuestion(
                passage=each.passage,
                draw=each.draw,
                question=each.question,
                answer=each.answer,
                reason=reason[0] if reason else None,
                detail=reason[1] if reason else "",
            )
            for each, reason in zip(written, reasons, strict=True)
        ]

    def _on_the_way_back(self, written: WrittenQuestion, vector: Float[np.ndarray, " D"]) -> tuple[str, str] | None:
        question = written.question
        hits = retrieve(self.shelf, [(question, vector, 1.0)], k=max(READ, self.rank), day=self.day)
        place = next((place for place, hit in enumerate(hits, 1) if hit.number == written.passage), None)
        if place is None:
            return "not-found", f"its passage is not among the first {max(READ, self.rank)}"
        if place > self.rank:
            return "not-found", f"its passage is found at place {place}"
        extract = self._extract(hits[place - 1], question, vector)
        if (why := unsupported(written.answer, extract, where="extract")) is not None:
            return "other-answer", f"{why}: {extract}"
        return None

    def _extract(self, hit: Found, question: str, vector: Float[np.ndarray, " D"]) -> str:
        """What the assistant would quote of the passage for an answer, below its headings."""
        sentences = stitch(pick(self.shelf, [hit], question, vector), most=SENTENCES)
        return f"{hit.passage.heading}\n{worded(sentences, [hit])}"


def _of_itself(written: WrittenQuestion, passage: Passage) -> tuple[str, str] | None:
    """What is wrong with a question whatever is found by it; None where nothing is."""
    question = written.question
    if written.cut:
        return "unfinished", "the question was still going on when its tokens were used up"
    if len(normalise(question).split()) < FEWEST_WORDS or not question.endswith(("?", "？", "؟")):
        return "no-question", f"expected {FEWEST_WORDS} words or more and a question mark"
    if normalise(question) in COPIED:
        return "copied-example", "it is the question of a worked example"
    if normalise(written.answer) in normalise(question):
        return "holds-answer", "it says what it asks for"
    of_prompt = _OF_THE_PROMPT.search(question)
    if of_prompt and of_prompt[0].casefold() not in passage.sought.casefold():
        return "about-the-prompt", f"it says {of_prompt[0]!r}, which no visitor has read"
    if (why := _asks_of_others(question, passage)) is not None:
        return "question-unsupported", why
    return None


def _asks_of_others(question: str, passage: Passage) -> str | None:
    """A number or a name of the question that the passage does not have. Its other words may well be others. Names are
    not looked for in German, which writes every noun as one.
    """
    read = "\n".join([passage.heading, passage.text, *(line.text for line in passage.lines)])
    numbers = numbers_in(read)
    for number in NUMBER.findall(question):
        if plain_number(number) not in numbers:
            return f"the number {number} does not stand in its passage"
    for word, spelt in spelt_in(question):
        if spelt != "1" and spelt not in numbers:
            return f"the number {word!r} does not stand in its passage"
    known = set(stems(read))
    names = [] if language_of(question) == "de" else NAME.findall(_FIRST_PERSON.sub("I", question))
    missing = next((name for name in names if not set(stems(name)) <= known), None)
    return None if missing is None else f"the name {missing!r} does not stand in its passage"
