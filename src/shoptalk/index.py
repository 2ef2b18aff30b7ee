"""Nearest neighbours among unit vectors: exact for thousands of them, approximate and near linear beyond.

    index = build(vectors)
    similarities, positions = search(index, queries, 10)

Beyond `EXACT` vectors, faiss sorts them into about 2 √N cells around k-means centres and a query visits the `nprobe`
nearest (the inverted file of Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011). There
it compares 4-bit codes of four dimensions each, 32 vectors at once in the processor's registers (André, Kermarrec and
Le Scouarnec, "Quicker ADC", 2019), and the best `k_factor` × k of them are compared again exactly: so similarities are
exact, and only which vectors are returned is approximate. How many cells to visit and how many candidates to keep is
measured on the vectors themselves. Besides its input an index takes the memory of a copy and at most an eighth more.
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
# Tuned a little higher than promised: 400 queries tell recall to about half a point.
_TUNED_RECALL = 0.96
_RECALL_AT = 10
_TRIALS = 400
# k-means centres hardly get better from more vectors or rounds, and at a million vectors they would take minutes.
_TRAIN_PER_CELL, _ROUNDS = 30, 10
_TRAIN_CODES = 20_000
_DIMENSIONS_PER_CODE = 4
_BLOCK = 32  # vectors whose codes are compared at once: what faiss's kernels take
_K_FACTOR = 8
# Queries at once: their candidates take `k_factor` × k × 12 bytes each.
_QUERIES = 16_384
_SEED = 20_240
_TIE = 1e-6


@dataclass(frozen=True)
class Index:
    """N vectors in a faiss index, identified by their position."""

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
    random = np.random.default_rng(_SEED)
    refined = faiss.IndexRefineFlat(_cells(rows, random))
    refined.add(rows)
    refined.k_factor = _K_FACTOR
    _look_far_enough(refined, rows, np.sort(random.choice(n, size=min(n, _TRIALS), replace=False)))
    return Index(refined)


def search(
    index: Index, queries: Float[np.ndarray, "Q D"], k: int
) -> tuple[Float32[np.ndarray, "Q K"], Int[np.ndarray, "Q K"]]:
    """Similarities and positions of each query's nearest vectors, nearest first; K is `k`, or N where that is less."""
    rows = _rows(queries)
    k = min(k, len(index))
    count = min(max(k, _RECALL_AT + 1), len(index))  # fewer would keep fewer candidates than the index was tuned for
    similarities = np.empty((len(rows), k), dtype=np.float32)
    positions = np.empty((len(rows), k), dtype=np.int64)
    for begin in range(0, len(rows), _QUERIES):
        part = slice(begin, begin + _QUERIES)
        nearest = index.inner.search(rows[part], count)
        similarities[part], positions[part] = nearest[0][:, :k], nearest[1][:, :k]
    # A query whose cells hold fewer than k vectors is asked again in all of them.
    short = np.flatnonzero((positions < 0).any(axis=1))
    if len(short):
        similarities[short], positions[short] = _search_everywhere(index.inner, rows[short], k)
    return similarities, positions


def neighbours(vectors: Float[np.ndarray, "N D"], k: int) -> tuple[Float32[np.ndarray, "N K"], Int[np.ndarray, "N K"]]:
    """The nearest neighbours of each vector among all the others; K is `k`, or N - 1 where that is less."""
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
    """Read what `save` wrote, the search settings included.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        return Index(faiss.read_index(str(path)))
    except RuntimeError as error:
        raise ArtifactError(f"{path} is not a readable index. Delete its folder and run again.") from error


def _cells(rows: Float32[np.ndarray, "N D"], random: np.random.Generator) -> Any:
    """Trained cells and codes, still without vectors."""
    n, dimension = rows.shape
    cells = round(2 * n**0.5)
    sample = rows[np.sort(random.choice(n, size=min(n, max(_TRAIN_PER_CELL * cells, _TRAIN_CODES)), replace=False))]
    codes = dimension // next(size for size in range(_DIMENSIONS_PER_CODE, 0, -1) if dimension % size == 0)
    centres = faiss.IndexFlatIP(dimension)
    inner = faiss.IndexIVFPQFastScan(centres, dimension, cells, codes, 4, faiss.METRIC_INNER_PRODUCT, _BLOCK)
    inner.by_residual = False  # codes of the vectors themselves: one table per query, whatever cells it visits
    inner.cp.seed = _SEED
    inner.cp.niter = _ROUNDS
    inner.cp.spherical = True
    inner.cp.min_points_per_centroid = 1  # just above EXACT a cell has few vectors, which is meant
    inner.pq.cp.seed = _SEED
    inner.train(sample)
    return inner


def _look_far_enough(refined: Any, rows: Float32[np.ndarray, "N D"], trials: Int[np.ndarray, " T"]) -> None:
    """Double the cells visited or the candidates kept, whichever gains more recall, until recall is `_TUNED_RECALL`."""
    inner: Any = faiss.downcast_index(refined.base_index)
    exact, _ = faiss.knn(rows[trials], rows, _RECALL_AT + 1, metric=faiss.METRIC_INNER_PRODUCT)

    def recall(nprobe: int, k_factor: float) -> float:
        inner.nprobe, refined.k_factor = nprobe, k_factor
        similarities, _ = refined.search(rows[trials], _RECALL_AT + 1)  # the query itself is in the index
        # By similarity and not by position: among equally near vectors either answer is right.
        return float(((similarities >= exact[:, -1:] - _TIE).sum(axis=1) - 1).mean() / _RECALL_AT)

    setting, reached = (1, float(_K_FACTOR)), 0.0
    while reached < _TUNED_RECALL:
        nprobe, k_factor = setting
        options = []
        if nprobe < inner.nlist:
            options.append((min(2 * nprobe, inner.nlist), k_factor))
        if k_factor * _RECALL_AT < len(rows):
            options.append((nprobe, 2 * k_factor))
        if not options:
            break
        reached, setting = max((recall(*option), option) for option in options)
    inner.nprobe, refined.k_factor = setting


def _search_everywhere(
    refined: Any, queries: Float32[np.ndarray, "Q D"], k: int
) -> tuple[Float32[np.ndarray, "Q K"], Int[np.ndarray, "Q K"]]:
    inner: Any = faiss.downcast_index(refined.base_index)
    cells: Any = faiss.SearchParametersIVF()
    cells.nprobe = inner.nlist
    parameters: Any = faiss.IndexRefineSearchParameters()
    parameters.base_index_params, parameters.k_factor = cells, refined.k_factor
    similarities, positions = refined.search(queries, k, params=parameters)
    return similarities, positions


def _rows(vectors: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    return np.ascontiguousarray(vectors, dtype=np.float32)
