"""A map of the embedding space before and after training, such that the two can be laid over each other.

    drawn = project(before, after, seed=0)        # two times N points in the unit square
    drawn.before[7], drawn.after[7]               # the same text under the base and under the adapted encoder

The layout is t-SNE (van der Maaten and Hinton, "Visualizing data using t-SNE", 2008) as openTSNE has it (Poličar,
Stražar and Zupan, 2024). By itself its orientation means nothing and a second run would come out turned and mirrored.
So the first layout starts from the two main axes of the base's vectors (Kobak and Berens, "The art of using t-SNE for
single-cell transcriptomics", 2019), the second from the first, and it is then turned onto the first (Procrustes:
Schönemann 1966).

Distances between far groups mean little in t-SNE; who is near whom is what it keeps.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from shoptalk.nn.waiting import one_blas_thread

MOST = 2_500
"""Points drawn: a page stays below a megabyte."""
SECONDS_A_POINT = 0.0055
"""Of both layouts together: 13 s for 2,500 points of 384 dimensions, openTSNE's import included, on one core of an AMD
EPYC with AVX2 (2026-11-23). A forecast for budgets; it is not timed on the machine at hand."""
FEWEST = 5
"""Fewer points make no map."""
METHOD = (
    "t-SNE (openTSNE, perplexity {perplexity:.0f}, exact neighbours, seed {seed}) of {n:,} {what}; the layout after "
    "training starts from the one before it and is turned onto it (Procrustes)."
)
_PERPLEXITY = 30.0
_EXAGGERATED, _PLAIN = 100, 250  # rounds with attraction times 12, which parts the groups, and rounds without
_START = 1e-4  # the spread of a start: t-SNE leaves no freedom to points that begin far apart


class Drawn(NamedTuple):
    """Two layouts of the same N texts in the unit square, x and y on one scale, the second turned onto the first."""

    before: Float[np.ndarray, "N 2"]
    after: Float[np.ndarray, "N 2"]
    method: str


def project(
    before: Float[np.ndarray, "N D"], after: Float[np.ndarray, "N E"], *, seed: int, what: str = "texts"
) -> Drawn | None:
    """Both maps of the unit vectors of N texts, or of `what` there is; the same vectors and seed give the same points.

    None for fewer than `FEWEST` texts or vectors that are not finite: those of a training that broke down.
    """
    n = len(before)
    if n < FEWEST or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    first = layout(before, main_axes(before), seed=seed)
    second = turned(layout(after, first, seed=seed), onto=first)
    low, high = np.minimum(first.min(0), second.min(0)), np.maximum(first.max(0), second.max(0))
    size = max(float((high - low).max()), 1e-12)
    margin = (1 - (high - low) / size) / 2
    one, other = ((points - low) / size + margin for points in (first, second))
    return Drawn(one, other, METHOD.format(perplexity=_perplexity(n), seed=seed, n=n, what=what))


def layout(
    vectors: Float[np.ndarray, "N D"], start: Float[np.ndarray, "N 2"], *, seed: int
) -> Float[np.ndarray, "N 2"]:
    """t-SNE from a start, of which directions count and not distances."""
    from openTSNE import TSNEEmbedding, affinity  # here: it takes seconds to import

    near = affinity.PerplexityBasedNN(
        np.ascontiguousarray(vectors, dtype=np.float32),
        perplexity=_perplexity(len(vectors)),
        method="exact",
        metric="euclidean",  # of unit vectors the order is that of the cosine
        n_jobs=1,
        random_state=seed,
    )
    begun = start - start.mean(axis=0)
    begun = begun * (_START / max(float(begun[:, 0].std()), 1e-12))
    # Equal texts must not begin in one place: there is no direction for them to part in.
    begun = begun + np.random.default_rng(seed).normal(scale=_START / 100, size=begun.shape)
    drawn = TSNEEmbedding(begun, near, negative_gradient_method="bh", n_jobs=1, random_state=seed)
    drawn = drawn.optimize(_EXAGGERATED, exaggeration=12, momentum=0.8, learning_rate="auto")
    drawn = drawn.optimize(_PLAIN, momentum=0.8, learning_rate="auto")
    return np.asarray(drawn, dtype=np.float64)


def main_axes(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N 2"]:
    """Coordinates along the two directions of largest spread; the sign is that of the longest vector along each."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    with one_blas_thread():
        _, directions = np.linalg.eigh(centred.T @ centred)
    points = centred @ directions[:, :-3:-1]
    signs = np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])
    return np.asarray(points * np.where(signs == 0, 1.0, signs))


def turned(points: Float[np.ndarray, "N 2"], *, onto: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
    """The points moved, turned or mirrored, and scaled to the other points' spread, so that they lie on them as well as
    can be. The least squares' own scale would shrink points the more, the less they resemble the others.
    """
    mine, theirs = points - points.mean(axis=0), onto - onto.mean(axis=0)
    left, _, right = np.linalg.svd(mine.T @ theirs)
    scale = np.linalg.norm(theirs) / max(float(np.linalg.norm(mine)), 1e-12)
    return np.asarray(scale * mine @ (left @ right) + onto.mean(axis=0))


def _perplexity(n: int) -> float:
    """How many neighbours count; a third of the texts at most."""
    return min(_PERPLEXITY, (n - 1) / 3)
