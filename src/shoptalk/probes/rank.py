"""RankMe: how many dimensions an encoder really uses. Label-free.

Source: Garrido, Balestriero, Najman, LeCun, "RankMe: Assessing the Downstream Performance of Pretrained
Self-Supervised Representations by Their Rank", ICML 2023, equation 1.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.nn.waiting import one_blas_thread
from shoptalk.records import Item, Reading

KEY = "rankme"
# The paper's constant for vectors computed in float32.
EPSILON = 1e-7


def rankme(vectors: Float[np.ndarray, "N D"]) -> float:
    """The exponential of the entropy of the singular values' shares: between 1 and min(N, D).

    exp(-sum_k p_k log p_k) with p_k = sigma_k / sum(sigma) + epsilon (Garrido et al. 2023, equation 1). As in the
    paper the vectors are not centred, and epsilon can push the value past min(N, D) by a few ten-thousandths of it.

    Raises:
        ValueError: there is no vector.
    """
    if vectors.size == 0:
        raise ValueError(f"RankMe of an array of shape {vectors.shape} is undefined; give at least one vector.")
    with one_blas_thread():
        sigma = np.linalg.svd(vectors.astype(np.float64), compute_uv=False)
    # Vectors that are all zero have no shares; the smallest float keeps their rank at 1 instead of not-a-number.
    shares = sigma / max(sigma.sum(), np.finfo(np.float64).tiny) + EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def rank(texts: Sequence[Item]) -> Callable[[Embedder], Reading]:
    """A probe: RankMe of the texts' vectors, in dimensions.

    Readings compare only at the same texts; the paper finds that the value settles where texts far outnumber
    dimensions. The detail holds what the collapse alarm also reads: `centred`, RankMe of the vectors less their mean,
    and `spread`, their root mean squared distance from it (1 all over the sphere, 0 in a point).

    Raises:
        ValueError: there is no text.
    """
    if not texts:
        raise ValueError("RankMe needs texts to embed and got none; give a sample of the corpus.")

    def probe(product: Embedder) -> Reading:
        return rank_of(embed(product, texts))

    return probe


def rank_of(vectors: Float[np.ndarray, "N D"]) -> Reading:
    """The reading of vectors that are there already.

    Raises:
        ValueError: there is no vector.
    """
    return Reading(
        key=KEY,
        name="RankMe",
        value=rankme(vectors),
        unit="effective dimensions",
        n=len(vectors),
        detail={
            "dimensions": vectors.shape[1],
            "most": min(vectors.shape),
            "centred": rankme(vectors - vectors.mean(axis=0)),
            "spread": float(np.sqrt(vectors.var(axis=0, dtype=np.float64).sum())),
        },
    )
