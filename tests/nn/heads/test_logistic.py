"""Regressions against scikit-learn's, where both minimise the same thing."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from shoptalk.nn.heads.logistic import LinearHead, fit, fit_multi, fit_soft, log_softmax, one_hot


def vectors_of(n: int, *, width: int = 6, seed: int = 0) -> np.ndarray:
    """Unit vectors, not around the origin."""
    found = np.random.default_rng(seed).normal(size=(n, width)) + 0.5
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def peer(C: float, vectors: np.ndarray, truth: np.ndarray, weights: Any = None) -> LogisticRegression:  # noqa: N803
    return LogisticRegression(C=C, tol=1e-9, max_iter=5_000).fit(vectors.astype(np.float64), truth, weights)


def centred(intercepts: np.ndarray) -> np.ndarray:
    """Only differences between intercepts matter."""
    return intercepts - intercepts.mean()


@pytest.mark.parametrize("classes", [3, 8])
def test_certain_targets_give_scikit_learns_multinomial_regression(classes: int) -> None:
    vectors, codes = vectors_of(80), np.random.default_rng(1).integers(0, classes, 80)
    head = fit_soft(vectors, one_hot(codes, classes), np.arange(classes), penalty=1 / (5 * 80), steps=200)
    found = peer(5.0, vectors, codes)
    assert_allclose(head.weights, found.coef_, atol=0.01)
    assert_allclose(centred(head.intercepts), centred(found.intercept_), atol=0.01)
    plain = fit(vectors, codes, C=5.0)
    assert_allclose(plain.scores(vectors), found.decision_function(vectors), atol=0.02)


def test_two_labels_have_a_row_of_weights_each() -> None:
    vectors, names = vectors_of(40), np.array(["no", "yes"])
    codes = (vectors[:, 0] > 0.3).astype(int)
    one, other = fit(vectors, names[codes], C=4.0), fit_soft(vectors, one_hot(codes, 2), names, penalty=1 / 160)
    assert one.weights.shape == other.weights.shape == (2, 6)
    # scikit-learn penalises the difference of the rows and not the rows, so the latter's penalty counts half.
    half = fit_soft(vectors, one_hot(codes, 2), names, penalty=2 / 160, steps=200)
    assert_allclose(one.weights, half.weights, atol=0.02)
    assert (one.predict(vectors) == names[codes]).mean() > 0.9


def test_weights_count_as_repetitions_and_only_their_ratios_matter() -> None:
    vectors, codes, rng = vectors_of(60), np.random.default_rng(1).integers(0, 3, 60), np.random.default_rng(2)
    times = rng.integers(1, 4, 60)
    settings: dict[str, Any] = {"penalty": 0.01, "steps": 200}
    weighted = fit_soft(vectors, one_hot(codes, 3), np.arange(3), weights=7.0 * times, **settings)
    repeated = fit_soft(
        np.repeat(vectors, times, axis=0), one_hot(np.repeat(codes, times), 3), np.arange(3), **settings
    )
    assert_allclose(weighted.weights, repeated.weights, atol=0.005)
    assert not np.allclose(weighted.weights, fit_soft(vectors, one_hot(codes, 3), np.arange(3), **settings).weights)


def test_a_soft_target_counts_as_its_shares_of_examples() -> None:
    vectors, targets = vectors_of(30, width=4), np.random.default_rng(5).dirichlet(np.ones(3), 30)
    head = fit_soft(vectors, targets, np.arange(3), penalty=1 / (3 * 30), steps=200)
    rows, labels = np.repeat(np.arange(30), 3), np.tile(np.arange(3), 30)
    assert_allclose(head.weights, peer(3.0, vectors[rows], labels, targets.ravel()).coef_, atol=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_several_labels_a_text_are_as_many_regressions_one_against_the_rest(weighted: bool) -> None:
    rng = np.random.default_rng(3)
    vectors, targets = vectors_of(70), (rng.random((70, 4)) < 0.3).astype(np.float32)
    weights = rng.random(70) + 0.2 if weighted else None
    head = fit_multi(vectors, targets, np.arange(4), weights=weights, penalty=1 / (5 * 70))
    for label in range(4):
        found = peer(5.0, vectors, targets[:, label], None if weights is None else weights / weights.mean())
        assert_allclose(head.weights[label], found.coef_[0], atol=0.02)
        assert_allclose(head.intercepts[label], found.intercept_[0], atol=0.02)


def test_a_head_to_go_on_from_ends_where_a_fresh_one_does_and_gets_there_sooner() -> None:
    vectors, codes = vectors_of(60), np.random.default_rng(1).integers(0, 3, 60)
    targets = one_hot(codes, 3)
    done = fit_soft(vectors, targets, np.arange(3), penalty=0.01, steps=200)
    kept = done.weights.copy()
    again = fit_soft(vectors, targets, np.arange(3), penalty=0.01, start=done, steps=1)
    assert_allclose(again.weights, done.weights, atol=0.005)
    assert np.abs(fit_soft(vectors, targets, np.arange(3), penalty=0.01, steps=1).weights - kept).max() > 0.05
    np.testing.assert_array_equal(done.weights, kept)  # the head that was given stays as it is


def test_permuting_the_classes_permutes_the_head() -> None:
    vectors, targets = vectors_of(50), np.random.default_rng(5).dirichlet(np.ones(4), 50)
    names, order = np.array(list("abcd")), np.array([2, 0, 3, 1])
    one = fit_soft(vectors, targets, names, penalty=0.01, steps=200)
    other = fit_soft(vectors, targets[:, order], names[order], penalty=0.01, steps=200)
    assert_allclose(other.weights, one.weights[order], atol=0.005)
    assert (one.predict(vectors) == other.predict(vectors)).all()


def test_the_prediction_is_the_label_with_the_largest_score() -> None:
    head = LinearHead(np.eye(2, dtype=np.float32), np.array([0.0, 0.5], dtype=np.float32), np.array(["a", "b"]))
    points = np.array([[1.0, 0.0], [0.4, 0.0]], dtype=np.float32)
    assert_allclose(head.scores(points), [[1.0, 0.5], [0.4, 0.5]])
    assert head.predict(points).tolist() == ["a", "b"]


def test_log_probabilities_of_huge_scores_are_finite_and_add_up_to_one() -> None:
    found = log_softmax(np.array([[1e4, 0.0, -1e4], [3.0, 3.0, 3.0]]))
    assert np.isfinite(found).all()
    assert_allclose(np.exp(found).sum(axis=1), 1.0)
    assert_allclose(found[1], np.log(1 / 3))
