"""Does a language model know a domain's names and numbers? A cloze: of five names, or numbers, how probable does it
hold the one that stands in an unseen document, from the words before it? It needs no labels.

The score of a gap is that probability among the five, softmax(-nats), and not whether it is the highest: a model that
goes from 20 to 45 % has learned something which a count of right answers cannot see, and of as many gaps the interval
is two fifths narrower (docs/log.md, 2026-11-30).

Bits per byte fall with every habit of a text's form; names and numbers are what a reader would ask for (the word
prediction of Paperno et al. 2016, "The LAMBADA dataset", with alternatives as in Hill et al. 2016, "The Goldilocks
principle": named entities among candidates of the same document type). Alternatives are of the same kind and nearly as
long, from other places of the documents, so that neither form nor length gives the answer away; and none begins as
the answer does to its end, or the other way round: "1" is never less probable than "12", whatever a model knows.

A look asks one gap of each document, after fewer words. A verdict asks several others, whose mean is the document's
score: entries were chosen by the gap that looks ask.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk.nn.language_model import LanguageModel
from shoptalk.records import Measure
from shoptalk.tasks.judge import Final, Ground, Judge, Score
from shoptalk.text.corpus import Corpus

MOST = 100
"""Documents that are asked about."""
EACH = 6
"""Gaps of a document that a verdict asks, at most, beside the one of looks. Of one each, with a hundred documents and
models that differ in 15 gaps, the interval would reach eight points to either side.
"""
OPTIONS = 5
CONTEXT, LOOKED_AT = 120, 56
"""Characters before the gap that are read, at least half of `CONTEXT`: for the verdict, and at a look (3,900 tokens of
a manual's English in all, over half of them options)."""
LONGER = 2
"""Characters by which an alternative's length may differ."""
_NUMBER = re.compile(r"(?<![\w.])\d[\d.,:]*\d(?![\w])|(?<![\w.])\d(?![\w.])")
NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w-]{2,}|\b[a-z]+_[a-z_]+\w|\b[A-Z]{3,}\b")
"""A capitalised word that begins no sentence, and what programs name things by."""


@dataclass(frozen=True)
class Gap:
    """A name or number of a document, with what stands before it."""

    before: str
    options: tuple[str, ...]
    """The one that stands there, then the alternatives."""


@dataclass(frozen=True, kw_only=True)
class ClozeJudge(Judge):
    """Gaps in held-out documents: the first of each for looks, the others for a verdict."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "1 N"]
    cluster: Int[np.ndarray, " N"]
    items: tuple[str, ...]
    gaps: tuple[tuple[Gap, ...], ...]
    """Of each document."""

    def look(self, product: LanguageModel) -> Score:
        """Of each document's first gap, how probable what stands there is among its alternatives."""
        return probabilities(product, [_shortened(gaps[0]) for gaps in self.gaps])[None]

    def final(self, product: LanguageModel, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The mean of the same over each document's other gaps; of a document with one gap, of that one."""
        return Final(mean_probabilities(product, [gaps[1:] or gaps for gaps in self.gaps])[None])


def mean_probabilities(product: LanguageModel, asked: Sequence[Sequence[Gap]]) -> Float[np.ndarray, " N"]:
    """Of each document's gaps, the mean of `probabilities`; a document has at least one."""
    given = probabilities(product, [gap for gaps in asked for gap in gaps])
    counts = np.array([len(gaps) for gaps in asked])
    means: Float[np.ndarray, " N"] = np.add.reduceat(given, np.cumsum(counts) - counts) / counts
    return means


def probabilities(product: LanguageModel, gaps: Sequence[Gap]) -> Float[np.ndarray, " n"]:
    """Of each gap, the probability of what stands there among its options."""
    bits = product.bits_after([gap.before for gap in gaps], [gap.options for gap in gaps])
    weights = [np.exp2(of.min() - of) for of in bits]
    return np.array([of[0] / of.sum() for of in weights])


def cloze(ground: Ground) -> ClozeJudge | None:
    """The judge of gaps; None of products that are no language models, or where fewer than two held-out documents have
    a gap.
    """
    if ground.kind != "lm":
        return None
    gaps = gaps_of(ground.held_out, seed=ground.seed)
    if len(gaps) < 2:
        return None
    return ClozeJudge(
        key="cloze",
        measure=Measure(
            name="cloze probability",
            unit="%",
            difference="points",
            finding=f"holds the right name or number of {OPTIONS} in an unseen document's gaps {{adapted}} probable, "
            "on average over documents, against {base}",
            examples="documents with names or numbers",
            scale=100.0,
            trained="model",
        ),
        tested=np.ones((1, len(gaps)), dtype=bool),
        cluster=np.arange(len(gaps)),
        items=tuple(f"{gap.before}{' '.join(gap.options)}" for gap in (_shortened(first) for first, *_ in gaps)),
        gaps=tuple(gaps),
    )


def gaps_of(corpus: Corpus, *, seed: int, most: int = MOST, each: int = 1 + EACH) -> list[tuple[Gap, ...]]:
    """Gaps in each of up to `most` documents, up to `each` of them with different answers; a document without a fitting
    name or number has none, and is left out.
    """
    places = _places(corpus.texts)
    words = [(corpus.texts[place][begin:end], kind) for place, begin, end, kind in places]
    by_kind = [sorted({word for word, of in words if of == kind}) for kind in (0, 1)]
    conversation = np.asarray(corpus.conversation)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(places)).tolist()
    gaps: dict[int, dict[str, Gap]] = {}
    for wanted in (1, each):  # the first of each document, then the others
        for number in order:
            place, begin, end, kind = places[number]
            document = int(conversation[place])
            had = gaps.get(document, {})
            if len(had) == wanted or (not had and (wanted > 1 or len(gaps) == most)):
                continue
            text = corpus.texts[place]
            before, answer = text[max(0, begin - CONTEXT) : begin], text[begin:end]
            if len(before) < CONTEXT // 2 or answer in before or answer in had:
                continue
            near = [other for other in by_kind[kind] if fits(other, answer)]
            if len(near) < OPTIONS - 1:
                continue
            others = [near[i] for i in rng.permutation(len(near))[: OPTIONS - 1]]
            gaps.setdefault(document, {})[answer] = gap_at(before, answer, others)
    return [tuple(gaps[document].values()) for document in sorted(gaps)]


def _shortened(gap: Gap) -> Gap:
    """The gap as a look reads it."""
    return Gap(gap.before[-LOOKED_AT:], gap.options)


def gap_at(before: str, answer: str, others: Sequence[str]) -> Gap:
    """What stands before a gap keeps no space at its end: tokenizers put it before the word."""
    stripped = before.rstrip(" ")
    space = " " * (len(before) > len(stripped))
    return Gap(stripped, tuple(space + option for option in (answer, *others)))


def fits(other: str, answer: str) -> bool:
    """Whether it may stand beside the answer."""
    return abs(len(other) - len(answer)) <= LONGER and not answer.startswith(other) and not other.startswith(answer)


def _places(texts: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """Of each name (0) and number (1) the text, where it begins and ends, and its kind."""
    return [
        (place, match.start(), match.end(), kind)
        for place, text in enumerate(texts)
        for kind, pattern in enumerate((NAME, _NUMBER))
        for match in pattern.finditer(text)
    ]
