"""The gate after a generator: what it says must stand in the passages that it cites, else it goes.

    grounded = ground(text, found)
    grounded.sentences            # those that stand; empty where the extractive answer must serve instead
    grounded.refused              # each other sentence, and why

A generator cites by number, "A bicycle costs 4 crowns. [1]". Numbers, dates, times, names and quotations of a sentence
must stand in the passages that it cites, and so must most of its other words that say something; a sentence that cites
nothing is looked for in all of them. A sentence that says "open" where its source sentence has only "closed" is refused
(`opposites.py`), and so is one with links or code. Where the run has a grounding head (`marker.py`), what these rules
let through goes too if it marks a word of it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol, runtime_checkable
from unicodedata import normalize

from shoptalk.assistant.fulltext import COMMON_STEMS, stems
from shoptalk.assistant.opposites import turned
from shoptalk.assistant.reply import Sentence
from shoptalk.assistant.retrieve import Found
from shoptalk.text.measured_numbers import contradicted, is_unit, shared_measures
from shoptalk.text.number_words import SPELT, spelt_in, with_halves_in_digits
from shoptalk.text.plain_sentences import GERMAN_MONTH, is_abbreviated
from shoptalk.text.stated_facts import (
    NAME,
    NUMBER,
    both_ends_apart,
    numbers_in,
    plain_number,
    ranges_in,
    with_colons,
)

SHARED = 0.6
"""Of a sentence's words that say something, the share that must stand in what it cites."""
_CITED = re.compile(r"\s?\[(\d{1,9}(?:[\s,;]+\d{1,9})*[\s,;]*)\]")
"""Every digit belongs to one number and every separator to one gap: what was not closed is given up in linear time."""
_END = re.compile(r"[.!?…؟।\]][\"'”’»)]*(?=\s|$)|[。！？][\"”’»」』）]*(?:\s?\[\d{1,9}\])*")
"""Where a sentence of a written text may end, its citations included."""
_NEXT = re.compile(r"(?<=[.!?…؟।])\s+(?!\[)|(?<=\])\s+(?!\[)")
"""Where the next one begins."""
BULLET = re.compile(rf"^(?:[-*•–]\s+|[*•]+\s*|\d{{1,3}}[.)]\s+(?!{GERMAN_MONTH}))+")
"""Of an item of a list, numbered or not: the minus of "-5 °C" and the day of "3. Mai" are none."""
_DAY = re.compile(
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?\b|(?:Mon|Diens|Donners|Frei|Sams|Sonn)tags?\b|Mittwochs?\b|"
    r"(?:January|February|April|June|July|August|September|October|November|December)\b"
)
"""At a sentence's beginning a name all the same; "May" and "March" may be no months there."""
_POSSESSIVE = re.compile(r"['’]s?(?!\w)")
_LETTERED = re.compile(r"(?<=[a-zäöüß] )[A-HJ-Z]\b(?!['’-]|\.(?!\s*$))|\b\d++[ABDE]\b")
"""A line, deck or cabin by its letter. Behind a number other letters are units."""
_SINGLE = re.compile(r"\b(?:(?P<one>one)|an?|eine?[mnr]?)[\s-](?P<noun>[^\W\d_]{2,})", re.I)
_WORD = re.compile(r"\w+(?:[.,:]\w+)*")
_MOST_SHOWN = 10
"""Words that a reason lists."""
_LITTLE = COMMON_STEMS | SPELT.keys() | {"s", "t", "re", "ll", "ve", "d", "p", "m", "an", "am", "um"}
"""Stems that say little: common words, numbers, which are looked up as such, and what is left of "it's" and "p.m."."""
_JOINED = re.compile(r"[\s*_()-]*")
"""What may stand between a number and its noun, marks of emphasis too; "€25/night" is no number of nights."""
_QUOTED = re.compile(r"[\"“„«]([^\"”“»„«]{3,})[\"”“»]")
_KEPT = 32
"""Texts that are kept taken apart: every sentence of a reply is looked up in the same passages."""
_FOREIGN = re.compile(r"https?://|www\.|<[a-zA-Z/]|```|\bas an? (?:AI|language model)\b|\bsystem prompt\b", re.I)


