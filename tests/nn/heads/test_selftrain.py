"""Self-training, where the truth is planted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from shoptalk.nn.heads.logistic import LinearHead, fit_soft, log_softmax, one_hot
from shoptalk.nn.heads.selftrain import balanced, self_train, sharpened


def mixture(n: int, shares: np.ndarray, rng: np.random.Generator, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of as many Gaussians as there are centres, on the sphere, and which of them each comes from."""
    codes = rng.choice(len(shares), size=n, p=shares)
    points = centres[codes] + 0.45 * rng.normal(size=(n, centres.shape[1])) / np.sqrt(centres.shape[1] / 8)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), codes


def plain(vectors: np.ndarray, codes: np.ndarray, classes: int) -> LinearHead:
    return fit_soft(vectors, one_hot(codes, classes), np.arange(classes), penalty=1 / (20 * len(codes)))


def world(seed: int, *, classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two labelled points a class, 500 unlabelled ones, and 500 to test on."""
    rng = np.random.default_rng(seed)
    centres, shares = np.eye(classes, 24), np.full(classes, 1 / classes)
    pool, _ = mixture(500, shares, rng, centres)
    tests, truth = mixture(500, shares, rng, centres)
    many, codes = mixture(200, shares, rng, centres)
    few = np.concatenate([np.flatnonzero(codes == code)[:2] for code in range(classes)])
    return many[few], codes[few], pool, tests, truth


# --- balance and sharpening


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(2, 6), st.integers(30, 120))
def test_balanced_rows_add_up_to_one_and_columns_approach_their_shares(seed: int, classes: int, texts: int) -> None:
    rng = np.random.default_rng(seed)
    log = log_softmax(rng.normal(scale=1.5, size=(texts, classes)) + rng.normal(size=classes)).astype(np.float32)
    shares = rng.dirichlet(np.full(classes, 5.0))
    found = balanced(log, shares)
    assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert (found >= 0).all()
    assert_allclose(found.mean(axis=0), shares, atol=0.01)


def test_balancing_is_sinkhorns_iteration_written_as_a_loop() -> None:
    rng = np.random.default_rng(0)
    log, shares = log_softmax(rng.normal(size=(9, 3))), np.array([0.5, 0.3, 0.2])
    wanted = np.exp(log)
    for _ in range(20):
        for c in range(3):
            wanted[:, c] *= shares[c] * 9 / sum(wanted[i, c] for i in range(9))
        for i in range(9):
            wanted[i] /= sum(wanted[i, c] for c in range(3))
    assert_allclose(balanced(log, shares), wanted, atol=1e-6)


def test_balancing_keeps_who_is_surer_of_a_class_and_does_not_touch_its_input() -> None:
    log = log_softmax(np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32))
    before = log.copy()
    found = balanced(log, np.array([0.9, 0.1]))
    assert (np.argsort(found[:, 0], kind="stable") == np.argsort(log[:, 0] - log[:, 1], kind="stable")).mean() > 0.95
    np.testing.assert_array_equal(log, before)


def test_a_class_that_nobody_believes_in_gives_no_nan() -> None:
    log = np.array([[0.0, -1e4], [-0.1, -1e4]], dtype=np.float32)
    found = balanced(log, np.array([0.5, 0.5]))
    assert np.isfinite(found).all()
    assert_allclose(found.sum(axis=1), 1.0)


def test_sharpening_squares_and_normalises() -> None:
    found = sharpened(np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]))
    assert_allclose(found, [[25 / 38, 9 / 38, 4 / 38], [1, 0, 0]])


# --- self-training


def test_on_a_mixture_of_gaussians_it_beats_the_plain_head() -> None:
    gains = []
    for seed in range(8):
        vectors, codes, pool, tests, truth = world(seed)
        head = plain(vectors, codes, 5)
        taught = self_train(head, vectors, codes, pool, rounds=5)
        gains.append(100 * ((taught.predict(tests) == truth).mean() - (head.predict(tests) == truth).mean()))
    assert np.mean(gains) > 5 and min(gains) > -2


def test_permuting_the_classes_permutes_what_is_learned() -> None:
    vectors, codes, pool, tests, _ = world(0)
    order = np.array([3, 1, 4, 0, 2])  # class c is called order[c]
    one = self_train(plain(vectors, codes, 5), vectors, codes, pool, rounds=2)
    other = self_train(plain(vectors, order[codes], 5), vectors, order[codes], pool, rounds=2)
    assert_allclose(other.weights[order], one.weights, atol=0.3)
    assert (other.predict(tests) == order[one.predict(tests)]).mean() > 0.99


def test_labels_are_not_forgotten_and_no_round_is_no_change() -> None:
    vectors, codes, pool, _, _ = world(1)
    head = plain(vectors, codes, 5)
    assert self_train(head, vectors, codes, pool, rounds=0) is head
    taught = self_train(head, vectors, codes, pool, rounds=5)
    assert (taught.predict(vectors) == codes).all()
    assert taught.labels is head.labels


def test_balance_keeps_an_easy_class_from_swallowing_the_others() -> None:
    vectors, codes, pool, _, _ = world(2)
    head = plain(vectors, codes, 5)
    greedy = LinearHead(head.weights, head.intercepts + np.array([3, 0, 0, 0, 0], dtype=np.float32), head.labels)
    assert (greedy.predict(pool) == 0).mean() > 0.5
    taught = self_train(greedy, vectors, codes, pool, rounds=5)
    assert (taught.predict(pool) == 0).mean() < 0.45
