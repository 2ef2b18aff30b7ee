"""Which head serves an encoder best, at 1, 5, 10 labels a class and all of them: the frozen kinds, on public sets.

    SHOPTALK_DATA=... python -m benchmarks.heads minilm ENCODER... --sets banking77,clinc150 --shots 1,5,10,full

Unlabelled text is the training text without its labels (no test text is used). Of each kind, without and with the
labels' names as examples, the mean over draws of the accuracy on the official test set, and the half-width of its 95 %
interval over draws (Student's t); at `full` there is one label set. NLU++ has several labels a text: micro-F1 over its
official folds, first against the rest.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.data import rows
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import TextEncoder, embed
from shoptalk.nn.heads.classifier import micro_f1, train_multi
from shoptalk.nn.heads.kinds import KINDS, fit_kind, views_of
from shoptalk.nn.heads.names import embedded
from shoptalk.nn.heads.pool import MOST, Pool

SETS = {
    "banking77": "intents/banking77",
    "clinc150": "intents/clinc150",
    "snips": "intents/snips",
    "sst2": "sentiment/sst2",
    "tweeteval_emotion": "sentiment/tweeteval_emotion",
}
FULL_POOL_KINDS = ("linear", "smoothed")
"""With all labels the pool is the labelled text itself: self-training has nothing left to learn from."""


def vectors_of(product: TextEncoder, name: str, part: str, cache: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and labels of a part of a set; what was embedded once is read from `cache`."""
    path = cache and cache / f"{product.name.strip('/').replace('/', '_')}-{name}-{part}.npz"
    if path and path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return kept["vectors"], kept["labels"]
    found = rows(f"{SETS[name]}/{part}.jsonl.gz")
    vectors, labels = embed(product, [row["text"] for row in found]), np.array([row["label"] for row in found])
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, vectors=vectors, labels=labels)
    return vectors, labels


def draw(codes: np.ndarray, shots: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of `shots` examples of each class."""
    return np.concatenate([rng.permutation(np.flatnonzero(codes == c))[:shots] for c in range(codes.max() + 1)])


def measure(product: TextEncoder, name: str, shots: Sequence[int | None], *, draws: int, cache: Path | None) -> None:
    texts, labels = vectors_of(product, name, "train", cache)
    tests, truth = vectors_of(product, name, "test", cache)
    names, codes = np.unique(labels, return_inverse=True)
    truth = np.searchsorted(names, truth)
    sample = np.random.default_rng(0).permutation(len(texts))[:MOST]
    pool = Pool.of(texts[sample])
    named = embedded(product, names.tolist())
    views, asked = views_of(texts, pool), views_of(tests, pool)
    said = views_of(named, pool) if named is not None else {}
    for k, kind, by_name in itertools.product(shots, KINDS, (False, True)):
        if k is None and kind not in FULL_POOL_KINDS:
            continue
        begun, found, smoothed = time.perf_counter(), [], KINDS[kind].smoothed
        for r in range(draws if k else 1):
            chosen = draw(codes, k, np.random.default_rng([7, r])) if k else np.arange(len(codes))
            own = said.get(smoothed) if by_name else None
            head = fit_kind(KINDS[kind], views[smoothed][chosen], codes[chosen], names, pool, own)
            found.append(100 * float((head.predict(asked[smoothed]) == names[truth]).mean()))
        seconds = (time.perf_counter() - begun) / len(found)
        which = "full" if k is None else str(k)
        say(product, name, which, f"{kind}, names" if by_name else kind, found, seconds)


def measure_nlupp(product: TextEncoder) -> None:
    """NLU++: heads of the other folds, judged on the first four of twenty."""
    found = rows("intents/nlupp/all.jsonl.gz")
    vectors = embed(product, [row["text"] for row in found])
    fold = np.array([int(row["fold"]) for row in found])
    for domain in sorted({row["domain"] for row in found}):
        mine = np.array([row["domain"] == domain for row in found])
        scores = []
        for held in sorted(set(fold[mine].tolist()))[:4]:
            learn, test = np.flatnonzero(mine & (fold != held)), np.flatnonzero(mine & (fold == held))
            head = train_multi(vectors[learn], [found[i]["labels"] for i in learn], np.arange(len(learn)))
            names = [str(label) for label in head.head.labels]
            said = [answer.labels for answer in head.answers(vectors[test])]
            given = np.array([[name in labels for name in names] for labels in said])
            true = np.array([[name in found[i]["labels"] for name in names] for i in test])
            scores.append(100 * micro_f1(given, true))
        say(product, f"nlupp/{domain}", "full", "linear, micro-F1", scores, 0.0)


def say(product: TextEncoder, name: str, shots: str, kind: str, found: Sequence[float], seconds: float) -> None:
    half = 0.0
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / len(found) ** 0.5)
    sys.stdout.write(
        f"{product.name}\t{name}\t{shots}\t{kind}\t{np.mean(found):.1f} ± {half:.1f}\t{len(found)} draws\t"
        f"{seconds:.1f} s a head\n"
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--sets", default=",".join([*SETS, "nlupp"]))
    parser.add_argument("--shots", default="1,5,10,full")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--cache", type=Path, help="a folder for vectors, which take longest")
    asked = parser.parse_args()
    shots = [None if part == "full" else int(part) for part in asked.shots.split(",")]
    for ref in asked.encoders:
        product = open_base(ref)
        for name in asked.sets.split(","):
            if name == "nlupp":
                measure_nlupp(product)
            else:
                measure(product, name, shots, draws=asked.draws, cache=asked.cache)


if __name__ == "__main__":
    main()
