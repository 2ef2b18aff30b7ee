"""Trials of a tuning: who learns, looks and decides, and how often the rule ships what is planted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from shoptalk import decide
from shoptalk.evaluate.tuning_rule import PlantedTuning, ships


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 25)), min_size=1, max_size=80),
    seed=st.integers(0, 2**31),
)
def test_every_text_has_one_part_clusters_stay_whole_and_every_label_is_taught(
    rows: list[tuple[int, int]], seed: int
) -> None:
    labels, clusters = (np.array(column) for column in zip(*rows, strict=True))
    trials = decide.trials(labels, clusters, seed=seed)
    for trial in trials:
        assert (np.stack(trial).sum(axis=0) == 1).all() and all(part.any() for part in trial)
        assert set(labels[trial.learns]) == set(labels)
        for cluster in np.unique(clusters):
            assert np.unique(np.stack(trial)[:, clusters == cluster], axis=1).shape[1] == 1
    assert len(trials) in (0, decide.TRIALS)
    if trials:  # no text decides twice
        assert (np.stack([trial.decides for trial in trials]).sum(axis=0) <= 1).all()


def test_all_texts_decide_once_and_a_fifth_of_the_others_looks() -> None:
    labels = np.arange(300) % 10
    trials = decide.trials(labels, np.arange(300), seed=0)
    assert (np.stack([trial.decides for trial in trials]).sum(axis=0) == 1).all()
    assert [int(trial.looks.sum()) for trial in trials] == [40] * 3
    for part in (part for trial in trials for part in trial):  # no class stands in one part alone
        assert len(np.unique(labels[part])) == 10


def test_three_examples_of_each_label_are_enough_for_trials_and_two_are_not() -> None:
    for per_label, expected in ((3, decide.TRIALS), (2, 0)):
        labels = np.repeat(np.arange(2), per_label)
        assert len(decide.trials(labels, np.arange(len(labels)), seed=0)) == expected


def test_the_interval_is_the_paired_cluster_robust_one_with_students_quantile() -> None:
    rng = np.random.default_rng(3)
    clusters = rng.integers(60, size=200)
    frozen = rng.random(200) < 0.7
    tuned = frozen ^ (rng.random(200) < 0.2)
    measured = decide.advantage(tuned, frozen, clusters)
    differences = tuned.astype(float) - frozen
    gain = differences.mean()
    names = np.unique(clusters)
    residuals = np.array([(differences[clusters == name] - gain).sum() for name in names])
    error = math.sqrt((residuals**2).sum() * len(names) / (len(names) - 1)) / len(clusters)
    half = student.ppf(0.975, len(names) - 1) * error
    assert measured.gain == pytest.approx(100 * gain, abs=1e-4)
    assert (measured.low, measured.high) == pytest.approx((100 * (gain - half), 100 * (gain + half)), abs=0.01)
    assert (measured.tuned, measured.frozen) == pytest.approx((100 * tuned.mean(), 100 * frozen.mean()), abs=1e-4)
    assert measured.n_examples == 200


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_handful_of_texts_proves_nothing(n: int) -> None:
    measured = decide.advantage(np.ones(n, dtype=bool), np.zeros(n, dtype=bool), np.arange(n))
    assert measured.gain == 100 and not measured.proven


def test_texts_of_one_cluster_are_one_piece_of_evidence() -> None:
    frozen = np.arange(200) % 2 == 0
    tuned = frozen | (np.arange(200) < 40)
    assert decide.advantage(tuned, frozen, np.arange(200)).proven
    assert not decide.advantage(tuned, frozen, np.arange(200) // 40).proven


@pytest.mark.parametrize(
    "planted",
    [
        PlantedTuning(labels=100),
        PlantedTuning(labels=385),
        PlantedTuning(labels=385, copies=3),
        PlantedTuning(labels=200, differing=0.03),
        PlantedTuning(labels=385, correlation=0.0),
    ],
)
def test_tuning_that_brings_nothing_is_shipped_in_at_most_five_per_cent(planted: PlantedTuning) -> None:
    shipped = np.mean([ships(planted, seed=seed) for seed in range(400)], axis=0)
    assert shipped[0] <= 0.05
    assert shipped[1] > 0.3  # as the earlier rule did


def test_tuning_that_brings_much_is_shipped() -> None:
    planted = PlantedTuning(labels=1155, gain=4.0)
    assert np.mean([ships(planted, seed=seed)[0] for seed in range(60)]) > 0.8
