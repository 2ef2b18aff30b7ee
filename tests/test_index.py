import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from jaxtyping import Float

from shoptalk import index
from shoptalk.errors import ArtifactError, StorageError
from shoptalk.index import build, load, neighbours, save, search


def unit(n: int, dimension: int, seed: int, *, groups: int = 0) -> Float[np.ndarray, "n d"]:
    """Random unit vectors, around `groups` centres as texts around topics, or all over the sphere."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, dimension))
    if groups:
        vectors = 0.7 * vectors + rng.standard_normal((groups, dimension))[rng.integers(groups, size=n)]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells already for a thousand vectors, to keep tests short."""
    monkeypatch.setattr(index, "EXACT", 1_000)


def nearest(queries: Float[np.ndarray, "q d"], vectors: Float[np.ndarray, "n d"], k: int) -> np.ndarray:
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


def test_a_small_index_is_exact() -> None:
    vectors, queries = unit(500, 16, 0), unit(20, 16, 1)
    similarities, positions = search(build(vectors), queries, 5)
    np.testing.assert_array_equal(positions, nearest(queries, vectors, 5))
    np.testing.assert_allclose(similarities, np.take_along_axis(queries @ vectors.T, positions, axis=1), atol=1e-6)


def test_asking_for_more_than_there_is_gives_all() -> None:
    vectors = unit(4, 8, 0)
    similarities, positions = search(build(vectors), vectors[:2], 10)
    assert similarities.shape == (2, 4)
    assert sorted(positions[0].tolist()) == [0, 1, 2, 3]
    assert neighbours(vectors, 10)[1].shape == (4, 3)


def test_neighbours_leave_out_the_vector_itself() -> None:
    vectors = unit(300, 16, 2)
    similarities, positions = neighbours(vectors, 7)
    np.testing.assert_array_equal(positions, nearest(vectors, vectors, 8)[:, 1:])
    assert (np.diff(similarities, axis=1) <= 0).all()


def test_neighbours_of_many_copies_are_other_copies() -> None:
    vectors = np.repeat(unit(2, 8, 3), 20, axis=0)
    similarities, positions = neighbours(vectors, 5)
    np.testing.assert_allclose(similarities, 1, atol=1e-6)
    for i, row in enumerate(positions):
        assert i not in row
        assert (row // 20 == i // 20).all()


@pytest.mark.usefixtures("approximate")
@pytest.mark.parametrize("groups", [0, 30])
def test_a_large_index_finds_nearly_all_true_neighbours(groups: int) -> None:
    vectors = unit(2_500, 24, 4, groups=groups)
    built = build(vectors)
    cells: Any = faiss.downcast_index(built.inner.base_index)
    assert cells.nlist == round(2 * 2_500**0.5)
    assert groups == 0 or cells.nprobe < cells.nlist
    _, found = search(built, vectors, 11)
    true = nearest(vectors, vectors, 11)
    recall = np.mean([len(set(a) & set(b)) / 11 for a, b in zip(found, true, strict=True)])
    assert recall >= 0.94  # 0.96 on the 400 vectors that it was tuned on


@pytest.mark.usefixtures("approximate")
def test_a_large_index_is_the_same_each_time() -> None:
    vectors = unit(2_000, 16, 5, groups=20)
    (first_s, first_p), (second_s, second_p) = neighbours(vectors, 10), neighbours(vectors, 10)
    np.testing.assert_array_equal(first_p, second_p)
    np.testing.assert_array_equal(first_s, second_s)


@pytest.mark.usefixtures("approximate")
def test_similarities_of_a_large_index_are_exact() -> None:
    vectors = unit(2_000, 16, 9, groups=20)
    similarities, positions = neighbours(vectors, 10)
    np.testing.assert_allclose(similarities, np.einsum("nd,nkd->nk", vectors, vectors[positions]), atol=1e-6)
    assert (np.diff(similarities, axis=1) <= 0).all()


@pytest.mark.usefixtures("approximate")
@pytest.mark.parametrize("dimension", [1, 2, 7, 18])
def test_any_number_of_dimensions_can_be_indexed(dimension: int) -> None:
    vectors = unit(1_200, dimension, 10, groups=20)
    fifth = np.sort(vectors @ vectors.T, axis=1)[:, -6]  # the last is the vector itself
    assert (neighbours(vectors, 5)[0] >= fifth[:, None] - 1e-5).mean() >= 0.94


@pytest.mark.usefixtures("approximate")
def test_an_index_and_its_answers_do_not_depend_on_threads_or_on_the_company_of_a_query() -> None:
    vectors = unit(3_000, 32, 11, groups=40)
    threads, results = faiss.omp_get_max_threads(), []
    try:
        for count in (1, 2):
            faiss.omp_set_num_threads(count)
            built = build(vectors)
            results.append((faiss.serialize_index(built.inner).tobytes(), *search(built, vectors, 11)))
    finally:
        faiss.omp_set_num_threads(threads)
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(results[0][2], results[1][2])
    np.testing.assert_array_equal(search(built, vectors[700:703], 11)[1], results[0][2][700:703])


@pytest.mark.usefixtures("approximate")
def test_a_large_index_answers_in_full_where_cells_are_nearly_empty() -> None:
    vectors = unit(1_500, 16, 6, groups=20)
    _, positions = search(build(vectors), vectors[:50], 1_400)
    assert (positions >= 0).all()
    assert all(len(set(row)) == 1_400 for row in positions.tolist())


@pytest.mark.usefixtures("approximate")
@pytest.mark.parametrize("n", [100, 2_000])
def test_an_index_on_disk_answers_as_before(tmp_path: Path, n: int) -> None:
    vectors = unit(n, 16, 7, groups=10)
    built = build(vectors)
    save(built, tmp_path / "a.faiss")
    loaded = load(tmp_path / "a.faiss")
    assert len(loaded) == n
    for ours, theirs in zip(search(built, vectors, 5), search(loaded, vectors, 5), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_missing_or_damaged_index_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a readable index"):
        load(tmp_path / "none.faiss")
    (tmp_path / "bad.faiss").write_bytes(b"not an index")
    with pytest.raises(ArtifactError, match="not a readable index"):
        load(tmp_path / "bad.faiss")


def test_an_index_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot write the index"):
        save(build(unit(3, 4, 8)), tmp_path / "no" / "folder.faiss")


@pytest.mark.parametrize("order", ["faiss, torch", "torch, faiss"])
def test_the_index_and_torch_share_a_process(order: str) -> None:
    script = (
        f"import {order}, numpy as np; from shoptalk.index import neighbours;"
        "v = np.eye(64, dtype=np.float32); neighbours(v, 3); torch.ones(300, 300) @ torch.ones(300, 300);"
        "print(neighbours(v, 3)[1].shape)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "(64, 3)"