@dataclass(frozen=True)
class Grounded:
    """What is left of a generator's answer."""

    sentences: tuple[Sentence, ...]
    refused: tuple[tuple[str, str], ...]
    """Sentence and reason."""


@runtime_checkable
class Marks(Protocol):
    """What marks words that passages do not say (`marker.py`)."""

    def marked(self, sentences: Sequence[str], passages: Sequence[str]) -> tuple[str, ...]:
        """Of each sentence the marked words; empty where there are none."""


def ground(text: str, found: Sequence[Found], marks: Marks | None = None) -> Grounded:
    """Each sentence of a generated answer with the ranks of the passages that it rests on; the others are refused."""
    kept: list[Sentence] = []
    refused: list[tuple[str, str]] = []
    for part in (" ".join(written.split()) for written in sentences_of(text)):
        cited = tuple(dict.fromkeys(int(n) for group in _CITED.findall(part) for n in re.findall(r"\d+", group)))
        sentence = " ".join(_CITED.sub("", part).split())
        if not any(character.isalnum() for character in sentence):
            continue
        if wrong := [number for number in cited if not 1 <= number <= len(found)]:
            refused.append((sentence, f"cites [{wrong[0]}], and {len(found)} passages were read"))
            continue
        options = [cited] if cited else [(rank,) for rank in range(1, len(found) + 1)]
        reasons = [_unsupported(sentence, [found[rank - 1] for rank in ranks]) for ranks in options]
        stands = next((ranks for ranks, reason in zip(options, reasons, strict=True) if reason is None), None)
        if stands is None:
            refused.append(
                (sentence, (reasons[0] or "") if cited else "cites nothing, and stands in no passage that was read")
            )
        else:
            kept.append(Sentence(sentence, stands))
    if marks is not None:
        words = _marked(kept, found, marks)
        refused += [
            (sentence.text, f"says {words[number]!r}, which no passage that it cites says")
            for number, sentence in enumerate(kept)
            if words[number]
        ]
        kept = [sentence for number, sentence in enumerate(kept) if not words[number]]
    return Grounded(tuple(kept), tuple(refused))


def _marked(kept: Sequence[Sentence], found: Sequence[Found], marks: Marks) -> dict[int, str]:
    """The marked words of each sentence, by its number; those that cite the same passages are read together."""
    together: dict[tuple[int, ...], list[int]] = {}
    for number, sentence in enumerate(kept):
        together.setdefault(sentence.sources, []).append(number)
    words: dict[int, str] = {}
    for ranks, numbers in together.items():
        passages = [found[rank - 1].passage.sought for rank in ranks]
        words |= zip(numbers, marks.marked([kept[number].text for number in numbers], passages), strict=True)
    return words


def sentences_of(text: str) -> list[str]:
    """A written text's sentences, with the citations behind them."""
    parts: list[str] = []
    for line in text.strip().splitlines():
        begun: list[str] = []
        pieces = _NEXT.split(BULLET.sub("", line.strip()))
        for piece, following in pairwise([*pieces, ""]):
            begun.append(piece)
            if not is_abbreviated(piece, following):
                parts.append(" ".join(begun))
                begun = []
        parts.append(" ".join(begun))
    return [part for part in parts if part]


def whole_sentences(text: str) -> str:
    """Of a text that was cut, its whole sentences. An abbreviation's full stop ends none, nor does one behind a digit
    where the text was cut: "4." may have been about to become "4.50".
    """
    text = text.rstrip()
    for end in reversed(list(_END.finditer(text))):
        whole = text[: end.end()]
        if not (is_abbreviated(whole, text[end.end() :]) or (whole == text and re.search(r"\d\.$", whole))):
            return whole
    return ""


def _unsupported(said: str, read: Sequence[Found]) -> str | None:
    texts = ["\n".join([hit.passage.heading, hit.passage.text, *(x.text for x in hit.passage.lines)]) for hit in read]
    return unsupported(said, "\n".join(texts))


