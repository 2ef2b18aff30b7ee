"""The statistics, against formulas written out by hand and against their own invariants."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.decide import (
    Estimate,
    Points,
    Scores,
    band,
    behind,
    continue_training,
    draws,
    estimate,
    estimate_chosen,
    estimate_on_test,
    halve,
    independent,
    most_shots,
    overfitting,
    so_far,
    splits,
    verdict,
)
from shoptalk.decide.intervals import widening
from shoptalk.errors import ConfigError, InputError
from shoptalk.records import ACCURACY, Decision


def planted(gains: tuple[float, ...], *, n: int = 400, n_draws: int = 6, seed: int = 0, per_cluster: int = 1) -> Scores:
    """A base that is right on 70 % of the examples; an entry with a gain of g points on (70 + g) %."""
    rng = np.random.default_rng(seed)
    ability = rng.random(n)
    noise = rng.normal(scale=0.02, size=(n_draws, n))
    correct = np.stack([ability + noise < 0.7 + gain / 100 for gain in (0.0, *gains)])
    tested = rng.random((n_draws, n)) < 0.8
    return Scores(tuple(f"entry{i}" for i in range(len(gains))), correct, tested, np.arange(n) // per_cluster)


def an_estimate(gain: list[float], half_width: list[float], *, n: int = 400, c: float = 2.0) -> Estimate:
    g, h = np.array(gain), np.array(half_width)
    return Estimate(
        entries=tuple(f"entry{i}" for i in range(len(gain))),
        gain=g,
        se=h / c,
        low=g - h,
        high=g + h,
        c=c,
        base=80.0,
        adapted=80.0 + g,
        n_examples=n,
        n_clusters=n,
        n_draws=20,
    )


def decided(found: Estimate, guarded: dict[str, str] | None = None, n_clusters: int = 400, **numbers: float):
    settings = {"smallest_gain": 0.5, "settle_gain": 2.0, **numbers}
    return verdict(found, guarded=guarded or {}, n_clusters=n_clusters, **settings)


def test_a_conclusion_is_the_sentence_without_what_was_found() -> None:
    for gain, half, heads in ((2.0, 0.5, "Adopt: "), (0.1, 0.2, "Keep the base model: "), (0.5, 1.0, "Undecided, ")):
        ruling = decided(an_estimate([gain], [half]))
        assert ruling.conclusion.startswith(heads) and "entry0" not in ruling.conclusion
        assert ruling.decision.sentence.startswith(heads) and "entry0" in ruling.decision.sentence
        assert ruling.decision.sentence.endswith(ruling.conclusion.partition(": ")[2])


# --- draws


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31 - 1),
    st.integers(2, 5),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_draws_are_stratified_and_clusters_never_leak(seed: int, n_classes: int, shots: int, largest: int):
    rng = np.random.default_rng(seed)
    per_class = rng.integers(2, 9, size=n_classes)
    home = np.repeat(np.arange(n_classes), per_class)
    sizes = rng.integers(1, largest + 1, size=len(home))
    labels, clusters = np.repeat(home, sizes), np.repeat(rng.permutation(len(home)), sizes)
    order = rng.permutation(len(labels))
    labels, clusters = labels[order], clusters[order]

    training, tested = draws(labels, clusters, shots=shots, n_draws=4, seed=seed)

    each = np.maximum(1, np.minimum(shots, (0.8 * per_class + 1e-9).astype(int)))
    for chosen, tests in zip(training, tested, strict=True):
        assert np.array_equal(np.bincount(labels[chosen], minlength=n_classes), each)
        assert len(set(clusters[chosen])) == len(chosen)
        assert np.array_equal(tests, ~np.isin(clusters, clusters[chosen]))


def test_every_example_of_a_cluster_can_be_drawn():
    labels, clusters = np.repeat(["a", "b"], 6), np.repeat(np.arange(4), 3)
    training, _ = draws(labels, clusters, shots=5, n_draws=200, seed=0)
    assert set(training.ravel()) == set(range(12))


def test_a_cluster_with_two_labels_serves_the_more_frequent_one():
    labels = ["a", "a", "b", "a", "b", "b", "a"]
    clusters = np.array([0, 0, 0, 1, 2, 3, 4])
    training, tested = draws(labels, clusters, shots=1, n_draws=100, seed=0)
    assert 2 not in training
    assert not tested[(training == 0).any(axis=1), 2].any()


def test_a_label_that_others_outnumber_in_every_cluster_is_given_clusters_of_theirs() -> None:
    """Twelve customers who ask for refunds most of the time; six of them once for something else."""
    cluster = np.repeat(np.arange(12), 4)
    labels = np.array(["refund"] * 48, dtype=object)
    labels[np.arange(6) * 4] = "delay"
    assert independent(labels, cluster) == {"delay": 5, "refund": 7}
    tested = splits(labels, cluster, n_draws=20, seed=0)
    assert all(set(labels[~row]) == {"refund", "delay"} for row in tested)
    drawn = draws(labels, cluster, shots=3, n_draws=20, seed=0)
    assert all(sorted(labels[row]) == ["delay"] * 3 + ["refund"] * 3 for row in drawn.training)


def test_a_label_with_one_distinct_example_is_refused_by_name():
    labels, clusters = ["pay", "pay", "refund", "refund"], np.array([0, 1, 2, 2])
    with pytest.raises(InputError, match=r"1 of 2 labels .* 'refund'.*Add examples"):
        draws(labels, clusters, shots=5, n_draws=3, seed=0)


def test_a_class_with_few_examples_gives_four_fifths_of_them_and_the_others_all_that_are_asked_for() -> None:
    labels, clusters = ["card"] * 10 + ["fee"] * 4 + ["odd"] * 2, np.arange(16)
    training, _ = draws(labels, clusters, shots=5, n_draws=3, seed=0)
    assert [np.unique(np.array(labels)[chosen], return_counts=True)[1].tolist() for chosen in training] == [
        [5, 3, 1]
    ] * 3
    assert independent(labels, clusters) == {"odd": 2, "fee": 4, "card": 10}
    assert (most_shots(labels, clusters), most_shots(labels[:14], clusters[:14])) == (1, 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(2, 5), st.integers(1, 3), st.integers(1, 12))
def test_splits_test_each_cluster_once_in_five_and_every_class_teaches(
    seed: int, n_classes: int, largest: int, n_draws: int
) -> None:
    rng = np.random.default_rng(seed)
    home = np.repeat(np.arange(n_classes), rng.integers(2, 14, size=n_classes))
    sizes = rng.integers(1, largest + 1, size=len(home))
    labels, clusters = np.repeat(home, sizes), np.repeat(rng.permutation(len(home)), sizes)
    order = rng.permutation(len(labels))
    labels, clusters = labels[order], clusters[order]
    tested = splits(labels, clusters, n_draws=n_draws, seed=seed)
    assert tested.shape == (n_draws, len(labels))
    assert all((tested[:, clusters == c] == tested[:, clusters == c][:, :1]).all() for c in np.unique(clusters))
    for begin in range(0, n_draws - 4, 5):
        np.testing.assert_array_equal(tested[begin : begin + 5].sum(axis=0), 1)
    for tests in tested:
        assert set(labels[~tests]) == set(labels)
        held_out = np.array([len(set(clusters[tests & (labels == c)])) for c in range(n_classes)])
        np.testing.assert_array_less(np.abs(held_out - np.bincount(home) / 5), 1)
    np.testing.assert_array_equal(splits(labels, clusters, n_draws=n_draws + 5, seed=seed)[:n_draws], tested)


def test_a_label_with_one_distinct_example_is_refused_by_splits_too() -> None:
    with pytest.raises(InputError, match=r"1 of 2 labels .* 'refund'.*curate\.rare_labels=drop"):
        splits(["pay", "pay", "refund", "refund"], np.array([0, 1, 2, 2]), n_draws=5, seed=0)


def test_draws_do_not_depend_on_the_order_of_the_file():
    rng = np.random.default_rng(1)
    labels, clusters = np.repeat(np.arange(5), 8), np.arange(40)
    order = rng.permutation(40)
    training, tested = draws(labels, clusters, shots=3, n_draws=5, seed=7)
    shuffled, shuffled_tested = draws(labels[order], clusters[order], shots=3, n_draws=5, seed=7)
    assert np.array_equal(order[shuffled], training)
    assert np.array_equal(shuffled_tested, tested[:, order])


# --- estimates


def test_gains_and_accuracies_are_pooled_over_draws_and_tests():
    outcomes = planted((2.0, -3.0))
    found = estimate(outcomes, n_boot=50, seed=0)
    pooled = [100 * row[outcomes.tested].mean() for row in outcomes.values]
    assert found.base == pytest.approx(pooled[0], abs=1e-4)
    assert found.adapted == pytest.approx(pooled[1:], abs=1e-4)
    assert found.gain == pytest.approx(np.array(pooled[1:]) - pooled[0], abs=1e-4)


def test_the_bootstrap_equals_one_written_as_a_loop():
    """Resampling by picking clusters and draws one at a time, on a small world with clusters of three."""
    outcomes = planted((3.0,), n=60, n_draws=4, per_cluster=3)
    rng = np.random.default_rng(5)
    resampled = []
    for _ in range(3000):
        clusters, rows = rng.integers(20, size=20), rng.integers(4, size=4)
        examples = (clusters[:, None] * 3 + np.arange(3)).ravel()
        cells = np.ix_(rows, examples)
        mask = outcomes.tested[cells]
        resampled.append(100 * (outcomes.values[1][cells][mask].mean() - outcomes.values[0][cells][mask].mean()))
    found = estimate(outcomes, n_boot=3000, seed=0)
    assert found.se[0] >= 0.93 * np.std(resampled)
    half_width = float(found.high[0] - found.gain[0])
    assert half_width >= 0.93 * np.quantile(np.abs(resampled - found.gain[0]), 0.95)


def test_duplicates_in_one_cluster_add_no_certainty():
    once = planted((2.0,), n=200)
    repeated = Scores(
        once.entries, np.repeat(once.values, 4, axis=2), np.repeat(once.tested, 4, axis=1), np.repeat(once.cluster, 4)
    )
    as_if_independent = Scores(once.entries, repeated.values, repeated.tested, np.arange(800))
    honest = estimate(repeated, seed=0).se[0]
    assert honest == pytest.approx(estimate(once, seed=0).se[0], rel=1e-4)
    assert estimate(as_if_independent, seed=0).se[0] < 0.7 * honest


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_an_estimate_does_not_depend_on_the_order_of_the_examples(seed: int):
    outcomes = planted((2.0, 1.0), n=90, per_cluster=2, seed=seed % 100)
    order = np.random.default_rng(seed).permutation(90)
    shuffled = Scores(
        outcomes.entries, outcomes.values[:, :, order], outcomes.tested[:, order], outcomes.cluster[order]
    )
    one, other = estimate(outcomes, n_boot=100, seed=3), estimate(shuffled, n_boot=100, seed=3)
    assert np.allclose([one.low, one.high], [other.low, other.high])


def test_more_independent_entries_cost_wider_intervals():
    rng = np.random.default_rng(0)
    correct, tested = rng.random((13, 5, 500)) < 0.8, np.ones((5, 500), dtype=bool)
    names = tuple("abcdefghijkl")
    many = estimate(Scores(names, correct, tested, np.arange(500)), seed=0)
    one = estimate(Scores(names[:1], correct[:2], tested, np.arange(500)), seed=0)
    assert many.c > one.c + 0.4


def test_an_entry_equal_to_the_base_has_gain_zero_and_does_not_disturb_the_others():
    outcomes = planted((0.0, 5.0))
    found = estimate(outcomes, seed=0)
    assert found.gain[0] == 0.0
    assert found.se[0] == pytest.approx(100 * 3 / 1.96 / 400)  # the rule of three, no certainty
    assert np.isfinite(found.c)
    assert found.low[1] > 0


def test_a_menu_without_entries_still_gives_the_base_its_number():
    found = estimate(planted(()), seed=0)
    assert 60 < found.base < 80
    assert decided(found).decision.choice == "keep_base"


def test_a_test_set_is_read_for_one_entry_with_students_quantile():
    outcomes = planted((4.0,), n=41)
    found = estimate_on_test(outcomes, seed=0)
    assert found.c == pytest.approx(2.0211, abs=2e-4)  # 40 degrees of freedom
    assert found.high - found.gain == pytest.approx(found.c * found.se)
    assert found.se[0] >= estimate(outcomes, seed=0).se[0]
    with pytest.raises(ValueError, match="one selected entry"):
        estimate_on_test(planted((1.0, 2.0)), seed=0)


def test_shipped_heads_on_a_test_have_the_cluster_robust_error_written_out_by_hand():
    rng = np.random.default_rng(3)
    values, cluster = rng.random((2, 1, 90)) < 0.7, np.sort(rng.integers(25, size=90))
    found = estimate_on_test(Scores(("x",), values, np.ones((1, 90), dtype=bool), cluster), seed=0)
    difference = 100.0 * (values[1, 0].astype(float) - values[0, 0])
    gain, clusters = difference.mean(), np.unique(cluster)
    sums = [(difference[cluster == c] - gain).sum() for c in clusters]
    expected = np.sqrt(len(clusters) / (len(clusters) - 1) * np.square(sums).sum()) / 90
    assert found.gain[0] == pytest.approx(gain, abs=1e-4)
    assert found.se[0] == pytest.approx(expected, rel=1e-5)
    assert found.n_draws == 1


def test_intervals_are_widened_by_what_draws_learn_from():
    tested = np.ones((10, 100), dtype=bool)
    assert widening(tested, 100) == pytest.approx(np.sqrt(1.3))  # nothing is learned
    few, most = tested.copy(), tested.copy()
    few[:, :20] = False
    most[:, :80] = False
    assert (widening(few, 100), widening(most, 100)) == (1.15, pytest.approx(np.sqrt(1.3)))
    assert widening(most, 3000) == pytest.approx(1.005, abs=1e-3)


def test_an_entry_chosen_from_a_menu_keeps_the_menus_quantile_under_other_heads():
    menu = estimate(planted((1.0, 4.0, 2.0)), seed=0)
    tuned = planted((6.0,), seed=1)
    found = estimate_chosen(tuned, c=menu.c, seed=0)
    alone = estimate(tuned, seed=0)
    assert (found.gain, found.se, found.base) == (alone.gain, alone.se, alone.base)
    assert found.c == menu.c > alone.c
    assert found.high - found.gain == pytest.approx(menu.c * found.se)
    assert found.gain - found.low == pytest.approx(menu.c * found.se)
    with pytest.raises(ValueError, match="one chosen entry, not for 2"):
        estimate_chosen(planted((1.0, 2.0)), c=2.0, seed=0)


def test_the_best_of_a_null_menu_under_correlated_heads_is_rarely_called_a_gain():
    """Twelve entries no better than the base; the one that looked best is judged anew by heads that mostly agree."""
    false_alarms = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 9])
        ability, tested = rng.normal(size=150), rng.random((4, 150)) < 0.8
        own = 0.8 * rng.normal(size=(13, 1, 150))  # what a head of the same encoder gets right again
        plain, tuned = (ability + own + 0.4 * rng.normal(size=(13, 4, 150)) > -0.8 for _ in range(2))
        names = tuple(f"entry{e}" for e in range(12))
        menu = estimate(Scores(names, plain, tested, np.arange(150)), n_boot=200, seed=seed)
        best = int(menu.gain.argmax())
        chosen = Scores((names[best],), tuned[[0, 1 + best]], tested, np.arange(150))
        false_alarms += bool(estimate_chosen(chosen, c=menu.c, n_boot=200, seed=seed).low[0] > 0)
    assert false_alarms <= 3


def test_a_large_menu_is_estimated_in_about_a_second():
    rng = np.random.default_rng(0)
    outcomes = Scores(
        tuple("abcdefghijkl"), rng.random((13, 20, 2310)) < 0.8, rng.random((20, 2310)) < 0.83, np.arange(2310)
    )
    started = time.process_time()
    estimate(outcomes, seed=0)
    assert time.process_time() - started < 4


def test_outcomes_with_a_missing_row_are_refused():
    with pytest.raises(ValueError, match="2 entries need 3 rows, got 2"):
        Scores(("a", "b"), np.ones((2, 1, 4), dtype=bool), np.ones((1, 4), dtype=bool), np.arange(4))


# --- verdicts


def test_the_best_of_the_proven_entries_is_adopted():
    answer = decided(an_estimate([4.0, 3.0, 2.0], [4.0, 1.0, 1.0]))
    assert (answer.decision.choice, answer.entry, answer.gain) == ("adopt", "entry1", 3.0)
    assert answer.interval == (2.0, 4.0)
    assert answer.labels_needed is None
    assert "+3.0 points" in answer.decision.sentence


def test_an_entry_outside_its_guards_is_passed_over():
    answer = decided(an_estimate([4.0, 3.0], [1.0, 1.0]), {"entry0": "it forgot too much"})
    assert (answer.decision.choice, answer.entry) == ("adopt", "entry1")


def test_the_base_is_kept_when_no_entry_stays_within_its_guards():
    answer = decided(an_estimate([4.0], [1.0]), {"entry0": "general similarity fell by 3.1 points."})
    assert answer.decision.choice == "keep_base"
    assert "general similarity fell by 3.1 points." in answer.decision.sentence


@pytest.mark.parametrize(
    ("gain", "half_width", "choice"),
    [
        (0.0, 3.0, "keep_base"),  # the best gain is not above zero
        (0.2, 0.2, "keep_base"),  # the upper end is below the smallest gain
        (0.2, 0.4, "inconclusive"),
        (1.0, 0.5, "inconclusive"),  # the lower end must exceed the smallest gain, not meet it
        (1.01, 0.5, "adopt"),
        (-2.0, 5.0, "keep_base"),
    ],
)
def test_the_rule_at_its_edges(gain: float, half_width: float, choice: str):
    assert decided(an_estimate([gain], [half_width])).decision.choice == choice


def test_identical_answers_leave_an_interval_by_the_rule_of_three():
    for n in (17, 400):
        right = np.random.default_rng(n).random((20, n)) < 0.7
        outcomes = Scores(("same",), np.stack([right, right]), np.ones((20, n), dtype=bool), np.arange(n))
        for found in (estimate(outcomes, seed=0), estimate_on_test(outcomes, seed=0)):
            assert found.gain[0] == 0
            assert found.high[0] == -found.low[0] >= 100 * 3 / n


@pytest.mark.parametrize("gain", [-9.0, 0.0, 9.0])
def test_seventeen_labels_decide_nothing_whatever_they_show(gain: float):
    answer = decided(an_estimate([gain], [0.1], n=17), n_clusters=17)
    assert answer.decision.choice == "inconclusive"
    assert "17 independent labelled examples are too few to decide by (at least 100)" in answer.decision.sentence
    assert answer.labels_needed is not None and answer.labels_needed >= 100


def test_where_only_the_number_of_examples_is_wanting_as_many_are_asked_for_and_no_gain_is_supposed():
    answer = decided(an_estimate([9.0], [0.1], n=98), n_clusters=98)
    assert answer.decision.choice == "inconclusive" and answer.labels_needed == 100 and answer.settles is None
    assert "About 100 labelled examples are enough where they show what these do." in answer.decision.sentence


def test_where_few_examples_show_a_loss_a_hundred_such_would_decide_and_no_gain_is_supposed():
    answer = decided(an_estimate([-45.0], [8.0], n=60), n_clusters=60)
    assert answer.decision.choice == "inconclusive" and answer.labels_needed == 100 and answer.settles is None
    assert "would settle it if the true gain" not in answer.decision.sentence


def test_seventeen_labels_decide_nothing_of_what_is_outside_its_guards_either():
    answer = decided(an_estimate([3.0], [0.1], n=17), {"entry0": "it forgot too much."}, n_clusters=17)
    assert answer.decision.choice == "inconclusive"
    assert "no challenger stayed within its guards (it forgot too much), and 17 indep" in answer.decision.sentence


@pytest.mark.parametrize("n", [17, 1000])
def test_where_others_were_not_asked_it_is_the_best_challenger_alone_that_left_its_guards(n: int):
    estimate = an_estimate([3.0], [0.1], n=n)
    answer = decided(estimate, {"entry0": "it forgot."}, n_clusters=n, others_unasked=True).decision
    assert answer.choice == ("inconclusive" if n == 17 else "keep_base")
    left, why = "the best challenger, entry0, did not stay within its guards", "it forgot; no other was asked"
    assert (f"{left} ({why}), and 17 indep" if n == 17 else f"{left}: {why}.") in answer.sentence


def test_labels_needed_where_hardly_an_outcome_differs_fall_as_the_rule_of_three_does():
    right = np.random.default_rng(0).random((20, 17)) < 0.7
    outcomes = Scores(("same",), np.stack([right, right]), np.ones((20, 17), dtype=bool), np.arange(17))
    needed = decided(estimate(outcomes, seed=0), n_clusters=17).labels_needed
    assert needed is not None and 200 <= needed <= 500  # by 1 / sqrt(n) it would be thousands


def test_what_is_shown_on_the_way_has_no_width_of_nought_either():
    right = np.random.default_rng(0).random((20, 60)) < 0.7
    gain, (low, high) = so_far(
        Scores(("same",), np.stack([right, right]), np.ones((20, 60), dtype=bool), np.arange(60))
    )
    assert (gain, low, high) == (0.0, pytest.approx(-5.0), pytest.approx(5.0))


def test_where_nothing_was_trained_there_is_no_gain_and_no_interval():
    answer = decided(an_estimate([], []))
    assert (answer.decision.choice, answer.gain, answer.interval, answer.adapted) == ("keep_base", None, None, None)


def test_under_a_hundred_clusters_nothing_is_adopted():
    found = an_estimate([9.0], [1.0], n=99)
    answer = decided(found, n_clusters=99)
    assert answer.decision.choice == "inconclusive"
    assert "99 independent labelled examples are too few" in answer.decision.sentence
    assert answer.labels_needed is not None
    assert answer.labels_needed >= 100
    assert decided(an_estimate([9.0], [1.0], n=100), n_clusters=100).decision.choice == "adopt"


def test_labels_needed_follow_the_formula_and_are_rounded_up():
    answer = decided(an_estimate([1.0], [3.4], n=385))  # SE 1.7, c 2: 385 · (2.84 · 1.7 / 1.5)² = 3,988
    assert answer.labels_needed == 4000
    assert answer.settles == 2.0
    assert "4,000 labelled examples would settle it if the true gain is 2 points" in answer.decision.sentence


def test_labels_needed_do_not_depend_on_the_observed_gain():
    needed = {decided(an_estimate([gain], [3.4], n=385)).labels_needed for gain in (0.1, 1.0, 3.0)}
    assert len(needed) == 1


def test_where_the_stated_gain_would_have_shown_a_smaller_one_is_planned_for():
    answer = decided(an_estimate([0.8], [0.6], n=2000))  # SE 0.3: 2000 · (2.84 · 0.3 / 1.5)² = 645 labels for 2 points
    assert (answer.labels_needed, answer.settles) == (2600, 1.25)


def test_a_gain_to_settle_that_is_no_larger_than_the_smallest_gain_is_refused():
    with pytest.raises(ConfigError, match=r"settle_gain = 0.5 must exceed smallest_gain = 0.5"):
        decided(an_estimate([1.0], [1.0]), settle_gain=0.5)


# --- during training


def test_halving_keeps_the_best_and_breaks_ties_by_order():
    assert halve({"mlm": 0.1, "simcse": 1.0, "turns": 0.1, "none": -1.0}, keep=2) == ("simcse", "mlm")


def asked(gains: tuple[float, ...], *, worth: float = 0.5, end: float = 6.0, n: int = 4000) -> Decision:
    """What is to be done after checkpoints of these gains at equal distances, 1, 2, ... of `end`."""
    places = [float(place) for place in range(1, len(gains) + 1)]
    return continue_training(planted(gains, n=n), progress=places, end=end, worth=worth)


def test_training_continues_while_more_may_be_worth_having():
    assert asked((1.0,)).choice == "continue"
    assert asked((1.0, 3.0)).choice == "continue"
    assert asked((1.0, 2.0, 3.0)).choice == "continue"


def test_training_decays_at_saturation():
    assert asked((3.0, 3.0, 3.0)).choice == "decay"
    assert asked((3.0, 2.0)).choice == "decay"
    assert asked((1.0, 2.0, 3.0), worth=6.0).choice == "decay"
    assert asked((1.0, 2.0, 3.0), end=3.2).choice == "decay"  # a rise goes on, and there is no time left for it


def test_the_sentence_says_what_more_training_would_bring():
    assert re.search(
        r"Decay: entry2 has \+[23]\.\d points over the base model, and all further steps are expected to bring "
        r"[+−-]?0\.\d more \(more than 0\.5: \d% likely\)\.",
        asked((3.0, 3.0, 3.0)).sentence,
    )


def test_few_labels_that_cannot_tell_do_not_stop_a_rise():
    assert asked((1.0, 1.2), n=100).choice == "continue"


def test_training_stops_at_harm():
    decision = asked((2.0, -6.0), n=400)
    assert decision.choice == "stop"
    assert "worse than the base model" in decision.sentence


def test_each_checkpoint_needs_its_place():
    with pytest.raises(ValueError, match="2 checkpoints to decide on, and 1 places"):
        continue_training(planted((1.0, 2.0)), progress=[1.0], end=3.0, worth=0.5)


# --- heats


def test_a_candidate_that_another_is_clearly_ahead_of_is_out():
    out = behind(planted((4.0, -6.0, 4.0), n=2000), seed=0)
    assert list(out) == ["entry1"]
    assert re.fullmatch(r"entry[02] is ahead of entry1 by at least \+\d\.\d points", out["entry1"])
    assert not behind(planted((4.0,), n=2000), seed=0)


def test_candidates_are_compared_with_each_other_and_what_they_share_against_the_base_does_not_hide_who_is_ahead():
    """Both differ from the base on the same third of the examples, by chance; one is right on a few more."""
    rng = np.random.default_rng(0)
    base = rng.random((4, 600)) < 0.6
    shared = np.where(rng.random((4, 600)) < 0.33, rng.random((4, 600)) < 0.6, base)
    better = shared | (rng.random((4, 600)) < 0.05)
    pilots = Scores(("shared", "better"), np.stack([base, shared, better]), np.ones((4, 600), bool), np.arange(600))
    gains = estimate(pilots, seed=0)
    assert gains.high[0] > gains.low[1]  # their intervals over the base overlap
    assert list(behind(pilots, seed=0)) == ["shared"]


def test_equal_candidates_and_those_that_few_labels_cannot_tell_apart_all_stay():
    assert not behind(planted((2.0, 2.0, 2.0), n=2000), seed=0)
    assert not behind(planted((3.0, 1.0), n=60), seed=0)


def test_the_best_candidate_is_out_in_at_most_a_twentieth_of_races():
    """Three candidates whose true gains are alike but for the first's, which is the best by a little."""
    rng, lost = np.random.default_rng(0), 0
    for trial in range(200):
        truth = (0.705, 0.70, 0.70)
        own = [rng.random((4, 300)) < share for share in (0.7, *truth)]
        pilots = Scores(("a", "b", "c"), np.stack(own), np.ones((4, 300), dtype=bool), np.arange(300))
        lost += "a" in behind(pilots, n_boot=200, seed=trial)
    assert lost <= 10


