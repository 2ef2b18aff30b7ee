"""Replies to passages, with one thing changed that the passages do not say: examples for a model that marks it.

    reply = make_reply(passages, inventory, kinds=KINDS, seed=0, step=3, example=17)
    reply.text, [reply.text[start:end] for start, end in reply.spans]        # "... costs 9 crowns.", ["9"]

A reply is one to three sentences of the passages, some of them reworded (`rewordings.py`) so that words which stand in
no passage are not always wrong. Then one corruption of one kind, or none. Everything is a function of seed, step and
example. Published forerunners corrupt summaries the same way (Kryściński et al. 2020, "FactCC", section 3; Cao & Wang
2021, "CLIFF").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shoptalk.text.exchangeable import FUNCTION_WORDS, INSERTED, OPPOSITES, POLAR, QUALIFIERS, UNIT, UNIT_FORMS
from shoptalk.text.mistakes import NAME, SHORTEST, WORD, Case, Corruption, Inventory, MistakenText, Span, replaced
from shoptalk.text.other_numbers import other_number, plain_figure, shape_of
from shoptalk.text.plain_sentences import sentences
from shoptalk.text.rewordings import NUMBERS, SPELT, cased_like, framed, reworded
from shoptalk.text.word_edits import addition, common, omission

CLEAN_SHARE = 0.4
"""Of the replies, those to which nothing is done."""
REWORDED_SHARE, FRAMED_SHARE = 0.5, 0.25
MOST_SENTENCES = 3
MOST_EXCHANGED = 60
"""Numbers or names of a sentence of which two are exchanged: a sentence may be a table of thousands."""


@dataclass(frozen=True)
class CorruptedReply:
    """A reply to passages."""

    text: str
    spans: tuple[Span, ...]
    kind: str
    """Of its corruption; empty where there is none."""


def make_reply(
    passages: Sequence[str],
    inventory: Inventory,
    *,
    kinds: Sequence[str],
    seed: int,
    step: int,
    example: int,
    document: int = -1,
    clean: float = CLEAN_SHARE,
) -> CorruptedReply:
    """A reply to the passages, which are told without markup; `document` is theirs, whose sentences are not foreign.

    The kind is drawn among those that can be applied; where none can, the reply stays as it is.
    """
    rng = np.random.default_rng([seed, step, example])
    whole = [sentence for passage in passages for sentence in sentences(passage)]
    usable = [sentence for sentence in whole if len(sentence.split()) >= SHORTEST] or whole
    if not usable:
        return CorruptedReply("", (), "")
    order = rng.permutation(len(usable))
    wanted = 1 + int(rng.integers(MOST_SENTENCES))
    case = Case(" ".join(whole), document, inventory, rng)
    leave = rng.random() < clean
    kind, first, corrupted = "", int(order[0]), None
    for name in [] if leave else [kinds[int(n)] for n in rng.permutation(len(kinds))]:
        for number in order[:8].tolist():
            said = reworded(usable[number], rng) if rng.random() < REWORDED_SHARE else usable[number]
            if (corrupted := KINDS[name](said, case)) is not None:
                kind, first = name, int(number)
                break
        if corrupted is not None:
            break
    others = [int(number) for number in order if number != first][: wanted - 1]
    parts = [corrupted or MistakenText(_perhaps_reworded(usable[first], rng), ())]
    parts += [MistakenText(_perhaps_reworded(usable[number], rng), ()) for number in others]
    text, spans = _joined([parts[int(number)] for number in rng.permutation(len(parts))])
    if rng.random() < FRAMED_SHARE:
        text, spans = _framed(text, spans, rng)
    return CorruptedReply(text, spans, kind)


def _perhaps_reworded(sentence: str, rng: np.random.Generator) -> str:
    return reworded(sentence, rng) if rng.random() < REWORDED_SHARE else sentence


def _joined(parts: Sequence[MistakenText]) -> tuple[str, tuple[Span, ...]]:
    text, spans = "", list[Span]()
    for part in parts:
        text += " " if text else ""
        spans += [(start + len(text), end + len(text)) for start, end in part.spans]
        text += part.text
    return text, tuple(spans)


def _framed(text: str, spans: tuple[Span, ...], rng: np.random.Generator) -> tuple[str, tuple[Span, ...]]:
    whole = framed(text, rng)
    # A frame stands before a reply or after it; before it, the reply's first letter may have another case.
    at = 0 if whole.startswith(text) else len(whole) - len(text)
    return whole, tuple((start + at, end + at) for start, end in spans)


# --- numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_SPELT_NUMBER = re.compile(rf"\b(?:{'|'.join(SPELT[number] for number in range(2, 13))})\b", re.I)


def _number(sentence: str, case: Case) -> MistakenText | None:
    """Another number: of the passages, or one that they do not have; or two numbers of the sentence exchanged."""
    figures = [*_NUMBER.finditer(sentence), *_SPELT_NUMBER.finditer(sentence)]
    if not figures:
        return None
    if (exchanged := _exchanged(sentence, figures, case)) is not None:
        return exchanged
    found = figures[int(case.rng.integers(len(figures)))]
    number = found[0]
    if not number[0].isdigit():
        others = [word for word in NUMBERS if word != number.lower() and NUMBERS[word] > 1]
        return replaced(sentence, [(*found.span(), cased_like(number, case.choice(others)))])
    stated = (other for other in _NUMBER.findall(case.passages) if shape_of(other) == shape_of(number))
    like = {other for other in stated if plain_figure(other) != plain_figure(number)}
    new = case.choice(sorted(like)) if like and case.rng.random() < 0.5 else other_number(number, case.rng)
    return replaced(sentence, [(*found.span(), new)])


def _exchanged(sentence: str, found: Sequence[re.Match[str]], case: Case) -> MistakenText | None:
    """Two of the stretches in each other's place, in three of ten cases where there are two that differ."""
    found = found[:MOST_EXCHANGED]
    pairs = [(a, b) for a in found for b in found if a.end() <= b.start() and plain_figure(a[0]) != plain_figure(b[0])]
    if not pairs or case.rng.random() >= 0.3:
        return None
    one, other = pairs[int(case.rng.integers(len(pairs)))]
    return replaced(sentence, [(*one.span(), other[0]), (*other.span(), one[0])])


