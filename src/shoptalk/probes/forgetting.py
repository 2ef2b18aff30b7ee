"""General similarity structure: does the encoder still order everyday pairs of sentences as people do?

Training on one domain can cost an encoder what it knew of the language at large. The pairs shipped in `general.jsonl`
are this project's own writing, with scores from 0 (unrelated) to 5 (same meaning); the guard compares the adapted
encoder's reading with the base's, in points.

The measure is the one of semantic textual similarity tasks (Cer, Diab, Agirre, Lopez-Gazpio, Specia, "SemEval-2017
Task 1", 2017), with Spearman's rank correlation as argued for by Reimers, Beyer, Gurevych, "Task-Oriented Intrinsic
Evaluation of Semantic Textual Similarity", COLING 2016.
"""

from collections.abc import Callable, Sequence
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from pydantic import Field
from scipy.stats import rankdata

from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.records import Frozen, Reading

KEY = "general_similarity"


class ScoredPair(Frozen):
    """Two sentences and how alike they are in meaning to people, 0 to 5."""

    a: str
    b: str
    score: float = Field(ge=0.0, le=5.0)


def general_pairs() -> tuple[ScoredPair, ...]:
    """The pairs shipped with the package."""
    lines = (files("shoptalk.probes") / "general.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(ScoredPair.model_validate_json(line) for line in lines if line.strip())


def spearman_terms(x: Float[np.ndarray, " P"], y: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """One number per pair, whose mean is Spearman's rank correlation of x and y; ties share their mean rank.

    The products of the standardised ranks: Spearman's correlation is Pearson's of the ranks. Where all values of x
    or of y are equal there is no order to agree with, and every number is 0.
    """
    terms: Float[np.ndarray, " P"] = _standardised_ranks(x) * _standardised_ranks(y)
    return terms


def general_similarity(pairs: Sequence[ScoredPair] | None = None) -> Callable[[Embedder], Reading]:
    """A probe: 100 times Spearman's correlation of cosine and human score, by default on the shipped pairs.

    Outcomes are one per pair (`spearman_terms`); 100 times their mean is the value.

    Raises:
        ValueError: there are fewer than two pairs.
    """
    chosen = general_pairs() if pairs is None else tuple(pairs)
    if len(chosen) < 2:
        raise ValueError(f"A rank correlation of {len(chosen)} pairs is undefined; give at least two.")
    left, right = [pair.a for pair in chosen], [pair.b for pair in chosen]
    scores = np.array([pair.score for pair in chosen])

    def probe(product: Embedder) -> Reading:
        # Unit vectors are so to about 1e-7: what differs less than that must tie, or rounding would be ranked.
        cosines = (embed(product, left).astype(np.float64) * embed(product, right)).sum(axis=1).round(6)
        terms = spearman_terms(cosines, scores)
        return Reading(
            key=KEY,
            name="general similarity",
            value=100.0 * float(terms.mean()),
            unit="points",
            n=len(chosen),
            outcomes=tuple(terms.tolist()),
        )

    return probe


def _standardised_ranks(values: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    ranks = rankdata(values) - (len(values) + 1) / 2
    spread = float(ranks.std())
    return ranks / spread if spread > 0.0 else np.zeros(len(values))
