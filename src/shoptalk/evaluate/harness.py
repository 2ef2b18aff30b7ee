"""The verdict's own test: populations whose true gain is known, and how often the verdict is right about them.

A population has classes with hierarchical centres; an encoder's vector of an example is the class centre plus noise.
The candidate has noise of the same law (an exact null: outcomes differ, the true gain is 0), of a smaller scale (a
planted gain) or of a larger one (harm). The true gain is that of the estimand: the expected difference in accuracy
over label sets from the population and unseen examples, measured on fresh sets with fresh tests.

The head is the nearest class mean, fitted and applied by two matrix products, so that thousands of trials take
minutes. The statistics see only outcomes; one scenario repeats a null with logistic regression as a check on that.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk import decide
from shoptalk.nn.heads.many import fit_many
from shoptalk.records import ACCURACY

FEW_SHOTS, FEW_DRAWS = 5, 20
"""Of the rows that are judged at few labels per class, as verdicts were before they were about all labels."""
_NAME_COUNTS = (0.0, 2.0, 8.0)
"""How many examples a label's name counts as, in each kind of the "best" heads: what they are chosen among."""
_REPLIES = 200
"""Among which a context's own reply is ranked."""
_TESTS = 400
"""Clusters of a supplied test."""


@dataclass(frozen=True)
class Population:
    """How vectors arise. `noise` is the base's; `shared` is the share of its variance common to all encoders."""

    classes: int = 20
    dim: int = 32
    noise: float = 0.75
    shared: float = 0.5
    duplicates: int = 1  # examples of a cluster, which are alike
    apart: float = (
        0.01  # by which share of the noise they differ: near duplicates by 1 %, a customer's messages by more
    )

    def centres(self) -> Float[np.ndarray, "C D"]:
        """Class centres in groups of five: near classes are what an assistant confuses."""
        rng = np.random.default_rng(1)
        groups = rng.normal(size=(-(-self.classes // 5), self.dim))
        offsets = rng.normal(size=(self.classes, self.dim))
        return np.asarray((groups[np.arange(self.classes) // 5] + 0.8 * offsets) / math.sqrt(self.dim) * 3.0)


@dataclass(frozen=True)
class Scenario:
    """One row of the table: what is planted, and how it is measured.

    `scales` gives each menu entry's noise scale relative to the base's; `correlated` is the share of their own noise
    that entries have in common: a half for checkpoints of one candidate, nearly all for merges of it.
    """

    name: str
    labels: int
    scales: tuple[float, ...] = (1.0,)
    population: Population = Population()
    smallest_gain: float = 0.5
    correlated: float = 0.0
    judged: Literal["splits", "few shots", "test", "ranks"] = "splits"
    draws: int = 100
    skew: float = 0.0  # class c of the order has labels in proportion to c ** -skew, two at least
    wrong: float = 0.0  # the share of labels that are wrong, in what teaches and in what tests
    order: Literal["shuffled", "sorted"] = "shuffled"
    clusters: Literal["known", "ignored"] = "known"
    head: Literal["means", "linear", "best"] = "means"


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
    common, together = rng.normal(size=shape), rng.normal(size=shape)
    encoders = []
    for e, scale in enumerate((1.0, *scenario.scales)):
        independent = rng.normal(size=shape)
        if e > 0:
            independent = math.sqrt(1 - scenario.correlated) * independent + math.sqrt(scenario.correlated) * together
        noise = math.sqrt(pop.shared) * common + math.sqrt(1 - pop.shared) * independent
        encoders.append(pop.centres()[labels] + scale * pop.noise * noise)
    stacked = np.repeat(np.stack(encoders), pop.duplicates, axis=1)
    if pop.duplicates > 1:
        stacked += pop.apart * pop.noise * rng.normal(size=stacked.shape)
    return stacked.astype(np.float32), np.repeat(np.arange(len(labels)), pop.duplicates)


def nearest_mean_outcomes(
    points: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, "N"],
    taught: Bool[np.ndarray, "R N"],
    *,
    names: Float[np.ndarray, "C D"] | None = None,
    counts: float = 0.0,
) -> Bool[np.ndarray, "R N"]:
    """Whether the class mean nearest to each example is that of its label; means are of the examples that a draw
    teaches and of the labels' names, each of which counts as so many examples.
    """
    weights = np.asarray(taught, dtype=np.float32)
    means = []
    for c in range(int(labels.max()) + 1):
        of_class = weights[:, labels == c]
        total, size = of_class @ points[labels == c], of_class.sum(axis=1, keepdims=True)
        means.append(total / size if names is None else (total + counts * names[c]) / (size + counts))
    centres = np.stack(means, axis=1)
    scores = np.einsum("nd,rcd->rnc", points, centres, optimize=True) - 0.5 * (centres**2).sum(axis=2)[:, None]
    return np.asarray(scores.argmax(axis=2) == labels)


def linear_outcomes(
    points: Float[np.ndarray, "N D"], labels: Int[np.ndarray, "N"], taught: Bool[np.ndarray, "R N"]
) -> Bool[np.ndarray, "R N"]:
    """The same by logistic regression."""
    n_classes = int(labels.max()) + 1
    heads = fit_many(points, labels, taught.astype(np.float64), n_classes=n_classes, inverse_penalty=20.0)
    return np.stack([head.predict(points) == labels for head in heads])


def best_outcomes(
    points: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, "N"],
    taught: Bool[np.ndarray, "R N"],
    names: Float[np.ndarray, "C D"],
) -> Bool[np.ndarray, "R N"]:
    """The same by the kind of head that answers held-out examples best, as `tasks/labelled.py` chooses it."""
    kinds = [nearest_mean_outcomes(points, labels, taught, names=names, counts=counts) for counts in _NAME_COUNTS]
    return max(kinds, key=lambda correct: correct[~taught].mean())


def true_gains(scenario: Scenario, *, draws: int = 3000) -> Float[np.ndarray, "E"]:
    """Expected gains in points over label sets and unseen examples, to about ±0.05 at 3,000 draws.

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
    if scenario.judged == "ranks" or scenario.skew or scenario.wrong or scenario.head == "best":
        raise ValueError(f"{scenario.name!r}: only nulls are planted here, whose true gain is exactly nought.")
    return _true_gains(law, _shots(scenario), draws)


@cache
def _true_gains(law: Scenario, k: int, draws: int) -> Float[np.ndarray, "E"]:
    rng = np.random.default_rng(7)
    classes, head = law.population.classes, linear_outcomes if law.head == "linear" else nearest_mean_outcomes
    taught = np.arange(classes * k + 500)[None] < classes * k
    total = np.zeros(len(law.scales))
    for _ in range(draws):
        labels = np.concatenate([np.repeat(np.arange(classes), k), rng.integers(classes, size=500)])
        right = np.stack([head(p, labels, taught)[0, classes * k :].mean() for p in vectors(law, labels, rng)[0]])
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
    """Labels per class that a head learns from."""
    per_class = scenario.labels // scenario.population.duplicates // scenario.population.classes
    if scenario.judged == "test":
        return per_class
    most = max(1, 4 * per_class // 5)
    return min(FEW_SHOTS, most) if scenario.judged == "few shots" else most


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
    scores = _ranked(scenario, rng) if scenario.judged == "ranks" else _answered(scenario, rng, seed)
    estimate = decide.estimate_on_test if scenario.judged == "test" else decide.estimate
    return _judged(scenario, gains, estimate(scores, seed=seed))


def _label_counts(scenario: Scenario) -> Int[np.ndarray, "C"]:
    """Clusters of each class."""
    pop = scenario.population
    clusters = scenario.labels // pop.duplicates
    if not scenario.skew:
        return np.asarray(np.bincount(np.arange(clusters) % pop.classes, minlength=pop.classes))
    shares = np.arange(1, pop.classes + 1) ** -scenario.skew
    return np.asarray(np.maximum(2, np.round(clusters * shares / shares.sum())), dtype=np.int64)


def _answered(scenario: Scenario, rng: np.random.Generator, seed: int) -> decide.Scores:
    """Outcomes of heads on a label set, or on a test that heads on all labels answer."""
    pop = scenario.population
    labels = np.repeat(np.arange(pop.classes), _label_counts(scenario))  # sorted, as a source file may have them
    n_taught = len(labels) * pop.duplicates
    if scenario.judged == "test":
        labels = np.concatenate([labels, rng.integers(pop.classes, size=_TESTS)])
    points, cluster = vectors(scenario, labels, rng)
    labels = np.repeat(labels, pop.duplicates)
    wrong = rng.random(len(labels)) < scenario.wrong
    labels = np.where(wrong, rng.integers(pop.classes, size=len(labels)), labels)
    if scenario.order == "shuffled" and scenario.judged != "test":
        order = rng.permutation(len(labels))
        points, cluster, labels = points[:, order], cluster[order], labels[order]
    if scenario.clusters == "ignored":
        cluster = np.arange(len(labels))
    tested, taught = _draws(scenario, labels, cluster, n_taught, seed)
    if scenario.head == "best":
        names = pop.centres() + pop.noise * rng.normal(size=(len(points), pop.classes, pop.dim))
        correct = np.stack([best_outcomes(p, labels, taught, n) for p, n in zip(points, names, strict=True)])
    else:
        head = linear_outcomes if scenario.head == "linear" else nearest_mean_outcomes
        correct = np.stack([head(p, labels, taught) for p in points])
    if scenario.judged == "test":
        correct, tested, cluster = correct[:, :, n_taught:], tested[:, n_taught:], cluster[n_taught:]
    return decide.Scores(_entries(scenario), correct, tested, cluster)


def _draws(
    scenario: Scenario, labels: Int[np.ndarray, "N"], cluster: Int[np.ndarray, "N"], n_taught: int, seed: int
) -> tuple[Bool[np.ndarray, "R N"], Bool[np.ndarray, "R N"]]:
    """Which draw tests and which draw teaches an example."""
    if scenario.judged == "test":
        taught = np.arange(len(labels))[None] < n_taught
        return ~taught, taught
    if scenario.judged == "splits":
        tested = decide.splits(labels, cluster, n_draws=scenario.draws, seed=seed)
        return tested, ~tested
    drawn = decide.draws(labels, cluster, shots=FEW_SHOTS, n_draws=scenario.draws, seed=seed)
    taught = np.zeros_like(drawn.tested)
    np.put_along_axis(taught, drawn.training, values=True, axis=1)
    return drawn.tested, taught


def _ranked(scenario: Scenario, rng: np.random.Generator) -> decide.Scores:
    """Reciprocal ranks of true replies, a few contexts to a conversation: nothing is learned, so there is one draw."""
    pop = scenario.population
    n_conversations = scenario.labels // pop.duplicates
    cluster = np.repeat(np.arange(n_conversations), pop.duplicates)
    ease = rng.normal(size=n_conversations)[cluster]  # some conversations are easy for every encoder
    rows = []
    for scale in (1.0, *scenario.scales):
        own = rng.normal(size=n_conversations)[cluster] + rng.normal(size=len(cluster))
        above = 1 / (1 + np.exp(2.0 + 1.5 * ease + scale * own))  # the chance that another reply is nearer
        rows.append(1 / (1 + rng.binomial(_REPLIES - 1, above)))
    measure = ACCURACY.model_copy(update={"name": "MRR x 100", "unit": "points"})
    values = np.stack(rows)[:, None]
    return decide.Scores(_entries(scenario), values, np.ones(values.shape[1:], dtype=bool), cluster, measure)


def _entries(scenario: Scenario) -> tuple[str, ...]:
    return tuple(f"entry{e}" for e in range(len(scenario.scales)))


def _judged(scenario: Scenario, gains: tuple[float, ...], estimate: decide.Estimate) -> Trial:
    """What the verdict says of an estimate, beside the truth."""
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
        false=adopted and gains[estimate.entries.index(str(answer.entry))] <= scenario.smallest_gain,
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
