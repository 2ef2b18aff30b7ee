"""The collapse alarm: does an encoder still tell texts apart, or does it put them all on a few directions?

One rule: RankMe below 5 % of the most it could be, min(N, D). Why this one, and not a mean cosine above a limit: a
cosine near 1 is also what a healthy encoder with a large common component shows, which a linear head ignores; and
texts spread evenly over very few directions have a mean cosine near 0 although almost everything about them is lost.
RankMe sees both kinds of collapse (to a point, to few dimensions) and needs no base to compare with. With vectors
spread evenly over 384 dimensions around a common component, it crosses the limit at a mean cosine of 0.999 (at 0.95 it
reads 53 %). The mean cosine is reported beside it.

Sources: Garrido et al. 2023 (RankMe, see `rank.py`); Jing, Vincent, LeCun, Tian, "Understanding Dimensional Collapse in
Contrastive Self-Supervised Learning", ICLR 2022 (the two kinds of collapse).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.probes.rank import rankme
from shoptalk.records import Reading

LIMIT = 5.0
"""Per cent of min(N, D) below which RankMe means collapse."""


def collapse(vectors: Float[np.ndarray, "N D"]) -> Reading:
    """RankMe of unit vectors in per cent of min(N, D), with `detail["collapsed"]`. Raises nothing.

    Vectors that are not finite count as collapsed: training has diverged. RankMe is at least 1, so fewer than 20
    vectors (or dimensions) can never fall below the limit; `detail["can_tell"]` says whether there were enough.
    """
    room = min(vectors.shape)
    detail: dict[str, Any] = {
        "collapsed": False,
        "can_tell": room * LIMIT > 100.0,
        "rule": f"RankMe below {LIMIT:g} % of min(vectors, dimensions) = {room}, or vectors that are not finite",
        "dimensions": vectors.shape[1],
    }
    value = float("nan")
    if not np.isfinite(vectors).all():
        detail["collapsed"] = True
    elif room > 0:
        effective = rankme(vectors)
        value = 100.0 * effective / room
        detail |= {"collapsed": value < LIMIT, "rankme": effective, "mean_cosine": mean_cosine(vectors)}
    return Reading(name="collapse", value=value, unit="per cent of full rank", n=len(vectors), detail=detail)


def mean_cosine(vectors: Float[np.ndarray, "N D"]) -> float:
    """Mean cosine between two different ones of N unit vectors; 1 for a single vector.

    From the length of their sum, |sum v|^2 = N + sum of all cosines off the diagonal, so no N x N matrix is needed.
    """
    n = len(vectors)
    if n == 1:
        return 1.0
    total = vectors.sum(axis=0, dtype=np.float64)
    return float((total @ total - n) / (n * (n - 1)))


def collapse_alarm(texts: Sequence[str]) -> Callable[[Embedder], Reading]:
    """A probe: `collapse` of the texts' vectors; give at least as many texts as the encoder has dimensions.

    Raises:
        ValueError: there is no text.
    """
    if not texts:
        raise ValueError("The collapse alarm needs texts to embed and got none; give a sample of the corpus.")

    def probe(product: Embedder) -> Reading:
        return collapse(embed(product, texts))

    return probe
