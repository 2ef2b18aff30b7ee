"""The only training loop: a generator of steps. The caller owns its life; there are no callbacks.

Batch i is a function of (seed, i) and the weights at step i are a function of the batches before it, so a run that
was killed and resumed from a snapshot is bit-identical to one that was not.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from shoptalk.errors import DivergedError
from shoptalk.nn.encoder import Product
from shoptalk.nn.precision import Precision, autocast
from shoptalk.objective import Key, Objective
from shoptalk.training import snapshot
from shoptalk.training.schedule import Schedule

Choice = Literal["continue", "decay", "stop"]


@dataclass(frozen=True)
class LoopConfig:
    """What the loop needs to know; the same config, data and objective give the same weights."""

    steps: int
    batch: int
    lr: float
    seed: int = 0
    warmup: float = 0.1
    decay: float = 0.2
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: Precision = "float32"
    decay_from: int | None = None
    """Begin the decay after this many steps instead of at the planned place."""


@dataclass
class Step:
    """What one step did. `steer` decides what comes next; `save` writes a snapshot to resume from.

    Both belong before the next step is asked for, and `steer` before `save`: the snapshot holds the choice.
    """

    number: int
    """Steps done, counted from 1."""
    loss: float
    terms: Mapping[str, float]
    tokens: int
    """Real tokens of this step's batch."""
    cells: int
    """Tokens and padding of this step's batch."""
    seconds: float
    lr: float
    last: bool
    write: Callable[[Path, Choice], None] = field(repr=False)
    choice: Choice = "continue"

    def steer(self, choice: Choice) -> None:
        """Go on, begin the schedule's decay now, or stop after this step."""
        self.choice = choice

    def save(self, folder: Path) -> None:
        """Write a snapshot of the run after this step."""
        self.write(folder, self.choice)


def train(
    objective: Objective[Any],
    data: Sequence[int],
    collate: Callable[[Sequence[int], Key], Any],
    config: LoopConfig,
    *,
    resume: Path | None = None,
) -> Iterator[Step]:
    """Train `objective` on batches of `data`, yielding after every step; `resume` is a snapshot's folder.

    AdamW (Loshchilov & Hutter 2019), fused; no weight decay on biases and norms; gradients clipped to `config.clip`.
    """
    optimizer = _optimizer(objective, config)
    schedule = Schedule.plan(config.steps, warmup=config.warmup, decay=config.decay)
    done = 0
    if resume is not None:
        state = snapshot.load(resume, objective, optimizer)
        done, schedule = state["done"], Schedule(**state["schedule"])
    if config.decay_from is not None:
        schedule = schedule.decaying_from(config.decay_from)
    device = next(objective.parameters()).device
    objective.train()
    while done < schedule.steps:
        begun = time.perf_counter()
        key = Key(seed=config.seed, step=done)
        batch = collate([data[i] for i in batch_positions(len(data), config.batch, key)], key)
        factor = schedule.factor(done)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        torch.manual_seed(_stream(key))  # dropout of step i is a function of (seed, i)
        with autocast(config.precision, device):
            loss = objective(batch)
        if not torch.isfinite(loss.total):
            raise DivergedError(
                f"The loss of {type(objective).__name__} is {loss.total.item()} at step {done + 1} with a learning "
                f"rate of {config.lr:g}. Lower it (--set objectives.NAME.lr=...), or leave the candidate out."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        nn.utils.clip_grad_norm_(objective.parameters(), config.clip)
        optimizer.step()
        done += 1
        with torch.no_grad():
            objective.after_step(done / schedule.steps, loss.outputs)

        def write(folder: Path, choice: Choice, done: int = done, schedule: Schedule = schedule) -> None:
            state = {"done": done, "schedule": vars(_steered(schedule, choice, done))}
            snapshot.save(folder, objective, optimizer, state)

        step = Step(
            number=done,
            loss=loss.total.item(),
            terms={name: term.item() for name, term in loss.terms.items()},
            tokens=batch.tokens,
            cells=batch.cells,
            seconds=time.perf_counter() - begun,
            lr=config.lr * factor,
            last=done >= schedule.steps,
            write=write,
        )
        yield step
        schedule = _steered(schedule, step.choice, done)


@contextlib.contextmanager
def observing(objective: Objective[Any]) -> Iterator[Product]:
    """The product to probe; modes, random states and gradients are restored, so the run goes on bit-identically."""
    from shoptalk.nn.encoder import evaluating

    # All three global generators: probes may use any of them.
    python_side, numpy_side, torch_side = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gradients = [(parameter, parameter.grad) for parameter in objective.parameters()]
    try:
        with evaluating(objective), torch.no_grad():
            yield objective.product
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        random.setstate(python_side)
        np.random.set_state(numpy_side)
        torch.set_rng_state(torch_side)


def batch_positions(n: int, batch: int, key: Key) -> list[int]:
    """Which of n examples step `key.step` uses: every pass is a new permutation; no example twice in a batch."""
    batch = min(batch, n)
    per_pass = n // batch
    number, place = divmod(key.step, per_pass)
    order = np.random.default_rng([key.seed, number]).permutation(n)
    return [int(i) for i in order[place * batch : (place + 1) * batch]]


def _steered(schedule: Schedule, choice: Choice, done: int) -> Schedule:
    if choice == "stop":
        return schedule.stopped_at(done)
    return schedule.decaying_from(done) if choice == "decay" else schedule


def _stream(key: Key) -> int:
    return int(np.random.SeedSequence([key.seed, key.step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _optimizer(objective: Objective[Any], config: LoopConfig) -> torch.optim.AdamW:
    """Parameter groups: the product and the heads (a new head on an old body learns at its own rate), each split into
    matrices, which decay, and biases and norms, which do not.
    """
    product = {id(parameter) for parameter in objective.product.encoder.parameters()}
    groups = []
    for inside, rate in ((True, config.lr), (False, config.lr * HEAD_LR)):
        for matrices in (True, False):
            chosen = [
                parameter
                for parameter in objective.parameters()
                if parameter.requires_grad and (id(parameter) in product) == inside and (parameter.ndim > 1) == matrices
            ]
            if chosen:
                weight_decay = config.weight_decay if matrices else 0.0
                groups.append({"params": chosen, "base_lr": rate, "lr": rate, "weight_decay": weight_decay})
    return torch.optim.AdamW(groups, fused=True)


# A head starts from random weights and needs a higher rate than the body it sits on.
HEAD_LR = 10.0
