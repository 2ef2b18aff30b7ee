"""Heads on many label sets at once, against scikit-learn one by one."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from shoptalk.nn.heads.many import fit_many


def world(n: int, classes: int, width: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around class centres, and the classes."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % classes
    vectors = rng.normal(size=(classes, width))[codes] + 1.2 * rng.normal(size=(n, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), codes


def loss(
    weights: np.ndarray, bias: np.ndarray, x: np.ndarray, codes: np.ndarray, counts: np.ndarray, inverse: float
) -> float:
    """The mean cross-entropy by counts + ||W||^2 / (2 C sum of counts), in float64."""
    scores = x @ weights.T + bias
    shifted = scores - scores.max(axis=1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    data = -(counts * log[np.arange(len(codes)), codes]).sum() / counts.sum()
    return float(data + (weights**2).sum() / (2 * inverse * counts.sum()))


@pytest.mark.parametrize(("classes", "width", "inverse"), [(3, 8, 20.0), (7, 32, 20.0), (4, 16, 2.0), (5, 1_500, 20.0)])
def test_each_head_is_the_logistic_regression_of_its_own_texts(classes: int, width: int, inverse: float) -> None:
    vectors, codes = world(210, classes, width)
    rng = np.random.default_rng(1)
    counts = (rng.random((6, 210)) < 0.8).astype(float)
    counts[:, :14] = 2.0  # a text may count twice
    heads = fit_many(vectors, codes, counts, n_classes=classes, inverse_penalty=inverse)
    unseen, _ = world(500, classes, width, seed=3)
    for head, weights in zip(heads, counts, strict=True):
        model = LogisticRegression(C=inverse, tol=1e-8, max_iter=5000).fit(vectors, codes, sample_weight=weights)
        reached = loss(head.weights, head.intercepts, vectors, codes, weights, inverse)
        best = loss(model.coef_, model.intercept_, vectors, codes, weights, inverse)
        assert reached - best < 1e-4
        assert (head.predict(unseen) == model.predict(unseen)).mean() > 0.98


def test_what_other_sets_hold_does_not_change_a_head() -> None:
    vectors, codes = world(90, 3, 8)
    counts = np.ones((2, 90))
    counts[0, :18] = 0
    wrong = codes.copy()
    wrong[:18] = (wrong[:18] + 1) % 3  # texts that the first set does not hold
    unseen, _ = world(600, 3, 8, seed=5)
    one, other = (fit_many(vectors, c, counts, n_classes=3, inverse_penalty=20.0) for c in (codes, wrong))
    assert (one[0].predict(unseen) == other[0].predict(unseen)).mean() > 0.99
    assert (one[1].predict(unseen) == other[1].predict(unseen)).mean() < 0.95


def test_sets_solved_one_by_one_are_those_solved_together(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, codes = world(100, 5, 12)
    counts = (np.arange(4)[:, None] != np.arange(100) % 4).astype(float)
    together = fit_many(vectors, codes, counts, n_classes=5, inverse_penalty=20.0)
    monkeypatch.setattr("shoptalk.nn.heads.many._SCORES", 1)
    for one, other in zip(fit_many(vectors, codes, counts, n_classes=5, inverse_penalty=20.0), together, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=0.02)
