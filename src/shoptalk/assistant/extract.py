"""The extractive answer: the best sentences of what was read, in reading order, each with its place."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from shoptalk.assistant.fulltext import COMMON_STEMS, stems
from shoptalk.assistant.reply import Sentence
from shoptalk.assistant.retrieve import Found
from shoptalk.assistant.sections import Span
from shoptalk.assistant.shelf import Shelf
from shoptalk.text.corpus import plain_wording

LINE, PASSAGE, WORD = 1.0, 0.35, 0.35
"""Weights of a sentence's own cosine, of its passage's and of the words that it shares with the question."""
HEADING = 0.5
"""What a word counts that stands in the sentence's headings only."""
NUMBER = 0.2
"""What a number in it counts where the question asks for one: a price, a time, a day."""
EDGE = 0.2
"""What it counts that it is the first row of its table where the question asks for the first, or the last for the last.
"""
LEADING = 0.15
"""What it loses where it only leads in to what follows, or has fewer than four words."""
NEAR = 0.15
"""Sentences within this of the best one's score join the answer."""
CHARACTERS = 700
"""Of an answer, unless its best sentence is longer."""


PINNED = 1.0
"""What it counts that it is of the official answer to this question."""
_ASKS_NUMBER = re.compile(
    r"\b(?:how (?:much|many|long|old|high|tall|wide|heavy|often|early|late|far|big|large|fast|soon)|when|until|"
    r"what (?:time|hour|price)|price|costs?|fee|fare|charge|pay|which (?:day|date|time|hour)|"
    r"wie ?viele?|wie (?:lange?|hoch|breit|schwer|oft|früh|spät|weit|alt|teuer)|wann|kostet|kosten|preis|"
    r"combien|quand|prix|cuánt[oa]s?|cuándo|precio)\b",
    re.I,
)
_FIRST = re.compile(
    r"\b(?:first(?! (?:aid|class|names?|time)\b)|earliest|erste[rns]?|früheste[rns]?|premi(?:er|ère)|primer[oa]?)\b",
    re.I,
)
_LAST = re.compile(
    r"\b(?:last(?! (?:night|week|month|year|time|summer|winter|spring|autumn)\b)|latest|"
    r"letzte[rns]?|späteste[rns]?|derni(?:er|ère)|últim[oa])\b",
    re.I,
)
_HAS_NUMBER = re.compile(
    r"\d|\b(?:free|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|half|quarter|"
    r"kostenlos|frei|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|halb)\b",
    re.I,
)


@dataclass(frozen=True)
class Picked:
    """A sentence that may answer."""

    rank: int
    """Of its passage among those found, from 1."""
    line: Span
    score: float
    cosine: float
    overlap: float
    """The share of the question's words, by rarity, that stand in it or in its headings."""


def pick(shelf: Shelf, found: Sequence[Found], question: str, vector: Float[np.ndarray, " D"]) -> list[Picked]:
    """Every sentence of the passages that were read, the best first."""
    weights = _weights(shelf, question)
    wants_number = _ASKS_NUMBER.search(question) is not None
    first, last = _FIRST.search(question) is not None, _LAST.search(question) is not None
    picked = []
    for rank, hit in enumerate(found, start=1):
        edges = _edges(shelf, hit, first=first, last=last) if first != last else set()
        cosines = shelf.line_vectors(hit.number) @ vector.astype(np.float32)
        headings = set(stems(hit.passage.heading))
        for line, cosine in zip(hit.passage.lines, cosines.tolist(), strict=True):
            overlap = _overlap(weights, set(stems(line.text)), headings)
            score = LINE * float(cosine) + PASSAGE * hit.cosine + WORD * overlap + PINNED * hit.pinned
            score += NUMBER * (wants_number and _HAS_NUMBER.search(line.text) is not None) - LEADING * _leads_in(line)
            score += EDGE * (line.start in edges)
            picked.append(Picked(rank, line, score, float(cosine), overlap))
    return sorted(picked, key=lambda entry: (-entry.score, entry.rank, entry.line.start))


def stitch(picked: Sequence[Picked], *, most: int) -> tuple[Sentence, ...]:
    """The best sentence and those nearly as good, at most `most` of them, in the order in which they stand."""
    if not picked:
        return ()
    chosen: dict[tuple[int, int], Picked] = {}
    length, said = 0, set[str]()
    for entry in picked:
        if (wording := plain_wording(entry.line.text)) in said:  # several documents may say the same
            continue
        if len(chosen) >= most or (chosen and entry.score < picked[0].score - NEAR):
            break
        if chosen and length + len(entry.line.text) > CHARACTERS:
            continue
        chosen[entry.rank, entry.line.start] = entry
        length += len(entry.line.text)
        said.add(wording)
    order = sorted(chosen.values(), key=lambda entry: (entry.rank, entry.line.start))
    return tuple(Sentence(part.line.text, (part.rank,), part.line.start, part.line.end) for part in order)


def worded(sentences: Sequence[Sentence], found: Sequence[Found]) -> str:
    """The sentences as one text; rows of tables stand on lines of their own."""
    parts: list[str] = []
    for sentence in sentences:
        text = sentence.text if re.search(r"[.!?…:\"'”»)。！？；：」』）؟۔।]$", sentence.text) else f"{sentence.text}."
        row = any(line.row and line.start == sentence.start for line in found[sentence.sources[0] - 1].passage.lines)
        parts.append(f"\n{text}\n" if row else text)
    return re.sub(r" *\n+ *", "\n", " ".join(parts)).strip()


def _edges(shelf: Shelf, hit: Found, *, first: bool, last: bool) -> set[int]:
    """Where the first or last rows of the passage's tables begin; a table may go on in the passages beside it."""
    rows = [line for line in hit.passage.lines if line.row]
    edges = set()
    for block in {row.block for row in rows}:
        of_table = [row for row in rows if row.block == block]
        if first and not _goes_on(shelf, hit, hit.number - 1, block):
            edges.add(of_table[0].start)
        if last and not _goes_on(shelf, hit, hit.number + 1, block):
            edges.add(of_table[-1].start)
    return edges


def _goes_on(shelf: Shelf, hit: Found, number: int, block: int) -> bool:
    if not 0 <= number < len(shelf):
        return False
    beside = shelf.passage(number)
    return (beside.document, beside.section) == (hit.passage.document, hit.passage.section) and any(
        line.row and line.block == block for line in beside.lines
    )


def _leads_in(line: Span) -> bool:
    return not line.row and (line.text.endswith(":") or len(line.text.split()) < 4)


def _weights(shelf: Shelf, question: str) -> Mapping[str, float]:
    """Of each of the question's words that says something, the weight: the rarer in the knowledge, the heavier."""
    return {
        stem: shelf.fulltext.rarity(stem)
        for stem in stems(question)
        if stem not in COMMON_STEMS and (len(stem) > 1 or stem.isdigit())
    }


def _overlap(weights: Mapping[str, float], words: set[str], headings: set[str]) -> float:
    total = sum(weights.values())
    shared = sum(
        weight * (1.0 if word in words else HEADING) for word, weight in weights.items() if word in words | headings
    )
    return shared / total if total else 0.0