def unsupported(said: str, read: str, *, where: str = "passage that it cites", shared: float = SHARED) -> str | None:
    """Why a sentence does not stand in what was `read`, in words that call this `where`; None where it does.

    `shared` is the share of its telling words that must stand there. A sentence that has neither a telling word nor a
    number, such as "He did.", must stand there word for word: its words alone stand nearly everywhere.

    A range must stand there in one of the forms of `ranges_in`, or with both ends in one sentence, neither of them an
    end of another range; one with a hyphen alone in one of the forms. Of opposites only those of `opposites.OPPOSED`
    and `OPPOSED_BEFORE_THE_SAME` are looked for, and only in the sentence of what was read that shares most words with
    this one.

    What passes wrongly: another unit of the same number where one of the two is none that `measured_numbers` reads ("5
    knots" for "5 miles", "7 in the evening" for "7 am"), or where the number stands with both; another sign of what is
    no temperature; a phone number's groups in another order; what is between weekdays ("Monday to Sunday" for "Monday
    to Friday"), where from and where to, who pays which of two prices; the parts of a time ("at 30" for "at 10:30");
    numbers in words above ninety-nine, ordinals and ranges in words; ".5" for 5; "one" before an adjective ("one small
    dog" for "two small dogs"); another place or person at the beginning of a sentence ("Berlin has a pool" for "Hamburg
    has a pool"); two numbers of one sentence as a range ("8 to 10" where it says "8 cabins for 10 people"); what is
    denied, said without the denial; other opposites ("less" for "more", "until 9" for "from 9", "early" for "late",
    "opens" for "is closed", "left of" and "goes left" for the right) and other languages than English and German; an
    opposite where the source sentence has both words ("open on Monday and closed on Sunday"), where one of the two
    sentences denies something and the other does not, or before another word, be it a synonym or an adjective ("before
    the trip" or "before the guided tour" for "after the tour"); and what a sentence joins out of several sentences.

    What is refused wrongly: a true sentence whose words stand mostly in a sentence about something else that has the
    opposite ("The bar is open on Sunday." where "The bar on deck 2 is closed on Sunday." is nearest, and "It is open
    every day." stands elsewhere); and a denial that keeps the sense where nothing read denies anything, unless it
    stands right before an opposite ("The pool is not open on Sunday." for "The pool is closed on Sunday." stands; "Der
    Kiosk öffnet am Sonntag nicht." for "Der Kiosk schließt am Sonntag." and "No dog is unwelcome." do not).
    """
    said, source = _evened(said), _taken_apart(read)
    if _FOREIGN.search(said):
        return "holds a link, code or words about itself"
    return (
        _number_astray(said, source, where)
        or _name_astray(said, source, where)
        or _words_astray(said, source, where, shared)
        or turned(said, source.text, source.sentences)
    )


@dataclass(frozen=True)
class _Source:
    """What a sentence is looked up in, taken apart."""

    text: str
    whole: str
    """In one line."""
    in_order: tuple[str, ...]
    """Its stems."""
    words: frozenset[str]
    """The same as a set."""
    numbers: frozenset[str]
    alone: frozenset[str]
    """The numbers in digits, none of them taken out of another one."""
    sentences: tuple[str, ...]


@lru_cache(maxsize=_KEPT)
def _taken_apart(read: str) -> _Source:
    text = _evened(read)
    whole = " ".join(text.split())
    in_order = tuple(stems(whole))
    alone = frozenset(plain_number(number) for number in NUMBER.findall(text))
    numbers, sentences = frozenset(numbers_in(text)), tuple(sentences_of(text))
    return _Source(text, whole, in_order, frozenset(in_order), numbers, alone, sentences)


def _evened(text: str) -> str:
    """In one form of its characters, with times and halves written in one way."""
    return with_halves_in_digits(with_colons(normalize("NFC", text)))


def _number_astray(said: str, source: _Source, where: str) -> str | None:
    """A number or range that does not stand there, or stands there of something else."""
    for number in NUMBER.findall(said):
        plain = plain_number(number)
        if plain not in source.numbers and not (plain.endswith(":00") and plain.removesuffix(":00") in source.alone):
            return f"the number {number} stands in no {where}"
    for plain, written in ranges_in(said).items():
        if plain.replace(":00", "") not in source.numbers and not any(
            both_ends_apart(plain, sentence) for sentence in source.sentences
        ):
            return f"the range {written} stands in no {where}"
    for word, number in _spelt(said):
        if number not in source.numbers:
            return f"the number {word!r} stands in no {where}"
    if (other := contradicted(said, source.text)) is not None:
        return f"says {other[0]!r} where a {where} has {other[1]!r}"
    if (single := _one_of_several(said, source.text)) is not None:
        return f"says {single!r} where a {where} has more"
    return None


