"""Does a language model foretell unseen documents better? Bits per byte on held-out documents. It needs no labels.

Bits per byte are the model's cross-entropy over a text's UTF-8 bytes, so that models with different tokenizers compare
(Gao et al. 2020, "The Pile", section 3.1). Documents are what is resampled: of each a piece is read, from its first
passage or turn on, a short one at every look and a longer one for the verdict. All pieces together count as one text,
so that a short document weighs less than a long one. The first token of each is read and not foretold: bits are those
of what follows it, bytes those of the whole. A model that began with random weights must take fewer of them than a
general compressor, which needs no training (`compressor.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from shoptalk import decide
from shoptalk.errors import InputError
from shoptalk.nn.product import Scorer
from shoptalk.probes.bits_per_byte import per_mean_byte
from shoptalk.records import Measure
from shoptalk.tasks.compressor import NAME, Compressed, compressed
from shoptalk.tasks.judge import Final, Ground, Judge, Score
from shoptalk.text.corpus import PARTED_BY, Corpus

MOST = 125
"""Documents that are read."""
ENOUGH = 700
"""Documents in the sources that hold out enough for a verdict: a fifth of them, which may happen to be a few less."""
LOOKED_AT, JUDGED = 112, 1_600
"""Characters of each, at a look (3,500 tokens of a manual's English in all) and for the verdict."""
HELD_OUT = ((0, 0.2), (125, 0.02))
"""The share of documents that is held out, from so many on that are held out already."""
MEASURE = Measure(
    name="bits per byte",
    unit="bits",
    difference="bits",
    finding="needs {adapted} a byte of unseen documents against {base}",
    examples="documents",
    lower_is_better=True,
    decimals=3,
    trained="model",
    grows=False,
)


@dataclass(frozen=True, kw_only=True)
class LanguageModelJudge(Judge):
    """Pieces of held-out documents, read once: nothing is drawn, for nothing is learned from them."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "1 N"]
    cluster: Int[np.ndarray, " N"]
    items: tuple[str, ...]
    longer: tuple[str, ...]
    remark: str | None = None
    compressor: Compressed | None = None

    def look(self, product: Scorer) -> Score:
        """Of each short piece, minus its bits over the mean of bytes: their mean is minus the bits per byte of all."""
        return _scores(product, self.items)

    def final(self, product: Scorer, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The same of the longer pieces."""
        return Final(_scores(product, self.longer))


def language_model(ground: Ground) -> LanguageModelJudge | None:
    """The judge of held-out documents; None of products that are no language models.

    Raises:
        InputError: fewer than two documents are held out.
    """
    if ground.kind != "lm":
        return None
    pieces = beginnings(ground.held_out, characters=JUDGED, seed=ground.seed)
    if len(pieces) < 2:
        raise InputError(
            f"The task language_model is judged by documents that training never sees, and {len(pieces)} of the "
            f"sources' documents happened to be held out. About {ENOUGH} documents are enough for a verdict: give a "
            "file or a line of JSON Lines for each, not all of them in one."
        )
    rival = compressed(ground.train.texts, pieces) if ground.young else None
    remarks = (remark_on(len(pieces), "documents", ENOUGH, random=ground.random), rival and _told(rival))
    return LanguageModelJudge(
        key="language_model",
        measure=MEASURE,
        tested=np.ones((1, len(pieces)), dtype=bool),
        cluster=np.arange(len(pieces)),
        items=tuple(beginnings(ground.held_out, characters=LOOKED_AT, seed=ground.seed)),
        longer=tuple(pieces),
        remark=" ".join(filter(None, remarks)) or None,
        compressor=rival,
    )


def _told(rival: Compressed) -> str:
    return (
        f"Without any training, {NAME} takes {MEASURE.shown(rival.bits_per_byte)} a byte of {len(rival.places)} of the "
        f"same texts, with {rival.primed:,} bytes of the training documents before them."
    )


def beginnings(corpus: Corpus, *, characters: int, seed: int) -> list[str]:
    """The first characters of up to `MOST` documents of a corpus, in its order; a document is its texts one after the
    other, parted as where a model trains on them.
    """
    conversation = np.asarray(corpus.conversation)
    documents = np.unique(conversation)
    chosen = np.sort(np.random.default_rng(seed).permutation(documents)[:MOST])
    pieces = []
    for document in chosen.tolist():
        begin, end = np.searchsorted(conversation, [document, document + 1])
        piece = ""
        for place in range(int(begin), int(end)):
            parted = PARTED_BY[bool(corpus.turn[place] >= 0)]
            piece = f"{piece}{parted}{corpus.texts[place]}" if piece else corpus.texts[place].lstrip()
            if len(piece) >= characters:
                break
        pieces.append(piece[:characters])
    return [piece for piece in pieces if piece.strip()]


def _scores(product: Scorer, texts: Sequence[str]) -> Score:
    return -per_mean_byte(product.score(texts), texts)[None]


def remark_on(n_held_out: int, what: str, enough: int, *, random: bool) -> str | None:
    """What there is too little of, and how many in the sources are enough; and of what a gain over random weights is no
    proof. None where there is nothing to say.
    """
    remarks = []
    if n_held_out < decide.FEWEST_CLUSTERS:
        remarks.append(
            f"Only {n_held_out:,} {what} are held out, and nothing is adopted under {decide.FEWEST_CLUSTERS}: about "
            f"{enough:,} {what} in the sources give so many."
        )
    if random:
        remarks.append(
            "The base has random weights: how good the model is, its bits per byte say, and not how much they changed."
        )
    return " ".join(remarks) or None
