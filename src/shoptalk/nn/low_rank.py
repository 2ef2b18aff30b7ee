"""Low-rank adaptation of a decoder's matrices (Hu et al. 2021, LoRA, section 4.1, equation 3):

    h = W x + b + (alpha / r) B A x        A: r x inputs, Gaussian; B: outputs x r, zeros; W and b stay as they are

so that at first nothing is changed, and a training holds gradients and moments of r (inputs + outputs) numbers for each
matrix of inputs x outputs. What is measured, saved and shipped is the plain model with W + (alpha / r) B A in place of
W, which opens anywhere and costs nothing more.

    adapt_matrices(backbone, LoraSettings(rank=8))     # in place
    plain = merged(backbone)                           # for a look: all that is not adapted is shared

What differs from the paper: all linear layers of the layers may be adapted, where the paper takes those of the queries
and values; and A's deviation, which the paper leaves open, is 1 / sqrt(inputs).
"""

import copy
import math
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from shoptalk.config import did_you_mean
from shoptalk.errors import ConfigError
from shoptalk.records import Frozen

N = TypeVar("N", bound=nn.Module)


class LoraSettings(Frozen):
    """How much of a language model a training changes."""

    rank: int = Field(default=0, ge=0, description="of what is added to each matrix; 0: all weights are trained")
    alpha: float = Field(
        default=0.0, ge=0.0, description="what is added is scaled by alpha / rank; 0: alpha is the rank"
    )
    layers: tuple[str, ...] = Field(
        default=(), description="names of the linear layers, such as q_proj and v_proj; all where none is named"
    )


class LowRankLinear(nn.Module):
    """A linear layer that stays as it is, and the product of two narrow matrices that is added to it and trained."""

    down: Float[Tensor, "r I"]
    """The paper's A."""
    up: Float[Tensor, "O r"]
    """The paper's B."""

    def __init__(self, layer: nn.Linear | Conv1D, *, rank: int, scale: float) -> None:
        """`scale` is alpha / rank. The random state decides A."""
        super().__init__()
        self.layer, self.scale = layer, scale
        outputs, inputs = matrix_of(layer).shape
        kind: dict[str, Any] = {"dtype": layer.weight.dtype, "device": layer.weight.device}
        # Drawn on the CPU: the same seed gives the same numbers on any device.
        self.down = nn.Parameter((torch.randn(rank, inputs) / math.sqrt(inputs)).to(**kind))
        self.up = nn.Parameter(torch.zeros(outputs, rank, **kind))

    def forward(self, x: Float[Tensor, "*rows I"]) -> Float[Tensor, "*rows O"]:
        """Both, added up."""
        added = nn.functional.linear(nn.functional.linear(x, self.down), self.up)
        whole: Tensor = self.layer(x) + self.scale * added
        return whole

    def merged(self) -> nn.Linear | Conv1D:
        """A plain layer of its own with the sum of the matrices; the bias is shared."""
        layer = copy.copy(self.layer)
        layer._parameters = dict(self.layer._parameters)
        with torch.no_grad():
            added = (self.scale * (self.up.float() @ self.down.float())).to(layer.weight.dtype)
            weight = layer.weight + (added.T if isinstance(layer, Conv1D) else added)
        layer.weight = nn.Parameter(weight, requires_grad=False)
        return layer


def matrix_of(layer: nn.Linear | Conv1D) -> Float[Tensor, "O I"]:
    """Its matrix as outputs by inputs: GPT-2 keeps it the other way round."""
    return layer.weight.T if isinstance(layer, Conv1D) else layer.weight


def adapt_matrices(backbone: nn.Module, settings: LoraSettings) -> None:
    """Put a `LowRankLinear` in place of every linear layer but the output table, or of those that are named, and freeze
    all else. With rank 0 nothing is done, and all weights are trained.

    Raises:
        ConfigError: there is no such layer, or the rank is larger than a side of one of the matrices.
    """
    if not settings.rank:
        if settings.layers or settings.alpha:
            raise ConfigError(
                "lora.layers and lora.alpha are of a low-rank adaptation, and lora.rank is 0, which trains all "
                "weights. Give lora.rank too, such as 8, or leave them out."
            )
        return
    table: Any = backbone.get_output_embeddings()  # type: ignore[operator]
    linear = {
        name: layer
        for name, layer in backbone.named_modules()
        if isinstance(layer, nn.Linear | Conv1D) and layer is not table
    }
    chosen = _chosen(linear, settings)
    backbone.requires_grad_(False)
    for name in chosen:
        scale = (settings.alpha or settings.rank) / settings.rank
        backbone.set_submodule(name, LowRankLinear(linear[name], rank=settings.rank, scale=scale))


def _chosen(linear: dict[str, nn.Linear | Conv1D], settings: LoraSettings) -> list[str]:
    known = sorted({_last(name) for name in linear})
    if not known:
        raise ConfigError(
            "This model has no linear layer besides its output table to adapt. Train it whole: lora.rank=0."
        )
    for name in settings.layers:
        if name not in known:
            raise ConfigError(f"lora.layers: this model has no linear layer {name!r}. {did_you_mean(name, known)}")
    chosen = [name for name in linear if not settings.layers or _last(name) in settings.layers]
    narrowest = min(chosen, key=lambda name: min(linear[name].weight.shape))
    outputs, inputs = matrix_of(linear[narrowest]).shape
    if settings.rank > min(outputs, inputs):
        raise ConfigError(
            f"lora.rank = {settings.rank} is larger than the matrix of {_last(narrowest)} allows, which has {outputs} "
            f"outputs and {inputs} inputs. Give at most {min(outputs, inputs)}, or train the model whole: lora.rank=0."
        )
    return chosen


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def is_adapted(network: nn.Module) -> bool:
    """Whether some of its layers are low-rank adaptations."""
    return any(isinstance(part, LowRankLinear) for part in network.modules())


def merged(network: N) -> N:
    """The network with plain layers in place of adapted ones. It shares all other weights, and is for reading."""
    known: dict[int, Any] = {id(weight): weight for weight in network.parameters()}
    known |= {id(part): part.merged() for part in network.modules() if isinstance(part, LowRankLinear)}
    return copy.deepcopy(network, known)
