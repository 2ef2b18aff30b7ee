"""Gains with intervals, from scores of examples: pure functions of arrays; none knows what a model is.

The quantity estimated is the gain of what would be shipped: the mean score of an adapted model minus the base's, in
expectation over draws (80/20 splits of the labels, say) and unseen examples. Where scores are 1 for a right answer and
0 for a wrong one, that is a difference of accuracies.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk.decide.labelsets import runs_of
from shoptalk.records import ACCURACY, Measure

CONFIDENCE = 0.95
JACKKNIFE_GROUPS = 20
# Resampling outcomes does not refit heads, so it misses that the same labels both teach and test, and that all draws
# come from one label set. For few labels per class out of many it was measured without inflation (populations of the
# verdict harness, mostly nulls, 300 to 400 trials a cell): intervals held in 92 to 97 % of trials at 60 to 385 labels
# of 20 classes, 90 to 94 % at 1,000, 89 to 91 % at 2,500 and 91 to 92 % at 5,000; with 77 classes in 97 to 99 % at 385
# labels, 92 to 97 % above. The factor was chosen on nine of those cells, where it gives 94 to 98 %. On fresh trials
# single nulls of 20 classes hold in 95 to 98 %; 77 classes at 385 labels in 99.8 %: too wide there, which costs power
# and never a false adoption.
INFLATION = 1.15
# Where most labels teach in each draw (80/20 splits) what is missed shrinks with the labels. Over 100 splits without
# widening intervals of nulls held in 92 % of trials at 60 labels of 20 classes (1,500 trials), 93 % at 100, 96 % at 200
# and 400, 98 % at 1,000; of 5 classes in 96 % at 100 (100 to 700 trials each). By sqrt(1 + 30 / clusters) they hold in
# 97, 95, 97, 96, 98 and 98 %.
_SHORTFALL = 30.0
_MOST = 0.5
"""A draw that learns from more of the labels than this is a split of all of them."""
# Resampling cannot show what has not happened yet: where two models have the same scores on n clusters, they still
# differ on up to 3 / n of all examples (the rule of three, at 95 %), and fewer than five clusters that differ are as
# little to resample. Such an entry's standard error is at least that of the rule, so no interval has a width of nought.
FEWEST_DIFFERING = 5
_RULE_OF_THREE = 3.0
_CELLS = 1 << 22
"""Of units times resamples, how many are drawn at once: each takes 24 bytes meanwhile (100 MB together)."""


@dataclass(frozen=True)
class Scores:
    """How well each menu entry does on each example, draw by draw; larger is better.

    `values[0]` is the base, `values[1 + e]` the entry `entries[e]`: whether its head is right, or a number. Only cells
    where `tested` is true are read. `cluster` numbers the near-duplicate (or conversation) cluster of each example;
    clusters are what is resampled.
    """

    entries: tuple[str, ...]
    values: Bool[np.ndarray, "E1 R N"] | Float[np.ndarray, "E1 R N"]
    tested: Bool[np.ndarray, "R N"]
    cluster: Int[np.ndarray, "N"]
    measure: Measure = ACCURACY

    def __post_init__(self) -> None:
        if len(self.values) != len(self.entries) + 1:
            raise ValueError(f"{len(self.entries)} entries need {len(self.entries) + 1} rows, got {len(self.values)}.")
        if not self.tested.any():
            raise ValueError("No example is tested by any draw.")


@dataclass(frozen=True)
class Estimate:
    """Gains over the base with simultaneous intervals, in the units of the measure: `base` and `adapted` are levels,
    gains and standard errors differences.
    """

    entries: tuple[str, ...]
    gain: Float[np.ndarray, "E"]
    se: Float[np.ndarray, "E"]
    low: Float[np.ndarray, "E"]
    high: Float[np.ndarray, "E"]
    c: float
    base: float
    adapted: Float[np.ndarray, "E"]
    n_examples: int
    n_clusters: int
    n_draws: int
    measure: Measure = ACCURACY


@dataclass(frozen=True)
class Points:
    """The points of a dose curve. Unlike the entries of a menu each has a base, label sets and tests of its own.

    Draw r of a point belongs to draw r of every other (their label sets are nested): they are resampled together.
    """

    names: tuple[str, ...]
    base: Bool[np.ndarray, "P R N"] | Float[np.ndarray, "P R N"]
    adapted: Bool[np.ndarray, "P R N"] | Float[np.ndarray, "P R N"]
    tested: Bool[np.ndarray, "P R N"]
    cluster: Int[np.ndarray, "N"]
    measure: Measure = ACCURACY

    @classmethod
    def of(cls, scores: Scores) -> "Points":
        """A menu's entries as points: they share the base, the label sets and the tests."""
        adapted = scores.values[1:]
        base, tested = (np.broadcast_to(part, adapted.shape) for part in (scores.values[0], scores.tested))
        return cls(scores.entries, base, adapted, tested, scores.cluster, scores.measure)


