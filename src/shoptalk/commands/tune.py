"""Tune a copy of an encoder on labels or pseudo-labels, and measure it on a dev set along the way.

    tuned = tune(product, texts, targets, method="classify", dev=(dev_texts, dev_targets), multi_label=False, seed=0,
                 most_steps=None, seconds=180)
    tuned.product, tuned.head, tuned.history

The number of steps is fixed before the first one: from the number of examples and, with a limit of time, from steps
that were timed on this machine. Looks at the dev set are part of that plan. The first look is at the unchanged encoder
under a logistic regression, and the weights of the best look are returned, so tuning that does not help is not shipped.
Without a dev set the last step's weights are returned.

`classify` starts from that logistic regression (Kumar et al. 2022); `setfit` fits it anew at each look.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from shoptalk.artifact import digest
from shoptalk.commands.tune_state import (
    DevScore,
    TunePlan,
    TuneSettings,
    TuneTask,
    best_of,
    exhausted,
    look,
    read_looks,
    read_tune_plan,
    restore_best,
    tuning_key,
    write_tune_plan,
)
from shoptalk.config import did_you_mean, validate
from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.logistic import MOST_STEPS, LinearHead, fit_multi, fit_soft
from shoptalk.nn.product import Embedder
from shoptalk.objective import Spec
from shoptalk.objectives import OBJECTIVES, make_spec
from shoptalk.objectives.supervised.classify import Classify
from shoptalk.text.corpus import Corpus
from shoptalk.training import snapshot
from shoptalk.training.advance import Training, advance
from shoptalk.training.forecast import time_training
from shoptalk.training.loop import LoopConfig, observing
from shoptalk.training.pace import watched
from shoptalk.training.reporter import Reporter, Silent

Method = Literal["classify", "setfit"]


STEPS, FEWEST_PASSES = 400, 3
"""The usual number of steps, and the fewest passes through the examples; never more than the objective's `passes`."""


_SNAPSHOT_SECONDS = 60.0


@dataclass(frozen=True)
class Tuned:
    """A tuned copy of the product with its head."""

    product: Embedder
    head: LinearHead
    """For the product's unit vectors; its labels are the columns of the targets. Multi-label: a label is on above 0."""
    history: tuple[DevScore, ...]
    steps: int
    """The steps after which these weights were taken; 0 is the unchanged encoder."""


def tune(
    product: Embedder,
    texts: Sequence[str],
    targets: Float[np.ndarray, "N C"],
    *,
    method: Method,
    dev: tuple[Sequence[str], Float[np.ndarray, "M C"]] | None,
    multi_label: bool,
    seed: int,
    settings: Mapping[str, Any] = MappingProxyType({}),
    most_steps: int | None,
    seconds: float | None,
    folder: Path | None = None,
    weights: Float[np.ndarray, " N"] | None = None,
    report: Reporter | None = None,
) -> Tuned:
    """Train a copy of `product` on N texts and their targets over C classes; the product itself stays as it is.

    Args:
        product: the encoder to start from.
        texts: the N examples.
        targets: 0 to 1: one-hot, soft (pseudo-labels), or with `multi_label` any number of ones a row.
        method: the objective.
        dev: texts and targets by which training stops and its best weights are chosen; not test data.
        multi_label: whether a text may have any number of labels.
        seed: of all randomness.
        settings: those of the objective (`ClassifySpec`, `SetfitSpec`) and of `TuneSettings`, by name.
        most_steps: a limit on the steps.
        seconds: a limit on the whole call's time, which becomes a number of steps before the first one.
        folder: where log, snapshots and looks are kept, so that the same call resumes; otherwise nothing is kept.
        weights: how much each example counts; only their ratios matter.
        report: where progress is reported.

    Raises:
        ConfigError: a setting is unknown or impossible, there are fewer than two examples, the targets do not fit the
            texts, or `seconds` do not pay for one step.
        DivergedError: the loss is not a finite number.
    """
    begun = time.perf_counter()
    task = TuneTask(texts, targets, np.ones(len(targets)) if weights is None else weights, dev, multi_label)
    _check(task)
    spec, tuning = _settings(method, settings, task)
    with _folder(folder) as inside:
        key = tuning_key(product, task, spec, tuning, [seed, most_steps, seconds])
        plan = read_tune_plan(inside, key)
        training = _training(product.copy(), task, spec, tuning, seed=seed, folder=inside)
        started = time.perf_counter()
        head = _fitted(training.objective.product, task, tuning)
        if isinstance(training.objective, Classify):
            training.objective.start(torch.from_numpy(head.weights), torch.from_numpy(head.intercepts))
        fitted = time.perf_counter()
        looks = read_looks(inside)
        if dev is not None and not looks:
            looks = look(0, looks, training, head, task)
        if plan is None:
            refit = fitted - started if method == "setfit" else 0.0
            reserved = refit + (tuning.looks * (refit + time.perf_counter() - fitted) if dev is not None else 0.0)
            steps = [usual_steps(spec, len(texts))]
            if most_steps is not None:
                steps.append(most_steps)
            if seconds is not None:
                trial = _training(product.copy(), task, spec, tuning, seed=seed, folder=inside)
                steps.append(_affordable(trial, until=begun + seconds, reserved=reserved))
            plan = write_tune_plan(inside, key, min(steps), looks=tuning.looks if dev is not None else 0)
        training = replace(training, config=replace(training.config, steps=plan.steps))
        looks = _trained(training, plan, looks, task, tuning, report or Silent(), name=method)
        if looks:
            restore_best(training)
        head = _head(training, task, tuning)
    tuned_product = training.objective.product
    tuned_product.network.zero_grad(set_to_none=True)
    tuned_product.network.eval()
    return Tuned(tuned_product, head, tuple(looks), best_of(looks).step if looks else plan.steps)


