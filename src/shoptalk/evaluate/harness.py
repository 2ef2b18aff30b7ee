"""The verdict's own test: populations whose true gain is known, and how often the verdict is right about them.

A population has classes with hierarchical centres; an encoder's vector of an example is the class centre plus noise.
The candidate has noise of the same law (an exact null: outcomes differ, the true gain is 0), of a smaller scale (a
planted gain) or of a larger one (harm). The true gain is that of the estimand: the expected difference in accuracy
over k-shot draws from the population and unseen examples, measured on fresh draws with fresh tests.

The head is the nearest class mean, fitted and applied by two matrix products, so that thousands of trials take
minutes. The statistics see only outcomes; one scenario repeats a null with the linear probe as a check on that.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk import decide
from shoptalk.probes.linear import kshot_outcomes

_DRAWS = 20


@dataclass(frozen=True)
class Population:
    """How vectors arise. `noise` is the base's; `shared` is the share of its variance common to all encoders."""

    classes: int = 20
    dim: int = 32
    noise: float = 0.75
    shared: float = 0.5
    duplicates: int = 1  # examples of a near-duplicate cluster, which differ by 1 % of the noise

    def centres(self) -> Float[np.ndarray, "C D"]:
        """Class centres in groups of five: near classes are what an assistant confuses."""
        rng = np.random.default_rng(1)
        groups = rng.normal(size=(-(-self.classes // 5), self.dim))
        own = rng.normal(size=(self.classes, self.dim))
        return np.asarray((groups[np.arange(self.classes) // 5] + 0.8 * own) / math.sqrt(self.dim) * 3.0)


@dataclass(frozen=True)
class Scenario:
    """One row of the table: what is planted, and how it is measured.

    `scales` gives each menu entry's noise scale relative to the base's; `correlated` makes the entries checkpoints of
    one candidate, which share half of their own noise.
    """

    name: str
    labels: int
    scales: tuple[float, ...] = (1.0,)
    population: Population = Population()
    smallest_gain: float = 0.5
    correlated: bool = False
    order: Literal["shuffled", "sorted"] = "shuffled"
    clusters: Literal["known", "ignored"] = "known"
    head: Literal["means", "linear"] = "means"


@dataclass(frozen=True)
class HarnessRow:
    """What a scenario's trials found; gains in points."""

    scenario: Scenario
    gains: tuple[float, ...]
    trials: int
    adopted: int
    false_adopted: int
    covered: int
    kept: int
    mean_se: float
    bias: float


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927)."""
    z, p = 1.96, hits / trials
    centre, spread = p + z * z / (2 * trials), z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


# --- samples ------------------------------------------------------------------------------------------------------


def vectors(
    scenario: Scenario, labels: Int[np.ndarray, "G"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "E1 N D"], Int[np.ndarray, "N"]]:
    """Every encoder's vectors (the base first) of one cluster for each label, and the cluster of each example.

    All encoders start from a noise they share; each adds its own of the same law, which makes its errors its own.
    """
    pop = scenario.population
    shape = (len(labels), pop.dim)
    common, checkpoints = rng.normal(size=shape), rng.normal(size=shape)
    found = []
    for e, scale in enumerate((1.0, *scenario.scales)):
        own = rng.normal(size=shape)
        if e > 0 and scenario.correlated:
            own = math.sqrt(0.5) * (own + checkpoints)
        noise = math.sqrt(pop.shared) * common + math.sqrt(1 - pop.shared) * own
        found.append(pop.centres()[labels] + scale * pop.noise * noise)
    stacked = np.repeat(np.stack(found), pop.duplicates, axis=1)
    if pop.duplicates > 1:
        stacked += 0.01 * pop.noise * rng.normal(size=stacked.shape)
    return stacked.astype(np.float32), np.repeat(np.arange(len(labels)), pop.duplicates)


def nearest_mean_outcomes(
    points: Float[np.ndarray, "N D"], labels: Int[np.ndarray, "N"], training: Int[np.ndarray, "R K"]
) -> Bool[np.ndarray, "R N"]:
    """Whether the nearest class mean of each training set is the right one for each example."""
    k, classes = training.shape[1] // (labels.max() + 1), labels.max() + 1
    ordered = np.take_along_axis(training, np.argsort(labels[training], axis=1, kind="stable"), axis=1)
    means = points[ordered].reshape(len(training), classes, k, -1).mean(axis=2)
    scores = np.einsum("nd,rcd->rnc", points, means, optimize=True) - 0.5 * (means**2).sum(axis=2)[:, None]
    return np.asarray(scores.argmax(axis=2) == labels)


def true_gains(scenario: Scenario, *, draws: int = 3000) -> Float[np.ndarray, "E"]:
    """Expected gains in points over k-shot draws and unseen examples, to about ±0.05 at 3,000 draws.

    Each draw is a fresh one from the population, with 500 fresh tests of its own.
    """
    if set(scenario.scales) == {1.0}:
        return np.zeros(len(scenario.scales))  # exactly, by symmetry: the noises have the same law
    law = Scenario(
        name="",
        labels=0,
        scales=scenario.scales,
        population=replace(scenario.population, duplicates=1),
        correlated=scenario.correlated,
        head=scenario.head,
    )
    return _true_gains(law, _shots(scenario), draws)


@cache
def _true_gains(law: Scenario, k: int, draws: int) -> Float[np.ndarray, "E"]:
    rng = np.random.default_rng(7)
    classes, head = law.population.classes, _head(law)
    training = np.arange(classes * k)[None]
    total = np.zeros(len(law.scales))
    for _ in range(draws):
        labels = np.concatenate([np.repeat(np.arange(classes), k), rng.integers(classes, size=500)])
        right = np.stack([head(p, labels, training)[0, classes * k :].mean() for p in vectors(law, labels, rng)[0]])
        total += right[1:] - right[0]
    return np.asarray(100.0 * total / draws)


def scale_for_gain(gain: float, scenario: Scenario, *, draws: int = 400) -> float:
    """The candidate's noise scale whose true gain is about `gain` points, by bisection on the same random numbers."""
    low, high = (0.7, 1.0) if gain > 0 else (1.0, 1.3)
    for _ in range(7):
        middle = (low + high) / 2
        found = true_gains(replace(scenario, scales=(middle,)), draws=draws)[0]
        low, high = (middle, high) if found > gain else (low, middle)
    return (low + high) / 2


def _shots(scenario: Scenario) -> int:
    clusters = scenario.labels // scenario.population.duplicates
    return max(1, min(5, 4 * (clusters // scenario.population.classes) // 5))


def _head(scenario: Scenario) -> Callable[..., Bool[np.ndarray, "R N"]]:
    return nearest_mean_outcomes if scenario.head == "means" else kshot_outcomes


# --- trials -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One label set, judged: the verdict's choice, whether all intervals hold, whether the adopted gain is real."""

    choice: str
    false: bool
    covered: bool
    se: float
    error: float


def trial(scenario: Scenario, gains: tuple[float, ...], seed: int) -> Trial:
    """Draws a label set from the population, runs the whole procedure on it and compares with the truth."""
    rng = np.random.default_rng([seed, 11])
    pop = scenario.population
    labels = np.sort(np.arange(scenario.labels // pop.duplicates) % pop.classes)  # as a sorted source file has them
    points, cluster = vectors(scenario, labels, rng)
    labels = np.repeat(labels, pop.duplicates)
    if scenario.order == "shuffled":
        order = rng.permutation(len(labels))
        points, cluster, labels = points[:, order], cluster[order], labels[order]
    if scenario.clusters == "ignored":
        cluster = np.arange(len(labels))
    training, tested = decide.draws(labels, cluster, shots=5, n_draws=_DRAWS, seed=seed)
    correct = np.stack([_head(scenario)(p, labels, training) for p in points])
    entries = tuple(f"entry{e}" for e in range(len(scenario.scales)))
    estimate = decide.estimate(decide.Scores(entries, correct, tested, cluster), seed=seed)
    answer = decide.verdict(
        estimate,
        guarded={},
        smallest_gain=scenario.smallest_gain,
        settle_gain=scenario.smallest_gain + 2.0,
        n_clusters=estimate.n_clusters,
    )
    true = np.array(gains)
    adopted = answer.decision.choice == "adopt"
    return Trial(
        choice=answer.decision.choice,
        false=adopted and gains[entries.index(str(answer.entry))] <= scenario.smallest_gain,
        covered=bool(((estimate.low <= true) & (true <= estimate.high)).all()),
        se=float(estimate.se.mean()),
        error=float((estimate.gain - true).mean()),
    )


def run(scenario: Scenario, *, trials: int, seed: int = 0, workers: int = 1, truth_draws: int = 3000) -> HarnessRow:
    """`trials` independent trials; trial i depends on (seed, i) only, whatever the number of processes."""
    gains = tuple(float(g) for g in true_gains(scenario, draws=truth_draws))
    one = partial(trial, scenario, gains)
    seeds = [seed * 1_000_003 + i for i in range(trials)]
    if workers == 1:
        results = [one(s) for s in seeds]
    else:
        with ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
            results = list(pool.map(one, seeds, chunksize=max(1, trials // (8 * workers))))
    return HarnessRow(
        scenario=scenario,
        gains=gains,
        trials=trials,
        adopted=sum(t.choice == "adopt" for t in results),
        false_adopted=sum(t.false for t in results),
        covered=sum(t.covered for t in results),
        kept=sum(t.choice == "keep_base" for t in results),
        mean_se=float(np.mean([t.se for t in results])),
        bias=float(np.mean([t.error for t in results])),
    )


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def table(rows: Sequence[HarnessRow]) -> str:
    """The rows in Markdown; proportions in per cent with Wilson 95 % intervals."""
    head = "| scenario | labels | true gain | trials | adopted | falsely adopted | all intervals hold | mean SE |\n"
    lines = [head + "|" + "---|" * 8]
    for row in rows:
        low, high = min(row.gains), max(row.gains)
        gain = f"{low:+.2f}" if high - low < 0.005 else f"{low:+.2f} to {high:+.2f}"
        cells = [row.scenario.name, f"{row.scenario.labels:,}", gain, f"{row.trials:,}"]
        cells += [_share(hits, row.trials) for hits in (row.adopted, row.false_adopted, row.covered)]
        lines.append("| " + " | ".join([*cells, f"{row.mean_se:.2f}"]) + " |")
    return "\n".join(lines)


def _share(hits: int, trials: int) -> str:
    low, high = wilson(hits, trials)
    return f"{100 * hits / trials:.1f} ({100 * low:.1f}–{100 * high:.1f})"


# --- the scenarios of the table -----------------------------------------------------------------------------------

_BANKING = Population(classes=77, noise=0.6)  # as many classes as BANKING77, of about its few-shot accuracy


def scenarios() -> list[tuple[Scenario, int]]:
    """Every row of the published table, with its number of trials."""
    null = Scenario("null", 385, smallest_gain=0.0)
    rows = [
        (null, 500),
        (replace(null, name="null, smallest gain 0.5", smallest_gain=0.5), 500),
        *((replace(null, labels=n), 400) for n in (60, 100, 150, 1000, 2500)),
        (replace(null, name="null, 77 classes", population=_BANKING), 400),
        (replace(null, name="null, small perturbation", population=Population(shared=0.98)), 400),
        (replace(null, name="null, source sorted by class", order="sorted"), 400),
        (replace(null, name="null, head: linear probe", head="linear"), 200),
        *((replace(null, name=f"null, menu of {n}", scales=(1.0,) * n), 500) for n in (4, 8, 12)),
        (replace(null, name="null, 12 correlated checkpoints", scales=(1.0,) * 12, correlated=True), 500),
    ]
    twins = replace(null, labels=600, population=Population(duplicates=3))
    rows += [
        (replace(twins, name="null, near-duplicate triples"), 400),
        (replace(twins, name="the same, clusters ignored (control)", clusters="ignored"), 400),
    ]
    harm = scale_for_gain(-2.0, null)
    rows += [
        (Scenario("harm", 385, scales=(harm,)), 200),
        (Scenario("harm, menu of 4", 385, scales=(harm,) * 4), 200),
        (Scenario("harm", 1000, scales=(harm,)), 200),
    ]
    for name, population in (("", Population()), (", 77 classes", _BANKING)):
        for labels in (385, 1000, 2500):
            for gain in (1.0, 2.0, 4.0):
                plain = Scenario(f"gain {gain:g}{name}", labels, population=population)
                rows.append((replace(plain, scales=(scale_for_gain(gain, plain),)), 400 if not name else 200))
    best = scale_for_gain(2.0, null)
    rows.append((Scenario("gain 2 in a menu of 4, others null", 1000, scales=(1.0, best, 1.0, 1.0)), 400))
    return rows
