"""Nearest neighbours among unit vectors: exact for thousands of them, approximate and near linear beyond.

    index = build(vectors)
    similarities, positions = search(index, queries, 10)

Beyond `EXACT` vectors, faiss sorts them into about 4 √N cells around k-means centres and a query visits `nprobe` of
those (the inverted file of Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011, without
its compression). How many it must visit is measured, not guessed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float, Float32, Int

from shoptalk.errors import ArtifactError, StorageError

EXACT = 20_000
RECALL = 0.95
_RECALL_AT = 10
_TRIALS = 200
# Vectors per cell that k-means sees; faiss warns below 39 and takes a subsample above 256.
_TRAIN_PER_CELL = 50
_SEED = 20_240
_TIE = 1e-6


@dataclass(frozen=True)
class Index:
    """N vectors in a faiss index, whose rows are known by their position."""

    inner: Any

    def __len__(self) -> int:
        return int(self.inner.ntotal)


def build(vectors: Float[np.ndarray, "N D"]) -> Index:
    """An index of unit vectors by inner product, which for them is the cosine; the same vectors give the same index."""
    rows = _rows(vectors)
    n, dimension = rows.shape
    if n <= EXACT:
        flat = faiss.IndexFlatIP(dimension)
        flat.add(rows)
        return Index(flat)
    cells = round(4 * n**0.5)
    inner = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, cells, faiss.METRIC_INNER_PRODUCT)
    inner.cp.seed = _SEED
    inner.cp.min_points_per_centroid = 1  # just above EXACT a cell has fewer than 39 vectors, which is meant
    random = np.random.default_rng(_SEED)
    inner.train(rows[np.sort(random.choice(n, size=min(n, _TRAIN_PER_CELL * cells), replace=False))])
    inner.add(rows)
    _visit_enough_cells(inner, rows, np.sort(random.choice(n, size=_TRIALS, replace=False)))
    return Index(inner)


def search(
    index: Index, queries: Float[np.ndarray, "Q D"], k: int
) -> tuple[Float32[np.ndarray, "Q K"], Int[np.ndarray, "Q K"]]:
    """Similarities and positions of each query's nearest vectors, nearest first; K is `k`, or N where that is less."""
    rows = _rows(queries)
    k = min(k, len(index))
    similarities, positions = index.inner.search(rows, k)
    # A query whose cells hold fewer than k vectors is asked again in all of them.
    short = np.flatnonzero((positions < 0).any(axis=1))
    if len(short):
        everywhere = faiss.SearchParametersIVF()
        everywhere.nprobe = index.inner.nlist
        similarities[short], positions[short] = index.inner.search(rows[short], k, params=everywhere)
    return similarities, positions


def neighbours(vectors: Float[np.ndarray, "N D"], k: int) -> tuple[Float32[np.ndarray, "N K"], Int[np.ndarray, "N K"]]:
    """Each vector's nearest among all the others; K is `k`, or N - 1 where that is less."""
    k = min(k, len(vectors) - 1)
    similarities, positions = search(build(vectors), vectors, k + 1)
    keep = positions != np.arange(len(vectors))[:, None]
    # Among more than k copies of a vector, the vector itself may be missing: then the last neighbour goes.
    keep[keep.all(axis=1), -1] = False
    return similarities[keep].reshape(-1, k), positions[keep].reshape(-1, k)


def save(index: Index, path: Path) -> None:
    """Write one faiss file.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        faiss.write_index(index.inner, str(path))
    except RuntimeError as error:
        raise StorageError(f"Cannot write the index {path}: {error}. Give another --out or free some space.") from error


def load(path: Path) -> Index:
    """Read what `save` wrote, how many cells to visit included.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        return Index(faiss.read_index(str(path)))
    except RuntimeError as error:
        raise ArtifactError(f"{path} is not a readable index. Delete its folder and run again.") from error


def _visit_enough_cells(inner: Any, rows: Float32[np.ndarray, "N D"], trials: Int[np.ndarray, " T"]) -> None:
    """Double the cells that a query visits until it finds `RECALL` of the ten true neighbours, on average."""
    k = _RECALL_AT + 1  # the query itself is in the index
    exact, _ = faiss.knn(rows[trials], rows, k, metric=faiss.METRIC_INNER_PRODUCT)
    while inner.nprobe < inner.nlist:
        found, _ = inner.search(rows[trials], k)
        # By similarity and not by position: among equally near vectors either answer is right.
        right = (found >= exact[:, -1:] - _TIE).sum(axis=1) - 1
        if right.mean() >= RECALL * _RECALL_AT:
            return
        inner.nprobe = min(2 * inner.nprobe, inner.nlist)


def _rows(vectors: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    return np.ascontiguousarray(vectors, dtype=np.float32)
