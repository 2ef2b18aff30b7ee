"""How likely an extractive answer is to be right, from what retrieval found; calibrated by `shoptalk calibrate`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shoptalk.assistant.extract import Picked
from shoptalk.assistant.retrieve import Found
from shoptalk.records import Frozen

FEATURES = (
    "sentence cosine",
    "passage cosine",
    "words shared",
    "ahead of the next passage",
    "first in both rankings",
    "intent's probability",
    "in scope",
    "words of the question",
)

PRIOR = 10.0
"""Questions that the default weights count for."""


class ConfidenceWeights(Frozen):
    """A logistic regression on `FEATURES`."""

    # Fitted to every other question of Harbour's, and with a quarter of their weight each to questions of faq_tech and
    # of DSTC11 track 5 (benchmarks/README.md): weights of Harbour's alone say nothing on DSTC11's.
    weights: tuple[float, ...] = (3.5, 0.9, 2.1, 4.6, 0.0, 0.0, 0.0, 0.8)
    bias: float = -5.9

    def __call__(self, features: Float[np.ndarray, " F"]) -> float:
        """The probability that the answer is right."""
        return float(1 / (1 + np.exp(-(np.asarray(self.weights) @ features + self.bias))))


@dataclass(frozen=True)
class Support:
    """What the confidence looks at beside the sentences."""

    intent_probability: float = 0.0
    in_scope: bool = True


def features_of_answer(
    picked: Sequence[Picked], found: Sequence[Found], question: str, support: Support
) -> Float[np.ndarray, " F"]:
    """`FEATURES` of the answer that begins with the first of `picked`."""
    if not picked:
        return np.zeros(len(FEATURES))
    best = picked[0]
    other = next((entry.score for entry in picked if entry.rank != best.rank), best.score - 0.3)
    hit = found[best.rank - 1]
    most_words = max((entry.words for entry in found), default=0.0)
    nearest = max((entry.cosine for entry in found), default=0.0)
    return np.array(
        [
            best.cosine,
            hit.cosine,
            best.overlap,
            min(best.score - other, 0.5),
            float(hit.words >= most_words > 0) * float(hit.cosine >= nearest),
            support.intent_probability,
            float(support.in_scope),
            float(np.log1p(len(question.split()))),
        ]
    )


def fit_confidence(features: Float[np.ndarray, "N F"], right: Bool[np.ndarray, " N"]) -> ConfidenceWeights:
    """The weights that explain best which answers were right: logistic regression by Newton's method.

    Each weight is drawn towards the default one as by `PRIOR` questions: a few questions do not turn it round.
    """
    prior = np.array([*ConfidenceWeights().weights, ConfidenceWeights().bias])
    spread = np.append(np.maximum(features.std(axis=0), 1e-3), 1.0)
    rows = np.column_stack([features, np.ones(len(features))])
    penalty = np.diag(spread**2) * PRIOR / 4

    def loss(beta: Float[np.ndarray, " F1"]) -> float:
        logits = rows @ beta
        likelihood = np.logaddexp(0.0, logits).sum() - logits[right].sum()
        return float(likelihood + (beta - prior) @ penalty @ (beta - prior) / 2)

    beta = prior.copy()
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(rows @ beta, -30, 30)))
        gradient = rows.T @ (chance - right) + penalty @ (beta - prior)
        curvature = rows.T @ (rows * (chance * (1 - chance))[:, None]) + penalty
        step = np.linalg.solve(curvature, gradient)
        # A whole step may go past the minimum, to where every chance is 0 or 1 and nothing leads back.
        size = 1.0
        while size > 1e-6 and loss(beta - size * step) > loss(beta):
            size /= 2
        beta = beta - size * step
        if float(np.abs(size * step).max()) < 1e-8:
            break
    return ConfidenceWeights(weights=tuple(beta[:-1].tolist()), bias=float(beta[-1]))
