"""Forecasts of time and memory, from a few steps timed on this machine, to be compared with what the run then took.

timed = time_training(training)          # seconds and tokens of a step, seconds of a snapshot, memory
"""

import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from shoptalk.objective import Key
from shoptalk.records import Frozen
from shoptalk.training.advance import Training
from shoptalk.training.loop import batch_positions, train

WARM_STEPS, FRACTION = 2, 4
"""Warm-up steps that do not count, each with 1 / `FRACTION` of the batch. The last of them predicts how long a whole
step takes; the first includes work that is done once per process.
"""
FULL_STEPS, FULL_SECONDS = 4, 3.0
"""Steps that are timed with the whole batch: this many, or until this many seconds have passed."""
LONGEST = 20.0
"""Where one step would take longer than this many seconds, a part of the batch is timed and scaled."""
SAMPLED = 16
"""Batches that are collated, without training on them, to measure their mean size."""


class Timed(Frozen):
    """The measurements of a few real steps."""

    seconds: float
    """Of an average step."""
    tokens: float
    """Real ones of an average step."""
    save_seconds: float
    """Of writing a snapshot."""
    more_bytes: int
    """What training will take beyond the process's peak so far, where the whole batch was not tried."""


def time_training(training: Training) -> Timed:
    """Time a few real steps of a training that is then thrown away, and one snapshot.

    First come steps with a part of the batch, which fill the optimizer's state and do not count. Then come steps with
    the whole batch: scaling a part up would count the fixed cost of a step (the optimizer, every layer's call) several
    times, and would miss how the allocator's memory grows with the batch. The first whole step does not count either
    (fresh memory, new shapes), unless it is so long that it is the only one. Time is proportional to cells (tokens and
    padding), and batches differ in size, so seconds and tokens of a step are those of the mean of `SAMPLED` collated
    batches, not of the few timed ones.
    """
    config = training.config
    full = min(config.batch, len(training.data))
    part = max(min(full, 16), full // FRACTION)
    device = next(training.objective.parameters()).device
    peak_before = peak_memory(device)
    warm, _, _ = _steps(training, batch=part, most=WARM_STEPS, limit=math.inf, snapshot=False)
    peak_warm = peak_memory(device)
    whole = warm[-1] * full / part <= LONGEST
    batch, most = (full, FULL_STEPS) if whole else (part, 1)
    seconds, cells, save_seconds = _steps(training, batch=batch, most=most, limit=FULL_SECONDS, snapshot=True)
    first = min(1, len(seconds) - 1)
    tokens, average = _average_batch(training, full)
    scale = average / float(np.mean(cells[first:]))
    more = 0.0
    if not whole:
        # Gradients and AdamW's two moments are there once; what is left of the growth is activations.
        state = 3 * sum(p.numel() * p.element_size() for p in training.objective.parameters() if p.requires_grad)
        more = max(0.0, peak_warm - peak_before - state) * max(0.0, scale - 1)
    return Timed(
        seconds=scale * float(np.mean(seconds[first:])),
        tokens=tokens,
        save_seconds=save_seconds,
        more_bytes=round(more),
    )


def peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the most that was ever allocated there, else this process's peak resident memory (`ru_maxrss`)."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # bytes there, kibibytes elsewhere


def peak_to_come(device: torch.device, timed: Iterable[Timed], arrays: Iterable[object]) -> int:
    """The forecast of `peak_memory`, once every candidate has been timed.

    Measured: the process's peak after real steps with the whole batch, the optimizer's state and a snapshot included.
    Estimated: `Timed.more_bytes` where the whole batch was not tried, and on the CPU all of those `arrays` that are
    files mapped into memory (targets), whose pages count as resident once training has read them: an upper bound.
    Token ids on disk are read and not mapped; they add nothing. Not included: larger batches than those tried, and
    memory that is lost to fragmentation over time.
    """
    mapped = 0 if device.type == "cuda" else sum(a.nbytes for a in arrays if isinstance(a, np.memmap))
    return peak_memory(device) + mapped + max((one.more_bytes for one in timed), default=0)


def _steps(
    training: Training, *, batch: int, most: int, limit: float, snapshot: bool
) -> tuple[list[float], list[int], float]:
    """Up to `most` steps, or until they took more than `limit` seconds: the seconds and the cells of each, and the
    seconds of a snapshot after them.

    Numbers and not `Step`s, which would keep the optimizer's state alive.
    """
    config = replace(training.config, steps=most, batch=batch)
    seconds: list[float] = []
    cells: list[int] = []
    saving = 0.0
    for step in train(training.objective, training.data, training.collate, config):
        seconds.append(step.seconds)
        cells.append(step.cells)
        if step.last or sum(seconds) > limit:
            if snapshot:
                with tempfile.TemporaryDirectory() as folder:
                    begun = time.perf_counter()
                    step.save(Path(folder) / "snapshot")
                    saving = time.perf_counter() - begun
            break
    return seconds, cells, saving


def _average_batch(training: Training, batch: int) -> tuple[float, float]:
    """Tokens and cells of a batch, over the first `SAMPLED` ones."""
    tokens, cells = [], []
    for number in range(min(SAMPLED, max(1, len(training.data) // batch))):
        key = Key(seed=training.config.seed, step=number)
        collated = training.collate([training.data[i] for i in batch_positions(len(training.data), batch, key)], key)
        tokens.append(collated.tokens)
        cells.append(collated.cells)
    return float(np.mean(tokens)), float(np.mean(cells))