# --- bands


def test_a_menus_entries_as_points_get_the_estimates_own_gains_and_intervals() -> None:
    outcomes = planted((2.0, 4.0), per_cluster=2)
    found, along = estimate(outcomes, n_boot=300, seed=1), band(Points.of(outcomes), n_boot=300, seed=1)
    np.testing.assert_allclose(along.gain, found.gain, atol=1e-4)
    np.testing.assert_allclose(along.low, found.low, atol=1e-3)
    np.testing.assert_allclose(along.high, found.high, atol=1e-3)
    np.testing.assert_allclose(along.base, [found.base] * 2, atol=1e-4)


def test_points_with_tests_of_their_own_are_each_measured_on_those() -> None:
    rng = np.random.default_rng(0)
    base, adapted, tested = (rng.random((3, 4, 60)) < share for share in (0.6, 0.7, 0.5))
    cluster = np.arange(60) // 2
    found = band(Points(("1", "2", "5"), base, adapted, tested, cluster), n_boot=50, seed=0)
    for p in range(3):
        alone = band(Points(("x",), base[p : p + 1], adapted[p : p + 1], tested[p : p + 1], cluster), n_boot=50, seed=0)
        by_hand = 100 * (adapted[p][tested[p]].mean() - base[p][tested[p]].mean())
        assert found.gain[p] == pytest.approx(by_hand, abs=1e-4)
        np.testing.assert_allclose(found.resampled[:, p], alone.resampled[:, 0], atol=1e-4)


