"""The batched solver against scikit-learn's, and the probe against a count by hand."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from shoptalk.nn.heads.logistic import fit
from shoptalk.probes.linear import _solve, kshot_outcomes, linear_probe, probe_outcomes
from shoptalk.records import Reading

C = 20.0


def intents(n_classes: int, per_class: int, *, dim: int = 48, noise: float = 0.35, seed: int = 0):
    """Unit vectors around class centres that share a mean and a few common directions, as text embeddings do."""
    rng = np.random.default_rng(seed)
    parents = rng.normal(size=(max(2, n_classes // 5), dim))
    centres = parents[np.arange(n_classes) % len(parents)] + 0.6 * rng.normal(size=(n_classes, dim))
    labels = np.repeat(np.arange(n_classes), per_class)
    vectors = centres[labels] + noise * 3 * rng.normal(size=(len(labels), dim)) + 2 * rng.normal(size=dim)
    order = rng.permutation(len(labels))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)[order], labels[order]


def stratified(labels: np.ndarray, shots: int, n_draws: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    return np.stack([np.concatenate([rng.choice(c, shots, replace=False) for c in classes]) for _ in range(n_draws)])


def probe(train: np.ndarray, names: np.ndarray, test: np.ndarray, truth: np.ndarray, **how: int | None) -> Reading:
    return linear_probe(probe_outcomes(train, names, test, truth, **how), shots=how["shots"])


def objective(weights: np.ndarray, intercepts: np.ndarray, vectors: np.ndarray, labels: np.ndarray) -> float:
    scores = vectors.astype(np.float64) @ weights.T + intercepts
    scores -= scores.max(axis=1, keepdims=True)
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]
    return float(C * losses.sum() + 0.5 * (weights**2).sum())


@pytest.mark.parametrize(("n_classes", "shots", "noise"), [(3, 2, 0.9), (20, 5, 0.35), (20, 1, 0.2), (40, 8, 0.5)])
def test_predictions_and_objective_agree_with_scikit_learn(n_classes: int, shots: int, noise: float):
    vectors, labels = intents(n_classes, 30, noise=noise)
    sets = stratified(labels, shots, 3)
    correct = kshot_outcomes(vectors, labels, sets)
    agreement = []
    for chosen, ours in zip(sets, correct, strict=True):
        exact = LogisticRegression(C=C, tol=1e-7, max_iter=5000).fit(vectors[chosen], labels[chosen])
        agreement.append(ours == (exact.predict(vectors) == labels))
        weights, intercepts = _solve(
            torch.from_numpy(vectors[chosen])[None], torch.from_numpy(labels[chosen])[None], n_classes, C
        )
        least = objective(exact.coef_, exact.intercept_, vectors[chosen], labels[chosen])
        found = objective(weights[0].T.numpy(), intercepts[0].numpy(), vectors[chosen], labels[chosen])
        assert found == pytest.approx(least, rel=1e-3)
    assert np.mean(agreement) >= 0.995
    assert 0.2 < correct.mean() < 1.0  # neither trivial nor hopeless, so that agreement means something


def test_solving_together_equals_solving_alone():
    vectors, labels = intents(12, 20)
    sets = stratified(labels, 4, 5)
    together = kshot_outcomes(vectors, labels, sets)
    alone = np.concatenate([kshot_outcomes(vectors, labels, chosen[None]) for chosen in sets])
    assert np.mean(together == alone) >= 0.998


def test_labels_may_be_words():
    vectors, labels = intents(4, 15, noise=0.1)
    words = np.array(["pay", "refund", "lost card", "greeting"])[labels]
    head = fit(vectors, words)
    assert np.mean(head.predict(vectors) == words) > 0.95
    sets = stratified(labels, 3, 2)
    assert np.array_equal(kshot_outcomes(vectors, words, sets), kshot_outcomes(vectors, labels, sets))


def test_a_training_set_without_a_label_is_refused():
    vectors, labels = intents(3, 5)
    two, three = np.flatnonzero(labels < 2), np.concatenate([np.flatnonzero(labels == c)[:4] for c in range(3)])
    with pytest.raises(ValueError, match="each of the 3 labels"):
        kshot_outcomes(vectors, labels, np.stack([two, np.resize(three, len(two))]))


def test_a_label_in_no_training_set_counts_as_an_error():
    vectors, labels = intents(3, 20, noise=0.05)
    correct = kshot_outcomes(vectors, labels, np.flatnonzero(labels < 2)[None, :20])
    assert not correct[:, labels == 2].any()
    assert correct[:, labels < 2].mean() > 0.9


def test_sets_larger_than_the_space_are_solved_too():
    vectors, labels = intents(4, 60, dim=8)
    sets = stratified(labels, 20, 2)
    exact = [LogisticRegression(C=C, tol=1e-7).fit(vectors[s], labels[s]).predict(vectors) == labels for s in sets]
    assert np.mean(kshot_outcomes(vectors, labels, sets) == np.stack(exact)) >= 0.99


def test_a_head_for_two_labels_has_a_row_for_each():
    vectors, labels = intents(2, 30, noise=0.3)
    head = fit(vectors, labels)
    exact = LogisticRegression(C=C).fit(vectors, labels)
    assert head.weights.shape == (2, vectors.shape[1])
    assert np.array_equal(head.predict(vectors), exact.predict(vectors))


def test_the_probe_reports_accuracy_over_draws_and_examples():
    vectors, labels = intents(6, 30)
    reading = probe(vectors[:90], labels[:90], vectors[90:], labels[90:], shots=3, draws=4, seed=0)
    assert reading.key == "linear_probe/3-shot"
    assert (reading.unit, reading.n, len(reading.outcomes)) == ("per cent", 90, 90)
    assert reading.value == pytest.approx(100 * np.mean(reading.outcomes))
    assert reading.value == pytest.approx(np.mean(reading.detail["accuracies"]))
    assert reading.detail["std_over_draws"] == pytest.approx(np.std(reading.detail["accuracies"], ddof=1))
    again = probe(vectors[:90], labels[:90], vectors[90:], labels[90:], shots=3, draws=4, seed=0)
    other = probe(vectors[:90], labels[:90], vectors[90:], labels[90:], shots=3, draws=4, seed=1)
    assert again == reading
    assert other.detail["accuracies"] != reading.detail["accuracies"]


def test_the_full_probe_is_one_fit_on_everything():
    vectors, labels = intents(6, 30)
    reading = probe(vectors[:90], labels[:90], vectors[90:], labels[90:], shots=None, draws=4, seed=0)
    exact = LogisticRegression(C=C, tol=1e-7, max_iter=5000).fit(vectors[:90], labels[:90])
    assert reading.value == pytest.approx(100 * exact.score(vectors[90:], labels[90:]), abs=1.2)
    assert len(reading.detail["accuracies"]) == 1


def test_a_test_label_never_trained_on_counts_as_an_error():
    vectors, labels = intents(3, 20, noise=0.05)
    known = labels < 2
    reading = probe(vectors[known], labels[known], vectors, labels, shots=5, draws=2, seed=0)
    assert reading.value == pytest.approx(100 * 2 / 3, abs=1)
    assert max(np.array(reading.outcomes)[labels == 2]) == 0


def test_a_label_with_few_examples_gives_what_it_has():
    vectors, labels = intents(3, 20, noise=0.05)
    keep = (labels > 0) | (np.cumsum(labels == 0) <= 2)
    reading = probe(vectors[keep], labels[keep], vectors, labels, shots=6, draws=2, seed=0)
    assert reading.value > 90
