"""Alignment (are texts that belong together close?) and uniformity (do all texts fill the sphere?). Lower is better.

Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
Hypersphere", ICML 2020, section 4.1, with the paper's alpha = 2 and t = 2.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.records import Item, Reading

# Rows of the distance matrix held at a time: 1,024 x 10,000 distances are 40 MB.
_BLOCK = 1024


def squared_distances(x: Float[np.ndarray, "P D"], y: Float[np.ndarray, "P D"]) -> Float[np.ndarray, " P"]:
    """|x_i - y_i|^2 of each pair; their mean is the alignment loss E |f(x) - f(y)|^2 over positive pairs."""
    difference = x.astype(np.float64) - y.astype(np.float64)
    squares: Float[np.ndarray, " P"] = (difference**2).sum(axis=1)
    return squares


def uniformity_loss(vectors: Float[np.ndarray, "N D"], *, t: float = 2.0) -> float:
    """log E exp(-t |x - y|^2) over all pairs of two different rows: 0 where all coincide, negative where they spread.

    Exact: every pair is counted, a block of rows at a time, so that memory grows with N and not with N^2.

    Raises:
        ValueError: there are fewer than two vectors.
    """
    n = len(vectors)
    if n < 2:
        raise ValueError(f"Uniformity is over pairs of vectors and got {n}; give at least two.")
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1)
    total = 0.0
    for begin in range(0, n, _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        # Only columns from the block's first row on: the pairs to the left were counted by the blocks before.
        distances = squares[rows, None] + squares[None, begin:] - 2.0 * (vectors[rows] @ vectors[begin:].T)
        potentials = np.exp(-t * np.maximum(distances, 0.0))
        total += float(np.triu(potentials, k=1).sum())
    return float(np.log(total / (n * (n - 1) / 2)))


def alignment(pairs: Sequence[tuple[str, str]]) -> Callable[[Embedder], Reading]:
    """A probe: mean squared distance of positive pairs, 0 (same place) to 4 (opposite); outcomes are the pairs' own.

    Raises:
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("Alignment needs pairs of texts that belong together and got none.")
    left, right = [a for a, _ in pairs], [b for _, b in pairs]

    def probe(product: Embedder) -> Reading:
        found = squared_distances(embed(product, left), embed(product, right))
        return Reading(
            key="alignment",
            name="alignment",
            value=float(found.mean()),
            unit="squared distance",
            n=len(pairs),
            outcomes=tuple(found.tolist()),
        )

    return probe


def uniformity(texts: Sequence[Item], *, t: float = 2.0) -> Callable[[Embedder], Reading]:
    """A probe: the uniformity loss of the texts' vectors; lower is more evenly spread. Time grows with N^2.

    Raises:
        ValueError: there are fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"Uniformity is over pairs of texts and got {len(texts)}; give at least two.")

    def probe(product: Embedder) -> Reading:
        value = uniformity_loss(embed(product, texts), t=t)
        return Reading(
            key="uniformity", name="uniformity", value=value, unit="log potential", n=len(texts), detail={"t": t}
        )

    return probe
