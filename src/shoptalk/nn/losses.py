"""Losses that more than one objective is made of."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Stands for minus infinity in logits: far below any cosine over a temperature, and safe under softmax in float32.
EXCLUDED = -1e9


def info_nce(
    queries: Float[Tensor, "n D"],
    keys: Float[Tensor, "n D"],
    *,
    temperature: float,
    excluded: Bool[Tensor, "n n"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of each query finding its own key among all keys (van den Oord et al. 2018, equation 4).

    Rows are unit vectors; `excluded[i, j]` takes key j out of query i's negatives (never its own key).
    """
    logits = _inner_products(queries, keys) / temperature
    own = torch.arange(len(queries), device=logits.device)
    if excluded is not None:
        logits = logits.masked_fill(excluded & (own[:, None] != own[None, :]), EXCLUDED)
    return torch.nn.functional.cross_entropy(logits, own)


def similarity_distribution(vectors: Float[Tensor, "n D"], *, temperature: float) -> Float[Tensor, "n n"]:
    """Log-probabilities of each vector's similarity to the others in the batch; a vector is not its own neighbour."""
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    logits = _inner_products(vectors, vectors) / temperature
    return logits.masked_fill(itself, EXCLUDED).log_softmax(-1)


def _inner_products(left: Float[Tensor, "n D"], right: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
    """In float32 under autocast too: a cosine rounded to bfloat16 and divided by a temperature is off by tenths."""
    with torch.autocast(left.device.type, enabled=False):
        return left.float() @ right.float().T
