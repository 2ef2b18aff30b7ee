"""Objectives that learn from labels: their batch, and how the targets that a caller gives are checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import TextEncoder
from shoptalk.objective import Targets
from shoptalk.text.batching import TextBatch
from shoptalk.text.tokens import Tokenised


@dataclass(frozen=True)
class LabelledBatch(TextBatch):
    """n texts, with targets over C classes and a weight each (1 on average over the corpus)."""

    targets: Float[Tensor, "n C"]
    weights: Float[Tensor, " n"]


class Labels(NamedTuple):
    """The labels of a whole corpus."""

    targets: Float[np.ndarray, "N C"]
    """Each text's distribution over the classes: one-hot, smoothed or pseudo-labels; or several ones (multi-label)."""
    weights: Float[np.ndarray, " N"]
    """The weight of each text, 1 on average."""


def labels_of(targets: Targets | None, *, kind: str, texts: int, classes: int | None = None) -> Labels:
    """The arrays `targets` [N, C] and, where they are given, `weights` [N] (at least 0; only their ratios count).

    Raises:
        ConfigError: there are none, or they do not fit the texts.
    """
    if targets is None or "targets" not in targets:
        raise ConfigError(needs_labels(kind))
    rows = np.asarray(targets["targets"], dtype=np.float32)
    weights = np.asarray(targets.get("weights", np.ones(len(rows))), dtype=np.float64)
    if rows.shape[0] != texts or rows.ndim != 2 or weights.shape != (texts,):
        raise ConfigError(
            f"{kind!r} was given targets of shape {rows.shape} and weights of shape {weights.shape} for {texts} "
            "texts. Give one row of targets and one weight per text, and one column per class."
        )
    if classes is not None and rows.shape[1] != classes:
        raise ConfigError(
            f"{kind!r} was given targets of {rows.shape[1]} classes, and was built for {classes}. "
            f"Set objectives.{kind}.classes={rows.shape[1]}."
        )
    if not (np.isfinite(rows).all() and rows.min(initial=0) >= 0 and rows.max(initial=0) <= 1):
        raise ConfigError(f"{kind!r} was given targets outside 0 to 1. Give shares or probabilities of classes.")
    if not (np.isfinite(weights).all() and weights.min(initial=0) >= 0 and weights.sum() > 0):
        raise ConfigError(f"{kind!r} was given weights that are below 0, not finite, or all 0. Give some above 0.")
    return Labels(rows, (weights / weights.mean()).astype(np.float32))


def needs_labels(kind: str) -> str:
    """The message for a user who asks to learn from labels where there is only text."""
    if kind == "translate":
        return (
            "'translate' learns from pairs of a source and a target. Use `shoptalk finetune MODEL PAIRS --task "
            "translate`, or `span`, which learns from text alone."
        )
    return (
        f"{kind!r} learns from labels, and here there is only text. Use `shoptalk finetune MODEL --labels FILE`, or an "
        "objective that learns from text alone; `shoptalk objectives` lists them."
    )


def gather_texts(product: TextEncoder, tokens: Tokenised, labels: Labels, chosen: Sequence[int]) -> LabelledBatch:
    """The batch of the chosen texts, in their order."""
    return LabelledBatch(
        texts=product.batch([tokens[i] for i in chosen]),
        targets=torch.from_numpy(labels.targets[list(chosen)]),
        weights=torch.from_numpy(labels.weights[list(chosen)]),
    )