@dataclass(frozen=True)
class Band:
    """The gain at each point of a curve with an interval that holds for all points at once, in the measure's units.

    `resampled` holds the gains of each bootstrap resample: what is fitted to the curve is fitted to each of them too.
    """

    names: tuple[str, ...]
    base: Float[np.ndarray, "P"]
    adapted: Float[np.ndarray, "P"]
    gain: Float[np.ndarray, "P"]
    se: Float[np.ndarray, "P"]
    low: Float[np.ndarray, "P"]
    high: Float[np.ndarray, "P"]
    c: float
    resampled: Float[np.ndarray, "B P"]


# --- estimates ----------------------------------------------------------------------------------------------------


def estimate(scores: Scores, *, n_boot: int = 2000, seed: int) -> Estimate:
    """Gains with intervals that hold for all entries at once (95 %), whichever of them is chosen afterwards.

    Clusters and draws are resampled independently (Owen 2007, "The pigeonhole bootstrap"), jointly for all entries.
    An entry's standard error is the larger of the bootstrap's and that of a jackknife over 20 groups of clusters;
    c is the 95 % quantile over resamples of the largest |Δ* − Δ̂| in bootstrap standard errors (the larger of the two
    would cancel in c · SE), widened to the coverage that the harness asks for (`widening`); the intervals are
    Δ̂ ± c · SE.

    What resampling misses is the variance s² of the gain over label sets, each of which teaches heads. Of draws that
    learn from a share ρ of N labels two overlap in ρ of theirs, so that to first order their gains have a correlation
    of ρ, and the mean of R varies by s² (1 + (R - 1) ρ) / R, of which s² (1 - ρ) / R is seen between draws: of the seen
    part v another (1 + R ρ / (1 - ρ)) - 1 times is missing, 4 R times v for splits. Adding that was tried and rejected
    for splits: v is the small difference of the draw part and the noise of cells, and four R times its error is as
    large as the variance of the items (docs/log.md). The widening is a function of the labels alone instead.
    """
    sums, counts = by_cluster(scores)
    return _estimate(scores, sums, counts, c=None, n_boot=n_boot, seed=seed)


def estimate_chosen(scores: Scores, *, c: float, n_boot: int = 2000, seed: int) -> Estimate:
    """The gain of one entry that was chosen from a menu by other scores of the same examples: those of plain heads,
    say, where these are of tuned ones. `c` is that menu's (`Estimate.c`), so that the choice is paid for here too.
    """
    if len(scores.entries) != 1:
        raise ValueError(f"This is for one chosen entry, not for {len(scores.entries)}.")
    sums, counts = by_cluster(scores)
    return _estimate(scores, sums, counts, c=c, n_boot=n_boot, seed=seed)


def estimate_on_test(scores: Scores, *, n_boot: int = 2000, seed: int) -> Estimate:
    """The gain of one entry, selected beforehand, on a test set that nothing was selected on.

    `scores` holds one entry and the test set's examples, all of them tests of every draw of the labelled set. Of the
    heads that ship, on all labels, there is one draw: then the interval is about other messages, given these labels,
    by the cluster-robust error of paired differences with its small-sample weight G / (G - 1) over G clusters. Several
    draws are resampled too. The quantile is Student's for G - 1 degrees of freedom.
    """
    if len(scores.entries) != 1:
        raise ValueError(f"A test set is read for one selected entry, not for {len(scores.entries)}.")
    sums, counts = by_cluster(scores)
    n_clusters = counts.shape[1]
    if n_clusters < 2:
        return _estimate(scores, sums, counts, c=1.96, n_boot=n_boot, seed=seed)
    resampled = _estimate(scores, sums, counts, c=student(n_clusters - 1), n_boot=n_boot, seed=seed)
    robust = paired_error(sums[1] - sums[0], counts, scores.measure) * math.sqrt(n_clusters / (n_clusters - 1))
    least = least_error((sums[1] - sums[0])[None], scores.measure)
    se = np.maximum(robust if len(counts) == 1 else np.maximum(resampled.se, robust), least)
    return replace(resampled, se=se, low=resampled.gain - resampled.c * se, high=resampled.gain + resampled.c * se)


def paired_error(differences: Float[np.ndarray, "R G"], counts: Float[np.ndarray, "R G"], measure: Measure) -> float:
    """Standard error of a pooled paired difference of the measure (the linearised ratio of cluster totals)."""
    return math.sqrt(float(paired_covariance(differences[None], counts, measure)[0, 0]))


