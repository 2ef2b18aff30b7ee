"""What is set on a machine before anything runs on it: threads, memory, matrix products. Every plan records it.

settings = prepare(device)        # once per process; `shoptalk pretrain` and `adapt` write it into plan.json
"""

import contextlib
import functools
import math
import os
from pathlib import Path

import torch
from torch import nn

from shoptalk.nn.allocator import keep_memory
from shoptalk.nn.native import library
from shoptalk.records import Frozen


class Machine(Frozen):
    """The settings that this process runs under."""

    device: str
    threads: int
    """Of torch's pool."""
    keeps_memory: bool
    """malloc keeps large blocks (`nn/allocator.py`)."""
    kernels: bool
    """The CPU kernels of `nn/native` are compiled and in use."""

    def __str__(self) -> str:
        if self.device != "cpu":
            return self.device
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{threads}, {'compiled kernels' if self.kernels else 'kernels of torch alone'}"


def arithmetic(trained: nn.Module) -> str:
    """What computes the layers of what is trained, where it is. The compiled kernels draw other dropout masks than
    torch's own operations and round otherwise, so this decides a training's weights as its seed does.

    Networks that the kernels may serve say whether they do (`by_kernels`); others run on torch's operations. Kernels
    that draw no masks, such as the one of the cross-entropy, do not count: they differ by rounding alone.
    """
    kernels = any(getattr(part, "by_kernels", False) for part in trained.modules())
    device = next(trained.parameters()).device.type
    return f"{'compiled kernels' if kernels else 'kernels of torch alone'} on {device}"


@functools.cache
def prepare(device: torch.device) -> Machine:
    """Set threads, malloc and the precision of CUDA's products for this process; further calls cost nothing.

    Threads: torch's own number, but no more than this process may use: in a container torch counts the machine's
    cores. An `OMP_NUM_THREADS` that is set is obeyed. On CUDA, float32 products may use TF32.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    return Machine(
        device=device.type,
        threads=torch.get_num_threads(),
        keeps_memory=keep_memory(),
        kernels=device.type == "cpu" and library() is not None,
    )


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may keep busy: those it is bound to, and no more than its container's quota pays for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        share, period = quota.read_text(encoding="ascii").split()  # "max 100000", or microseconds of each period
        cores = min(cores, max(1, math.ceil(int(share) / int(period))))
    return cores