def _trained(
    training: Training,
    plan: TunePlan,
    looks: list[DevScore],
    task: TuneTask,
    tuning: TuneSettings,
    report: Reporter,
    *,
    name: str,
) -> list[DevScore]:
    """Train as planned, or until `patience` looks were not better than one before. Returns all looks, earlier ones
    included.
    """
    if exhausted(looks, tuning.patience):
        return looks
    newest = snapshot.newest(training.folder, most=plan.steps)
    done = snapshot.steps_done(newest) if newest else 0
    steps = watched(advance(training, until=plan.steps), expected=None, total=plan.steps, name=name, say=report.say)
    for step in report.track(steps, done=done, total=plan.steps, name=name):
        if step.number in plan.looks and step.number > looks[-1].step:
            with observing(training.objective):
                looks = look(step.number, looks, training, _head(training, task, tuning), task)
        if exhausted(looks, tuning.patience):
            step.steer("stop")
    return looks


def _check(task: TuneTask) -> None:
    n = len(task.targets)
    if n < 2 or n != len(task.texts):
        raise ConfigError(
            f"Tuning was given {len(task.texts)} texts with {n} rows of targets. Give at least two texts, and one row "
            "of targets per text."
        )
    if task.dev is not None and not 0 < len(task.dev[0]) == len(task.dev[1]):
        raise ConfigError(
            f"The dev set has {len(task.dev[0])} texts with {len(task.dev[1])} rows of targets. Give as many of both, "
            "or no dev set."
        )


def _settings(method: Method, settings: Mapping[str, Any], task: TuneTask) -> tuple[Spec, TuneSettings]:
    """The objective's settings and those of tuning, from one mapping."""
    of_task = {"classes": task.targets.shape[1], "multi_label": task.multi_label} if method == "classify" else {}
    of_spec = OBJECTIVES[method].model_fields.keys() - of_task.keys() - {"kind"}
    for name in settings:
        if name not in of_spec | TuneSettings.model_fields.keys():
            known = sorted(of_spec | TuneSettings.model_fields.keys())
            raise ConfigError(f"Unknown setting {name!r} of {method!r}. {did_you_mean(name, known)}")
    of_tuning = {name: value for name, value in settings.items() if name in TuneSettings.model_fields}
    rest = {name: value for name, value in settings.items() if name not in of_tuning}
    return make_spec(method, rest | of_task), validate(TuneSettings, of_tuning, prefix=method)


@contextlib.contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    """The folder that the caller gave, else a temporary one."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _training(
    product: Embedder, task: TuneTask, spec: Spec, tuning: TuneSettings, *, seed: int, folder: Path
) -> Training:
    """The training of `product`, with one step until a plan sets the number."""
    n = len(task.texts)
    corpus = Corpus(
        items=tuple(task.texts),
        conversation=np.arange(n, dtype=np.int32),
        turn=np.full(n, -1, dtype=np.int32),
        digest=digest(list(task.texts)),
    )
    return Training.build(
        spec,
        corpus=corpus,
        inputs=product.inputs(corpus),
        product=product,
        targets={"targets": task.targets, "weights": task.weights},
        config=LoopConfig(
            steps=1,
            batch=spec.batch,
            lr=spec.lr,
            seed=seed,
            warmup=tuning.warmup,
            decay=tuning.decay,
            weight_decay=tuning.weight_decay,
            clip=tuning.clip,
            precision=product.precision,
        ),
        folder=folder,
        snapshot_seconds=_SNAPSHOT_SECONDS,
    )


def usual_steps(spec: Spec, examples: int) -> int:
    """The steps of a tuning on this many examples, if nothing else limits them."""
    batch = min(spec.batch, examples)
    steps = max(STEPS, FEWEST_PASSES * examples / batch)
    return max(1, round(min(steps, spec.passes * examples / batch)))


def _affordable(trial: Training, *, until: float, reserved: float) -> int:
    """The steps that fit before `until` (`perf_counter`) if `reserved` seconds are spent on other work."""
    timed = time_training(trial)
    # Besides those on the way, a snapshot is written at the end.
    left = until - time.perf_counter() - reserved - timed.save_seconds
    steps = int(left / (timed.seconds * (1 + timed.save_seconds / _SNAPSHOT_SECONDS)))
    if steps < 1:
        raise ConfigError(
            f"The time does not pay for one step of tuning: a step takes {timed.seconds:.1f} s, {reserved:.1f} s go to "
            f"the dev set and the head, and {left:.1f} s are left. Give more time, fewer looks, or smaller batches."
        )
    return steps


def _head(training: Training, task: TuneTask, tuning: TuneSettings) -> LinearHead:
    """The objective's head, or where it has none a logistic regression on the current vectors."""
    if isinstance(training.objective, Classify):
        weights, intercepts = training.objective.linear()
        return LinearHead(weights.cpu().numpy(), intercepts.cpu().numpy(), np.arange(len(weights)))
    return _fitted(training.objective.product, task, tuning)


def _fitted(product: Embedder, task: TuneTask, tuning: TuneSettings) -> LinearHead:
    """A logistic regression on the current vectors, with scikit-learn's inverse penalty `C`."""
    regression = fit_multi if task.multi_label else fit_soft
    return regression(
        embed(product, task.texts),
        task.targets,
        np.arange(task.targets.shape[1]),
        weights=task.weights,
        penalty=1 / (tuning.C * len(task.texts)),
        steps=MOST_STEPS,
    )
