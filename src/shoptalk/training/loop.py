"""The only training loop: a generator of steps. The caller decides when it ends; there are no callbacks.

Batch i is a function of (seed, i) and the weights at step i are a function of the batches before it, so a run that
was killed and resumed from a snapshot is bit-identical to one that was not. That holds as long as the same arithmetic
computes it (`machine.arithmetic`): a snapshot says which did, and the first step that another one computes says so.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from shoptalk.config import Config
from shoptalk.errors import ConfigError, DivergedError
from shoptalk.nn.machine import arithmetic
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.product import Kind
from shoptalk.objective import Examples, Key, Objective, P, Spec
from shoptalk.text.order import drawn
from shoptalk.training import launch, snapshot
from shoptalk.training.optim import make_optimizer, tables_by_rows
from shoptalk.training.prefetch import page_locked, prefetching
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
    shard: bool = False
    """Where several processes train: whether each holds a part of the parameters, or all of them. Changes no result."""
    decay_from: int | None = None
    """Begin the decay after this many steps instead of at the planned place."""
    head_rate: float | None = None
    """The learning rate of heads relative to the product's, where it is not `optim.HEAD_LR`."""
    name: str = ""
    """Of the objective in the settings, for messages; without one they name its class."""


def loop_config(spec: Spec, config: Config, *, name: str, steps: int, precision: Precision) -> LoopConfig:
    """The loop's settings for a spec, whose objective the settings call `name`."""
    return LoopConfig(
        steps=steps,
        batch=spec.batch,
        lr=spec.lr,
        seed=config.seed,
        warmup=config.train.warmup,
        decay=config.train.decay,
        weight_decay=config.train.weight_decay,
        clip=config.train.clip,
        precision=precision,
        shard=config.train.shard,
        head_rate=spec.head_rate,
        name=name,
    )


@dataclass
class Step:
    """The result of one step. `steer` decides what comes next; `save` writes a snapshot to resume from.

    Call them before the next step is taken, and `steer` before `save`: the snapshot holds the choice. With several
    processes the first one's choice counts, and all of them must call `save`.
    """

    number: int
    """Steps done, counted from 1."""
    loss: float
    terms: Mapping[str, float]
    tokens: int
    """Real tokens of this step's batch, all processes' together."""
    cells: int
    """Tokens and padding of this step's batch."""
    seconds: float
    """By the clock of the first process, on every process, so that all of them decide alike."""
    lr: float
    last: bool
    write: Callable[[Path, Choice], None] = field(repr=False)
    kind: Kind = "text"
    """Of the product that trains; it tells what `tokens` counts."""
    computed: str = ""
    """What computed this step, as `machine.arithmetic` names it."""
    computed_before: str = ""
    """What computed the step before it, in whichever process; empty for the first step."""
    choice: Choice = "continue"

    def steer(self, choice: Choice) -> None:
        """Go on, begin the schedule's decay now, or stop after this step."""
        self.choice = choice

    def save(self, folder: Path) -> None:
        """Write a snapshot of the run after this step."""
        self.write(folder, self.choice)


