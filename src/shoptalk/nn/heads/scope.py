"""In scope or not: a gate that decides from a head's scores of a text whether to abstain.

Its features of a text: the head's largest log-probability (Hendrycks & Gimpel 2017) and its free energy
log sum_c exp(score_c) (Liu et al. 2020, equation 4), the margin between the two likeliest labels, its cosine to the
nearest labelled texts, and, where texts that are out of scope were given, how far ahead the likeliest label is of
"none of them" in a head that has this class too. Without such texts the energy decides. With them a logistic regression
on all of these does, fitted on texts that neither head was trained on.

The threshold is the highest one that loses at most a given share of the right answers to texts in scope.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shoptalk.index import Index, search
from shoptalk.nn.heads.logistic import log_softmax

NEAREST = 5
FEATURES = ("largest log-probability", "energy", "margin", "nearest", "mean of the nearest", "ahead of none of them")
"""What the gate looks at where texts out of scope were given; else at the energy alone."""


@dataclass(frozen=True)
class Gate:
    """A text is in scope where `bias + features · weights` reaches `threshold`."""

    weights: Float[np.ndarray, " F"]
    bias: float
    threshold: float

    def scores(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
        """The larger, the surer that a text is in scope."""
        return np.asarray(features @ self.weights + self.bias)

    def admits(self, features: Float[np.ndarray, "N F"]) -> Bool[np.ndarray, " N"]:
        """Which texts are in scope."""
        return np.asarray(self.scores(features) >= self.threshold)


def energy_of(scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N 1"]:
    """The one thing the gate looks at where no texts out of scope were given: log sum_c exp(score_c)."""
    top = scores.max(axis=1, keepdims=True)
    return np.asarray(top + np.log(np.exp(scores - top).sum(axis=1, keepdims=True)))


def features_of(scores: Float[np.ndarray, "N C1"], similarities: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N 6"]:
    """What the gate looks at otherwise. The last of the scores is that of "none of them"; `similarities` are cosines to
    the nearest labelled texts, nearest first.
    """
    inside = scores[:, :-1]
    log = log_softmax(inside)
    ordered = np.sort(log, axis=1)
    columns = [
        ordered[:, -1],
        energy_of(inside)[:, 0],
        ordered[:, -1] - ordered[:, -2],
        similarities[:, 0],
        similarities.mean(axis=1),
        inside.max(axis=1) - scores[:, -1],
    ]
    return np.stack(columns, axis=1)


def nearest(index: Index, vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N K"]:
    """Cosines to the nearest of the indexed texts, nearest first."""
    return search(index, vectors, min(NEAREST, len(index)))[0]


def fit_gate(
    inside: Float[np.ndarray, "N F"],
    right: Bool[np.ndarray, " N"],
    outside: Float[np.ndarray, "M F"] | None,
    *,
    loss: float,
) -> Gate:
    """The gate, from features of texts that no head was trained on: those in scope, whether they were answered rightly,
    and others. Without others there is one feature, which decides.

    `loss` is how many points of accuracy on texts in scope abstaining may cost, in per cent of these texts.

    Raises:
        ValueError: no text was answered rightly, so that there is nothing a threshold could keep.
    """
    if not right.any():
        raise ValueError("No text in scope was answered rightly: there is no threshold to choose.")
    weights, bias = np.ones(inside.shape[1]), 0.0
    if outside is not None:
        from sklearn.linear_model import LogisticRegression  # here, because answering needs no scikit-learn

        together = np.concatenate([inside, outside])
        centre, scale = together.mean(axis=0), together.std(axis=0) + 1e-9
        truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
        model = LogisticRegression(C=1.0, class_weight="balanced").fit((together - centre) / scale, truth)
        weights = model.coef_[0] / scale
        bias = float(model.intercept_[0] - centre @ weights)
    gate = Gate(weights, bias, -np.inf)
    return Gate(weights, bias, _strictest(gate.scores(inside), right, loss=loss))


def _strictest(scores: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"], *, loss: float) -> float:
    """The largest threshold below which at most `loss` per cent of the texts lie that were answered rightly."""
    ordered = np.sort(scores[right])
    lost = min(int(loss / 100 * len(scores)), len(ordered) - 1)
    return float(ordered[lost])
