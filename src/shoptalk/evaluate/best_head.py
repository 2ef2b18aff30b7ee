"""What the kinds of heads score on an encoder, draw by draw: the verdict gives each encoder its own best one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from shoptalk.evaluate.menu import Labelled
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import names
from shoptalk.nn.heads.kinds import KINDS, chosen_kinds, fit_kind, usable, views_of
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.product import Embedder

POOL = 2_000
"""Unlabelled texts that heads of a run may use: more sharpen neighbourhoods, and are embedded for each encoder."""


@dataclass(frozen=True)
class Seen:
    """How an encoder sees labelled texts, unlabelled ones that heads may use, and labels' names: unit vectors."""

    texts: Float[np.ndarray, "N D"]
    pool: Float[np.ndarray, "M D"]
    named: Float[np.ndarray, "C D"] | None = None

    @classmethod
    def by(
        cls, product: Embedder, texts: Sequence[str], unlabelled: Sequence[str], *, labels: Sequence[str] = ()
    ) -> "Seen":
        """Embed them, each once. `labels` are in the order of their numbers; there are none for texts alone."""
        named = names.embedded(product, labels) if labels else None
        return cls(embed(product, texts), embed(product, unlabelled), named)


def kind_answers(
    seen: Seen, labels: Int[np.ndarray, " N"], training: Int[np.ndarray, "R K"], *, only: str | None = None
) -> dict[str, Int32[np.ndarray, "R N"]]:
    """The label that a head of each kind, fitted on each draw's positions, gives each of N texts.

    Where the unlabelled texts are too few for neighbourhoods there is the plain linear kind alone. `only` names the one
    kind that is asked for. Labels are numbered from 0; each draw holds examples of all that any draw holds.
    """
    classes = np.arange(int(labels.max()) + 1)
    pool = Pool.of(seen.pool) if len(seen.pool) > 1 else None
    kinds = usable(pool) if only is None else (only,)
    views = views_of(seen.texts, pool)
    named = views_of(seen.named, pool) if seen.named is not None else {}
    found = {kind: np.zeros((len(training), len(labels)), dtype=np.int32) for kind in kinds}
    for r, chosen in enumerate(training):
        for kind in kinds:
            smoothed = KINDS[kind].smoothed
            view = views[smoothed]
            head = fit_kind(KINDS[kind], view[chosen], labels[chosen], classes, pool, named.get(smoothed))
            found[kind][r] = head.predict(view)
    return found


def kind_outcomes(
    product: Embedder,
    texts: Sequence[str],
    labels: Int[np.ndarray, " N"],
    training: Int[np.ndarray, "R K"],
    unlabelled: Sequence[str],
    *,
    named: Sequence[str] = (),
    only: str | None = None,
) -> dict[str, Bool[np.ndarray, "R N"]]:
    """Whether the label that `kind_answers` gives is the right one, for texts that are still to be embedded.

    `named` are the labels' names in the order of their numbers.
    """
    answers = kind_answers(Seen.by(product, texts, unlabelled, labels=named), labels, training, only=only)
    return outcomes_of(answers, labels)


def outcomes_of(
    answers: Mapping[str, Int[np.ndarray, "R N"]], labels: Int[np.ndarray, " N"]
) -> dict[str, Bool[np.ndarray, "R N"]]:
    """Whether each answer is right."""
    return {kind: found == labels for kind, found in answers.items()}


class Served(NamedTuple):
    """An encoder's best kind of head: what it answers on every draw, and which answers are right.

    The outcomes are of kinds that were chosen on other clusters than they are judged on, the answers of the kind that
    is best on all.
    """

    correct: Bool[np.ndarray, "R N"]
    kind: str
    answers: Int[np.ndarray, "R N"]


def served_best(seen: Seen, tried: Mapping[str, Int[np.ndarray, "T N"]], labelled: Labelled, *, seed: int) -> Served:
    """Choose kinds by what they answer on the first draws of `labelled`, `tried`; those that are chosen, and no others,
    answer its other draws too.
    """
    labels, (training, tested) = labelled.labels, labelled.draws
    n_tried = len(next(iter(tried.values())))
    chosen = chosen_kinds(outcomes_of(tried, labels), tested[:n_tried], labelled.cluster, seed=seed)
    answers = {kind: tried[kind] for kind in (chosen.first, chosen.second, chosen.best)}
    if n_tried < len(training):
        rest = {kind: kind_answers(seen, labels, training[n_tried:], only=kind)[kind] for kind in answers}
        answers = {kind: np.concatenate([first, rest[kind]]) for kind, first in answers.items()}
    return Served(chosen.outcomes(outcomes_of(answers, labels)), chosen.best, answers[chosen.best])


def save_heads(folder: Path, answers: Mapping[str, Int32[np.ndarray, "R N"]], seen: Seen | None) -> None:
    """Write answers, one .npz file, and the vectors that they rest on."""
    kept = list(answers)
    np.savez_compressed(
        folder / "kinds.npz",
        allow_pickle=False,
        kinds=np.array(kept),
        answers=np.stack([answers[kind] for kind in kept]) if kept else np.zeros((0, 0, 0), dtype=np.int32),
    )
    if seen is not None:
        np.save(folder / "seen.texts.npy", seen.texts)
        np.save(folder / "seen.pool.npy", seen.pool)
        if seen.named is not None:
            np.save(folder / "seen.named.npy", seen.named)


def load_heads(folder: Path) -> tuple[dict[str, Int32[np.ndarray, "R N"]], Seen | None]:
    """What `save_heads` wrote; vectors are mapped into memory, not read."""
    with np.load(folder / "kinds.npz", allow_pickle=False) as file:
        answers = dict(zip(file["kinds"].tolist(), file["answers"], strict=True))
    if not (folder / "seen.texts.npy").is_file():
        return answers, None
    vectors = {
        name: np.load(path, mmap_mode="c", allow_pickle=False)
        for name in ("texts", "pool", "named")
        if (path := folder / f"seen.{name}.npy").is_file()
    }
    return answers, Seen(**vectors)
