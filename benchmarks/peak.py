"""How near the machine's limit is the encoder? `python -m benchmarks.peak [--quick] [--repeats 5]`.

The limit is the fastest square matmul of several sizes that this machine does, in the precision that is chosen for it
(bfloat16 where it has units, else float32). Against it stand the model's floating-point operations of a forward and a
backward pass of 64 texts of 128 tokens through the encoder, dropout on, counted at 2 per multiply-add:

    forward = layers * (2 T (4 d² + 2 d f) + 4 T L d)      T = 64 * 128 tokens, L = 128, width d, inner width f
    backward = 2 * forward

The first term is the four projections of attention and the two of the inner layer, the second attention itself (queries
by keys, weights by values). Nothing else counts as work: embeddings, softmax, norms, GELU, dropout and copies are what
the rest of the time goes into, and the profile (one profiled step with its optimizer) says how much each takes.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks import command_line, timing
from benchmarks.ours import BASE
from benchmarks.timing import Options, Row
from shoptalk.nn.bases import open_base
from shoptalk.nn.precision import Precision, autocast, choose_precision, matmul_rate
from shoptalk.stages.world import best_device

NAME = "peak"
TEXTS, LENGTH = 64, 128
SIZES = (512, 1024, 2048, 4096)
PASSES = 3
PROFILED = 3

# By the first part that matches, in this order, of an operation's name.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("optimizer", "adam", "foreach", "zero_grad"),
    "softmax, fused attention": ("softmax", "scaled_dot_product", "flash", "shoptalk", "attention"),
    "matmul": ("mm", "linear", "matmul", "mkl"),
    "layer norm": ("layer_norm", "layernorm"),
    "GELU": ("gelu",),
    "dropout": ("dropout", "bernoulli"),
    "embeddings": ("embedding", "index", "scatter", "gather"),
    "copies, transposes": ("copy", "clone", "contiguous", "cat", "transpose", "permute", "_to_copy", "stack"),
    "element by element": ("add", "mul", "div", "sub", "sum", "neg", "fill", "zero", "masked", "where", "pow", "norm"),
}
OTHER = "other"


def encoder_flops(config: Any, *, texts: int, length: int) -> float:
    """Floating-point operations of one forward and backward pass of a BERT encoder, by the formula above."""
    tokens, width = texts * length, config.hidden_size
    projections = 2 * tokens * (4 * width**2 + 2 * width * config.intermediate_size)
    attention = 4 * tokens * length * width
    return float(3 * config.num_hidden_layers * (projections + attention))


def group_of(operation: str) -> str:
    """Which part of a step an operation of the profiler belongs to."""
    name = operation.lower()
    return next((group for group, parts in GROUPS.items() if any(part in name for part in parts)), OTHER)


def shares(microseconds: Mapping[str, float]) -> list[tuple[str, float, str]]:
    """(group, share of the whole, its most expensive operations), the largest share first."""
    whole = sum(microseconds.values()) or 1.0
    members: dict[str, list[tuple[float, str]]] = {}
    for operation, took in microseconds.items():
        members.setdefault(group_of(operation), []).append((took, operation))
    found = []
    for group, spent in members.items():
        top = ", ".join(f"{name} {took / whole:.1%}" for took, name in sorted(spent, reverse=True)[:3])
        found.append((group, sum(took for took, _ in spent) / whole, top))
    return sorted(found, key=lambda item: -item[1])


def matmul_peak(precision: Precision, device: torch.device, *, quick: bool) -> tuple[float, int]:
    """The fastest matmul in GFLOP/s, and its size."""
    sizes = SIZES[:2] if quick else SIZES
    dtype = getattr(torch, precision)
    rates = [(matmul_rate(dtype, device, size=size, seconds=0.2 if quick else 1.0), size) for size in sizes]
    return max(rates)


def measure(options: Options) -> Iterator[Row]:
    """Matmul and encoder in turn, then the profile."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = best_device()
    precision, _ = choose_precision(device)
    product = open_base(BASE)
    encoder = product.network.to(device).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6, fused=True)
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, len(product.tokenizer), (TEXTS, LENGTH))
    batch = product.batch(list(ids))
    weights = torch.randn(TEXTS, encoder.dim, device=device)

    def work() -> None:
        encoder.zero_grad(set_to_none=True)
        with autocast(precision, device):
            vectors = encoder(batch)
        (vectors * weights).sum().backward()

    _seconds(work, device)  # warm-up
    flops = encoder_flops(encoder.backbone.config, texts=TEXTS, length=LENGTH)
    peaks, rates = [], []
    for number in range(options.repeats):
        peaks.append(matmul_peak(precision, device, quick=options.quick))
        rates.append(flops / min(_seconds(work, device) for _ in range(1 if options.quick else PASSES)) / 1e9)
        timing.say(
            f"round {number + 1} of {options.repeats}: matmul {peaks[-1][0]:.0f}, encoder {rates[-1]:.0f} GFLOP/s"
        )
    limits = [rate for rate, _ in peaks]
    yield Row(NAME, f"matmul, {precision}", *_median(limits), note=f"best size {max(peaks)[1]}")
    median, unit, spread = _median(rates)
    ratio, ratio_range = timing.ratios(rates, limits)
    yield Row(
        NAME,
        f"encoder forward and backward, {precision}, {TEXTS} texts of {LENGTH} tokens, against the matmul",
        median,
        unit,
        spread,
        ratio=ratio,
        ratio_range=ratio_range,
        at_least=0.5,
        note=f"{flops / 1e9:.0f} GFLOP a pass; {torch.get_num_threads()} threads",
    )
    for group, share, top in shares(profile(work, optimizer, device)):
        yield Row(NAME, f"of a step: {group}", round(100 * share, 1), "%", note=top)


def profile(work: Callable[[], None], optimizer: torch.optim.Optimizer, device: torch.device) -> dict[str, float]:
    """Microseconds that each operation took itself, without those it calls, in a few steps."""
    cuda = device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as found:
        for _ in range(PROFILED):
            work()
            optimizer.step()
    kind = "self_device_time_total" if cuda else "self_cpu_time_total"
    return {event.key: float(getattr(event, kind)) for event in found.key_averages()}


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def _median(values: list[float]) -> tuple[float, str, float | None]:
    return float(np.median(values)), "GFLOP/s", timing.spread(values)


if __name__ == "__main__":
    command_line.main(measure, __doc__)
