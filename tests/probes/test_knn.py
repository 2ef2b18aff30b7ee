import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.probes import knn
from shoptalk.probes.knn import NO_NEIGHBOUR, knn_held_out, knn_leave_one_out, knn_predict
from tests.tiny import tiny_product

TEXTS = ["cancel my order please", "please cancel my order", "cancel order now", "what is your dog like"]
TEXTS += ["what is your cat like", "what is a dog", "cancel my card please", "a cat or a dog"]
LABELS = ["cancel", "cancel", "cancel", "pet", "pet", "pet", "cancel", "pet"]


def unit_vectors(seed: int, n: int, d: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def vote(query: np.ndarray, bank: np.ndarray, labels: np.ndarray, k: int, temperature: float) -> int:
    """Section 3.4 of Wu et al. 2018, one query at a time."""
    cosines = [float(query @ row) for row in bank]
    nearest = sorted(range(len(bank)), key=lambda i: -cosines[i])[:k]
    weight: dict[int, float] = {}
    for i in nearest:
        weight[int(labels[i])] = weight.get(int(labels[i]), 0.0) + math.exp(cosines[i] / temperature)
    return max(weight, key=lambda label: weight[label])


@given(seed=st.integers(0, 999), n=st.integers(1, 30), k=st.integers(1, 40), temperature=st.sampled_from([0.07, 1.0]))
@settings(max_examples=40, deadline=None)
def test_it_is_the_weighted_vote_of_the_paper(seed: int, n: int, k: int, temperature: float) -> None:
    bank, queries = unit_vectors(seed, n), unit_vectors(seed + 1, 7)
    labels = np.random.default_rng(seed).integers(0, 4, n)
    expected = [vote(query, bank, labels, k, temperature) for query in queries]
    assert knn_predict(queries, bank, labels, k=k, temperature=temperature).tolist() == expected


@given(seed=st.integers(0, 999), k=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_bank_changes_nothing(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    bank, queries, labels = unit_vectors(seed, 25), unit_vectors(seed + 1, 9), rng.integers(0, 3, 25)
    order = rng.permutation(25)
    found = knn_predict(queries, bank[order], labels[order], k=k)
    assert found.tolist() == knn_predict(queries, bank, labels, k=k).tolist()


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_a_rotation_changes_nothing(seed: int) -> None:
    bank, queries = unit_vectors(seed, 25), unit_vectors(seed + 1, 9)
    labels = np.random.default_rng(seed).integers(0, 3, 25)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    found = knn_predict(queries @ rotation, bank @ rotation, labels, k=5)
    assert found.tolist() == knn_predict(queries, bank, labels, k=5).tolist()


def test_the_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels, groups = unit_vectors(0, 23), np.arange(23) % 4, np.arange(23) // 2
    whole = knn_predict(vectors, vectors, labels, k=3, apart=(groups, groups))
    monkeypatch.setattr(knn, "_BLOCK", 5)
    assert knn_predict(vectors, vectors, labels, k=3, apart=(groups, groups)).tolist() == whole.tolist()


def test_rows_of_the_own_group_do_not_vote() -> None:
    bank, labels = unit_vectors(0, 10), np.arange(10) % 3
    groups = np.arange(10) // 2
    found = knn_predict(bank, bank, labels, k=3, apart=(groups, groups))
    for i in range(10):
        others = groups != groups[i]
        assert found[i] == vote(bank[i], bank[others], labels[others], 3, 0.07)


def test_a_query_without_a_permitted_neighbour_gets_none() -> None:
    bank = unit_vectors(0, 3)
    group = np.zeros(3, dtype=np.int64)
    assert knn_predict(bank, bank, np.arange(3), apart=(group, group)).tolist() == [NO_NEIGHBOUR] * 3


def test_a_very_low_temperature_is_the_nearest_neighbour_and_does_not_overflow() -> None:
    bank, queries = unit_vectors(0, 30), unit_vectors(1, 10)
    labels = np.arange(30)
    nearest = (queries @ bank.T).argmax(axis=1)
    assert knn_predict(queries, bank, labels, k=30, temperature=1e-4).tolist() == nearest.tolist()


def test_leaving_one_out_never_asks_the_text_itself() -> None:
    # All labels differ, so any vote but the text's own is wrong.
    reading = knn_leave_one_out(TEXTS, [str(i) for i in range(len(TEXTS))])(tiny_product())
    assert reading.value == 0.0


def test_leaving_one_out_finds_labels_that_share_words() -> None:
    reading = knn_leave_one_out(TEXTS, LABELS, k=3)(tiny_product())
    assert reading.value == pytest.approx(100.0 * np.mean(reading.outcomes))
    assert reading.value > 50.0
    assert (reading.key, reading.unit, reading.n) == ("knn_accuracy", "per cent", len(TEXTS))
    assert reading.detail == {"k": 3, "classes": 2}


def test_a_copy_in_the_same_cluster_gives_nothing_away() -> None:
    texts, labels = [*TEXTS, *TEXTS], [str(i) for i in range(len(TEXTS))] * 2
    clusters = list(range(len(TEXTS))) * 2
    assert knn_leave_one_out(texts, labels, k=1)(tiny_product()).value == 100.0
    assert knn_leave_one_out(texts, labels, clusters=clusters, k=1)(tiny_product()).value == 0.0


def test_held_out_texts_are_classified_by_the_others() -> None:
    reading = knn_held_out(TEXTS, LABELS, TEXTS[:2] + TEXTS[3:4], ["cancel", "pet", "pet"], k=1)(tiny_product())
    assert reading.outcomes == (1.0, 0.0, 1.0)
    assert reading.value == pytest.approx(200.0 / 3)


def test_a_test_label_that_no_text_has_counts_as_wrong() -> None:
    reading = knn_held_out(TEXTS, LABELS, ["cancel my order", "zebra"], ["cancel", "zebra"], k=3)(tiny_product())
    assert reading.outcomes[1] == 0.0


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="8 texts and 2 labels: expected as many"):
        knn_leave_one_out(TEXTS, LABELS[:2])
    with pytest.raises(ValueError, match="8 texts and 1 cluster numbers"):
        knn_leave_one_out(TEXTS, LABELS, clusters=[0])
    with pytest.raises(ValueError, match="0 texts and 0 labels"):
        knn_held_out(TEXTS, LABELS, [], [])
    with pytest.raises(ValueError, match="k = 0 neighbours among 8 texts"):
        knn_leave_one_out(TEXTS, LABELS, k=0)(tiny_product())