def _spelt(said: str) -> list[tuple[str, str]]:
    """Numbers in words, but for "one", which is a pronoun as well."""
    return [(word, number) for word, number in spelt_in(said) if number != "1"]


def _name_astray(said: str, source: _Source, where: str) -> str | None:
    """A quotation, name or letter (of a deck, a line) that does not stand there."""
    lowered = source.whole.casefold()
    for quoted in _QUOTED.findall(said):
        if " ".join(quoted.split()).casefold().rstrip(".,!?") not in lowered:
            return f"the quotation {quoted[:40]!r} stands in no {where}"
    for name in _names_of(said):
        if not set(stems(_POSSESSIVE.sub("", name))) <= source.words:
            return f"the name {name!r} stands in no {where}"
    for letter in _LETTERED.findall(said):
        if not re.search(rf"\b{letter}\b", source.text):
            return f"the name {letter!r} stands in no {where}"
    return None


def _words_astray(said: str, source: _Source, where: str, shared: float) -> str | None:
    """Too many telling words that do not stand there; or neither such a word nor a number, and not word for word."""
    telling = [stem for stem in stems(said) if stem not in _LITTLE and not stem.isdigit()]
    # A unit stands there where its number does, however it is written.
    measured = {stem for written in shared_measures(said, source.text) for stem in stems(written)}
    missing = [stem for stem in telling if stem not in source.words and stem not in measured]
    if telling and 1 - len(missing) / len(telling) < shared:
        lacking = set(missing)
        spelt = [word for word in dict.fromkeys(re.findall(r"\w+", said)) if not lacking.isdisjoint(stems(word))]
        verb = "stands" if len(missing) == 1 else "stand"
        return (
            f"{len(missing)} of its {len(telling)} telling words {verb} in no {where}: {', '.join(spelt[:_MOST_SHOWN])}"
        )
    if (
        not telling
        and NUMBER.search(said) is None
        and not _spelt(said)
        and not _runs_through(stems(said), source.in_order)
    ):
        return f"says nothing that could be looked up, and stands in no {where} word for word"
    return None


def _names_of(said: str) -> Iterator[str]:
    """The names of a sentence, a weekday or month at its beginning too; what is only the unit of a number is none."""
    if (first := _DAY.match(said)) is not None:
        yield first[0]
    for name in NAME.finditer(said):
        if not (re.search(r"\d\s?$", said[: name.start()]) and is_unit(name[0])):
            yield name[0]


def _one_of_several(said: str, read: str) -> str | None:
    """A sentence's "one hour", or "an hour", where what was `read` has hours with other numbers alone; of what is no
    unit "one dog" alone is read so.
    """
    for noun_said, single in {found["noun"].lower(): found for found in _SINGLE.finditer(said)}.items():
        noun = stems(noun_said)[:1]
        if not noun or noun[0] in COMMON_STEMS or not (single["one"] or is_unit(single["noun"])):
            continue
        counts = _counts_of(noun, noun_said[:2], read)
        if counts and all(count is not None and count != "1" for count in counts):
            return single[0]
    return None


def _counts_of(noun: Sequence[str], begin: str, read: str) -> list[str | None]:
    """The numbers that stand right before each place of a noun, which begins so; None where there is none: "€25/night"
    is no number of nights.
    """
    counts: list[str | None] = []
    last: re.Match[str] | None = None
    for word in _WORD.finditer(read):
        if word[0][:2].lower() == begin and stems(word[0]) == noun:
            joined = last is not None and _JOINED.fullmatch(read, last.end(), word.start()) is not None
            paid = last is not None and read[max(0, last.start() - 1) : last.start()] in ("€", "$", "£")
            counts.append(_count(last[0]) if last is not None and joined and not paid else None)
        last = word
    return counts


def _count(word: str) -> str | None:
    """The number that a word says; None where it says none."""
    return SPELT.get(word.lower()) or (plain_number(word) if NUMBER.fullmatch(word) else None)


def _runs_through(words: Sequence[str], text: Sequence[str]) -> bool:
    """Whether the words stand in the text one directly after the other."""
    return any(list(text[begin : begin + len(words)]) == list(words) for begin in range(len(text) - len(words) + 1))
