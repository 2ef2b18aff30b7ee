"""The encoder for many texts at once: documents that become knowledge, beside those who wait for replies.

    BulkEncoder(product).embed(texts)

Layers run in the arithmetic that this machine is faster in, bfloat16 where it has units for it: the cosine of a vector
to its float32 self stays above 0.9999, and of sentences 8 bits a number are kept anyway.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from shoptalk.nn.encoder import Encoder, TextEncoder
from shoptalk.nn.precision import choose_precision


class BulkEncoder:
    """The product's own weights, without its state: both may embed at once."""

    def __init__(self, product: TextEncoder) -> None:
        self._product = product

    def embed(self, items: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the texts in their order."""
        return self._reader.embed(items)

    @cached_property
    def _reader(self) -> TextEncoder:
        # When first needed: choosing the arithmetic takes a tenth of a second.
        network = self._product.network
        apart = Encoder(network.backbone, pooling=network.pooling).eval()
        precision, _ = choose_precision(network.device)
        return replace(self._product, network=apart, precision=precision)
