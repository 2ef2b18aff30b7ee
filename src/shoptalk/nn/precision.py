"""Which arithmetic to train in: measured on this machine, never assumed."""

import contextlib
import time
from collections.abc import Iterator
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

# A choice between two near-equal speeds would flip from run to run and buys nothing: bfloat16 must clearly win.
_WORTHWHILE = 1.3


def matmul_rate(dtype: torch.dtype, device: torch.device, *, size: int = 1024, seconds: float = 0.05) -> float:
    """The speed of a square matmul in GFLOP/s (10^9 operations per second): the best of the repeats in that time."""
    a = torch.ones(size, size, dtype=dtype, device=device)
    best, begun, done = 0.0, time.perf_counter(), 0
    # Where the machine lacks units for this type, one small product may take long: one is then enough.
    while done < 2 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        torch.mm(a, a)
        if device.type != "cpu":
            torch.accelerator.synchronize()
        elapsed = time.perf_counter() - start
        best, done = max(best, 2 * size**3 / elapsed / 1e9), done + 1
        if elapsed > 1.0:
            break
    return best


def choose_precision(device: torch.device) -> tuple[Precision, dict[str, float]]:
    """The faster of float32 and bfloat16 for this device's matmuls, and both rates in GFLOP/s."""
    size = 512 if device.type == "cpu" else 4096
    rates = {name: matmul_rate(getattr(torch, name), device, size=size) for name in ("float32", "bfloat16")}
    faster = rates["bfloat16"] >= _WORTHWHILE * rates["float32"]
    return ("bfloat16" if faster else "float32"), {name: round(rate, 1) for name, rate in rates.items()}


@contextlib.contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Layers run in bfloat16 inside, parameters stay float32; nothing changes for float32."""
    if precision == "float32":
        yield
        return
    with torch.autocast(device.type, dtype=torch.bfloat16):
        yield
