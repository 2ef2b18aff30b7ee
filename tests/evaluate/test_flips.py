"""What training changed, each against a plain computation of its own."""

import numpy as np
import pytest

from shoptalk.evaluate.flips import QUANTILES, moved, nearest, relative_changes, sides


def test_texts_change_sides_where_most_draws_do() -> None:
    labels = np.array([0, 1, 2, 0])
    tested = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=bool)
    base = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 2, 0], [0, 0, 2, 0]])
    adapted = np.array([[0, 0, 0, 0], [0, 2, 2, 0], [1, 2, 0, 0], [1, 1, 2, 0]])
    found = sides(base, adapted, labels, tested)
    np.testing.assert_allclose(found.base_share, [1 / 3, 3 / 4, 1 / 3, np.nan])
    np.testing.assert_allclose(found.adapted_share, [2 / 3, 1 / 4, 2 / 3, np.nan])
    assert found.gained.tolist() == [0, 2] and found.lost.tolist() == [1]
    assert found.base_says.tolist()[:3] == [1, 1, 0]
    assert found.adapted_says.tolist()[:3] == [0, 2, 2]


def test_the_largest_change_comes_first_and_agrees_with_a_count_by_hand() -> None:
    rng = np.random.default_rng(0)
    draws, n = 9, 60
    labels = rng.integers(4, size=n)
    tested = rng.random((draws, n)) < 0.7
    base, adapted = (np.where(rng.random((draws, n)) < 0.5, labels, rng.integers(4, size=(draws, n))) for _ in range(2))
    found = sides(base, adapted, labels, tested)
    gained, lost = [], []
    for i in range(n):
        asked = np.flatnonzero(tested[:, i])
        before, after = ((answers[asked, i] == labels[i]).mean() for answers in (base, adapted))
        if before <= 0.5 < after:
            gained.append((before - after, i))
        if after <= 0.5 < before:
            lost.append((after - before, i))
        said = [int((base[asked, i] == label).sum()) for label in range(4)]
        assert found.base_says[i] == int(np.argmax(said))
    assert found.gained.tolist() == [i for _, i in sorted(gained)]
    assert found.lost.tolist() == [i for _, i in sorted(lost)]
    assert len(gained) > 2 and len(lost) > 2


def test_neighbours_are_the_nearest_texts_of_other_clusters() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(20, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cluster = np.arange(20) // 2
    which = np.array([3, 11])
    for i, near in zip(which, nearest(vectors, which, cluster, 3), strict=True):
        others = sorted((j for j in range(20) if cluster[j] != cluster[i]), key=lambda j: -(vectors[i] @ vectors[j]))
        assert [j for j, _ in near] == others[:3]
        assert [cosine for _, cosine in near] == pytest.approx([float(vectors[i] @ vectors[j]) for j in others[:3]])


def test_a_text_with_fewer_others_than_were_asked_for_has_fewer_neighbours() -> None:
    found = nearest(np.eye(3), np.array([0]), np.array([0, 0, 1]), 3)
    assert found == [[(2, 0.0)]]
    assert nearest(np.eye(3), np.array([], dtype=int), np.arange(3), 3) == []


def test_moved_is_the_cosine_of_each_text_with_itself() -> None:
    rng = np.random.default_rng(2)
    before, after = (rng.normal(size=(50, 6)).astype(np.float32) for _ in range(2))
    before, after = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (before, after))
    found = moved(before, after)
    cosines = np.array([before[i] @ after[i] for i in range(50)])
    assert found is not None and found["n"] == 50
    assert found["mean"] == pytest.approx(cosines.mean(), abs=1e-6)
    for q in QUANTILES:
        assert found["quantiles"][f"{q:g}"] == pytest.approx(np.quantile(cosines, q), abs=1e-6)
    assert moved(before[:0], after[:0]) is None
    assert moved(before, after * np.nan) is None


def test_the_change_of_weights_is_the_frobenius_norm_of_each_part() -> None:
    rng = np.random.default_rng(3)
    names = [
        "encoder.layer.10.output.dense.weight",
        "embeddings.word_embeddings.weight",
        "encoder.layer.2.attention.self.query.weight",
        "encoder.layer.2.attention.self.query.bias",
        "final_norm.weight",
    ]
    before = {name: rng.normal(size=(4, 3) if name.endswith("weight") else 3).astype(np.float32) for name in names}
    after = {name: (part + 0.01 * rng.normal(size=part.shape)).astype(np.float32) for name, part in before.items()}
    found = relative_changes((name, before[name], after[name]) for name in names)
    assert [part["name"] for part in found] == ["embeddings", "layer 3", "layer 11", "other weights"]
    one, two = (np.concatenate([part[names[2]].ravel(), part[names[3]].ravel()]) for part in (before, after))
    assert found[1]["change"] == pytest.approx(np.linalg.norm(two - one) / np.linalg.norm(one), rel=1e-6)


def test_a_large_part_is_summed_in_blocks_without_loss() -> None:
    rng = np.random.default_rng(4)
    before = rng.normal(size=(1500, 900)).astype(np.float32)
    after = before + np.float32(1e-3)
    found = relative_changes([("embed.weight", before, after)])
    expected = np.linalg.norm((after - before).astype(np.float64)) / np.linalg.norm(before.astype(np.float64))
    assert found[0]["change"] == pytest.approx(expected, rel=1e-4)


def test_weights_of_another_shape_are_passed_over_and_broken_ones_have_no_change() -> None:
    one = np.ones((2, 2), dtype=np.float32)
    assert relative_changes([("embeddings.a", one, np.ones((3, 2), dtype=np.float32))]) == []
    assert relative_changes([("layers.0.a", one, one * np.nan)]) == [{"name": "layer 1", "change": None}]
