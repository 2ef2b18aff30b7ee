"""How the neighbour index grows with the number of vectors: time, recall and memory, as a Markdown table.

    python -m benchmarks.index_scale --sizes 50000,100000,200000 --threads 2

Each size runs in a process of its own, so that its peak memory is its own. The vectors are 384-dimensional and unit
length: 2,000 topics of unequal size, each a Gaussian in a common 30-dimensional space, plus noise in all dimensions;
`--vectors FILE.npy` takes real ones instead (its first rows). Recall is the share of the ten nearest other vectors that
is found, over 1,000 vectors, against an exact search. In brackets stands the time of all processors together, for
machines that are not idle. Memory is the process's peak while it builds and queries (before the exact search), over
the size of the vectors.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import faiss
import numpy as np
from jaxtyping import Float32

from shoptalk.index import build, search

DIMENSIONS, LATENT, TOPICS = 384, 30, 2_000
SPREAD, NOISE = 0.6, 0.3
K = 10

T = TypeVar("T")


def synthetic(n: int, *, seed: int = 0) -> Float32[np.ndarray, "N 384"]:
    """Unit vectors around topics, of about 30 intrinsic dimensions; made in blocks, to need no second copy."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((TOPICS, LATENT), dtype=np.float32)
    weights = rng.dirichlet(np.full(TOPICS, 2.0))
    basis = np.linalg.qr(rng.standard_normal((DIMENSIONS, LATENT)))[0].T.astype(np.float32)
    vectors = np.empty((n, DIMENSIONS), dtype=np.float32)
    for begin in range(0, n, 50_000):
        block = vectors[begin : begin + 50_000]
        topics = rng.choice(TOPICS, size=len(block), p=weights)
        latent = centres[topics] + SPREAD * rng.standard_normal((len(block), LATENT), dtype=np.float32)
        block[:] = _unit(latent @ basis)
        block += NOISE / DIMENSIONS**0.5 * rng.standard_normal(block.shape, dtype=np.float32)
        block[:] = _unit(block)
    return vectors


def measure(n: int, *, threads: int, path: str | None) -> dict[str, Any]:
    """One row of the table."""
    faiss.omp_set_num_threads(threads)
    vectors = np.ascontiguousarray(np.load(path, mmap_mode="r")[:n], dtype=np.float32) if path else synthetic(n)
    n = len(vectors)
    chosen = np.sort(np.random.default_rng(1).choice(n, size=min(n, 10_000), replace=False))
    index, build_time = _timed(lambda: build(vectors))
    _, query_time = _timed(lambda: search(index, vectors[chosen], K))
    (_, found), graph_time = _timed(lambda: search(index, vectors, K + 1))  # each finds itself too
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "n": n,
        "build": build_time,
        "queries": query_time,
        "graph": graph_time,
        "recall": _recall(vectors, found),
        "peak": peak / vectors.nbytes,
        "gigabytes": peak / 1e9,
    }


def _timed(work: Callable[[], T]) -> tuple[T, str]:
    """What it returns, and the seconds that it took: the clock's, and of all processors together."""
    clock, processors = time.perf_counter(), time.process_time()
    found = work()
    return found, f"{time.perf_counter() - clock:.1f} ({time.process_time() - processors:.1f})"


def _recall(vectors: Float32[np.ndarray, "N D"], found: Any) -> float:
    trials = np.sort(np.random.default_rng(2).choice(len(vectors), size=1_000, replace=False))
    _, exact = faiss.knn(vectors[trials], vectors, K + 1, metric=faiss.METRIC_INNER_PRODUCT)
    hits = [
        len(set(found[trial].tolist()) & set([other for other in row if other != trial][:K]))
        for trial, row in zip(trials.tolist(), exact.tolist(), strict=True)
    ]
    return float(np.mean(hits) / K)


def _unit(vectors: Float32[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="50000,100000,200000", help="comma-separated; up to a million is meant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vectors", help="a .npy file of unit vectors in place of made ones")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, threads=given.threads, path=given.vectors)))
        return
    print(f"{given.threads} threads, {given.vectors or 'made vectors'}, faiss {faiss.__version__}\n")
    print(
        "| N | build s (CPU s) | N queries s (CPU s) | 10,000 queries s (CPU s) | recall@10 | peak memory / vectors |"
    )
    print("|--:|--:|--:|--:|--:|--:|")
    for size in given.sizes.split(","):
        words = [sys.executable, "-m", "benchmarks.index_scale", "--one", size, "--threads", str(given.threads)]
        words += ["--vectors", given.vectors] if given.vectors else []
        row = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        print(
            f"| {row['n']:,} | {row['build']} | {row['graph']} | {row['queries']} | {row['recall']:.3f} "
            f"| {row['peak']:.1f} ({row['gigabytes']:.1f} GB) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
