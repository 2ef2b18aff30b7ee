"""Whether labels have the shares of the traffic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk import decide
from shoptalk.curate.curation import to_corpus
from shoptalk.evaluate.traffic import (
    FEWEST,
    TEXTS,
    TURNS,
    Shares,
    class_shares,
    likeliest_shares,
    messages,
    weighted_gain,
)
from shoptalk.records import Document, Turn

NAMES = ("cancel", "delay", "parcel", "refund")
CENTRES = np.random.default_rng(5).normal(size=(4, 16)) * 0.55


def population(counts: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of overlapping classes, and the class of each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), counts)
    vectors = CENTRES[labels] + rng.normal(size=(len(labels), 16)) * 0.6
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_the_shares_are_those_of_the_greatest_likelihood(seed: int, n_classes: int) -> None:
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(n_classes, 5.0))
    probabilities = rng.dirichlet(np.full(n_classes, 0.5), size=300)
    shares, _ = likeliest_shares(probabilities, prior)
    assert shares.sum() == pytest.approx(1.0)

    def likelihood(candidate: np.ndarray) -> float:
        return float(np.log((probabilities / prior * candidate).sum(axis=1)).sum())

    for _ in range(20):
        other = 0.95 * shares + 0.05 * rng.dirichlet(np.ones(n_classes))
        assert likelihood(other) <= likelihood(shares) + 1e-3


def test_planted_shares_are_read_off_and_counting_answers_is_further_off() -> None:
    truth, inside, further = np.array([60, 20, 15, 5]) / 100, 0, 0
    for seed in range(12):
        vectors, labels = population([60] * 4, seed)
        unlabelled, hidden = population([600, 200, 150, 50], 1_000 + seed)
        shares = class_shares(vectors, labels, np.arange(240), unlabelled, NAMES, seed=0)
        assert shares is not None and shares.differ
        assert shares.labels.tolist() == [0.25] * 4
        assert shares.accuracy > 60
        inside += int((np.abs(shares.traffic - truth) < 2 * shares.error + 0.02).sum())
        nearest = (unlabelled @ np.stack([vectors[labels == c].mean(axis=0) for c in range(4)]).T).argmax(axis=1)
        counted = np.bincount(nearest, minlength=4) / len(hidden)
        further += int(np.abs(counted - truth).sum() > np.abs(shares.traffic - truth).sum())
    assert inside >= 40  # of 48
    assert further >= 10  # of 12


def test_traffic_like_the_labels_is_not_called_different() -> None:
    for seed in range(5):
        vectors, labels = population([60] * 4, seed)
        unlabelled, _ = population([250] * 4, 2_000 + seed)
        shares = class_shares(vectors, labels, np.arange(240), unlabelled, NAMES, seed=0)
        assert shares is not None and not shares.differ


def test_of_few_messages_nothing_is_said() -> None:
    vectors, labels = population([60] * 4, 0)
    assert class_shares(vectors, labels, np.arange(240), vectors[: FEWEST - 1], NAMES, seed=0) is None


def test_a_class_that_the_head_cannot_tell_from_another_has_a_wide_share() -> None:
    clear = np.repeat(np.array([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98]]), 100, axis=0)
    mixed = np.repeat(np.array([[0.98, 0.01, 0.01], [0.01, 0.51, 0.48], [0.01, 0.48, 0.51]]), 100, axis=0)
    prior = np.full(3, 1 / 3)
    errors = [likeliest_shares(each, prior)[1] for each in (clear, mixed)]
    assert errors[0].max() < 0.04
    assert errors[1][1] > 10 * errors[0][1] and errors[1][0] < 0.04


def test_messages_are_visitors_first_turns_and_without_conversations_whole_texts() -> None:
    chat = Document(
        id="c",
        source="c",
        turns=(
            Turn(role="User", text="where is it"),
            Turn(role="assistant", text="on its way"),
            Turn(role="tool", text="lookup"),
            Turn(role="customer", text="thanks"),
        ),
    )
    short = Document(id="s", source="s", text="one message alone")
    long = Document(id="l", source="l", text="\n\n".join(["a paragraph of some length " * 5] * 4))
    corpus = to_corpus([chat, short, long], digest="d", passage_characters=150)
    which, kind = messages(corpus)
    assert kind == TURNS
    assert [corpus.texts[int(i)] for i in which] == ["where is it"]
    corpus = to_corpus([short, long], digest="d", passage_characters=150)
    which, kind = messages(corpus)
    assert kind == TEXTS
    assert [corpus.texts[int(i)] for i in which] == ["one message alone"]


def test_the_weighted_gain_is_that_of_each_class_by_its_share_of_the_traffic() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [150, 100, 50])
    tested = np.concatenate([rng.permutation(300) % 5 == np.arange(5)[:, None] for _ in range(4)])
    values = np.stack([rng.random((20, 300)) < 0.6, rng.random((20, 300)) < 0.6 + 0.1 * labels])
    shares = Shares(NAMES[:3], np.array([3, 2, 1]) / 6, np.array([0.1, 0.2, 0.7]), np.zeros(3), 80.0, 500)
    scores = decide.Scores(("entry",), values, tested, np.arange(300))
    estimate = weighted_gain(scores, shares.weights(labels), c=1.96, seed=0)
    gains = [100 * float((values[1] * 1.0 - values[0])[tested & (labels == c)].mean()) for c in range(3)]
    assert float(estimate.gain[0]) == pytest.approx(float(np.dot(gains, shares.traffic)))
    assert estimate.low[0] < estimate.gain[0] < estimate.high[0]
    plain = decide.estimate_chosen(scores, c=1.96, seed=0)
    assert estimate.se[0] > plain.se[0]  # fifty examples count for seven tenths
