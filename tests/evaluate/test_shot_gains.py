"""Gains per number of labels and per task: the draws, the folds and the intervals behind them."""

import numpy as np
import pytest

from shoptalk import decide
from shoptalk.evaluate.shot_gains import out_of_fold, retrieval_gain, shots_gains
from shoptalk.probes.linear import kshot_outcomes


def labelled(n: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of three classes, and the classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    vectors = np.eye(8)[labels] + noise * rng.normal(size=(n, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_rows_go_as_far_as_the_labels_do_and_are_those_of_the_draws() -> None:
    base, labels = labelled(60, noise=0.6)
    adapted, _ = labelled(60, noise=0.4)
    cluster = np.arange(60)
    rows = shots_gains(base, adapted, labels, cluster, entry="x@1", shots=5, n_draws=4, c=2.5, seed=3)
    assert [row["shots"] for row in rows] == [1, 5, 10, "full"]
    for row in rows[:3]:
        drawn = decide.draws(labels, cluster, shots=row["shots"], n_draws=4, seed=3)
        for arm, vectors in (("base", base), ("adapted", adapted)):
            correct = kshot_outcomes(vectors, labels, drawn.training)
            assert row[arm] == pytest.approx(100 * correct[drawn.tested].mean(), abs=1e-4)
        assert row["gain"] == pytest.approx(row["adapted"] - row["base"], abs=1e-4)
        assert row["interval"][0] <= row["gain"] <= row["interval"][1]
        assert (row["task"], row["head"], row["draws"]) == ("intent", "linear", 4)
    assert rows[-1]["draws"] is None and rows[-1]["n"] == 60


def test_a_wider_quantile_of_the_menu_widens_every_interval() -> None:
    base, labels = labelled(60, noise=0.6)
    adapted, _ = labelled(60, noise=0.5)
    narrow, wide = (
        shots_gains(base, adapted, labels, np.arange(60), entry="x@1", shots=5, n_draws=4, c=c, seed=3)
        for c in (2.0, 3.0)
    )
    for one, other in zip(narrow, wide, strict=True):
        widths = [row["interval"][1] - row["interval"][0] for row in (one, other)]
        assert widths[1] == pytest.approx(1.5 * widths[0], rel=1e-6)


def test_few_labels_leave_out_what_they_do_not_pay_for() -> None:
    vectors, labels = labelled(18, noise=0.5)  # six a class, of which 80 % are four
    rows = shots_gains(vectors, vectors, labels, np.arange(18), entry="x@1", shots=3, n_draws=2, c=2.0, seed=0)
    assert [row["shots"] for row in rows] == [1, 3, "full"]
    half = 2.0 * 100 * 3 / 1.96 / 18  # equal answers to 18 messages: the rule of three, no certainty
    assert all(row["gain"] == 0 and row["interval"] == pytest.approx([-half, half]) for row in rows)


def test_the_shots_that_are_asked_for_have_a_row_though_a_class_has_fewer() -> None:
    vectors, labels = labelled(60, noise=0.5)
    few = np.flatnonzero((labels > 0) | (np.arange(60) < 10))  # four of the first class
    rows = shots_gains(vectors[few], vectors[few], labels[few], few, entry="x@1", shots=7, n_draws=2, c=2.0, seed=0)
    assert [row["shots"] for row in rows] == [1, 7, "full"]


def test_folds_keep_clusters_whole_and_classes_apart() -> None:
    rng = np.random.default_rng(0)
    cluster = rng.integers(40, size=100)
    labels = (cluster % 7).astype(np.int64)
    fold = decide.deal_folds(labels, cluster, seed=1)
    assert set(fold) == set(range(decide.FOLDS))
    for number in np.unique(cluster):
        assert len(set(fold[cluster == number])) == 1
    for label in range(7):
        assert len(set(fold[labels == label])) > 1
    assert np.bincount(fold).min() > 5


def test_nobody_is_answered_by_a_head_that_learned_from_its_fold() -> None:
    # Random labels: whoever has seen a text knows its label, whoever has not guesses.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(90, 64)).astype(np.float32)
    labels = rng.integers(3, size=90)
    fold = decide.deal_folds(labels, np.arange(90), seed=0)
    assert kshot_outcomes(vectors, labels, np.arange(90)[None]).mean() == 1.0
    found = out_of_fold(vectors, labels, fold)
    assert 0.15 < found.mean() < 0.55
    one = fold == 2
    expected = kshot_outcomes(vectors, labels, np.flatnonzero(~one)[None])[0]
    np.testing.assert_array_equal(found[one], expected[one])


def test_a_label_that_the_other_folds_lack_is_an_error_and_no_failure() -> None:
    vectors, labels = labelled(30, noise=0.2)
    labels = labels.copy()
    labels[0] = 3
    found = out_of_fold(vectors, labels, np.arange(30) % 2)
    assert not found[0] and found[1:].mean() > 0.8


def test_the_gain_in_retrieval_is_resampled_by_conversation() -> None:
    rng = np.random.default_rng(0)
    conversation = np.repeat(np.arange(30), 4)
    base = rng.random(120)
    adapted = base + 0.1 + 0.05 * rng.normal(size=30)[conversation]  # pairs of a conversation gain alike
    found = retrieval_gain(base.tolist(), adapted.tolist(), conversation.tolist(), seed=0)
    assert found is not None
    assert found["gain"] == pytest.approx(100 * (adapted - base).mean())
    assert found["gain"] == pytest.approx(found["adapted"] - found["base"])
    means = np.array([(adapted - base)[conversation == c].mean() for c in range(30)])
    expected = 2 * 1.96 * 100 * means.std() / np.sqrt(30)
    assert found["interval"][1] - found["interval"][0] == pytest.approx(expected, rel=0.15)
    alone = retrieval_gain(base.tolist(), adapted.tolist(), list(range(120)), seed=0)
    assert alone is not None  # were pairs independent, the interval would be half as wide
    assert np.diff(alone["interval"]) < 0.65 * np.diff(found["interval"])
    assert found["n"] == 120 and found["unit"] == "points"


@pytest.mark.parametrize("conversations", [[], [4, 4, 4]])
def test_fewer_than_two_conversations_give_no_gain_in_retrieval(conversations: list[int]) -> None:
    ranks = [0.5] * len(conversations)
    assert retrieval_gain(ranks, ranks, conversations, seed=0) is None


def test_retrieval_in_which_no_conversation_differs_is_equal_only_up_to_the_rule_of_three() -> None:
    found = retrieval_gain([0.5] * 40, [0.5] * 40, list(range(40)), seed=0)
    assert found is not None
    assert (found["gain"], found["interval"]) == (0.0, [pytest.approx(-7.5), pytest.approx(7.5)])
