"""Train up to a given step, through any number of interruptions.

A training folder holds `log.jsonl` (one line per step, flushed) and the newest snapshot. Whatever killed the process,
the same call continues from that snapshot and leaves the same log and the same weights. With several processes all of
them make the call, and the first one writes; their number may change between calls.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shoptalk.artifact import storage_errors, write_text
from shoptalk.errors import AbsentError, CollapsedError, DivergedError
from shoptalk.nn import gather
from shoptalk.nn.product import Product
from shoptalk.objective import Examples, Key, Material, Objective, Spec, Targets
from shoptalk.probes.collapse import SPREAD_LIMIT, collapsed_terms
from shoptalk.readback import MOST_LOG_BYTES, as_written, read_text
from shoptalk.text.corpus import Corpus
from shoptalk.training import launch, snapshot
from shoptalk.training.loop import LoopConfig, Step, train


@dataclass(frozen=True)
class Training:
    """Everything that determines a training, and its folder."""

    folder: Path
    objective: Objective[Any, Any]
    data: Examples
    collate: Callable[[Sequence[int], Key], Any]
    config: LoopConfig
    snapshot_seconds: float

    @classmethod
    def build(
        cls,
        spec: Spec,
        *,
        corpus: Corpus,
        inputs: Any,
        product: Product,
        targets: Targets | None,
        config: LoopConfig,
        folder: Path,
        snapshot_seconds: float,
        general: Material[Any] | None = None,
    ) -> "Training":
        """A training of `product` (changed in place) by the objective of `spec`; new heads are drawn by the seed.
        `general` is text that is replayed beside the corpus, for objectives that do that.
        """
        product.ready_to_train()
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            objective = spec.build(product)
        objective.to(next(product.network.parameters()).device)
        material = Material(corpus, product, inputs, targets, general)
        return cls(
            folder=folder,
            objective=objective,
            data=spec.drawn_from(material),
            collate=spec.collate(material),
            config=config,
            snapshot_seconds=snapshot_seconds,
        )


def advance(training: Training, *, until: int, decay_from: int | None = None) -> Iterator[Step]:
    """Train to step `until`, yielding each new step and leaving a snapshot at `until`.

    Where that snapshot exists already, its weights are loaded and nothing is trained.

    Raises:
        CollapsedError: the vectors that the objective compares have become one.
    """
    log = training.folder / "log.jsonl"
    done = launch.agree(lambda: _prepare(training.folder, until))
    resume = snapshot.path_for(training.folder, done) if done else None
    if resume is not None:
        launch.arrived(resume)
    if resume is not None and done >= until:
        snapshot.load_module(resume, training.objective)
        return
    config = replace(training.config, decay_from=decay_from)
    unsaved = 0.0
    with storage_errors(log), (log if gather.rank() == 0 else Path(os.devnull)).open("a", encoding="utf-8") as file:
        for step in train(training.objective, training.data, training.collate, config, resume=resume):
            file.write(json.dumps(log_row(step)) + "\n")
            file.flush()
            _refuse_collapsed(training.config.name, step)
            finished = step.number >= until or step.last
            unsaved += step.seconds
            if finished or unsaved > training.snapshot_seconds:
                path = snapshot.path_for(training.folder, step.number)
                step.save(path)
                if gather.rank() == 0:
                    snapshot.keep_only(training.folder, path)
                unsaved = 0.0
            yield step
            if finished:
                step.steer("stop")


def _refuse_collapsed(name: str, step: Step) -> None:
    for term in collapsed_terms(step.terms):
        raise CollapsedError(
            f"The vectors that {name or 'the objective'} compares have become almost one at step {step.number}: their "
            f"{term} is {step.terms[term]:.2f}, where at least {SPREAD_LIMIT:g} was expected, so that nothing more is "
            f"learned. Take back the settings under objectives.{name or 'NAME'} that differ from its defaults, or "
            "leave the candidate out."
        )


def refuse_diverged(training: Training) -> None:
    """Refuse weights that the last step has made infinite or NaN, which the loop would only see in the next loss.

    Raises:
        DivergedError: a weight is not a finite number.
    """
    broken = [name for name, weight in training.objective.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        config = training.config
        raise DivergedError(
            f"The weights of {config.name or type(training.objective).__name__} are not finite after its last step "
            f"({broken[0]}), with a learning rate of {config.lr:g}. Lower it (--set objectives.{config.name or 'NAME'}"
            ".lr=...), or leave the candidate out."
        )


def _prepare(folder: Path, until: int) -> int:
    """The number of steps to resume from; rows of the log after that are deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    resume = snapshot.newest(folder, most=until)
    done = snapshot.steps_done(resume) if resume else 0
    _truncate(folder / "log.jsonl", done)
    return done


def log_row(step: Step) -> dict[str, Any]:
    """A step as one line of the log; losses are exact (JSON numbers round-trip floats).

    `computed` stands in the first line, and in every line from which on something else computes.
    """
    return {
        "step": step.number,
        "loss": step.loss,
        "tokens": step.tokens,
        "seconds": round(step.seconds, 4),
        "cells": step.cells,
        "lr": step.lr,
        **({"computed": step.computed} if step.computed != step.computed_before else {}),
        **step.terms,
    }


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a training's log."""
    path = folder / "log.jsonl"
    try:
        lines = read_text(path, most=MOST_LOG_BYTES).splitlines()
    except AbsentError:
        return []
    with as_written(path):
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        for row in rows:
            if not all(isinstance(row[name], int | float) for name in ("step", "loss", "tokens", "seconds", "cells")):
                raise TypeError(f"no numbers in {row}")
        return rows


def _truncate(log: Path, done: int) -> None:
    """Delete the rows after the snapshot: a killed process may have logged steps that will now be taken again."""
    text = "".join(json.dumps(row) + "\n" for row in read_log(log.parent) if row["step"] <= done)
    with contextlib.suppress(AbsentError):
        if read_text(log, most=MOST_LOG_BYTES) != text:  # a killed process may also leave half a row
            write_text(log, text)
