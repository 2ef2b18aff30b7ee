"""How an encoder sees labelled and unlabelled items, and what heads of each kind answer on it, draw by draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import names
from shoptalk.nn.heads.kinds import KINDS, fit_kind, usable, views_of
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
    answers = {kind: np.zeros((len(training), len(labels)), dtype=np.int32) for kind in kinds}
    for r, chosen in enumerate(training):
        for kind in kinds:
            smoothed = KINDS[kind].smoothed
            view = views[smoothed]
            head = fit_kind(KINDS[kind], view[chosen], labels[chosen], classes, pool, named.get(smoothed))
            answers[kind][r] = head.predict(view)
    return answers


def right(answers: Int[np.ndarray, "R N"], labels: Int[np.ndarray, " N"]) -> Bool[np.ndarray, "R N"]:
    """Whether each answer is the right one."""
    return np.asarray(answers == labels)


def save_seen(folder: Path, seen: Seen) -> None:
    """Write vectors as files of an existing folder."""
    np.save(folder / "seen.texts.npy", seen.texts)
    np.save(folder / "seen.pool.npy", seen.pool)
    if seen.named is not None:
        np.save(folder / "seen.named.npy", seen.named)


def load_seen(folder: Path) -> Seen | None:
    """What `save_seen` wrote, mapped into memory and not read; None where there is none."""
    vectors = {
        name: np.load(path, mmap_mode="c", allow_pickle=False)
        for name in ("texts", "pool", "named")
        if (path := folder / f"seen.{name}.npy").is_file()
    }
    return Seen(**vectors) if "texts" in vectors else None
