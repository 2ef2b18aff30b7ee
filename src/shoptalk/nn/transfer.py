"""Tensors of a batch on their way to the device: the processor does not wait for the copy where it need not."""

import torch
from torch import Tensor

_SIDE_BY_SIDE = frozenset({"cuda"})
"""Devices that copy while the processor goes on. The allocator of page-locked memory keeps a block until its copy is
done, and what is not page-locked is read before the call returns: both are safe to let go of at once.
"""


def sent(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor on this device, in this type if one is given.

    The loop puts batches into page-locked memory (`training/prefetch.py`); only a copy that nobody waits for makes use
    of that.
    """
    return tensor.to(device, dtype, non_blocking=device.type in _SIDE_BY_SIDE)
