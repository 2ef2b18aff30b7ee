"""Words that turn a sentence's sense: denials, and opposites of what its source says.

turned("Open on Sunday.", read, sentences_of(read))     # "says 'Open', and its source the opposite: ..."
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

from shoptalk.assistant.fulltext import COMMON_STEMS, stems

_LOOKED_AHEAD = 200
"""Characters behind a word in which the next one that says something is looked for."""


class Opposites(NamedTuple):
    """Two words that are opposites within a frame."""

    one: str
    other: str
    frame: str = "{0}"


_TO_THE_SIDE = (
    r"(?:turn(?:s|ing)?|go|keep(?:s|ing)?|bear(?:s|ing)?|first|second|third|next|sharp|immediately) {0}|"
    r"(?:on|to) (?:the|your) {0}|{0}[- ]hand|{0} side"
)
"""Where "left" is not of "leave", and "right" neither what is due nor what is correct nor what is straight."""
OPPOSED = (
    Opposites("left", "right", _TO_THE_SIDE),
    Opposites("open", "closed"),
    Opposites("opens", "closes"),
    Opposites("minimum|at least", "maximum|at most"),
    Opposites("links", "rechts"),
    Opposites("offen|geöffnet", "geschlossen"),
    Opposites("öffnet", "schließt"),
    Opposites(r"mindestens|minimal\w*", r"höchstens|maximal\w*"),
)
"""Words of which a sentence must not have one where its source sentence has only the other."""
OPPOSED_BEFORE_THE_SAME = (
    Opposites("left", "right", "the {0}"),
    Opposites("before", "after"),
    Opposites("above", "below"),
    Opposites("with", "without"),
    Opposites("up to|under|less than", "over|more than"),
    Opposites("linke[nrs]?", "rechte[nrs]?"),
    Opposites("vor", "nach"),
    Opposites("oberhalb", "unterhalb"),
    Opposites("mit", "ohne"),
    Opposites("unter|bis zu", "über"),
)
"""The same for words that are opposites only where the next word that says something is the same: "before the tour" and
"after the tour", but not "with a card" and "without a fee".
"""


class _Said(NamedTuple):
    """A word of a pair, as it is looked for."""

    word: re.Pattern[str]
    opposite: re.Pattern[str]
    anywhere: re.Pattern[str]
    """The word without its frame."""
    same: bool
    """Whether they must stand before the same word."""

    @classmethod
    def of(cls, word: str, opposite: str, frame: str, same: bool) -> Self:
        framed, other, bare = (
            re.compile(rf"\b(?:{text})\b", re.I) for text in (frame.format(word), frame.format(opposite), word)
        )
        return cls(framed, other, bare, same)


_SAID = [
    _Said.of(word, opposite, pair.frame, same)
    for pairs, same in ((OPPOSED, False), (OPPOSED_BEFORE_THE_SAME, True))
    for pair in pairs
    for word, opposite in ((pair.one, pair.other), (pair.other, pair.one))
]

_NOT = re.compile(
    # "There is no 24-hour desk" denies; "room no. 5" and "tram No 5" do not.
    r"\b(?:not|(?!(?<=\w )(?-i:No)\s\d)no(?!\.\s?\d)|none|never|nobody|nothing|nowhere|neither|nor|without|cannot|"
    r"\w+n['’]t|nichts?|kein\w*|nie(?:mals)?|niemand\w*|nirgends|weder|ohne|pas|jamais|sans)\b",
    re.I,
)


def turned(said: str, read: str, sources: Sequence[str]) -> str | None:
    """A denial that nothing that was `read` has, or an opposite of what the source sentence says: the sentence of what
    was read (`sources`) with which this one shares most other words. Of several such sentences one without the opposite
    is enough. Where one opposite alone is said, and is what is denied, the sense is kept.
    """
    denies = _NOT.search(said) is not None and _NOT.search(read) is None
    kept: list[re.Pattern[str]] = []
    opposites = [each for each in _SAID if each.word.search(said) and each.opposite.search(read)]
    stemmed = [(source, set(stems(source))) for source in dict.fromkeys(sources)] if opposites else []
    for word, opposite, anywhere, same in opposites:
        stated = _what_follows(word, said, same) - _what_follows(opposite, said, same)
        rest = set(stems(word.sub(" ", said))) - COMMON_STEMS
        most = max(len(rest & words) for _, words in stemmed)
        nearest = [source for source, words in stemmed if len(rest & words) == most]
        if not most or not all(
            stated & _what_follows(opposite, source, same) and not anywhere.search(source) for source in nearest
        ):
            continue
        if all(_denies(said, word) == _denies(source, opposite) for source in nearest):
            return f"says {word.findall(said)[0]!r}, and its source the opposite: {nearest[0][:80]!r}"
        kept.append(word)
    if denies and not (len(kept) == 1 and _is_denied(kept[0], said)):
        return "denies something, and nothing that it cites does"
    return None


def _what_follows(word: re.Pattern[str], sentence: str, same: bool) -> set[str]:
    """The stem that says something behind each place of a word, where it must be the `same`; else one sign for all."""
    places = list(word.finditer(sentence))
    if not same:
        return {""} if places else set()
    ends = (sentence[place.end() : place.end() + _LOOKED_AHEAD] for place in places)
    behind = ((stem for stem in stems(end) if stem not in COMMON_STEMS) for end in ends)
    return {stem for stem in (next(rest, "") for rest in behind) if stem}


def _denies(sentence: str, word: re.Pattern[str]) -> bool:
    """Whether a sentence denies something by other words than this one ("without")."""
    return _NOT.search(word.sub(" ", sentence)) is not None


def _is_denied(word: re.Pattern[str], sentence: str) -> bool:
    """Whether the only denial of a sentence stands right before a word, with two words between at most."""
    before, after = word.split(sentence, maxsplit=1)
    return len(_NOT.findall(f"{before}|{after}")) == 1 and _NOT.search(" ".join(before.split()[-3:])) is not None
