"""Do labels have the classes' shares of the traffic? Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of
a classifier to new a priori probabilities".

    shares = class_shares(vectors, labels, cluster, unlabelled, names, seed=0)   # None of too few
    shares.traffic, shares.error                   # each class's share of the unlabelled texts, with its standard error

Counting a head's answers would count its mistakes: it answers most with the classes that it has most labels of. So the
shares q are those under which the unlabelled texts are likeliest, if messages of a class are alike in both:

    q_c <- mean over texts of  (q_c / p_c) P(c | x)  /  sum over k of (q_k / p_k) P(k | x)

P are the calibrated probabilities of plain logistic regression on the labels, whose shares are p. Their standard errors
are those of maximum likelihood: classes that the head can hardly tell apart have wide ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import null_space

from shoptalk import decide
from shoptalk.nn.heads import classifier
from shoptalk.nn.heads.kinds import PLAIN
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import AGENTS, TOOLS

FEWEST = 200
"""Unlabelled messages, and those among them that fit a label; of fewer nothing is said."""
DIFFERENT = 0.1
"""Total variation distance of the labels' shares and the traffic's from which they are called different."""
ERRORS = 2.0
"""Standard errors by which a share must differ to be named."""
TURNS, TEXTS = "visitors' first turns", "texts"
MOST = 500
"""Messages that are looked at, of which each is embedded: a share has a standard error of two points at most."""
_ITERATIONS, _SETTLED = 500, 1e-7


@dataclass(frozen=True)
class Shares:
    """The share of each class among labels and among unlabelled texts."""

    names: tuple[str, ...]
    labels: Float[np.ndarray, " C"]
    traffic: Float[np.ndarray, " C"]
    error: Float[np.ndarray, " C"]
    """Standard errors of the traffic's."""
    accuracy: float
    """Of the head on labelled texts that it had not learned from, in per cent."""
    fitting: int
    """Unlabelled texts that fit a label, of which these are the shares."""

    @property
    def distance(self) -> float:
        """Total variation: the share of messages whose class would have to be another."""
        return float(np.abs(self.labels - self.traffic).sum() / 2)

    @property
    def clear(self) -> Bool[np.ndarray, " C"]:
        """Which classes' shares differ by more than chance explains."""
        return np.asarray(np.abs(self.traffic - self.labels) > ERRORS * self.error)

    @property
    def differ(self) -> bool:
        """Whether labels and traffic are to be called different."""
        return self.distance >= DIFFERENT and bool(self.clear.any())

    def weights(self, labels: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """What each labelled example counts for where classes count as often as in the traffic."""
        return np.asarray((self.traffic / self.labels)[labels])


def class_shares(
    vectors: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, " N"],
    cluster: Int[np.ndarray, " N"],
    unlabelled: Float[np.ndarray, "M D"],
    names: Sequence[str],
    *,
    seed: int,
) -> Shares | None:
    """The shares; None where too few unlabelled texts fit a label. Every class has a labelled text."""
    codes = [f"{code:06}" for code in labels.tolist()]  # in the order of their numbers
    head = classifier.train(vectors, codes, cluster, kinds=[PLAIN], seed=seed)
    fitting = head.admits(unlabelled)
    if int(fitting.sum()) < FEWEST or PLAIN not in head.dev:
        return None
    known = np.bincount(labels, minlength=len(names)) / len(labels)
    traffic, error = likeliest_shares(head.probabilities(unlabelled[fitting]), known)
    return Shares(tuple(names), known, traffic, error, head.dev[PLAIN], int(fitting.sum()))


def likeliest_shares(
    probabilities: Float[np.ndarray, "M C"], prior: Float[np.ndarray, " C"]
) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """Shares under which texts with these probabilities, which hold for shares `prior`, are likeliest; with errors."""
    ratio = np.asarray(probabilities, dtype=np.float64) / prior
    share = np.array(prior, dtype=np.float64)
    for _ in range(_ITERATIONS):
        joint = ratio * share
        following = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        settled = float(np.abs(following - share).max()) < _SETTLED
        share = following
        if settled:
            break
    score = ratio / (ratio @ share)[:, None]
    free = null_space(np.ones((1, len(share))))  # shares add up to 1
    covariance = free @ np.linalg.pinv(free.T @ (score.T @ score) @ free) @ free.T
    return share, np.sqrt(np.maximum(np.diag(covariance), 0.0))


def messages(corpus: Corpus) -> tuple[Int[np.ndarray, " K"], str]:
    """The positions of what visitors begin with, and what they are.

    In conversations with roles that is the first turn of whoever is no agent and no tool: what follows answers a
    question more often than it asks one. Elsewhere it is texts that are whole documents, and no passage of a longer
    one.
    """
    turn, conversation = np.asarray(corpus.turn), np.asarray(corpus.conversation)
    if corpus.role is not None:
        visitors = [i for i, name in enumerate(corpus.roles) if name.casefold() not in (*AGENTS, *TOOLS)]
        spoken = np.flatnonzero((turn >= 0) & np.isin(np.asarray(corpus.role), visitors))
        if len(spoken):
            return spoken[np.unique(conversation[spoken], return_index=True)[1]], TURNS
    return np.flatnonzero((turn < 0) & (np.bincount(conversation)[conversation] == 1)), TEXTS


def weighted_gain(scores: decide.Scores, weights: Float[np.ndarray, " N"], *, c: float, seed: int) -> decide.Estimate:
    """The gain where examples count by these weights, which are taken as known."""
    values = np.asarray(scores.values, dtype=np.float64) * weights
    return decide.estimate_chosen(replace(scores, values=values), c=c, seed=seed)
