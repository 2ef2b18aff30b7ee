"""Label sets: which examples teach a head and which test it, draw by draw; the same for every encoder compared."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.errors import InputError

FOLDS = 5
"""Parts of a label set, each of which is asked of heads that learned from the others."""


class Draws(NamedTuple):
    """k-shot label sets: `training[r]` are the positions of draw r (R K), class by class, and `tested[r, i]` is whether
    i is a test of it.
    """

    training: Int[np.ndarray, "R K"]
    tested: Bool[np.ndarray, "R N"]


def draws(
    labels: Sequence[Any] | np.ndarray,
    clusters: Int[np.ndarray, "N"],
    *,
    shots: int,
    n_draws: int,
    seed: int,
) -> Draws:
    """R stratified k-shot label sets, the same for every encoder compared, and the tests of each: for the
    rows and curves at few labels. A verdict is about all labels (`splits`).

    k is the smaller of `shots` and 80 % of the class, counted in clusters. A draw takes at most one example
    of a cluster; the other examples of the clusters it touches are neither its training nor its tests. A cluster
    with several labels belongs to the label most of its examples have (the first in order on a tie), but that a label
    of fewer than five clusters is given some in which others have more.

    The result depends on labels and cluster numbers, not on the order in which singleton clusters come in the file.

    Raises:
        InputError: a class has examples in fewer than two clusters.
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    home = _home_class(codes, cluster, len(names))
    pools = [np.flatnonzero(home == code) for code in range(len(names))]
    _refuse_lonely_classes(names, pools)
    sizes = [min(shots, _most_shots(len(pool))) for pool in pools]

    eligible = np.flatnonzero(codes == home[cluster])
    eligible = eligible[np.argsort(cluster[eligible], kind="stable")]
    start, size = runs_of(cluster[eligible])
    rng = np.random.default_rng(seed)
    training = np.empty((n_draws, sum(sizes)), dtype=np.int64)
    tested = np.empty((n_draws, len(cluster)), dtype=bool)
    for r in range(n_draws):
        chosen = np.concatenate([rng.choice(pool, size=k, replace=False) for pool, k in zip(pools, sizes, strict=True)])
        training[r] = eligible[start[chosen] + rng.integers(size[chosen])]
        touched = np.zeros(len(home), dtype=bool)
        touched[chosen] = True
        tested[r] = ~touched[cluster]
    return Draws(training, tested)


def splits(
    labels: Sequence[Any] | np.ndarray, clusters: Int[np.ndarray, "N"], *, n_draws: int, seed: int
) -> Bool[np.ndarray, "R N"]:
    """R splits of all labels in about four fifths that teach and a fifth that is tested: `tested[r, i]`.

    Five splits in a row test every example once (five-fold cross-validation), the next five deal it anew, so that all
    examples are tested about equally often, which random splits leave to chance. Clusters stay whole, and those of a
    class are dealt out in turn: every class teaches in every split.

    Raises:
        InputError: a class has examples in fewer than two clusters.
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    home = _home_class(codes, cluster, len(names))
    _refuse_lonely_classes(names, [np.flatnonzero(home == code) for code in range(len(names))])
    rng = np.random.default_rng(seed)
    rounds = [_deal(home, FOLDS, rng)[cluster] for _ in range(-(-n_draws // FOLDS))]
    return np.concatenate([fold == np.arange(FOLDS)[:, None] for fold in rounds])[:n_draws]


def independent(labels: Sequence[Any] | np.ndarray, clusters: Int[np.ndarray, "N"]) -> dict[str, int]:
    """How many independent examples each label has: clusters of near duplicates that count as its own, as in `draws`.
    The fewest first.
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    counts = np.bincount(_home_class(codes, cluster, len(names)), minlength=len(names))
    return {str(names[code]): int(counts[code]) for code in np.argsort(counts, kind="stable")}


def most_shots(labels: Sequence[Any] | np.ndarray, clusters: Int[np.ndarray, "N"]) -> int:
    """How many examples of every label a draw can learn from: 80 % of the rarest."""
    return _most_shots(min(independent(labels, clusters).values()))


def _most_shots(independent_examples: int) -> int:
    """How many of a label's independent examples may teach: a fifth of them is left to test on."""
    return max(1, 4 * independent_examples // 5)


def _home_class(codes: Int[np.ndarray, "N"], cluster: Int[np.ndarray, "N"], n_classes: int) -> Int[np.ndarray, "G"]:
    """The class that each cluster may be drawn for.

    A class that others outnumber wherever it occurs, as in the messages of customers who ask many things, would have
    hardly a cluster. It is given those of classes that have at least two more than it, the richest first, until it has
    one for each fold or has got all there are.
    """
    counts = np.zeros((int(cluster.max()) + 1, n_classes), dtype=np.int64)
    np.add.at(counts, (cluster, codes), 1)
    home = np.asarray(counts.argmax(axis=1))
    held = np.bincount(home, minlength=n_classes)
    for code in np.argsort((counts > 0).sum(axis=0), kind="stable").tolist():
        while held[code] < FOLDS:
            others = np.flatnonzero((counts[:, code] > 0) & (home != code) & (held[home] > held[code] + 1))
            if not len(others):
                break
            taken = others[np.argmax(held[home[others]])]
            held[home[taken]] -= 1
            held[code] += 1
            home[taken] = code
    return home


def runs_of(ordered: Int[np.ndarray, "N"]) -> tuple[Int[np.ndarray, "G"], Int[np.ndarray, "G"]]:
    """Where each run of equal numbers starts, and how long it is."""
    start = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    return start, np.diff(start, append=len(ordered))


def _refuse_lonely_classes(names: np.ndarray, pools: Sequence[Int[np.ndarray, "_"]]) -> None:
    lonely = [str(name) for name, pool in zip(names, pools, strict=True) if len(pool) < 2]
    if lonely:
        listed = ", ".join(repr(name) for name in lonely[:5]) + (", ..." if len(lonely) > 5 else "")
        raise InputError(
            f"{len(lonely)} of {len(names)} labels have fewer than two distinct examples: {listed}. Near-duplicates "
            "count as one, and one is needed to learn from and one to test on. Add examples for these labels, "
            "merge them with others, or leave them out with --set curate.rare_labels=drop, the default."
        )


def deal_folds(
    labels: Int[np.ndarray, " N"], cluster: Int[np.ndarray, " N"], *, n: int = FOLDS, seed: int
) -> Int[np.ndarray, " N"]:
    """The fold of each text: clusters stay whole, and those of a class are dealt out in turn, so that no fold has all
    of a class.

    A cluster with several labels is dealt with the label that most of its texts have.
    """
    _, number = np.unique(cluster, return_inverse=True)
    home = _home_class(labels, number, int(labels.max()) + 1)
    return _deal(home, n, np.random.default_rng(seed))[number]


def _deal(home: Int[np.ndarray, " G"], n: int, rng: np.random.Generator) -> Int[np.ndarray, " G"]:
    """The fold of each cluster: random, and those of a class in turn."""
    order = rng.permutation(len(home))
    order = order[np.argsort(home[order], kind="stable")]
    dealt = np.empty(len(home), dtype=np.int64)
    dealt[order] = np.arange(len(home)) % n
    return dealt
