"""Copies of a batch's tensors to the device, asynchronous where the device allows it."""

import torch
from torch import Tensor

_SIDE_BY_SIDE = frozenset({"cuda"})
"""Devices that copy while the processor goes on. The source may be freed at once: the allocator of page-locked memory
keeps a block until its copy is done, and other memory is read before the call returns.
"""


def sent(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor on this device, in this type if one is given.

    The loop puts batches into page-locked memory (`training/prefetch.py`), which only asynchronous copies profit from.
    """
    return tensor.to(device, dtype, non_blocking=device.type in _SIDE_BY_SIDE)
