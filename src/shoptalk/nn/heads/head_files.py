"""A classifier on disk: `head.safetensors` and `head.json`. What is read back is checked, for it may come from anyone.

save(classifier, folder); load(folder)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors.numpy
from jaxtyping import Float
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError

from shoptalk.artifact import write_text
from shoptalk.errors import AbsentError, ArtifactError
from shoptalk.nn.heads.classifier import Classifier
from shoptalk.nn.heads.logistic import LinearHead
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.heads.scope import FEATURES, Gate
from shoptalk.readback import complaint, read_bytes

_ABOUT, _TENSORS = "head.json", "head.safetensors"
_MOST_BYTES = 2**34
"""Of the tensors; ten million labelled texts have half as many."""
_LARGEST = 1e9
"""No weight of a head is a thousandth of this, and scores of larger ones overflow."""


class _GateAbout(BaseModel):
    weights: tuple[FiniteFloat, ...]
    bias: FiniteFloat
    threshold: FiniteFloat


class _About(BaseModel):
    """What `head.json` must say; what a later version adds is passed over."""

    kind: str
    labels: tuple[str, ...]
    temperature: Annotated[FiniteFloat, Field(ge=1e-6, le=1e6)]
    multi_label: bool
    threshold: FiniteFloat
    gate: _GateAbout | None
    named: bool = False
    neighbours: Annotated[int, Field(ge=1)] | None
    dev: dict[str, float]


def save(classifier: Classifier, folder: Path) -> None:
    """Write a classifier into a folder."""
    tensors = {"weights": classifier.head.weights, "intercepts": classifier.head.intercepts}
    if classifier.pool is not None:
        tensors["pool"] = classifier.pool.vectors.astype(np.float16)
    if classifier.examples is not None:
        tensors["examples"] = classifier.examples.astype(np.float16)
    if classifier.none is not None:
        tensors |= {"none.weights": classifier.none.weights, "none.intercepts": classifier.none.intercepts}
    gate = classifier.gate
    about: dict[str, Any] = {
        "kind": classifier.kind,
        "labels": [str(label) for label in classifier.head.labels],
        "temperature": classifier.temperature,
        "multi_label": classifier.multi_label,
        "threshold": classifier.threshold,
        "gate": gate and {"weights": gate.weights.tolist(), "bias": gate.bias, "threshold": gate.threshold},
        "named": classifier.named,
        "neighbours": classifier.pool.k if classifier.pool is not None else None,
        "dev": dict(classifier.dev),
    }
    # safetensors writes an array's memory as it lies: a transposed view would come back scrambled.
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / _TENSORS
    )
    write_text(folder / _ABOUT, json.dumps(about, indent=1, ensure_ascii=False))


def load(folder: Path) -> Classifier:
    """What `save` wrote.

    Raises:
        ArtifactError: a file is missing or damaged, or the two do not belong together.
    """
    try:
        about = _About.model_validate_json(read_bytes(folder / _ABOUT))
        tensors = safetensors.numpy.load(read_bytes(folder / _TENSORS, most=_MOST_BYTES))
        _refuse_misfit(about, tensors)
        return _classifier(about, tensors)
    except ValidationError as error:
        reason = f"{_ABOUT} says {complaint(error)}"
    except (AbsentError, OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        reason = str(error).rstrip(".")
    raise ArtifactError(
        f"{folder} holds no readable head: {reason}. Delete it, and run the `shoptalk finetune` or `shoptalk adapt` "
        "that made it again."
    )


def _refuse_misfit(about: _About, tensors: Mapping[str, np.ndarray]) -> None:
    """The tensors must have the shapes that labels, gate and each other ask for, and hold numbers of a usual size.

    Raises:
        ValueError: they do not.
    """
    n_labels = len(about.labels)
    if n_labels < (1 if about.multi_label else 2):
        raise ValueError(f"{_ABOUT} names {n_labels} labels, and a head tells at least two apart")
    weights = tensors.get("weights")
    width = weights.shape[-1] if weights is not None and weights.ndim else 0
    wanted: dict[str, tuple[int, ...]] = {"weights": (n_labels, width), "intercepts": (n_labels,)}
    if "none.weights" in tensors:
        wanted |= {"none.weights": (n_labels + 1, width), "none.intercepts": (n_labels + 1,)}
    for name in ("pool", "examples"):
        if name in tensors:
            wanted[name] = (*tensors[name].shape[:1], width)
    for name, shape in wanted.items():
        array = tensors.get(name)
        if array is None:
            raise ValueError(f"{_TENSORS} lacks {name!r}")
        if array.shape != shape or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{name!r} is {array.dtype} of shape {array.shape}, expected numbers of shape {shape}")
        if not float(np.abs(array).max()) <= _LARGEST:  # NaN too
            raise ValueError(f"{name!r} holds numbers that are not finite or far too large")
    features = len(FEATURES) if {"none.weights", "examples"} <= tensors.keys() else 1
    if about.gate is not None and len(about.gate.weights) != features:
        raise ValueError(f"the gate has {len(about.gate.weights)} weights, expected {features}")


def _classifier(about: _About, tensors: Mapping[str, np.ndarray]) -> Classifier:
    none, pool, examples = None, tensors.get("pool"), tensors.get("examples")
    if "none.weights" in tensors:
        none = LinearHead(tensors["none.weights"], tensors["none.intercepts"], np.array([*about.labels, ""]))
    gate = about.gate
    return Classifier(
        kind=about.kind,
        head=LinearHead(tensors["weights"], tensors["intercepts"], np.array(about.labels)),
        temperature=about.temperature,
        multi_label=about.multi_label,
        threshold=about.threshold,
        pool=Pool.of(_unit(pool), k=about.neighbours) if pool is not None else None,
        named=about.named,
        gate=Gate(np.array(gate.weights), gate.bias, gate.threshold) if gate is not None else None,
        examples=_unit(examples) if examples is not None else None,
        none=none,
        dev=about.dev,
    )


def _unit(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    wide = vectors.astype(np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))
