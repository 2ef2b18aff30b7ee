"""Finding passages: by vectors and by words, both rankings fused; what says the same twice is folded.

    passages = retrieve(shelf, [(question, vector, 1.0)], k=8, day=date.today())
    passages[0].passage, passages[0].cosine, passages[0].score

Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009): a passage's score is the sum over rankings of
weight / (K + rank).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float, Float32, Int

from shoptalk.assistant.sections import Passage
from shoptalk.assistant.shelf import Shelf

DEPTH = 50
"""Of each ranking that is fused."""
RRF = 10.0
DENSE, WORDS = 1.0, 0.6
"""Weights of the two rankings (benchmarks/retrieval_serving.py says how they were chosen)."""
SAME = 0.97
"""Cosine from which two passages with the same numbers in them say the same."""
PIN = 0.80
"""Cosine from which a question is the one that an official answer is for."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Found:
    """A passage, and how well it fits."""

    number: int
    passage: Passage
    score: float
    cosine: float
    """Of its vector and that of the question in its context."""
    words: float
    """Its BM25 score; 0 where it shares no word with the question."""
    pinned: bool = False
    """Whether it is the official answer to this question."""


def retrieve(
    shelf: Shelf,
    questions: Sequence[tuple[str, Float[np.ndarray, " D"], float]],
    *,
    k: int,
    day: date,
) -> list[Found]:
    """The passages that fit best, the best first, official answers to the question before all others.

    Args:
        shelf: the knowledge.
        questions: readings of the question: its words, its vector and the weight of the reading; the first is the
            question alone, later ones may have its context.
        k: how many.
        day: passages that do not hold on it are passed over.
    """
    if not len(shelf) or not questions:
        return []
    words_of: dict[int, float] = {}
    rankings: list[tuple[Sequence[int], float]] = []
    _, vector, _ = questions[0]
    _, in_context, _ = questions[-1]
    for text, at, weight in questions:
        dense = dense_ranking(shelf.index, at, DEPTH)[1]
        bm25, by_words = shelf.fulltext.search(text, DEPTH)
        for number, score in zip(by_words.tolist(), bm25.tolist(), strict=True):
            words_of[number] = max(words_of.get(number, 0.0), float(score))
        rankings += [(dense.tolist(), weight * DENSE), (by_words.tolist(), weight * WORDS)]
    scores = fuse(rankings)
    pins = _pinned(shelf, vector)
    for number in pins:
        scores[number] = scores.get(number, 0.0) + 1.0
    order = sorted(scores, key=lambda number: (-scores[number], number))
    kept: list[Found] = []
    vectors: list[Float32[np.ndarray, " D"]] = []
    for number in order:
        passage = shelf.passage(number)
        if not passage.facts.holds(day):
            continue
        stored = np.array(shelf.vectors[number], dtype=np.float32)
        near = [other.passage for other, at in zip(kept, vectors, strict=True) if float(stored @ at) >= SAME]
        if number not in pins and any(_same_numbers(passage, other) for other in near):
            continue
        cosine = float(stored @ in_context)
        vectors.append(stored)
        kept.append(Found(number, passage, scores[number], cosine, words_of.get(number, 0.0), number in pins))
        if len(kept) == k:
            break
    return kept


def fuse(rankings: Sequence[tuple[Sequence[int], float]], *, constant: float | None = None) -> dict[int, float]:
    """Each passage's sum over rankings (the best first, with their weights) of weight / (constant + rank)."""
    scores: dict[int, float] = {}
    for ranking, weight in rankings:
        for rank, number in enumerate(ranking, start=1):
            scores[number] = scores.get(number, 0.0) + weight / ((RRF if constant is None else constant) + rank)
    return scores


def dense_ranking(
    index: Any, vector: Float[np.ndarray, " D"], k: int
) -> tuple[Float32[np.ndarray, " K"], Int[np.ndarray, " K"]]:
    """Cosines and numbers of the nearest passages in a faiss index, nearest first."""
    rows = np.ascontiguousarray(vector[None], dtype=np.float32)
    # faiss shares out questions, not passages: a second thread would only wait for this one, and spin meanwhile.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        cosines, numbers = index.search(rows, min(k, index.ntotal))
    finally:
        faiss.omp_set_num_threads(threads)
    return cosines[0], numbers[0]


def _pinned(shelf: Shelf, vector: Float[np.ndarray, " D"]) -> set[int]:
    if not len(shelf.pins):
        return set()
    return {int(number) for number in shelf.pinned[shelf.pins @ vector.astype(np.float32) >= PIN]}


def _same_numbers(passage: Passage, other: Passage) -> bool:
    """Passages near in meaning say the same only with the same numbers in them."""
    return set(_NUMBER.findall(passage.text)) == set(_NUMBER.findall(other.text))
