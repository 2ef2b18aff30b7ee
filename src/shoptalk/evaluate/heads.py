"""What the kinds of heads score on an encoder, draw by draw: the verdict gives each encoder its own best one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.evaluate.menu import Labelled
from shoptalk.nn.encoder import Product, embed
from shoptalk.nn.heads.kinds import KINDS, cross_fitted, fit_kind, usable, views_of
from shoptalk.nn.heads.pool import Pool

POOL = 2_000
"""Unlabelled texts that heads of a run may use: more sharpen neighbourhoods, and are embedded for each encoder."""


def kind_outcomes(
    product: Product,
    texts: Sequence[str],
    labels: Int[np.ndarray, " N"],
    training: Int[np.ndarray, "R K"],
    unlabelled: Sequence[str],
    *,
    only: str | None = None,
) -> dict[str, Bool[np.ndarray, "R N"]]:
    """Whether a head of each kind, fitted on each draw's positions, labels each of N texts rightly.

    Where the unlabelled texts are too few for neighbourhoods there is the plain linear kind alone. `only` names the one
    kind that is asked for. Labels are numbered from 0; each draw holds examples of all that any draw holds.
    """
    classes = np.arange(int(labels.max()) + 1)
    pool = Pool.of(embed(product, unlabelled)) if len(unlabelled) > 1 else None
    own = embed(product, texts)
    kinds = usable(pool) if only is None else (only,)
    views = views_of(own, pool)
    found = {kind: np.zeros((len(training), len(texts)), dtype=bool) for kind in kinds}
    for r, chosen in enumerate(training):
        for kind in kinds:
            seen = views[KINDS[kind].smoothed]
            found[kind][r] = fit_kind(KINDS[kind], seen[chosen], labels[chosen], classes, pool).predict(seen) == labels
    return found


def with_best_kind(
    outcomes: Mapping[str, Bool[np.ndarray, "R N"]], labelled: Labelled, *, seed: int
) -> tuple[Bool[np.ndarray, "R N"], str]:
    """Outcomes of an encoder's best kind, chosen on other clusters than it is judged on; and the best on all."""
    return cross_fitted(outcomes, labelled.draws.tested, labelled.cluster, seed=seed)


def save_outcomes(path: Path, outcomes: Mapping[str, Bool[np.ndarray, "R N"]]) -> None:
    """Write outcomes as one .npz file."""
    kept = list(outcomes)
    np.savez_compressed(
        path,
        allow_pickle=False,
        kinds=np.array(kept),
        outcomes=np.stack([outcomes[kind] for kind in kept]) if kept else np.zeros((0, 0, 0), dtype=bool),
    )


def load_outcomes(path: Path) -> dict[str, Bool[np.ndarray, "R N"]]:
    """What `save_outcomes` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return dict(zip(file["kinds"].tolist(), file["outcomes"], strict=True))
