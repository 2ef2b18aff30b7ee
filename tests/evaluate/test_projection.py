"""The map before and after training: where the points lie, which way round, and when there is none."""

import numpy as np
import pytest

from shoptalk.evaluate.projection import FEWEST, layout, main_axes, project, turned


def groups(n: int = 90, dim: int = 16, spread: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in three groups, and the group of each."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    vectors = rng.normal(size=(3, dim))[group] + spread * rng.normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), group


@pytest.mark.parametrize("mirrored", [1.0, -1.0])
def test_a_copy_that_was_turned_mirrored_scaled_and_moved_comes_back(mirrored: float) -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(40, 2)) * [3.0, 1.0]
    angle = 2.1
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1.0, mirrored])
    np.testing.assert_allclose(turned(0.2 * points @ rotation + [5.0, -7.0], onto=points), points, atol=1e-9)


def test_no_other_turn_brings_points_nearer() -> None:
    rng = np.random.default_rng(2)
    onto = rng.normal(size=(30, 2))
    found = turned(rng.normal(size=(30, 2)) + 0.5 * onto, onto=onto)
    best = ((found - onto) ** 2).sum()
    centre = onto.mean(axis=0)
    for angle in np.linspace(0.05, 2 * np.pi - 0.05, 60):
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for mirror in (np.eye(2), np.diag([1.0, -1.0])):
            assert (((found - centre) @ rotation @ mirror + centre - onto) ** 2).sum() >= best - 1e-9


def test_points_keep_the_spread_of_those_they_are_turned_onto_however_unlike_they_are() -> None:
    rng = np.random.default_rng(3)
    onto = rng.normal(size=(50, 2))
    found = turned(rng.normal(size=(50, 2)), onto=onto)
    assert np.linalg.norm(found - found.mean(0)) == pytest.approx(np.linalg.norm(onto - onto.mean(0)))
    np.testing.assert_allclose(found.mean(0), onto.mean(0), atol=1e-12)


def test_points_in_one_place_stay_in_one_place() -> None:
    onto = np.random.default_rng(4).normal(size=(10, 2))
    np.testing.assert_allclose(turned(np.ones((10, 2)), onto=onto), np.tile(onto.mean(0), (10, 1)))


def test_main_axes_are_the_singular_vectors_with_a_sign_of_their_own() -> None:
    vectors, _ = groups()
    found = main_axes(vectors)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(left[:, :2] * sizes[:2]), atol=1e-6)
    assert all(found[np.abs(found[:, axis]).argmax(), axis] > 0 for axis in (0, 1))


def test_both_maps_fill_one_unit_square_and_are_the_same_for_the_same_seed() -> None:
    before, _ = groups()
    after, _ = groups(spread=0.1)
    found, again = project(before, after, seed=0), project(before, after, seed=0)
    assert found is not None and again is not None
    np.testing.assert_array_equal(found.after, again.after)
    both = np.concatenate([found.before, found.after])
    assert both.min() >= -1e-9 and both.max() <= 1 + 1e-9
    assert np.ptp(both, axis=0).max() == pytest.approx(1.0)
    assert "90 texts" in found.method and "seed 0" in found.method


def test_groups_lie_apart_and_where_they_lay_before() -> None:
    before, group = groups()
    after, _ = groups(spread=0.12, seed=0)
    found = project(before, after, seed=0)
    assert found is not None
    for points in (found.before, found.after):
        distance = np.linalg.norm(points[:, None] - points[None], axis=2)
        same = group[:, None] == group[None]
        assert distance[same].mean() < 0.5 * distance[~same].mean()
    moved = [np.linalg.norm(found.after[group == g].mean(0) - found.before[group == g].mean(0)) for g in range(3)]
    assert max(moved) < 0.2


def test_a_layout_does_not_depend_on_how_large_its_start_is_drawn() -> None:
    vectors, _ = groups(n=30)
    start = main_axes(vectors)
    np.testing.assert_allclose(
        layout(vectors, start, seed=0), layout(vectors, 8 * start + 3, seed=0), rtol=1e-3, atol=1e-2
    )


@pytest.mark.parametrize("n", [0, 1, FEWEST - 1])
def test_of_too_few_texts_there_is_no_map(n: int) -> None:
    vectors, _ = groups(n=max(n, 3))
    assert project(vectors[:n], vectors[:n], seed=0) is None


@pytest.mark.parametrize("n", [FEWEST, 7, 12])
def test_few_texts_have_a_map(n: int) -> None:
    vectors, _ = groups(n=n)
    found = project(vectors, vectors, seed=0)
    assert found is not None and np.isfinite(found.before).all() and np.isfinite(found.after).all()


def test_vectors_that_collapsed_into_one_have_a_map_and_those_that_are_not_numbers_have_none() -> None:
    vectors, _ = groups(n=30)
    one = np.tile(vectors[:1], (30, 1))
    found = project(vectors, one, seed=0)
    assert found is not None and np.isfinite(found.after).all()
    assert project(vectors, np.full_like(vectors, np.nan), seed=0) is None