def paired_covariance(
    differences: Float[np.ndarray, "E R G"], counts: Float[np.ndarray, "R G"], measure: Measure
) -> Float[np.ndarray, "E E"]:
    """How the errors of several pooled paired differences vary together."""
    totals, tests = differences.sum(axis=1, dtype=np.float64), counts.sum(axis=0, dtype=np.float64)
    residuals = totals - tests * (totals.sum(axis=1, keepdims=True) / tests.sum())
    return np.asarray((measure.scale / float(tests.sum())) ** 2 * residuals @ residuals.T)


def student(degrees: int) -> float:
    """The 97.5 % quantile of Student's law, to three digits from 3 degrees of freedom on (Fisher & Cornish 1960)."""
    z, n = 1.959964, float(degrees)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n ** (i + 1) for i, term in enumerate(terms))


def _estimate(
    scores: Scores,
    sums: Float[np.ndarray, "E1 R G"],
    counts: Float[np.ndarray, "R G"],
    *,
    c: float | None,
    n_boot: int,
    seed: int,
) -> Estimate:
    measure = scores.measure
    level = measure.scale * sums.sum(axis=(1, 2)) / counts.sum()
    gain = level[1:] - level[0]
    widen = widening(scores.tested, counts.shape[1])
    spread = _spread(gain, sums[1:] - sums[0], counts[None], measure, c=c, widen=widen, n_boot=n_boot, seed=seed)
    sign = -1.0 if measure.lower_is_better else 1.0
    return Estimate(
        entries=scores.entries,
        gain=gain,
        se=spread.se,
        low=gain - spread.c * spread.se,
        high=gain + spread.c * spread.se,
        c=spread.c,
        base=sign * float(level[0]),
        adapted=sign * level[1:],
        n_examples=counts.shape[1] if measure.by_cluster else scores.tested.shape[1],
        n_clusters=counts.shape[1],
        n_draws=counts.shape[0],
        measure=measure,
    )


def band(points: Points, *, n_boot: int = 2000, seed: int) -> Band:
    """The gains along a curve with intervals that hold for all its points at once (95 %): `estimate` for `Points`."""
    measure = points.measure
    base = _sum_clusters(_where(points.tested, points.base), points.cluster)
    adapted = _sum_clusters(_where(points.tested, points.adapted), points.cluster)
    counts = _sum_clusters(points.tested, points.cluster)
    before, after = (measure.scale * sums.sum(axis=(1, 2)) / counts.sum(axis=(1, 2)) for sums in (base, adapted))
    gain = after - before
    widen = widening(points.tested, counts.shape[2])
    spread = _spread(gain, adapted - base, counts, measure, c=None, widen=widen, n_boot=n_boot, seed=seed)
    half = spread.c * spread.se
    sign = -1.0 if measure.lower_is_better else 1.0
    return Band(
        points.names, sign * before, sign * after, gain, spread.se, gain - half, gain + half, spread.c, spread.resampled
    )


class _Spread(NamedTuple):
    """How far gains may be off: standard errors, how many of them an interval takes, and the resampled gains."""

    se: Float[np.ndarray, "E"]
    c: float
    resampled: Float[np.ndarray, "B E"]


def _spread(
    gain: Float[np.ndarray, "E"],
    differences: Float[np.ndarray, "E R G"],
    counts: Float[np.ndarray, "#E R G"],
    measure: Measure,
    *,
    c: float | None,
    widen: float,
    n_boot: int,
    seed: int,
) -> _Spread:
    rng = np.random.default_rng(seed)
    resampled = _bootstrap(differences, counts, measure.scale, n_boot, rng)
    spread = resampled.std(axis=0, ddof=1)
    if c is None:
        c = widen * _simultaneous(resampled - gain, spread)
    error = np.maximum(spread, _jackknife(differences, counts, measure.scale, rng))
    return _Spread(np.maximum(error, least_error(differences, measure)), c, resampled)


def widening(tested: Bool[np.ndarray, "*dims N"], n_clusters: int) -> float:
    """The factor by which intervals of so many clusters are widened.

    What a draw does not test it learns from: few labels of each class, most of all labels, or none, where there is
    nothing to learn and the clusters are all there is.
    """
    learned = 1.0 - float(tested.mean())
    return INFLATION if 0 < learned < _MOST else math.sqrt(1 + _SHORTFALL / n_clusters)


def least_error(differences: Float[np.ndarray, "E R G"], measure: Measure) -> Float[np.ndarray, "E"]:
    """The smallest standard error to be believed, as a difference of the measure: 0 where enough clusters differ
    (`_RULE_OF_THREE`).
    """
    differing = (differences != 0).any(axis=1).sum(axis=1)
    return np.where(differing < FEWEST_DIFFERING, error_of_no_difference(differences.shape[2], measure), 0.0)


