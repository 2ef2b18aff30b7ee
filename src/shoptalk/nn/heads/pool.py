"""A pool of unlabelled texts, over which vectors are smoothed: each is moved towards the mean of its neighbours.

    a_i' = normalise( a_i + (1 / k) sum_{j in N(i)} a_j )

A new text is smoothed by the same pool, so a head on smoothed vectors needs its pool to answer. A second hop gains up
to a point at one label per class on BANKING77, nothing at five and more, for twice the time (docs/log.md). The operator
is label spreading's (Zhou et al. 2004), on features as in SGC (Wu et al. 2019, equation 8).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from shoptalk.index import Index, build, neighbours, search

MOST = 20_000
"""Texts in a pool: as many as `index.py` searches exactly; at 384 dimensions 15 MB in float16."""


def smooth(
    vectors: Float[np.ndarray, "N D"], corpus: Float[np.ndarray, "M D"], positions: Int[np.ndarray, "N k"]
) -> Float[np.ndarray, "N D"]:
    """Each vector plus the mean of its neighbours' vectors, normalised: the equation above."""
    smoothed = np.empty_like(vectors)
    for begin in range(0, len(vectors), 4096):  # blocks: the gathered neighbours take k times a block's memory
        part = slice(begin, begin + 4096)
        smoothed[part] = vectors[part] + corpus[positions[part]].mean(axis=1)
    smoothed /= np.maximum(np.linalg.norm(smoothed, axis=1, keepdims=True), 1e-12)
    return smoothed


@dataclass(frozen=True)
class Pool:
    """The unit vectors of M unlabelled texts, raw and smoothed, and the index in which others find their neighbours."""

    vectors: Float[np.ndarray, "M D"]
    smoothed: Float[np.ndarray, "M D"]
    index: Index
    k: int

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "M D"], *, k: int | None = None) -> "Pool":
        """The pool of some unit vectors.

        `k` grows with the pool from 4 to 10: of 1,000 texts of 77 intents (BANKING77) ten neighbours reach into other
        intents, of 10,000 they do not.

        Raises:
            ValueError: there are fewer than two vectors.
        """
        if len(vectors) < 2:
            raise ValueError(f"A pool needs at least two vectors, and was given {len(vectors)}.")
        k = min(k or min(10, max(4, len(vectors) // 500)), len(vectors) - 1)
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        _, positions = neighbours(vectors, k)
        return cls(vectors, smooth(vectors, vectors, positions), build(vectors), k)

    def __len__(self) -> int:
        return len(self.vectors)

    def smooth(self, vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        """Other texts' vectors, smoothed over their neighbours in the pool, as the pool's were."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        return smooth(vectors, self.vectors, search(self.index, vectors, self.k)[1])
