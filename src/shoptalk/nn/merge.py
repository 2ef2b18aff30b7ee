"""Averages of weights: (1 - a) of a base's and a of those that it was trained to (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models"). They keep more of what the base knew, and cost no training.
"""

from typing import TypeVar

import torch

from shoptalk.nn.product import Product

P = TypeVar("P", bound=Product)


def average(base: P, adapted: P, share: float) -> P:
    """A product whose every parameter is (1 - share) of the base's and `share` of the adapted one's, in float32.

    Shares 0 and 1 give the base's and the adapted one's own numbers.

    Raises:
        ValueError: the two have not the same parameters.
    """
    before = dict(base.network.named_parameters())
    merged = adapted.copy()
    after = dict(merged.network.named_parameters())
    if before.keys() != after.keys() or any(before[name].shape != after[name].shape for name in before):
        raise ValueError("the base and the adapted encoder do not have the same parameters")
    with torch.no_grad():
        for name, parameter in after.items():
            mixed = torch.lerp(before[name].float().to(parameter.device), parameter.float(), share)
            parameter.copy_(mixed)
    return merged  # type: ignore[return-value]
