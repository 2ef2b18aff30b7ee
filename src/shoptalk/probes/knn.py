"""Nearest-neighbour accuracy: do texts of one label lie together, with nothing learned on top?

Source: Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018,
section 3.4 (weighted k-NN, temperature 0.07).
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.records import Item, Reading

# The paper votes with 200 of 1.28 million images, far more than a label of ours has texts. 20 served best in most
# runs of Caron et al. 2021 (DINO), and the weights let far neighbours count for little anyway.
KEY = "knn_accuracy"
K = 20
TEMPERATURE = 0.07
NO_NEIGHBOUR = -1
"""What `knn_predict` gives where every text of the bank is out of bounds; equal to no label, so counted as wrong."""

# Queries compared at a time: 1,024 x 10,000 similarities are 40 MB.
_BLOCK = 1024


def knn_predict(
    queries: Float[np.ndarray, "M D"],
    bank: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, " N"],
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
    apart: tuple[Int[np.ndarray, " M"], Int[np.ndarray, " N"]] | None = None,
) -> Int[np.ndarray, " M"]:
    """The label that the k nearest rows of the bank vote for, per query; all rows are unit vectors.

    Neighbour i votes for its label with weight exp(cosine_i / temperature) (Wu et al. 2018, section 3.4); labels are
    numbers from 0 on, and a tie of votes goes to the lowest. `apart` gives each query and each bank row a group:
    rows of the query's own group do not vote.

    Raises:
        ValueError: the bank is empty, or k < 1.
    """
    if len(bank) == 0 or k < 1:
        raise ValueError(f"k = {k} neighbours among {len(bank)} texts: expected k of at least 1 and a text or more.")
    predicted = np.full(len(queries), NO_NEIGHBOUR, dtype=np.int64)
    for begin in range(0, len(queries), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        similarity = queries[rows] @ bank.T
        if apart is not None:
            similarity[apart[0][rows, None] == apart[1][None, :]] = -np.inf
        votes = _votes(similarity, labels, k=min(k, len(bank)), temperature=temperature)
        predicted[rows] = np.where(votes.any(axis=1), votes.argmax(axis=1), NO_NEIGHBOUR)
    return predicted


def knn_held_out(
    texts: Sequence[Item],
    labels: Sequence[str],
    test_texts: Sequence[Item],
    test_labels: Sequence[str],
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
) -> Callable[[Embedder], Reading]:
    """A probe: accuracy in per cent on the test texts, whose neighbours are the other texts. Outcomes are 1 or 0.

    Raises:
        ValueError: texts and labels differ in number, or there are none.
    """
    _check(texts, labels)
    _check(test_texts, test_labels)
    codes = np.unique([*labels, *test_labels], return_inverse=True)[1].astype(np.int64)
    known, true = codes[: len(labels)], codes[len(labels) :]

    def probe(product: Embedder) -> Reading:
        bank, queries = embed(product, texts), embed(product, test_texts)
        predicted = knn_predict(queries, bank, known, k=k, temperature=temperature)
        return _reading(predicted == true, k=min(k, len(texts)), classes=len(set(labels)))

    return probe


def knn_leave_one_out(
    texts: Sequence[Item],
    labels: Sequence[str],
    *,
    clusters: Sequence[int] | None = None,
    k: int = K,
    temperature: float = TEMPERATURE,
) -> Callable[[Embedder], Reading]:
    """A probe: accuracy in per cent, each text classified by all the others. Outcomes are 1 or 0.

    With `clusters` (near-duplicates share a number) a text's whole cluster is left out with it, so that a copy of a
    text cannot give its label away.

    Raises:
        ValueError: texts, labels and clusters differ in number, or there are none.
    """
    _check(texts, labels)
    if clusters is not None and len(clusters) != len(texts):
        raise ValueError(f"{len(texts)} texts and {len(clusters)} cluster numbers: expected one number per text.")
    groups = np.arange(len(texts)) if clusters is None else np.asarray(clusters, dtype=np.int64)
    codes = np.unique(list(labels), return_inverse=True)[1].astype(np.int64)

    def probe(product: Embedder) -> Reading:
        vectors = embed(product, texts)
        predicted = knn_predict(vectors, vectors, codes, k=k, temperature=temperature, apart=(groups, groups))
        return _reading(predicted == codes, k=min(k, len(texts)), classes=len(set(labels)))

    return probe


def _votes(
    similarity: Float[np.ndarray, "B N"], labels: Int[np.ndarray, " N"], *, k: int, temperature: float
) -> Float[np.ndarray, "B C"]:
    """Weight of each label among each row's k most similar columns; columns at -infinity weigh nothing."""
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(similarity, nearest, axis=1).astype(np.float64)
    # A common factor per query changes no vote, and keeps the exponential in range at any temperature.
    best = found.max(axis=1, keepdims=True)
    weights = np.exp((found - np.where(np.isfinite(best), best, 0.0)) / temperature)
    votes = np.zeros((len(similarity), int(labels.max()) + 1))
    np.add.at(votes, (np.arange(len(votes))[:, None], labels[nearest]), weights)
    return votes


def _reading(correct: Bool[np.ndarray, " M"], *, k: int, classes: int) -> Reading:
    return Reading(
        key=KEY,
        name="kNN accuracy",
        value=100.0 * float(correct.mean()),
        unit="per cent",
        n=len(correct),
        outcomes=tuple(correct.astype(float).tolist()),
        detail={"k": k, "classes": classes},
    )


def _check(texts: Sequence[Item], labels: Sequence[str]) -> None:
    if not texts or len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts and {len(labels)} labels: expected as many of both, and at least one.")
