"""Batch normalisation whose statistics are those of the whole batch, also where several processes share it.

    y = (x - μ) / √(σ² + ε) · γ + β        (Ioffe & Szegedy 2015, algorithm 1)

μ and σ² are the mean and the variance of a channel over all pictures and places of the batch. torch's SyncBatchNorm
does the same on CUDA alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shoptalk.nn import gather


class SharedBatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d over the rows of all processes; one process computes exactly what nn.BatchNorm2d does."""

    def forward(self, input: Float[Tensor, "n C h w"]) -> Float[Tensor, "n C h w"]:
        """Normalised by the batch in training, else by the running statistics."""
        if not self.training or gather.world_size() == 1:
            return super().forward(input)
        # Sums in bfloat16 would lose the digits that are wanted.
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        places = values.shape[2] * values.shape[3]
        count = gather.sum_across(values.new_tensor(float(len(values) * places)))
        mean = gather.sum_across(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = gather.sum_across(centred.square().sum((0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Float[Tensor, " C"], variance: Float[Tensor, " C"]) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def share_statistics(module: nn.Module) -> None:
    """Turn every nn.BatchNorm2d inside into a `SharedBatchNorm` with the same parameters and statistics."""
    for name, part in module.named_children():
        if type(part) is nn.BatchNorm2d:
            shared = SharedBatchNorm(part.num_features, part.eps, part.momentum, part.affine, part.track_running_stats)
            shared.load_state_dict(part.state_dict())
            shared.train(part.training)
            setattr(module, name, shared)
        else:
            share_statistics(part)
