"""Averages of weights: (1 - a) of a base's and a of those that it was trained to (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models"). They keep more of what the base knew, and cost no training.

The running means and variances of batch norms are averaged too. Those of the averaged network itself differ a little
(Jordan et al. 2023, "REPAIR"); what an average is worth is measured as it is, like every entry of a menu.
"""

from typing import TypeVar

import torch
from torch import Tensor

from shoptalk.nn.product import Product

P = TypeVar("P", bound=Product)


def average(base: P, adapted: P, share: float) -> P:
    """A product whose every parameter and running statistic is (1 - share) of the base's and `share` of the adapted
    one's, in float32; numbers that count, such as of batches seen, are the adapted one's.

    Shares 0 and 1 give the base's and the adapted one's own numbers.

    Raises:
        ValueError: the two have not the same parameters.
    """
    before = _averaged(base)
    merged = adapted.copy()
    after = _averaged(merged)
    if before.keys() != after.keys() or any(before[name].shape != after[name].shape for name in before):
        raise ValueError("the base and the adapted encoder do not have the same parameters")
    with torch.no_grad():
        for name, parameter in after.items():
            mixed = torch.lerp(before[name].float().to(parameter.device), parameter.float(), share)
            parameter.copy_(mixed)
    return merged  # type: ignore[return-value]


def _averaged(product: Product) -> dict[str, Tensor]:
    """Parameters, and buffers of fractions, by name."""
    buffers = {name: buffer for name, buffer in product.network.named_buffers() if buffer.is_floating_point()}
    return dict(product.network.named_parameters()) | buffers
