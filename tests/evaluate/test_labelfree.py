import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.evaluate import labelfree
from shoptalk.evaluate.labelfree import (
    FEWEST,
    JUDGED,
    LOST,
    MARGIN,
    RULE,
    K,
    beside,
    cliques,
    features,
    label_free_score,
    mutual,
    overlap,
    ranked,
    strength,
    suggestion,
    together,
    told,
)

N, D = 160, 24


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def topics(seed: int, *, spread: float, n: int = N, d: int = D) -> np.ndarray:
    """Unit vectors around twelve random topics; the same seed gives the same texts, nearer or further from them."""
    rng = np.random.default_rng(seed)
    centres, noise = rng.normal(size=(12, d)), rng.normal(size=(n, d))
    return unit(centres[np.arange(n) % 12] + spread * noise)


def graph_of(vectors: np.ndarray, k: int) -> np.ndarray:
    """Each one's k nearest by a sort of all cosines, in float64."""
    rows = vectors.astype(np.float64)
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1)[:, :k]


def test_cliques_are_the_share_of_ordered_pairs_of_neighbours_that_are_neighbours() -> None:
    graph = graph_of(topics(0, spread=1.0, n=40), 5)
    found = []
    for row in graph:
        for a in row:
            for b in row:
                if a != b:
                    found.append(b in graph[a])
    assert cliques(graph) == pytest.approx(np.mean(found))


def test_mutual_is_the_share_of_neighbours_that_point_back() -> None:
    graph = graph_of(topics(1, spread=1.0, n=40), 5)
    assert mutual(graph) == pytest.approx(np.mean([i in graph[j] for i, row in enumerate(graph) for j in row]))


def test_overlap_counts_shared_neighbours_whatever_their_order() -> None:
    left, right = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[2, 1], [2, 3], [4, 3]])
    assert overlap(left, right) == pytest.approx((1.0 + 0.5 + 0.0) / 3)


@given(seed=st.integers(0, 999), n=st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_together_is_jaccards_index_of_the_pairs_that_two_clusterings_join(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 3, n), rng.integers(0, 3, n)
    one = {(i, j) for i in range(n) for j in range(i) if left[i] == left[j]}
    other = {(i, j) for i in range(n) for j in range(i) if right[i] == right[j]}
    assert together(left, right) == pytest.approx(len(one & other) / len(one | other) if one | other else 0.0)


def test_clear_topics_foretell_their_clusters_better_than_noise_does() -> None:
    assert strength(topics(0, spread=0.1)) > strength(topics(0, spread=3.0)) + 0.2


def test_the_base_itself_differs_in_nothing_and_scores_nothing() -> None:
    base = topics(0, spread=1.0)
    assert set(features(base, base).values()) == {0.0}
    assert RULE.score(features(base, base)) == 0.0


@given(seed=st.integers(0, 999))
@settings(max_examples=3, deadline=None)
def test_a_rotation_of_the_vectors_changes_nothing(seed: int) -> None:
    base, other = topics(seed, spread=1.0), topics(seed, spread=0.8)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0]
    turned = features(unit(other @ rotation), base)
    # Rounding may change who is tenth; k-means falls into the same clusters but for such ties.
    for name, value in features(other, base).items():
        assert turned[name] == pytest.approx(value, abs=0.02), name


def test_clearer_topics_rank_before_the_base_and_blurred_ones_after_it() -> None:
    base = topics(0, spread=1.0)
    scores = {
        name: RULE.score(features(topics(0, spread=spread), base))
        for name, spread in (("blurred", 1.2), ("clearer", 0.85))
    }
    assert ranked(scores) == ("clearer", "base", "blurred")


@pytest.mark.parametrize("wreck", ["a point", "two directions", "noise", "not a number"])
def test_a_wrecked_encoder_likely_harms_and_ranks_after_the_base(wreck: str) -> None:
    base = topics(0, spread=1.0)
    vectors = {
        "a point": np.tile(base[:1], (N, 1)),
        "two directions": unit(base * (np.arange(D) < 2)),
        "noise": unit(np.random.default_rng(1).normal(size=base.shape)),
        "not a number": np.full_like(base, np.nan),
    }[wreck]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = label_free_score(vectors, base)
    assert reading is not None
    assert reading.value == LOST
    assert reading.detail["suggestion"] == "likely harms"
    assert ranked({wreck: reading.value, "worse": LOST - 1}) == ("base", wreck, "worse")


def test_no_feature_outweighs_what_was_fitted() -> None:
    far = dict.fromkeys(RULE.weights, 1e9) | {"kept": 0.0}
    assert RULE.score(far) == pytest.approx(4 * sum(weight for _, weight in RULE.weights.values()))


def test_the_reading_carries_its_features_and_nothing_is_said_of_few_texts() -> None:
    base, other = topics(0, spread=1.0), topics(0, spread=0.9)
    reading = label_free_score(other, base)
    assert (reading.key, reading.n) == (labelfree.KEY, N)
    assert {name: reading.detail[name] for name in features(other, base)} == features(other, base)
    with pytest.raises(ValueError, match=f"of {FEWEST - 1} items is noise; give at least {FEWEST}"):
        beside(["text"] * (FEWEST - 1), base[: FEWEST - 1])


def test_vectors_of_other_texts_and_too_few_of_them_are_refused() -> None:
    base = topics(0, spread=1.0)
    with pytest.raises(ValueError, match="159 vectors of a challenger and 160 of the base; give both of the same"):
        features(base[1:], base)
    with pytest.raises(ValueError, match=f"more than {K}"):
        features(base[:K], base[:K])


def test_only_what_gains_more_than_the_margin_stands_before_the_base() -> None:
    assert ranked({"a": MARGIN, "b": -1.0, "c": MARGIN + 0.1, "d": 2.0}) == ("d", "c", "base", "a", "b")
    assert ranked({}) == ("base",)
    assert [suggestion(score) for score in (0.6, 0.5, 0.0, -0.5, -0.6)] == [
        "likely helps", "cannot tell", "cannot tell", "cannot tell", "likely harms",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (1.24, "find that turns likely helps (about +1.2 points"),
        (0.1, "cannot tell turns, the best challenger, from the base, and rank the base first"),
        (-1.0, "even turns, the best challenger, likely harms, and rank the base first"),
    ],
)
def test_the_sentence_says_what_the_rule_suggests_and_how_often_it_was_wrong(score: float, words: str) -> None:
    sentence = told("turns", score)
    assert words in sentence
    assert f"{JUDGED['sets']} labelled sets" in sentence
    assert f"{100 * JUDGED['harmful']:.0f} % of its {JUDGED['picks']} picks were encoders that harm" in sentence