def train(
    objective: Objective[Any, Any],
    data: Examples,
    collate: Callable[[Sequence[int], Key], Any],
    config: LoopConfig,
    *,
    resume: Path | None = None,
) -> Iterator[Step]:
    """Train `objective` on batches of `data`, yielding after every step; `resume` is a snapshot's folder.

    The optimizer is AdamW (`training/optim.py`); gradients are clipped to the norm `config.clip`.

    Raises:
        ConfigError: the objective would not be trained, or the processes would not compute alike.
        DivergedError: a loss is no number.
    """
    _refuse_forgotten(objective)
    tables = tables_by_rows(objective.product.network)
    device = next(objective.parameters()).device

    def make(step: int) -> Any:
        key = Key(seed=config.seed, step=step)
        batch = collate([int(data[i]) for i in batch_positions(len(data), config.batch, key)], key)
        return page_locked(batch) if device.type == "cuda" else batch

    with (
        launch.distributed(objective, shard=config.shard, tables=tables) as module,
        prefetching(make, until=config.steps, device=device) as batch_of,
    ):
        optimizer = make_optimizer(
            objective,
            objective.product.network,
            lr=config.lr,
            weight_decay=config.weight_decay,
            tables=tables,
            head_rate=config.head_rate,
        )
        schedule = Schedule.plan(config.steps, warmup=config.warmup, decay=config.decay)
        done, computed, computed_before = 0, arithmetic(objective), ""
        launch.refuse_unlike(computed)
        if resume is not None:
            state = snapshot.load(resume, objective, optimizer)
            done, schedule = state["done"], Schedule(**state["schedule"])
            computed_before = str(state.get("computed", computed))  # older snapshots do not say
        if config.decay_from is not None:
            schedule = schedule.decaying_from(config.decay_from)
        module.train()
        while done < schedule.steps:
            begun = time.perf_counter()
            key = Key(seed=config.seed, step=done)
            batch = batch_of(done)
            factor = schedule.factor(done)
            for group in optimizer.groups:
                group["lr"] = group["base_lr"] * factor
            torch.manual_seed(_stream(key))  # dropout of step i is a function of (seed, i)
            with autocast(config.precision, device):
                loss = module(batch)
            _refuse_no_number(loss.total, config, step=done + 1)
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.clip(config.clip)
            optimizer.step()
            done += 1
            with torch.no_grad():
                objective.after_step(done / schedule.steps, loss.outputs)

            def write(folder: Path, choice: Choice, done: int = done, schedule: Schedule = schedule) -> None:
                choice = launch.of_first(choice)
                state = {"done": done, "schedule": vars(_steered(schedule, choice, done)), "computed": computed}
                snapshot.save(folder, objective, optimizer, state)

            value = loss.total.item()  # on a GPU this waits for the step's end
            seconds = time.perf_counter() - begun
            step = Step(
                number=done,
                loss=value,
                terms={name: term.item() for name, term in loss.terms.items()},
                tokens=batch.tokens,
                cells=batch.cells,
                seconds=launch.of_first(seconds),
                lr=config.lr * factor,
                last=done >= schedule.steps,
                write=write,
                kind=objective.product.kind,
                computed=computed,
                computed_before=computed_before,
            )
            yield step
            computed_before = computed
            schedule = _steered(schedule, launch.of_first(step.choice), done)


def _refuse_no_number(loss: torch.Tensor, config: LoopConfig, *, step: int) -> None:
    """Refuse to learn from a loss that is infinite or no number.

    Raises:
        DivergedError: it is one.
    """
    if not torch.isfinite(loss):
        raise DivergedError(
            f"The loss of {config.name or 'the objective'} is {loss.item()} at step {step} with a learning rate of "
            f"{config.lr:g}. Lower it (--set objectives.{config.name or 'NAME'}.lr=...), or leave the candidate out."
        )


def _refuse_forgotten(objective: Objective[Any, Any]) -> None:
    """Refuse an objective without its product's network, which would silently train only its own heads.

    Raises:
        ConfigError: the network is not among the objective's modules.
    """
    if all(part is not objective.product.network for part in objective.modules()):
        raise ConfigError(
            f"{type(objective).__name__} holds a product whose network is not one of its modules, so it would not be "
            "trained. Assign it in __init__: self.network = product.network."
        )


@contextlib.contextmanager
def observing(objective: Objective[P, Any]) -> Iterator[P]:
    """The product to probe; modes, random states, gradients and buffers are restored, so the run goes on
    bit-identically. (Batch norms in training mode would remember what they were probed with.)
    """
    from shoptalk.nn.encoder import evaluating

    # All three global generators: probes may use any of them.
    python_side, numpy_side, torch_side = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gradients = [(parameter, parameter.grad) for parameter in objective.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in objective.buffers()]
    try:
        with evaluating(objective), torch.no_grad():
            yield cast(P, objective.product.merged())
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        random.setstate(python_side)
        np.random.set_state(numpy_side)
        torch.set_rng_state(torch_side)


def batch_positions(n: int, batch: int, key: Key) -> list[int]:
    """Which of n examples step `key.step` uses: every pass is a new permutation; no example twice in a batch."""
    return drawn(n, batch, seed=key.seed, step=key.step)


def _steered(schedule: Schedule, choice: Choice, done: int) -> Schedule:
    if choice == "stop":
        return schedule.stopped_at(done)
    return schedule.decaying_from(done) if choice == "decay" else schedule


def _stream(key: Key) -> int:
    return int(np.random.SeedSequence([key.seed, key.step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
