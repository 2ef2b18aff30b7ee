"""Self-training with balanced classes: a head's sharpened predictions on unlabelled texts are targets of the next.

Each round, the pool's class probabilities are scaled in turn to rows that add up to one and to classes that get their
share of the pool (Sinkhorn's iteration, as in Asano et al. 2020, equation 6), sharpened, p <- p^2 / sum p^2, and a head
is fitted on the labels and on these together. Balance keeps the easy classes from swallowing the others (Zou et al.
2018, section 4.2).

Label propagation (Zhou et al. 2004, equation 4: labels spread along the graph, not features) was tried in its place and
lost: docs/log.md.
"""

import numpy as np
from jaxtyping import Float, Int

from shoptalk.nn.heads.logistic import LinearHead, fit_soft, log_softmax, one_hot

STEPS_A_ROUND = 6
"""Of L-BFGS per round, starting from the round before. Twelve gain 0.3 points (BANKING77) and take twice the time."""
SHARPENING = 2.0
PENALTY = 1e-4
_SINKHORN = 20


def balanced(log_probabilities: Float[np.ndarray, "M C"], shares: Float[np.ndarray, " C"]) -> Float[np.ndarray, "M C"]:
    """The probabilities, scaled until class c gets about `shares[c]` of all texts; rows add up to 1."""
    probabilities = np.exp(log_probabilities - log_probabilities.max(axis=1, keepdims=True))
    for _ in range(_SINKHORN):
        probabilities *= shares * len(probabilities) / np.maximum(probabilities.sum(axis=0), 1e-9)
        probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-30)
    return np.asarray(probabilities, dtype=np.float32)


def self_train(
    head: LinearHead,
    vectors: Float[np.ndarray, "N D"],
    codes: Int[np.ndarray, " N"],
    unlabelled: Float[np.ndarray, "M D"],
    *,
    counts: Float[np.ndarray, " N"] | None = None,
    rounds: int,
) -> LinearHead:
    """The head after `rounds` of self-training. `codes` number the labels in `head.labels`; `counts` weights the
    labelled texts, each 1 by default.

    A class's share of the pool is estimated as the mean of two: its share of the labels, which people balance, and its
    share of the head's first predictions, which may favour the easy classes.
    """
    known = one_hot(codes, len(head.labels))
    counts = np.ones(len(vectors)) if counts is None else counts
    predicted = log_softmax(head.scores(unlabelled))
    shares = (np.average(known, axis=0, weights=counts) + np.exp(predicted).mean(axis=0)) / 2
    points = np.concatenate([vectors, unlabelled])
    # The labels count as much as the pool, however few they are.
    weights = np.concatenate([counts * len(unlabelled) / counts.sum(), np.ones(len(unlabelled))])
    for _ in range(rounds):
        targets = np.concatenate([known, sharpened(balanced(predicted, shares))])
        head = fit_soft(points, targets, head.labels, weights=weights, penalty=PENALTY, start=head, steps=STEPS_A_ROUND)
        predicted = log_softmax(head.scores(unlabelled))
    return head


def sharpened(probabilities: Float[np.ndarray, "M C"]) -> Float[np.ndarray, "M C"]:
    """p^2 / sum p^2: what is likely becomes likelier (Xie et al. 2016, DEC, equation 3 without its class weights)."""
    raised = probabilities**SHARPENING
    return np.asarray(raised / np.maximum(raised.sum(axis=1, keepdims=True), 1e-30))