# --- names, words, units ----------------------------------------------------------------------------------------------


def _name(sentence: str, case: Case) -> MistakenText | None:
    """Another name, half of the time one of the passages; or two names of the sentence exchanged."""
    known = case.inventory.known_names
    found = [match for match in NAME.finditer(sentence) if match[0] in known]
    if not found:
        return None
    if (exchanged := _exchanged(sentence, found, case)) is not None:
        return exchanged
    chosen = found[int(case.rng.integers(len(found)))]
    near = sorted({other[0] for other in NAME.finditer(case.passages)} & known - {match[0] for match in found})
    far = [name for name in (case.choice(case.inventory.names or ("",)) for _ in range(8)) if not case.says(name)]
    options = near if near and (case.rng.random() < 0.5 or not far) else [name for name in far if name][:1]
    return replaced(sentence, [(*chosen.span(), case.choice(options))]) if options else None


def _word(sentence: str, case: Case) -> MistakenText | None:
    """A word that says something for another with the same ending where there is one, half of the time one of the
    passages; or two words of the sentence exchanged. What stands in the passages elsewhere can be told from what is
    right by reading alone.
    """
    found = _content_words(sentence)
    if not found or not case.inventory.words:
        return None
    if (exchanged := _exchanged(sentence, found, case)) is not None:
        return exchanged
    chosen = found[int(case.rng.integers(len(found)))]
    said = {match[0] for match in found}
    near = sorted({match[0] for match in _content_words(case.passages)} - said)
    far = [word for word in (case.choice(case.inventory.words) for _ in range(24)) if not case.says(word)]
    options = near if near and (case.rng.random() < 0.5 or not far) else far
    ending = next((ending for ending in ("ing", "ed", "ly", "s") if chosen[0].endswith(ending)), "")
    fitting = [word for word in options if not ending or word.endswith(ending)] or options
    return replaced(sentence, [(*chosen.span(), case.choice(fitting))]) if fitting else None


def _content_words(text: str) -> list[re.Match[str]]:
    return [match for match in WORD.finditer(text) if match[0] not in FUNCTION_WORDS and match[0] not in UNIT_FORMS]


def _unit(sentence: str, case: Case) -> MistakenText | None:
    """Another unit of the same group."""
    found = [match for match in UNIT.finditer(sentence) if match[0].lower() in UNIT_FORMS]
    if not found:
        return None
    chosen = found[int(case.rng.integers(len(found)))]
    new = cased_like(chosen[0], case.choice(UNIT_FORMS[chosen[0].lower()]))
    return replaced(sentence, [(*chosen.span(), new)])


# --- qualifiers -------------------------------------------------------------------------------------------------------


