"""Tune a copy of an encoder on labels or pseudo-labels, and say what the dev set said on the way.

    tuned = tune(product, texts, targets, method="classify", dev=(dev_texts, dev_targets), multi_label=False, seed=0,
                 most_steps=None, seconds=180)
    tuned.product, tuned.head, tuned.history

How many steps is decided before the first one: by the number of examples, and where there is a limit of time by steps
that were timed on this machine. Looks at the dev set are part of that plan. The first look is at the untouched
encoder under a logistic regression; what is returned is the best look's weights, so tuning that does not help is
not shipped. Without a dev set the last step's weights are returned.

`classify` starts from that logistic regression's head (Kumar et al. 2022); `setfit` has it fitted anew at each look.
"""

import contextlib
import copy
import hashlib
import json
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
from pydantic import Field, ValidationError
from safetensors.torch import load_file, save_file

from shoptalk.artifact import digest, key_of, storage_errors, write_text
from shoptalk.config import did_you_mean, validate
from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import Product, embed
from shoptalk.nn.heads.classifier import micro_f1
from shoptalk.nn.heads.logistic import MOST_STEPS, LinearHead, fit_multi, fit_soft
from shoptalk.objective import Spec
from shoptalk.objectives import OBJECTIVES, make_spec
from shoptalk.objectives.supervised.classify import Classify
from shoptalk.records import Frozen
from shoptalk.stages.world import Reporter, Silent
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import tokenise
from shoptalk.training import snapshot
from shoptalk.training.advance import Training, advance
from shoptalk.training.forecast import time_training
from shoptalk.training.loop import LoopConfig, observing
from shoptalk.training.pace import watched

Method = Literal["classify", "setfit"]

STEPS, FEWEST_PASSES = 400, 3
"""As many steps as STEPS, if that is at most the objective's `passes` through the examples and at least these."""
_SNAPSHOT_SECONDS = 60.0
_LOOKS, _BEST = "looks.json", "best.safetensors"


class TuneSettings(Frozen):
    """What tuning is set to, besides the objective's own settings."""

    weight_decay: float = Field(default=0.01, ge=0.0)
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0, description="share of the steps spent warming up")
    decay: float = Field(default=0.9, gt=0.0, le=1.0, description="share of the steps spent decaying to zero")
    clip: float = Field(default=1.0, gt=0.0, description="largest gradient norm")
    looks: int = Field(default=6, ge=1, description="looks at the dev set, besides the one before the first step")
    patience: int = Field(default=3, ge=1, description="looks without a new best after which training stops")
    C: float = Field(default=20.0, gt=0.0, description="inverse strength of the logistic regression's penalty")


class DevScore(Frozen):
    """The dev set's word on the weights after `step` steps."""

    step: int
    score: float
    """In per cent: accuracy, or for multi-label tasks micro-averaged F1."""


@dataclass(frozen=True)
class Tuned:
    """A tuned copy of the product with its head."""

    product: Product
    head: LinearHead
    """For the product's unit vectors; its labels are the columns of the targets. Multi-label: a label is on above 0."""
    history: tuple[DevScore, ...]
    steps: int
    """After how many steps these weights were; 0 is the untouched encoder."""


@dataclass(frozen=True)
class _Task:
    """What is to be learned."""

    texts: Sequence[str]
    targets: Float[np.ndarray, "N C"]
    weights: Float[np.ndarray, " N"]
    dev: tuple[Sequence[str], Float[np.ndarray, "M C"]] | None
    multi_label: bool


class _Plan(Frozen):
    """Decided before the first step, and kept for the resumption."""

    key: str
    steps: int
    looks: tuple[int, ...]
    """The steps after which the dev set is looked at."""