# --- over-fitting


def falling(checkpoints: int) -> list[list[float]]:
    """A pretext loss that falls from checkpoint to checkpoint."""
    return [[3.0 - 0.5 * e + 0.02 * (step % 3) for step in range(6)] for e in range(checkpoints)]


def test_a_probe_that_falls_while_the_pretext_loss_falls_is_over_fitting() -> None:
    alarm = overfitting(planted((3.0, 6.0, -4.0)), falling(3), n_boot=300, seed=0)
    assert alarm.fires and alarm.better == "entry1"
    assert alarm.change == pytest.approx(-10.0, abs=2.0)
    assert alarm.interval[0] <= alarm.change <= alarm.interval[1] < 0
    assert "pretext loss fell from 2.52 to 2.02" in alarm.decision.sentence


def test_where_the_pretext_loss_rises_or_stands_still_it_is_not_over_fitting() -> None:
    outcomes = planted((3.0, 6.0, -4.0))
    for last in ([4.0] * 6, falling(3)[1]):
        assert not overfitting(outcomes, [*falling(2), last], n_boot=300, seed=0).fires


def test_a_probe_that_rises_or_stays_is_not_over_fitting() -> None:
    for gains in ((1.0, 3.0, 6.0), (3.0, 3.0, 3.0)):
        alarm = overfitting(planted(gains), falling(3), n_boot=300, seed=0)
        assert not alarm.fires and alarm.decision.choice == "continue"


