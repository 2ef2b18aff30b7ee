"""Several processes with one batch: which process encodes which groups, and gathers of their results.

Every process knows the whole batch, encodes its share of the groups, and computes the same global loss. A gather's
backward pass therefore sums N equal gradients, and averaging parameter gradients over N processes, as
DistributedDataParallel and FSDP do, gives exactly the gradient of one process on the whole batch: for losses over
all pairs of the batch, too. Without `torch.distributed` everything here is the identity.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

_alone = False


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _alone else 1


def rank() -> int:
    """Which of them this one is."""
    return dist.get_rank() if world_size() > 1 else 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, this process works alone while the others do not: everything here is the identity."""
    global _alone  # noqa: PLW0603 (as the process group is)
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def sharded(module: nn.Module) -> bool:
    """Whether the processes hold a part of the module's parameters each (FSDP2), and not each all of them."""
    if world_size() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(part, FSDPModule) for part in module.modules())


def local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor, sharing its memory; any other tensor itself."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a sharded tensor, which every process must ask for; any other tensor itself."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(full: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor, cut as `like` is and on its device; all of it where `like` is not sharded."""
    full = full.to(like.device)
    if world_size() == 1:
        return full
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor):
        return full
    # Every process has the whole tensor, so none needs to send: no source rank.
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None).to_local()


def owner(number: int) -> int:
    """Which process encodes group `number` of a batch."""
    return number % world_size()


def share(groups: Sequence[object]) -> list[tuple[int, bool]]:
    """(group number, whether its result counts) for this process; every process has equally many.

    Where groups do not divide evenly, some processes end with the batch's first group, whose result does not count:
    sharded models need every process to take part in every forward pass.
    """
    turns = -(-len(groups) // world_size())
    numbers = [rank() + turn * world_size() for turn in range(turns)]
    return [(number, True) if number < len(groups) else (0, False) for number in numbers]


def row_counts(n: int) -> list[int]:
    """How many of n rows each process encodes, next to each other in the order of ranks; it may be none."""
    processes = world_size()
    return [n // processes + (number < n % processes) for number in range(processes)]


def my_rows(n: int) -> slice:
    """Which of n rows this process encodes."""
    counts = row_counts(n)
    begin = sum(counts[: rank()])
    return slice(begin, begin + counts[rank()])


def gather_rows(local: Float[Tensor, "k D"], counts: Sequence[int]) -> Float[Tensor, "n D"]:
    """The rows of all processes, in the order of ranks; `counts` says how many each has. Differentiable."""
    if world_size() == 1:
        return local
    gathered: Tensor = _GatherRows.apply(local, tuple(counts))  # type: ignore[no-untyped-call]
    return gathered


def sum_across(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sum of a tensor over all processes. Differentiable."""
    if world_size() == 1:
        return value
    total: Tensor = _SumAcross.apply(value)  # type: ignore[no-untyped-call]
    return total


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.counts = counts
        # Collectives want equal shapes: the shorter shares are filled up with rows that are dropped again.
        most = max(counts)
        filled = local.new_zeros(most, local.shape[1])
        filled[: len(local)] = local
        parts = [torch.empty_like(filled) for _ in counts]
        dist.all_gather(parts, filled)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        begin = sum(ctx.counts[: rank()])
        return total[begin : begin + ctx.counts[rank()]], None


class _SumAcross(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