def tune(
    product: Product,
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
        dev: texts and targets that training stops by, and that choose among its looks; not test data.
        multi_label: whether a text may have any number of labels.
        seed: of all randomness.
        settings: those of the objective (`ClassifySpec`, `SetfitSpec`) and of `TuneSettings`, by name.
        most_steps: a limit on the steps.
        seconds: a limit on the whole call's time, which becomes a number of steps before the first one.
        folder: where log, snapshots and looks are kept, so that the same call resumes; otherwise nothing is kept.
        weights: how much each example counts; only their ratios matter.
        report: where progress is told.

    Raises:
        ConfigError: a setting is unknown or impossible, there are fewer than two examples, the targets do not fit the
            texts, or `seconds` do not pay for one step.
        DivergedError: the loss is not a finite number.
    """
    begun = time.perf_counter()
    task = _Task(texts, targets, np.ones(len(targets)) if weights is None else weights, dev, multi_label)
    _check(task)
    spec, own = _settings(method, settings, task)
    with _folder(folder) as inside:
        key = _key(product, task, spec, own, [seed, most_steps, seconds])
        plan = _read_plan(inside, key)
        training = _training(_copy(product), task, spec, own, seed=seed, folder=inside)
        started = time.perf_counter()
        head = _fitted(training.objective.product, task, own)
        if isinstance(training.objective, Classify):
            training.objective.start(torch.from_numpy(head.weights), torch.from_numpy(head.intercepts))
        fitted = time.perf_counter()
        looks = _read_looks(inside)
        if dev is not None and not looks:
            looks = _look(0, looks, training, head, task)
        if plan is None:
            refit = fitted - started if method == "setfit" else 0.0
            reserved = refit + (own.looks * (refit + time.perf_counter() - fitted) if dev is not None else 0.0)
            steps = [usual_steps(spec, len(texts))]
            if most_steps is not None:
                steps.append(most_steps)
            if seconds is not None:
                trial = _training(_copy(product), task, spec, own, seed=seed, folder=inside)
                steps.append(_affordable(trial, until=begun + seconds, reserved=reserved))
            plan = _write_plan(inside, key, min(steps), looks=own.looks if dev is not None else 0)
        training = replace(training, config=replace(training.config, steps=plan.steps))
        looks = _trained(training, plan, looks, task, own, report or Silent(), name=method)
        if looks:
            _restore(training)
        head = _head(training, task, own)
    found = training.objective.product
    found.encoder.zero_grad(set_to_none=True)
    found.encoder.eval()
    return Tuned(found, head, tuple(looks), _best(looks).step if looks else plan.steps)


def _trained(
    training: Training,
    plan: _Plan,
    looks: list[DevScore],
    task: _Task,
    own: TuneSettings,
    report: Reporter,
    *,
    name: str,
) -> list[DevScore]:
    """Train as planned, or until looks have found nothing better for too long; all looks, those before included."""
    if _exhausted(looks, own.patience):
        return looks
    newest = snapshot.newest(training.folder, most=plan.steps)
    done = snapshot.steps_done(newest) if newest else 0
    steps = watched(advance(training, until=plan.steps), expected=None, total=plan.steps, name=name, say=report.say)
    for step in report.track(steps, done=done, total=plan.steps, name=name):
        if step.number in plan.looks and step.number > looks[-1].step:
            with observing(training.objective):
                looks = _look(step.number, looks, training, _head(training, task, own), task)
        if _exhausted(looks, own.patience):
            step.steer("stop")
    return looks


# --------------------------------------------------------------------------------------------- what is asked for


def _check(task: _Task) -> None:
    n = len(task.targets)
    if n < 2 or n != len(task.texts):
        raise ConfigError(
            f"Tuning was given {len(task.texts)} texts with {n} rows of targets. Give two or more, a row each."
        )
    if task.dev is not None and not 0 < len(task.dev[0]) == len(task.dev[1]):
        raise ConfigError(
            f"The dev set has {len(task.dev[0])} texts with {len(task.dev[1])} rows of targets. Give as many of both, "
            "or no dev set."
        )


def _settings(method: Method, settings: Mapping[str, Any], task: _Task) -> tuple[Spec, TuneSettings]:
    """The objective's settings and tuning's own, from one mapping."""
    of_task = {"classes": task.targets.shape[1], "multi_label": task.multi_label} if method == "classify" else {}
    of_spec = OBJECTIVES[method].model_fields.keys() - of_task.keys() - {"kind"}
    for name in settings:
        if name not in of_spec | TuneSettings.model_fields.keys():
            known = sorted(of_spec | TuneSettings.model_fields.keys())
            raise ConfigError(f"Unknown setting {name!r} of {method!r}. {did_you_mean(name, known)}")
    own = {name: value for name, value in settings.items() if name in TuneSettings.model_fields}
    rest = {name: value for name, value in settings.items() if name not in own}
    return make_spec(method, rest | of_task), validate(TuneSettings, own, prefix=method)


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The folder that the caller gave, else one that goes away."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _copy(product: Product) -> Product:
    return replace(product, encoder=copy.deepcopy(product.encoder))


def _training(product: Product, task: _Task, spec: Spec, own: TuneSettings, *, seed: int, folder: Path) -> Training:
    """The training of `product`, of one step until a plan says how many."""
    n = len(task.texts)
    corpus = Corpus(
        texts=tuple(task.texts),
        conversation=np.arange(n, dtype=np.int32),
        turn=np.full(n, -1, dtype=np.int32),
        digest=digest(list(task.texts)),
    )
    return Training.build(
        spec,
        corpus=corpus,
        tokens=tokenise(product.tokenizer, corpus.texts, max_length=product.max_length),
        product=product,
        targets={"targets": task.targets, "weights": task.weights},
        config=LoopConfig(
            steps=1,
            batch=spec.batch,
            lr=spec.lr,
            seed=seed,
            warmup=own.warmup,
            decay=own.decay,
            weight_decay=own.weight_decay,
            clip=own.clip,
            precision=product.precision,
        ),
        folder=folder,
        snapshot_seconds=_SNAPSHOT_SECONDS,
    )


# --------------------------------------------------------------------------------------------- how many steps


def usual_steps(spec: Spec, examples: int) -> int:
    """The steps of a tuning on so many examples that nothing else limits."""
    batch = min(spec.batch, examples)
    wanted = max(STEPS, FEWEST_PASSES * examples / batch)
    return max(1, round(min(wanted, spec.passes * examples / batch)))


def _affordable(trial: Training, *, until: float, reserved: float) -> int:
    """The steps that can be taken by `until` (`perf_counter`) if `reserved` seconds go into other things."""
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


def _key(product: Product, task: _Task, spec: Spec, own: TuneSettings, limits: list[Any]) -> str:
    """What a tuning is a function of, as one hash."""
    contents = hashlib.sha256()
    arrays = [task.targets, task.weights, *(task.dev[1:] if task.dev else ())]
    arrays += [tensor.detach().cpu().numpy() for tensor in product.encoder.state_dict().values()]
    for array in arrays:
        contents.update(np.ascontiguousarray(array).data)
    texts = [list(task.texts), list(task.dev[0]) if task.dev else None]
    settings = {"spec": spec.model_dump(), "own": own.model_dump(), "multi_label": task.multi_label, "limits": limits}
    settings |= {"precision": product.precision}
    return key_of(kind="tuned", config=settings, parents={"texts": digest(texts), "arrays": contents.hexdigest()})


def _read_plan(folder: Path, key: str) -> _Plan | None:
    """The plan that is there, if it is that of `key`; what another tuning left is deleted."""
    with contextlib.suppress(FileNotFoundError, ValidationError):
        plan = _Plan.model_validate_json((folder / "plan.json").read_text(encoding="utf-8"))
        if plan.key == key:
            return plan
    snapshot.keep_only(folder, None)
    for name in ("plan.json", "log.jsonl", _LOOKS, _BEST):
        (folder / name).unlink(missing_ok=True)
    return None


def _write_plan(folder: Path, key: str, steps: int, *, looks: int) -> _Plan:
    at = sorted({max(1, round(steps * (i + 1) / looks)) for i in range(looks)})
    plan = _Plan(key=key, steps=steps, looks=tuple(at))
    write_text(folder / "plan.json", plan.model_dump_json(indent=1))
    return plan


# --------------------------------------------------------------------------------------------- looks


def _look(step: int, looks: Sequence[DevScore], training: Training, head: LinearHead, task: _Task) -> list[DevScore]:
    """The looks with one more; weights that are the best so far are kept."""
    assert task.dev is not None
    texts, targets = task.dev
    score = _score(head, embed(training.objective.product, texts), targets, multi_label=task.multi_label)
    more = [*looks, DevScore(step=step, score=score)]
    if _best(more).step == step:
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in training.objective.state_dict().items()}
        unfinished = training.folder / f"{_BEST}.part"
        with storage_errors(training.folder):
            save_file(tensors, unfinished)
            unfinished.replace(training.folder / _BEST)
    write_text(training.folder / _LOOKS, json.dumps([look.model_dump() for look in more]))
    return more


def _restore(training: Training) -> None:
    """The best look's weights."""
    training.objective.load_state_dict(load_file(training.folder / _BEST))


def _read_looks(folder: Path) -> list[DevScore]:
    path = folder / _LOOKS
    return (
        [DevScore.model_validate(row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    )


def _best(looks: Sequence[DevScore]) -> DevScore:
    """The one with the highest score; of equal ones the first, which moved the encoder least."""
    return max(looks, key=lambda look: look.score)


def _exhausted(looks: Sequence[DevScore], patience: int) -> bool:
    return bool(looks) and len(looks) - 1 - looks.index(_best(looks)) >= patience


def _score(
    head: LinearHead, vectors: Float[np.ndarray, "M D"], targets: Float[np.ndarray, "M C"], *, multi_label: bool
) -> float:
    """Accuracy in per cent; multi-label: micro-averaged F1."""
    scores = head.scores(vectors)
    if multi_label:
        return 100.0 * micro_f1(scores > 0, targets > 0.5)
    return 100.0 * float((scores.argmax(1) == targets.argmax(1)).mean())


# --------------------------------------------------------------------------------------------- heads


def _head(training: Training, task: _Task, own: TuneSettings) -> LinearHead:
    """The objective's own head, or where it has none a logistic regression on the vectors as they are now."""
    if isinstance(training.objective, Classify):
        weights, intercepts = training.objective.linear()
        return LinearHead(weights.cpu().numpy(), intercepts.cpu().numpy(), np.arange(len(weights)))
    return _fitted(training.objective.product, task, own)


def _fitted(product: Product, task: _Task, own: TuneSettings) -> LinearHead:
    """A logistic regression on the vectors as they are, of scikit-learn's strength `C`."""
    regression = fit_multi if task.multi_label else fit_soft
    return regression(
        embed(product, task.texts),
        task.targets,
        np.arange(task.targets.shape[1]),
        weights=task.weights,
        penalty=1 / (own.C * len(task.texts)),
        steps=MOST_STEPS,
    )