def test_held_out_text_tells_learning_by_heart_from_learning_something_else() -> None:
    outcomes = planted((3.0, 6.0, -4.0))
    told = [
        overfitting(outcomes, falling(3), held_out=bits, n_boot=300, seed=0).decision.sentence
        for bits in ([3.0, 2.5, 2.8], [3.0, 2.5, 2.2])
    ]
    assert "by heart" in told[0] and "not what the labels ask for" in told[1]


def test_runs_without_any_true_fall_raise_the_alarm_in_at_most_five_of_a_hundred() -> None:
    alarms, runs = 0, 200
    for seed in range(runs):
        rng = np.random.default_rng([seed, 3])
        ability = rng.normal(size=120)
        correct = ability + rng.normal(size=(6, 1, 120)) + 0.5 * rng.normal(size=(6, 4, 120)) > -0.8
        tested = rng.random((4, 120)) < 0.8
        names = tuple(f"entry{e}" for e in range(5))
        alarms += any(
            overfitting(
                Scores(names[:looks], correct[: looks + 1], tested, np.arange(120)),
                falling(looks), n_boot=150, seed=seed,
            ).fires
            for looks in (3, 4, 5)
        )  # fmt: skip
    assert alarms <= 0.05 * runs


def test_one_checkpoint_or_an_empty_log_cannot_be_judged() -> None:
    for outcomes, losses in ((planted((1.0,)), falling(1)), (planted((1.0, 2.0)), [[1.0], []])):
        with pytest.raises(ValueError, match="nothing to compare"):
            overfitting(outcomes, losses, seed=0)


def test_where_more_examples_are_not_read_none_are_asked_for():
    fixed = ACCURACY.model_copy(update={"grows": False})
    ruling = decided(replace(an_estimate([0.5], [1.0]), measure=fixed))
    assert ruling.labels_needed is None and "would settle it" not in ruling.conclusion
    assert ruling.conclusion.endswith("More labelled examples are not read; a longer training may show a larger gain.")
