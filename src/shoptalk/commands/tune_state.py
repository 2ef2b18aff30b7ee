"""What a tuning keeps beside its snapshots, so that the same call resumes: its plan, scores, and the best weights."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field
from safetensors.torch import load_file, save_file

from shoptalk.artifact import digest, key_of, storage_errors, write_text
from shoptalk.errors import AbsentError, ArtifactError
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.classifier import micro_f1
from shoptalk.nn.heads.logistic import LinearHead
from shoptalk.nn.product import Embedder
from shoptalk.objective import Spec
from shoptalk.readback import as_written, read_json, read_record
from shoptalk.records import Frozen
from shoptalk.training import snapshot
from shoptalk.training.advance import Training


class TuneSettings(Frozen):
    """The settings of tuning, besides those of the objective."""

    weight_decay: float = Field(default=0.01, ge=0.0)
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0, description="share of the steps spent warming up")
    decay: float = Field(default=0.9, gt=0.0, le=1.0, description="share of the steps spent decaying to zero")
    clip: float = Field(default=1.0, gt=0.0, description="largest gradient norm")
    looks: int = Field(default=6, ge=1, description="looks at the dev set, besides the one before the first step")
    patience: int = Field(default=3, ge=1, description="looks without a new best after which training stops")
    C: float = Field(default=20.0, gt=0.0, description="inverse strength of the logistic regression's penalty")


class DevScore(Frozen):
    """The score on the dev set of the weights after `step` steps."""

    step: int
    score: float
    """Accuracy in per cent, or for multi-label tasks micro-averaged F1."""


@dataclass(frozen=True)
class TuneTask:
    """The examples of a tuning, and its dev set."""

    texts: Sequence[str]
    targets: Float[np.ndarray, "N C"]
    weights: Float[np.ndarray, " N"]
    dev: tuple[Sequence[str], Float[np.ndarray, "M C"]] | None
    multi_label: bool


class TunePlan(Frozen):
    """The plan of a tuning, fixed before the first step and kept so that it can resume."""

    key: str
    steps: int
    looks: tuple[int, ...]
    """The steps after which the dev set is measured."""


_LOOKS, _BEST = "looks.json", "best.safetensors"


def tuning_key(product: Embedder, task: TuneTask, spec: Spec, tuning: TuneSettings, limits: list[Any]) -> str:
    """The hash of everything that determines a tuning."""
    contents = hashlib.sha256()
    arrays = [task.targets, task.weights, *(task.dev[1:] if task.dev else ())]
    arrays += [tensor.detach().cpu().numpy() for tensor in product.network.state_dict().values()]
    for array in arrays:
        contents.update(np.ascontiguousarray(array).data)
    texts = [list(task.texts), list(task.dev[0]) if task.dev else None]
    settings = {
        "spec": spec.model_dump(),
        "own": tuning.model_dump(),
        "multi_label": task.multi_label,
        "limits": limits,
    }
    settings |= {"precision": product.precision}
    return key_of(kind="tuned", config=settings, parents={"texts": digest(texts), "arrays": contents.hexdigest()})


def read_tune_plan(folder: Path, key: str) -> TunePlan | None:
    """The stored plan, if it is that of `key`; otherwise what another tuning left is deleted."""
    with contextlib.suppress(ArtifactError):
        plan = read_record(folder / "plan.json", TunePlan)
        if plan.key == key:
            return plan
    snapshot.keep_only(folder, None)
    for name in ("plan.json", "log.jsonl", _LOOKS, _BEST):
        (folder / name).unlink(missing_ok=True)
    return None


def write_tune_plan(folder: Path, key: str, steps: int, *, looks: int) -> TunePlan:
    """Write the plan of a tuning with this many steps; its looks are evenly spaced, with the last one at the end."""
    at = sorted({max(1, round(steps * (i + 1) / looks)) for i in range(looks)})
    plan = TunePlan(key=key, steps=steps, looks=tuple(at))
    write_text(folder / "plan.json", plan.model_dump_json(indent=1))
    return plan


def look(step: int, looks: Sequence[DevScore], training: Training, head: LinearHead, task: TuneTask) -> list[DevScore]:
    """Measure the dev set and return the looks with the new one; the best weights so far are kept on disk."""
    assert task.dev is not None
    texts, targets = task.dev
    score = score_of(head, embed(training.objective.product, texts), targets, multi_label=task.multi_label)
    more = [*looks, DevScore(step=step, score=score)]
    if best_of(more).step == step:
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in training.objective.state_dict().items()}
        unfinished = training.folder / f"{_BEST}.part"
        with storage_errors(training.folder):
            save_file(tensors, unfinished)
            unfinished.replace(training.folder / _BEST)
    write_text(training.folder / _LOOKS, json.dumps([look.model_dump() for look in more]))
    return more


def restore_best(training: Training) -> None:
    """Load the weights of the best look."""
    with as_written(training.folder / _BEST):
        training.objective.load_state_dict(load_file(training.folder / _BEST))


def read_looks(folder: Path) -> list[DevScore]:
    """The scores that an interrupted call has left."""
    try:
        rows = read_json(folder / _LOOKS, list)
    except AbsentError:
        return []
    with as_written(folder / _LOOKS):
        return [DevScore.model_validate(row) for row in rows]


def best_of(looks: Sequence[DevScore]) -> DevScore:
    """The look with the highest score; among equal ones the first, which changed the encoder least."""
    return max(looks, key=lambda look: look.score)


def exhausted(looks: Sequence[DevScore], patience: int) -> bool:
    """Whether none of the last `patience` scores was better than the best one before them."""
    return bool(looks) and len(looks) - 1 - looks.index(best_of(looks)) >= patience


def score_of(
    head: LinearHead, vectors: Float[np.ndarray, "M D"], targets: Float[np.ndarray, "M C"], *, multi_label: bool
) -> float:
    """Accuracy in per cent; multi-label: micro-averaged F1."""
    scores = head.scores(vectors)
    if multi_label:
        return 100.0 * micro_f1(scores > 0, targets > 0.5)
    return 100.0 * float((scores.argmax(1) == targets.argmax(1)).mean())
