"""The encoder as the assistant reads with it: in this machine's faster arithmetic, and for many texts by itself.

product = in_faster_arithmetic(open_to_read(run / "encoder"))
BulkEncoder(product).embed(texts)         # documents that become knowledge, beside those who wait for replies
"""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from shoptalk.nn.encoder import Encoder, TextEncoder
from shoptalk.nn.machine import usable_cores
from shoptalk.nn.precision import choose_precision


def in_faster_arithmetic(product: TextEncoder) -> TextEncoder:
    """The same encoder, whose layers run in bfloat16 where this machine has units for it, on no more threads than this
    process has cores. The cosine of a vector to its float32 self stays above 0.9999.
    """
    if "OMP_NUM_THREADS" not in os.environ:  # in a container torch counts the machine's cores
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    precision, _ = choose_precision(product.network.device)
    return product.in_precision(precision)


class BulkEncoder:
    """The product's own weights, without its state: both may embed at once."""

    def __init__(self, product: TextEncoder) -> None:
        network = Encoder(product.network.backbone, pooling=product.network.pooling).eval()
        self._reader = replace(product, network=network)

    def embed(self, items: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the texts in their order."""
        return self._reader.embed(items)
