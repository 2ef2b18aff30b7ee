"""A teacher that is the student's own past: the exponential moving average of its encoder.

    ξ ← τ ξ + (1 - τ) θ        (Grill et al. 2020, BYOL, equation 1; Tarvainen & Valpola 2017, Mean Teacher)

θ are the student's weights, ξ the teacher's, τ the momentum. Its tensors are parameters without gradients, so that
snapshots save them by name and a resumed run is exact.
"""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shoptalk.nn import gather
from shoptalk.nn.encoder import Encoder, evaluating
from shoptalk.text.batching import Group, TokenBatch


class Teacher(nn.Module):
    """The moving average of an encoder: always in evaluation mode, never with gradients."""

    def __init__(self, student: Encoder) -> None:
        """The teacher begins as a copy of the student."""
        super().__init__()
        self.encoder = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, batch: TokenBatch) -> Float[Tensor, "n D"]:
        """One unit vector per text, in the batch's order; with several processes, on each of them."""
        with evaluating(self.encoder):  # the loop puts the whole objective into training mode
            vectors: Tensor = self.encoder(batch)
            return vectors

    @torch.no_grad()
    def top_layers(self, group: Group, top: int) -> list[Float[Tensor, "R W D"]]:
        """The hidden states of the last `top` layers of one group, lowest first."""
        with evaluating(self.encoder):
            return self.encoder.top_layers(group, top)

    @torch.no_grad()
    def follow(self, student: Encoder, *, momentum: float) -> None:
        """One step of the average above; `momentum` is τ, from 0 (become the student) to 1 (stay). For `after_step`."""
        averaged = [gather.local(parameter) for parameter in self.encoder.parameters()]
        current = [gather.local(parameter) for parameter in student.parameters()]
        torch._foreach_lerp_(averaged, current, 1 - momentum)


def cosine_momentum(progress: float, *, start: float) -> float:
    """From `start` to 1 along half a cosine (Grill et al. 2020, section 3.3); `progress` runs from 0 to 1."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2


def linear_momentum(progress: float, *, start: float, end: float) -> float:
    """From `start` to `end` along a line (Baevski et al. 2022, section 3.3); `progress` runs from 0 to 1."""
    return start + (end - start) * progress
