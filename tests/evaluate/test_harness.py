"""The harness on a small scale: its truths are true, and the verdict passes a few dozen trials of each kind."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shoptalk.evaluate.harness import (
    Population,
    Scenario,
    nearest_mean_outcomes,
    run,
    scale_for_gain,
    table,
    trial,
    true_gains,
    vectors,
    wilson,
)
from shoptalk.evaluate.harness_rows import PlannedRow, table_rows

NULL = Scenario("null", 300, smallest_gain=0.0)


def test_a_null_is_exactly_null_and_still_changes_outcomes():
    assert true_gains(NULL).tolist() == [0.0]
    labels = np.sort(np.arange(300) % 20)
    points, _ = vectors(NULL, labels, np.random.default_rng(0))
    taught = np.arange(300)[None] % 15 < 5
    base, candidate = (nearest_mean_outcomes(p, labels, taught) for p in points)
    assert 0.03 < np.mean(base != candidate) < 0.5


def test_the_symmetry_behind_the_exact_null_holds_in_simulation():
    almost = replace(NULL, scales=(1.0 - 1e-9,))
    assert true_gains(almost, draws=300)[0] == pytest.approx(0.0, abs=0.5)


def test_a_planted_gain_is_found_again_on_other_random_numbers():
    scale = scale_for_gain(4.0, NULL, draws=60)
    assert 0.8 < scale < 1.0
    assert true_gains(replace(NULL, scales=(scale, scale)), draws=200) == pytest.approx([4.0, 4.0], abs=1.0)


def test_the_nearest_mean_head_agrees_with_distances_computed_one_by_one():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(12, 3)).astype(np.float32), np.arange(12) % 3
    taught = np.arange(12)[None] < 6
    means = [points[:6][labels[:6] == c].mean(axis=0) for c in range(3)]
    nearest = [int(np.argmin([np.linalg.norm(p - m) for m in means])) for p in points]
    assert np.array_equal(nearest_mean_outcomes(points, labels, taught)[0], nearest == labels)


def test_the_wilson_interval_matches_its_published_example():
    low, high = wilson(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (low, high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_nulls_are_rarely_adopted_and_intervals_hold():
    row = run(NULL, trials=60)
    assert row.false_adopted <= 6
    assert row.covered >= 50


def test_a_menu_of_nulls_pays_for_its_size():
    row = run(replace(NULL, scales=(1.0,) * 8), trials=40)
    assert row.false_adopted <= 5
    assert row.covered >= 32


def test_harm_is_never_adopted_and_a_large_gain_is():
    assert run(replace(NULL, scales=(1.15,)), trials=30, truth_draws=100).adopted == 0
    large = run(replace(NULL, scales=(0.8,), smallest_gain=0.5), trials=15, truth_draws=100)
    assert large.adopted >= 12
    assert large.false_adopted == 0


def test_tiny_label_sets_are_never_adopted():
    assert run(replace(NULL, labels=60, scales=(0.6,)), trials=20, truth_draws=100).adopted == 0


def test_ignoring_duplicates_breaks_the_intervals_that_clusters_keep():
    """The negative control: an interval that survives it would not be measuring anything."""
    twins = replace(NULL, labels=600, population=replace(NULL.population, duplicates=3))
    known, ignored = run(twins, trials=40), run(replace(twins, clusters="ignored"), trials=40)
    assert known.covered >= 33
    assert ignored.covered <= known.covered - 5


def test_a_trial_repeats_and_the_order_of_the_source_changes_nothing():
    first = trial(NULL, (0.0,), 3)
    assert trial(NULL, (0.0,), 3) == first
    assert trial(replace(NULL, order="sorted"), (0.0,), 3) == first


def test_processes_do_not_change_results_and_the_table_shows_them():
    row = run(NULL, trials=4, workers=2)
    assert row == run(NULL, trials=4, workers=1)
    assert "| null | 300 | +0.00 | 4 |" in table([row])


def test_names_move_class_means_by_as_much_as_they_count():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(30, 3)).astype(np.float32), np.arange(30) % 3
    taught, names = np.arange(30)[None] < 12, rng.normal(size=(3, 3))
    means = [np.concatenate([points[:12][labels[:12] == c], names[[c, c]]]).mean(axis=0) for c in range(3)]
    nearest = [int(np.argmin([np.linalg.norm(p - m) for m in means])) for p in points]
    found = nearest_mean_outcomes(points, labels, taught, names=names, counts=2.0)
    assert np.array_equal(found[0], nearest == labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"judged": "few shots", "draws": 20},
        {"judged": "test"},
        {"judged": "ranks"},
        {"head": "best"},
        {"head": "linear", "labels": 120},
        {"skew": 1.0},
        {"wrong": 0.1},
        {"scales": (1.0,) * 4, "correlated": 0.95},
        {"labels": 600, "population": Population(duplicates=3, apart=0.7)},
    ],
)
def test_every_way_of_being_judged_holds_its_intervals_on_a_few_nulls(change: dict[str, Any]):
    row = run(replace(NULL, **change), trials=20)
    assert row.covered >= 15 and row.false_adopted <= 3


def test_groups_that_are_not_told_break_the_intervals():
    groups = replace(NULL, labels=600, population=Population(duplicates=3, apart=0.5))
    assert run(replace(groups, clusters="ignored"), trials=30).covered <= run(groups, trials=30).covered - 3


def test_gains_are_not_planted_where_their_truth_is_not_known():
    with pytest.raises(ValueError, match="only nulls are planted here"):
        true_gains(replace(NULL, scales=(0.9,), wrong=0.1))


def test_every_row_of_the_table_has_at_least_400_trials():
    assert all(row.trials >= 400 for row in table_rows())


@pytest.mark.slow
def test_a_row_plants_its_gain_in_the_last_entry_of_its_menu():
    menu = Scenario("menu", 385, scales=(1.0, 1.0))
    planted = PlannedRow(menu, 400, 4.0, at=Scenario("", 385)).planted()
    assert planted.scales[0] == 1.0 and 0.7 < planted.scales[1] < 1.0
    gains = true_gains(planted, draws=300)
    assert abs(gains[0]) < 1.0 and abs(gains[1] - 4.0) < 1.0
    assert PlannedRow(menu, 400).planted() is menu