def _qualifier(sentence: str, case: Case) -> MistakenText | None:
    """How often, how many or how surely, said otherwise: one such word for another, one more, or one less."""
    ways = [way for way in (_requalified(sentence, case), _qualified(sentence, case), _unqualified(sentence)) if way]
    return ways[int(case.rng.integers(len(ways)))] if ways else None


def _requalified(sentence: str, case: Case) -> MistakenText | None:
    """Another of the group, that the passages do not say too."""
    pairs = [(word, other) for group in QUALIFIERS for word in group for other in group if other != word]
    return _exchanged_word(sentence, [(word, other) for word, other in pairs if not case.says(other)], case)


def _qualified(sentence: str, case: Case) -> MistakenText | None:
    """One more behind an auxiliary, half of the time any word of the corpus: what the passages nowhere say is wrong."""
    found = _AFFIRMED.search(sentence)
    words = case.inventory.words if case.inventory.words and case.rng.random() < 0.5 else INSERTED
    if found is None or case.says(word := case.choice(words)):
        return None
    at = found.end()
    return MistakenText(f"{sentence[:at]} {word}{sentence[at:]}", ((at + 1, at + 1 + len(word)),))


def _unqualified(sentence: str) -> MistakenText | None:
    """One less; the word before it, which now stands beside another, is what is wrong."""
    found = _QUALIFIED.search(sentence)
    return None if found is None else replaced(sentence, [(*found.span(), found[1])])


# --- polarity ---------------------------------------------------------------------------------------------------------

_AUXILIARY = r"is|are|was|were|can|will|may|must|should|would|could|does|do|has|have"
_AFFIRMED = re.compile(rf"\b(?:{_AUXILIARY})\b(?! (?:not|never|no)\b)(?!n't)(?=\s+[a-z])")
_QUALIFIED = re.compile(rf"\b({_AUXILIARY}) (?:{'|'.join(INSERTED)})\b")
_DENIED = re.compile(rf"\b({_AUXILIARY}|did|wo)( not\b|n['’]t\b)|\b(can)(not|['’]t)\b", re.I)


def _negation(sentence: str, case: Case) -> MistakenText | None:
    """A "not" more or less, or a word for its denial. Where a "not" went, its auxiliary is what is wrong."""
    ways = [way for way in (_denied(sentence), _affirmed(sentence), _exchanged_word(sentence, POLAR, case)) if way]
    return ways[int(case.rng.integers(len(ways)))] if ways else None


def _denied(sentence: str) -> MistakenText | None:
    found = _AFFIRMED.search(sentence)
    if found is None:
        return None
    text = f"{sentence[: found.end()]} not{sentence[found.end() :]}"
    return MistakenText(text, ((found.end() + 1, found.end() + 4),))


def _affirmed(sentence: str) -> MistakenText | None:
    found = _DENIED.search(sentence)
    if found is None:
        return None
    kept = found[1] or found[3]
    kept = cased_like(kept, "will") if kept.lower() == "wo" else kept
    return replaced(sentence, [(*found.span(), kept)])


def _exchanged_word(sentence: str, pairs: Sequence[tuple[str, str]], case: Case) -> MistakenText | None:
    """One word for the other of its pair."""
    able = []
    for word, other in pairs:
        if (found := re.search(rf"(?<![\w-]){re.escape(word)}(?![\w'-])", sentence, re.I)) is not None:
            able.append((found, other))
    if not able:
        return None
    chosen, other = able[int(case.rng.integers(len(able)))]
    return replaced(sentence, [(*chosen.span(), cased_like(chosen[0], other))])


def _opposite(sentence: str, case: Case) -> MistakenText | None:
    """A word for its opposite."""
    return _exchanged_word(sentence, [*OPPOSITES, *((other, word) for word, other in OPPOSITES)], case)


# --- sentences --------------------------------------------------------------------------------------------------------


def _sentence(sentence: str, case: Case) -> MistakenText | None:
    """A sentence of another document after this one; all of it is unsupported."""
    inventory = case.inventory
    for _ in range(8 if inventory.told else 0):
        item = int(case.rng.integers(len(inventory.told)))
        if inventory.document[item] == case.document or not inventory.told[item]:
            continue
        foreign = case.choice(inventory.told[item])
        if foreign not in case.passages:
            begin = len(sentence) + 1
            return MistakenText(f"{sentence} {foreign}", ((begin, begin + len(foreign)),))
    return None


KINDS: dict[str, Corruption] = {
    "number": _number,
    "name": _name,
    "negation": _negation,
    "unit": _unit,
    "opposite": _opposite,
    "qualifier": _qualifier,
    "word": _word,
    "common": common,
    "addition": addition,
    "omission": omission,
    "sentence": _sentence,
}
