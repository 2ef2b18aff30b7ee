"""How often `finetune` ships a tuned encoder, where what tuning brings is planted.

The frozen encoder is right on some share of the examples. Each look of each trial answers a share of them otherwise;
looks at one training flip much the same answers, so their outcomes are correlated. Under a null as many answers
become right as become wrong.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Int

from shoptalk import decide

_BEST_HEAD = 0.8
"""Right answers of the frozen encoder."""


@dataclass(frozen=True)
class PlantedTuning:
    """One tuning of so many labels, which brings `gain` points at every look."""

    labels: int
    gain: float = 0.0
    differing: float = 0.12
    """The share of examples that frozen and tuned answer differently."""
    looks: int = 7
    correlation: float = 0.8
    """Between the looks of one training."""
    classes: int = 20
    copies: int = 1
    """Examples of a cluster, which are answered alike."""


def ships(planted: PlantedTuning, *, seed: int) -> tuple[bool, bool]:
    """Whether the tuned encoder ships by the rule of `decide.trials`, and by the earlier one, which took the best look
    at a fifth of the labels and asked the same fifth for more than a standard error.
    """
    rng = np.random.default_rng(seed)
    n_clusters = planted.labels // planted.copies
    clusters = np.repeat(np.arange(n_clusters), planted.copies)
    labels = (np.arange(n_clusters) % planted.classes)[clusters]
    frozen = (rng.random(n_clusters) < _BEST_HEAD)[clusters]
    by_trials = _ships(planted, frozen, labels, clusters, rng)
    looks = _looks(planted, frozen, clusters, rng)
    dev = decide.deal_folds(labels, clusters, seed=seed) == 0
    best = looks[:, dev][looks[:, dev].mean(axis=1).argmax()]
    differences = best.astype(float) - frozen[dev]
    return by_trials, bool(differences.mean() > differences.std(ddof=1) / math.sqrt(len(differences)))


def _ships(
    planted: PlantedTuning,
    frozen: Bool[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    clusters: Int[np.ndarray, " N"],
    rng: np.random.Generator,
) -> bool:
    tuned, decided, gain = np.zeros_like(frozen), np.zeros_like(frozen), None
    for trial in decide.trials(labels, clusters, seed=int(rng.integers(2**31))):
        looks = _looks(planted, frozen, clusters, rng)
        best = looks[:, trial.looks].mean(axis=1).argmax()
        tuned[trial.decides] = looks[best, trial.decides]
        decided |= trial.decides
        gain = decide.advantage(tuned[decided], frozen[decided], clusters[decided])
        if gain.gain <= 0:
            return False
    return gain is not None and gain.proven


def _looks(
    planted: PlantedTuning,
    frozen: Bool[np.ndarray, " N"],
    clusters: Int[np.ndarray, " N"],
    rng: np.random.Generator,
) -> Bool[np.ndarray, "looks N"]:
    """Which examples are right at each look of one training."""
    n_clusters = int(clusters[-1]) + 1
    shared, own = rng.normal(size=n_clusters), rng.normal(size=(planted.looks, n_clusters))
    latent = math.sqrt(planted.correlation) * shared + math.sqrt(1 - planted.correlation) * own
    gain = planted.gain / 100
    spoils = NormalDist().inv_cdf((planted.differing - gain) / 2 / _BEST_HEAD)
    mends = NormalDist().inv_cdf((planted.differing + gain) / 2 / (1 - _BEST_HEAD))
    flips = latent[:, clusters] < np.where(frozen, spoils, mends)
    return np.asarray(frozen ^ flips)
