"""Corruptions of any word: another common word in its place, a word more, a word fewer.

Denials, units, numbers and names are kinds of their own and are neither put in nor left out here. A reader that learns
from these edits learns what another word, a word more and a word fewer look like beside the passages, whatever word it
is; of the kinds with lists of words it also learns which words are never wrong.
"""

import regex

from shoptalk.text.mistakes import Case, MistakenText, editable, editable_words, of_own_kind, replaced
from shoptalk.text.rewordings import BOTH_WAYS, ONE_WAY

_SAME = frozenset((a, b) for one, other in (*BOTH_WAYS, *ONE_WAY) for a, b in ((one, other), (other, one)))
_BETWEEN_WORDS = regex.compile(r"(?<=[^\W\d_] )\p{Ll}{2,}(?= \p{Ll})")
_WITH_WORD_BEFORE = regex.compile(r"(?<![\w'’-])(\p{Ll}+)(?= (\p{Ll}{2,}) \p{Ll})")
"""A word in small letters; and, looked ahead at, the one after it, which stands before a third."""
_GAP = regex.compile(r"(?<!\p{Ll})(\p{Ll}+) (?=(\p{Ll}+))")
_TRIES = 24


def common(sentence: str, case: Case) -> MistakenText | None:
    """A common word of the corpus for another: "to the quay" for "from the quay"."""
    words = case.inventory.common
    found = [match for match in _BETWEEN_WORDS.finditer(sentence) if match[0] in words]
    if not found:
        return None
    chosen = found[int(case.rng.integers(len(found)))]
    options = [word for word in words if word != chosen[0] and (chosen[0], word) not in _SAME]
    return replaced(sentence, [(*chosen.span(), case.choice(options))]) if options else None


def addition(sentence: str, case: Case) -> MistakenText | None:
    """A word more between two: a common one, one that the passages say elsewhere, or any of the corpus.

    What stands in the passages elsewhere is as wrong here as what stands nowhere.
    """
    gaps = list(_GAP.finditer(sentence))
    if not gaps:
        return None
    gap = gaps[int(case.rng.integers(len(gaps)))]
    sources = (case.inventory.common, sorted(set(editable_words(case.passages))), case.inventory.words)
    options = sources[int(case.rng.integers(len(sources)))]
    drawn = (case.choice(options) for _ in range(_TRIES if options else 0))
    word = next((word for word in drawn if word not in gap.groups() and editable(word)), None)
    if word is None:
        return None
    at = gap.end()
    return MistakenText(f"{sentence[:at]}{word} {sentence[at:]}", ((at, at + len(word)),))


def omission(sentence: str, case: Case) -> MistakenText | None:
    """A word fewer; the word before it, which now stands beside another, is what is wrong, as where a "not" went."""
    found = [pair for pair in _WITH_WORD_BEFORE.finditer(sentence) if not of_own_kind(pair[1]) and editable(pair[2])]
    if not found:
        return None
    chosen = found[int(case.rng.integers(len(found)))]
    begin, end = chosen.span(1)
    return MistakenText(f"{sentence[:end]}{sentence[chosen.end(2) :]}", ((begin, end),))
