"""A teacher that is the student's own past: the exponential moving average of its network.

    ξ ← τ ξ + (1 - τ) θ        (Grill et al. 2020, BYOL, equation 1; Tarvainen & Valpola 2017, Mean Teacher)

θ are the student's weights, ξ the teacher's, τ the momentum. Its tensors are parameters without gradients, so that
snapshots save them by name and a resumed run is exact.

Buffers are not averaged but copied from the student at every step: running statistics of batch norms are moving
averages already, and counters have no average.
"""

import copy
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shoptalk.nn import gather
from shoptalk.nn.encoder import Encoder, evaluating
from shoptalk.text.batching import Group


class Teacher(nn.Module):
    """The moving average of a network: never with gradients, and in evaluation mode whatever the student's mode is."""

    def __init__(self, student: nn.Module, *, batch_statistics: bool = False) -> None:
        """The teacher begins as a copy of the student.

        Args:
            student: the network that it follows.
            batch_statistics: whether its batch norms normalise by the batch that they are given, as the student's do
                while it trains; else by the running statistics.
        """
        super().__init__()
        self.encoder = copy.deepcopy(student).requires_grad_(False)
        self.batch_statistics = batch_statistics

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Tensor:
        """What the averaged network gives for these inputs: of a text encoder one unit vector per text, in the batch's
        order, on each process.
        """
        with evaluating(self.encoder):  # the loop puts the whole objective into training mode
            if self.batch_statistics:
                for part in self.encoder.modules():
                    # Also those of shared statistics, which are of this class.
                    if isinstance(part, nn.modules.batchnorm._BatchNorm):
                        part.train()
            vectors: Tensor = self.encoder(*inputs)
            return vectors

    @torch.no_grad()
    def top_layers(self, group: Group, top: int) -> list[Float[Tensor, "R W D"]]:
        """The hidden states of the last `top` layers of one group of texts, lowest first."""
        encoder = self.encoder
        if not isinstance(encoder, Encoder):
            raise TypeError(f"Only a text encoder's layers are read group by group; this teacher is a {type(encoder)}.")
        with evaluating(encoder):
            return encoder.top_layers(group, top)

    @torch.no_grad()
    def follow(self, student: nn.Module, *, momentum: float) -> None:
        """One step of the average above; `momentum` is τ, from 0 (become the student) to 1 (stay). For `after_step`."""
        averaged = [gather.local(parameter) for parameter in self.encoder.parameters()]
        current = [gather.local(parameter) for parameter in student.parameters()]
        torch._foreach_lerp_(averaged, current, 1 - momentum)
        for kept, new in zip(self.encoder.buffers(), student.buffers(), strict=True):
            kept.copy_(new)


def cosine_momentum(progress: float, *, start: float) -> float:
    """From `start` to 1 along half a cosine (Grill et al. 2020, section 3.3); `progress` runs from 0 to 1."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2


def linear_momentum(progress: float, *, start: float, end: float) -> float:
    """From `start` to `end` along a line (Baevski et al. 2022, section 3.3); `progress` runs from 0 to 1."""
    return start + (end - start) * progress
