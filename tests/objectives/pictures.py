"""What tests of objectives on pictures share: layers in NumPy, and batches in another order."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from shoptalk.image.batches import Views
from tests.toyworld import ToyWorld


def by_numpy(layers: Iterable[nn.Module], values: np.ndarray) -> np.ndarray:
    """Linear layers, batch norms over the rows and ReLUs, in double precision."""
    for layer in layers:
        weights = {name: value.detach().double().numpy() for name, value in layer.named_parameters()}
        if isinstance(layer, nn.Linear):
            values = values @ weights["weight"].T + weights.get("bias", 0.0)
        elif isinstance(layer, nn.BatchNorm1d):
            values = (values - values.mean(0)) / np.sqrt(values.var(0) + layer.eps) * weights["weight"] + weights[
                "bias"
            ]
        elif isinstance(layer, nn.ReLU):
            values = np.maximum(values, 0)
        else:
            raise TypeError(type(layer))
    return values


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def features(network: nn.Module, pictures: torch.Tensor) -> np.ndarray:
    """As a network in training gives them, in double precision."""
    with torch.no_grad():
        return network.train()(pictures).double().numpy()


def stirred(world: ToyWorld, modules: Iterable[nn.Module], seed: int = 1) -> None:
    """Other weights: norms that do something, and a teacher that is not the student."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def reordered(batch: Views, order: torch.Tensor) -> Any:
    return replace(batch, views=tuple(view[order] for view in batch.views))


def swapped(batch: Views) -> Any:
    return replace(batch, views=batch.views[::-1])