def error_of_no_difference(n_clusters: int, measure: Measure) -> float:
    """The standard error of a gain of which no cluster has shown anything: 1.96 of them are 3 / n of the most."""
    return measure.scale * measure.most * _RULE_OF_THREE / 1.96 / n_clusters


def by_cluster(scores: Scores) -> tuple[Float[np.ndarray, "E1 R G"], Float[np.ndarray, "R G"]]:
    """Scores and tests, summed over the examples of each cluster (in order of cluster number)."""
    sums = _sum_clusters(_where(scores.tested, scores.values), scores.cluster)
    return sums, _sum_clusters(scores.tested, scores.cluster)


def _where(
    tested: Bool[np.ndarray, "*dims N"], values: Bool[np.ndarray, "*more N"] | Float[np.ndarray, "*more N"]
) -> Bool[np.ndarray, "*more N"] | Float[np.ndarray, "*more N"]:
    """The scores of cells that are tested; 0 elsewhere, whatever stands there."""
    return values & tested if values.dtype == bool else np.where(tested, values, 0.0)


def _sum_clusters(
    values: Bool[np.ndarray, "*dims N"] | Float[np.ndarray, "*dims N"], cluster: Int[np.ndarray, "N"]
) -> Float[np.ndarray, "*dims G"]:
    """Sums over the examples of each cluster: of right answers, which are few and whole, in float32."""
    order = np.argsort(cluster, kind="stable")
    starts, _ = runs_of(cluster[order])
    exact = np.float32 if values.dtype == bool else np.float64
    return np.add.reduceat(values[..., order].astype(exact), starts, axis=-1)


def _bootstrap(
    differences: Float[np.ndarray, "E R G"],
    counts: Float[np.ndarray, "#E R G"],
    scale: float,
    n_boot: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "B E"]:
    """Gains when clusters and draws are drawn anew with replacement."""
    n_draws, n_clusters = counts.shape[1:]
    tests, hits = [], []
    for of_clusters in multiplicities(n_clusters, n_boot, rng):
        tests.append(counts @ of_clusters.T)
        hits.append(differences @ of_clusters.T)
    of_draws = np.concatenate(list(multiplicities(n_draws, n_boot, rng)))
    of_tests, of_hits = (np.einsum("erb,br->be", np.concatenate(sums, axis=2), of_draws) for sums in (tests, hits))
    return np.asarray(scale * of_hits.astype(np.float64) / of_tests)


def multiplicities(n: int, n_boot: int, rng: np.random.Generator) -> Iterator[Float[np.ndarray, "b n"]]:
    """How often each of n units is drawn in each of B resamples of size n, in blocks that memory is never short of; all
    of them together do not depend on the blocks.
    """
    return (_drawn(n, rows, rng) for rows in in_blocks(n, n_boot))


def _drawn(n: int, rows: int, rng: np.random.Generator) -> Float[np.ndarray, "b n"]:
    picked = rng.integers(n, size=(rows, n))
    picked += n * np.arange(rows)[:, None]
    return np.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float32)


def in_blocks(n: int, n_boot: int) -> Iterator[int]:
    """Resamples of n units that are drawn at once, until there are B of them."""
    most = max(1, _CELLS // max(1, n))
    for begin in range(0, n_boot, most):
        yield min(most, n_boot - begin)


def _jackknife(
    differences: Float[np.ndarray, "E R G"], counts: Float[np.ndarray, "#E R G"], scale: float, rng: np.random.Generator
) -> Float[np.ndarray, "E"]:
    """Delete-a-group jackknife standard errors of gains, over random groups of clusters."""
    n_clusters = counts.shape[2]
    n_groups = min(JACKKNIFE_GROUPS, n_clusters)
    if n_groups < 2:
        return np.zeros(len(differences))
    group = rng.permutation(n_clusters) % n_groups
    kept = (group[:, None] != np.arange(n_groups)).astype(np.float64)
    without = scale * (differences.sum(axis=1) @ kept) / (counts.sum(axis=1) @ kept)
    deviations = without - without.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt((n_groups - 1) / n_groups * (deviations**2).sum(axis=1)))


def _simultaneous(deviations: Float[np.ndarray, "B E"], spread: Float[np.ndarray, "E"]) -> float:
    """The 95 % quantile of the largest standardised deviation; entries that equal the base deviate by nothing."""
    live = spread > 0
    if not live.any():
        return 1.96
    largest = (np.abs(deviations[:, live]) / spread[live]).max(axis=1)
    return float(np.quantile(largest, CONFIDENCE))
