"""Bits per byte of general text: does a language model still read everyday language as well as it did?

Training on one domain can cost a model what it knew of the language at large. Bits per byte compare across tokenizers
(Gao et al. 2020, "The Pile", section 3.1): the bits of all texts by the model, divided by their UTF-8 bytes. The first
token of each is read and not foretold. The texts are the sentences of `general.jsonl`, this project's own writing,
which no objective trains on.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from shoptalk.nn.product import Scorer
from shoptalk.probes.forgetting import general_pairs
from shoptalk.records import Reading

KEY = "general_bits"
SENTENCES = 100
"""Of the shipped ones: some 1,200 tokens."""


def byte_counts(texts: Sequence[str]) -> Float[np.ndarray, " N"]:
    """UTF-8 bytes of each text."""
    return np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts], dtype=np.float64)


def per_mean_byte(bits: Float[np.ndarray, " N"], texts: Sequence[str]) -> Float[np.ndarray, " N"]:
    """Bits of each text over the mean of their bytes: the mean of these is the bits per byte of all together."""
    shares: Float[np.ndarray, " N"] = bits / byte_counts(texts).mean()
    return shares


def general_bits(texts: Sequence[str] | None = None) -> Callable[[Scorer], Reading]:
    """A probe: bits per byte of the texts, or of the shipped sentences.

    Outcomes are one per text: its bits times texts / bytes, so that their mean is the value.

    Raises:
        ValueError: there is no text.
    """
    chosen = list(texts) if texts is not None else [pair.a for pair in general_pairs()][:SENTENCES]
    if not chosen:
        raise ValueError("Bits per byte need texts to read and got none.")

    def probe(product: Scorer) -> Reading:
        scores = per_mean_byte(product.score(chosen), chosen)
        return Reading(
            key=KEY,
            name="bits per byte of general text",
            value=float(scores.mean()),
            unit="bits",
            n=len(chosen),
            outcomes=tuple(scores.tolist()),
        )

    return probe
