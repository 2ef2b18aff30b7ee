"""The kinds of heads there are, and which of them to ship.

Which kind serves best depends on the data, on how many labels there are and on the encoder, so it is chosen by outcomes
on labelled texts that were not trained on, separately for each encoder. What is reported of the choice comes from other
texts than those it was made on: the labelled clusters are split in two halves, and the texts of each half are answered
by the kind that did best on the other half.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from shoptalk.nn.heads import names
from shoptalk.nn.heads.logistic import LinearHead, fit_soft, one_hot
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.heads.selftrain import self_train


class Kind(NamedTuple):
    """Whether a head sees texts smoothed by the pool, and its rounds of self-training on the pool."""

    smoothed: bool
    rounds: int


PLAIN = "linear"
KINDS: Mapping[str, Kind] = {
    PLAIN: Kind(smoothed=False, rounds=0),
    "smoothed": Kind(smoothed=True, rounds=0),
    "self-trained": Kind(smoothed=True, rounds=5),
}
"""Plain logistic regression first: where kinds do equally well, the earlier one is shipped."""
INVERSE_PENALTY = 20.0
FEWEST_IN_POOL = 50
"""In a smaller pool neighbourhoods mean nothing, and only plain regression is fitted."""


def usable(pool: Pool | None) -> tuple[str, ...]:
    """The kinds that can be fitted."""
    return tuple(KINDS) if pool is not None and len(pool) >= FEWEST_IN_POOL else (PLAIN,)


def views_of(vectors: Float[np.ndarray, "N D"], pool: Pool | None) -> dict[bool, Float[np.ndarray, "N D"]]:
    """Texts, or labels' names, as heads of a kind with this `smoothed` see them."""
    return {False: vectors} if pool is None else {False: vectors, True: pool.smooth(vectors)}


def fit_kind(
    kind: Kind,
    vectors: Float[np.ndarray, "N D"],
    codes: Int[np.ndarray, " N"],
    labels: Shaped[np.ndarray, " C"],
    pool: Pool | None,
    named: Float[np.ndarray, "C D"] | None = None,
) -> LinearHead:
    """A head of a kind. `vectors` are the labelled texts in its view; `codes` number their labels in `labels`.

    `named` are the labels' names in its view, which are examples too where `names.speak` says so.
    """
    counts, total = None, float(len(vectors))
    if named is not None and names.speak(named, vectors, codes):
        counts = np.repeat([1.0, names.EXAMPLES], [len(vectors), len(named)])
        vectors, codes = np.concatenate([vectors, named]), np.concatenate([codes, np.arange(len(named))])
        total = float(counts.sum())
    penalty = 1 / (INVERSE_PENALTY * total)
    head = fit_soft(vectors, one_hot(codes, len(labels)), labels, weights=counts, penalty=penalty)
    if kind.rounds and pool is not None:
        unlabelled = pool.smoothed if kind.smoothed else pool.vectors
        head = self_train(head, vectors, codes, unlabelled, counts=counts, rounds=kind.rounds)
    return head


class ChosenKinds(NamedTuple):
    """Which kind answers a text: the one that did best on the other half of the clusters."""

    in_second: Bool[np.ndarray, " N"]
    """Whether a text is in the second half."""
    first: str
    """Of the texts in the first half."""
    second: str
    best: str
    """On all texts: what is shipped."""

    def outcomes(self, correct: Mapping[str, Bool[np.ndarray, "R N"]]) -> Bool[np.ndarray, "R N"]:
        """Of each text, those of the kind that answers it."""
        return np.where(self.in_second, correct[self.second], correct[self.first])


def chosen_kinds(
    correct: Mapping[str, Bool[np.ndarray, "R N"]],
    tested: Bool[np.ndarray, "R N"],
    cluster: Int[np.ndarray, " N"],
    *,
    seed: int,
) -> ChosenKinds:
    """Choose by outcomes: `correct[kind][r, i]` is whether the head of draw r answers text i; read where `tested`."""
    kinds = list(correct)
    _, number = np.unique(cluster, return_inverse=True)
    half = np.random.default_rng(seed).permutation(int(number.max()) + 1) % 2
    side = half[number]

    def best(where: Bool[np.ndarray, " N"]) -> str:
        cells = tested & where
        return max(kinds, key=lambda kind: correct[kind][cells].mean() if cells.any() else 0.0)

    return ChosenKinds(side == 1, best(side == 1), best(side == 0), best(np.ones(len(cluster), dtype=bool)))
