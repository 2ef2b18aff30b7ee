"""How does the assistant find passages best, and how fast? `python -m benchmarks.retrieval_serving [--passages 100000]`

Quality: recall@5 and nDCG@10 of vectors, of words (BM25) and of both fused, on the pack's retrieval sets, the knowledge
of DSTC11 track 5 (questions in the middle of a conversation) and Harbour's questions, with bootstrap intervals over
questions. The weights of the fusion are chosen on every other question and judged on the rest.

Speed: processor time of one thread, one question at a time, over real text: passages of the pack's documents, the first
40 tokens of each embedded. Needs SHOPTALK_DATA. Vectors stay in --cache, and the same command again continues. Prints
Markdown.
"""

import argparse
import gzip
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.data import pack
from shoptalk.artifact import digest
from shoptalk.assistant import fulltext
from shoptalk.assistant.retrieve import DENSE, DEPTH, RRF, WORDS, dense_ranking, fuse
from shoptalk.assistant.sections import passages_of
from shoptalk.nn.bases import open_base
from shoptalk.records import Document

HARBOUR = Path(__file__).parents[1] / "examples" / "harbour"
QUESTIONS, SHORT = 400, 40
CONTEXT_WEIGHTS = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Collection:
    """Passages as (heading, text), questions with the passages that answer them, and what was said before."""

    name: str
    passages: Sequence[tuple[str, str]]
    questions: Sequence[str]
    relevant: Sequence[frozenset[int]]
    before: Sequence[tuple[str, ...]] = ()


def rows_of(name: str) -> list[dict[str, Any]]:
    with gzip.open(pack() / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def judged(name: str, *, most: int) -> Collection:
    rows = rows_of(f"retrieval/{name}/corpus")
    place = {row["doc_id"]: n for n, row in enumerate(rows)}
    return _with_qrels(name, [(row.get("title", ""), row["text"]) for row in rows], place, most)


def headings(*, most: int, distractors: int = 4000) -> Collection:
    """A weak proxy: the heading of a passage is the question, so headings are not searched."""
    rows = [row for name in ("git239", "python311", "postgresql15", "ubuntu_server") for row in rows_of(f"docs/{name}")]
    wanted = {row["doc_id"] for row in rows_of("retrieval/docs_headings/qrels")[: most * 3]}
    random.Random(0).shuffle(rows)
    rows = [row for row in rows if row["id"] in wanted] + [row for row in rows if row["id"] not in wanted][:distractors]
    return _with_qrels(
        "docs_headings", [("", row["text"]) for row in rows], {r["id"]: n for n, r in enumerate(rows)}, most
    )


def _with_qrels(name: str, passages: list[tuple[str, str]], place: Mapping[str, int], most: int) -> Collection:
    wanted: dict[str, set[int]] = {}
    for row in rows_of(f"retrieval/{name}/qrels"):
        if row["score"] > 0 and row["doc_id"] in place:
            wanted.setdefault(row["qid"], set()).add(place[row["doc_id"]])
    queries = [row for row in rows_of(f"retrieval/{name}/queries") if row["qid"] in wanted]
    queries = random.Random(0).sample(queries, min(most, len(queries)))
    return Collection(
        name, passages, [row["text"] for row in queries], [frozenset(wanted[row["qid"]]) for row in queries]
    )


def dstc11(*, most: int) -> Collection:
    rows = rows_of("dialogues/dstc11_track5/knowledge")
    place = {row["doc_id"]: n for n, row in enumerate(rows)}
    passages = [
        (f"{row['entity'] or row['domain']}: {row.get('title') or ''}".rstrip(": "), row["text"]) for row in rows
    ]
    asked = [row for row in rows_of("dialogues/dstc11_track5/val") if row["labels"]["knowledge_seeking"]]
    asked = random.Random(0).sample(asked, min(most, len(asked)))
    return Collection(
        "dstc11_track5",
        passages,
        [row["turns"][-1]["text"] for row in asked],
        [frozenset(place[id] for id in row["labels"]["knowledge"]) for row in asked],
        [tuple(turn["text"] for turn in row["turns"][:-1]) for row in asked],
    )


def harbour() -> Collection:
    passages = []
    for path in sorted((HARBOUR / "documents").glob("*.md")):
        passages += passages_of(Document(id=path.name, source=path.name, text=path.read_text(encoding="utf-8").strip()))
    asked = [json.loads(line) for line in (HARBOUR / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    relevant = [
        frozenset(n for n, p in enumerate(passages) if p.document == row["document"] and row["passage"][:60] in p.text)
        for row in asked
    ]
    texts = [(p.heading, " ".join(line.text for line in p.lines)) for p in passages]
    return Collection("harbour", texts, [row["question"] for row in asked], relevant)


# --- quality ----------------------------------------------------------------------------------------------------------


def recall(ranking: Sequence[int], relevant: frozenset[int], k: int = 5) -> float:
    return len(relevant & set(ranking[:k])) / min(k, len(relevant))


def ndcg(ranking: Sequence[int], relevant: frozenset[int], k: int = 10) -> float:
    gain = sum(1 / np.log2(rank + 2) for rank, n in enumerate(ranking[:k]) if n in relevant)
    return float(gain / sum(1 / np.log2(rank + 2) for rank in range(min(k, len(relevant)))))


@dataclass(frozen=True)
class Opened:
    """A collection with its two rankings of every question."""

    collection: Collection
    dense: list[list[int]]
    words: list[list[int]]

    def fused(self, dense: float, words: float, constant: float) -> list[list[int]]:
        pairs = zip(self.dense, self.words, strict=True)
        return [_ordered(fuse([(a, dense), (b, words)], constant=constant)) for a, b in pairs]

    def scores(self, rankings: Sequence[Sequence[int]], measure: Callable[..., float]) -> np.ndarray:
        return np.array([measure(r, rel) for r, rel in zip(rankings, self.collection.relevant, strict=True)])


def _ordered(scores: Mapping[int, float]) -> list[int]:
    return sorted(scores, key=lambda n: (-scores[n], n))


class Vectors:
    """Vectors by text, kept in a folder."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._encoder = open_base("minilm")
        cache.mkdir(parents=True, exist_ok=True)

    def of(self, texts: Sequence[str], *, max_length: int = 128) -> np.ndarray:
        parts = []
        encoder = open_base("minilm", max_length=max_length) if max_length != 128 else self._encoder
        for begin in range(0, len(texts), 8192):
            part = list(texts[begin : begin + 8192])
            path = self._cache / f"{digest([part, max_length])[:16]}.npy"
            if not path.is_file():
                np.save(path, encoder.embed(part).astype(np.float16))
            parts.append(np.load(path).astype(np.float32))
        return np.concatenate(parts)


def opened(collection: Collection, vectors: Vectors, folder: Path) -> tuple[Opened, Any, fulltext.FullText]:
    matrix = vectors.of([f"{heading}\n{text}".strip() for heading, text in collection.passages])
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    fulltext.write(folder / collection.name, collection.passages)
    words = fulltext.FullText(folder / collection.name)
    asked = vectors.of(collection.questions)
    return (
        Opened(
            collection,
            [dense_ranking(index, vector, DEPTH)[1].tolist() for vector in asked],
            [words.search(question, DEPTH)[1].tolist() for question in collection.questions],
        ),
        index,
        words,
    )


def interval(values: np.ndarray, *, resamples: int = 2000) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def told(values: np.ndarray) -> str:
    low, high = interval(values)
    return f"{100 * values.mean():.1f} ({100 * low:.1f}–{100 * high:.1f})"


def quality(every: Sequence[Opened]) -> None:
    print("| collection | questions | passages | measure | vectors | words | both |\n|---|---|---|---|---|---|---|")
    for part in every:
        rankings = {"dense": part.dense, "words": part.words, "both": part.fused(DENSE, WORDS, RRF)}
        for name, measure in (("recall@5", recall), ("nDCG@10", ndcg)):
            cells = " | ".join(told(part.scores(ranking, measure)) for ranking in rankings.values())
            whole = part.collection
            print(f"| {whole.name} | {len(whole.questions)} | {len(whole.passages):,} | {name} | {cells} |")
    for name, measure in (("recall@5", recall), ("nDCG@10", ndcg)):
        pooled = {
            "dense": [p.scores(p.dense, measure).mean() for p in every],
            "words": [p.scores(p.words, measure).mean() for p in every],
            "both": [p.scores(p.fused(DENSE, WORDS, RRF), measure).mean() for p in every],
        }
        print(
            f"| mean of collections | | | {name} | "
            + " | ".join(f"{100 * np.mean(v):.1f}" for v in pooled.values())
            + " |"
        )


def weights(every: Sequence[Opened]) -> None:
    """The fusion's constant and weight of words: best mean nDCG@10 of the collections on every other question."""
    options = list(itertools.product((0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5), (1.0, 5.0, 10.0, 20.0, 60.0)))
    mean: dict[tuple[float, float], tuple[float, float]] = {}
    for words, constant in options:
        halves = [part.scores(part.fused(1.0, words, constant), ndcg) for part in every]
        mean[words, constant] = (
            float(np.mean([half[0::2].mean() for half in halves])),
            float(np.mean([half[1::2].mean() for half in halves])),
        )
    print("\n| weight of words | constant | nDCG@10 where chosen | on the other half |\n|---|---|---|---|")
    for option in sorted(mean, key=lambda o: -mean[o][0])[:5]:
        print(f"| {option[0]} | {option[1]:g} | {100 * mean[option][0]:.2f} | {100 * mean[option][1]:.2f} |")


def follow_ups(part: Opened, index: Any, words: fulltext.FullText, vectors: Vectors) -> None:
    """Ways to read a question in its conversation, all without a prompt; vectors of earlier turns are remembered."""
    whole = part.collection
    alone = vectors.of(whole.questions)
    blank = [""] * len(whole.questions)
    last = {
        "the turn before": [turns[-1] if turns else "" for turns in whole.before],
        "the visitor's turn before": [turns[-2] if len(turns) > 1 else "" for turns in whole.before],
        "the last three turns": [" ".join(turns[-3:]) for turns in whole.before],
    }
    print("\n| reading of the context | how | weight | recall@5 | nDCG@10 |\n|---|---|---|---|---|")
    for name, context in {"none": blank, **last}.items():
        of_context = vectors.of([text or " " for text in context])
        joined = vectors.of([f"{before} {question}" for before, question in zip(context, whole.questions, strict=True)])
        mixed = alone + of_context
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        for how, at in (("vectors added", mixed), ("text joined", joined)):
            for weight in CONTEXT_WEIGHTS if name != "none" else (0.0,):
                if weight == 0.0 and (name != "none" or how != "vectors added"):
                    continue
                rankings = []
                for n, question in enumerate(whole.questions):
                    both = [(part.dense[n], DENSE), (part.words[n], WORDS)]
                    if weight:
                        text = f"{context[n]} {question}"
                        both += [
                            (dense_ranking(index, at[n], DEPTH)[1].tolist(), weight * DENSE),
                            (words.search(text, DEPTH)[1].tolist(), weight * WORDS),
                        ]
                    rankings.append(_ordered(fuse(both)))
                first, second = part.scores(rankings, recall), part.scores(rankings, ndcg)
                print(f"| {name} | {how} | {weight} | {told(first)} | {told(second)} |", flush=True)


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(count: int, embedded: int, vectors: Vectors, folder: Path) -> None:
    faiss.omp_set_num_threads(1)
    lines: list[tuple[str, str]] = []
    for path in sorted((pack() / "docs").glob("*.jsonl.gz")):
        for row in rows_of(f"docs/{path.name.removesuffix('.jsonl.gz')}"):
            document = Document(id=row["id"], source="manual.md", text=row["text"])
            lines += [(row["title"], p.text) for p in passages_of(document)]
    random.Random(0).shuffle(lines)
    lines = lines[:count]
    real = vectors.of([f"{heading}\n{text}" for heading, text in lines[:embedded]], max_length=SHORT)
    asked = [row["text"] for row in rows_of("retrieval/faq_tech/queries")][:200]
    at = vectors.of(asked)
    noise = np.random.default_rng(0)
    copies = [
        real + noise.normal(0, 0.02, real.shape).astype(np.float32) for _ in range(-(-len(lines) // len(real)) - 1)
    ]
    every = np.concatenate([real, *copies])[: len(lines)]
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    print(f"\n{len(lines):,} passages of the pack's documents, {len(real):,} of them embedded; other vectors are these")
    print(f"with noise, which only the times rest on. One thread, {len(asked)} questions.\n")
    print("| search of the best 50 | build, s | p50, ms | p99, ms | recall@10 of the exact |\n|---|---|---|---|---|")
    exact: list[list[int]] = []
    for name, make in (
        ("faiss flat", lambda: faiss.IndexFlatIP(real.shape[1])),
        (
            "faiss, 8 bits",
            lambda: faiss.IndexScalarQuantizer(
                real.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
            ),
        ),
    ):
        small, index = make(), make()
        for target, rows in ((small, real), (index, every)):
            begun = time.perf_counter()
            target.train(rows)
            target.add(rows)
            built = time.perf_counter() - begun
        nearest = [dense_ranking(small, vector, DEPTH)[1].tolist() for vector in at]
        exact = exact or nearest
        kept = np.mean([len(set(a[:10]) & set(b[:10])) / 10 for a, b in zip(nearest, exact, strict=True)])
        times = timed(lambda n, index=index: dense_ranking(index, at[n], DEPTH), len(asked))
        print(f"| {name} | {built:.1f} | {times[0]:.2f} | {times[1]:.2f} | {kept:.4f} |", flush=True)
    begun = time.perf_counter()
    fulltext.write(folder / "speed", lines)
    built = time.perf_counter() - begun
    words = fulltext.FullText(folder / "speed")
    times = timed(lambda n: words.search(asked[n], DEPTH), len(asked))
    print(f"| tantivy | {built:.1f} | {times[0]:.2f} | {times[1]:.2f} | |")


def timed(search: Callable[[int], Any], count: int) -> tuple[float, float]:
    times = []
    for n in [*range(10), *range(count)]:
        begun = time.thread_time()  # of this thread alone: a busy machine hardly moves it
        search(n)
        times.append(1000 * (time.thread_time() - begun))
    low, high = np.percentile(times[10:], [50, 99])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--embedded", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "shoptalk-vectors")
    parser.add_argument("--only", choices=("quality", "follow-ups", "speed"), default=None)
    options = parser.parse_args()
    vectors = Vectors(options.cache)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "quality"):
            collections = [
                harbour(),
                judged("faq_tech", most=options.questions),
                judged("cacm", most=options.questions),
                judged("cisi", most=options.questions),
                headings(most=options.questions),
                dstc11(most=options.questions),
            ]
            every = [opened(collection, vectors, folder)[0] for collection in collections]
            quality(every)
            weights(every)
        if options.only in (None, "follow-ups"):
            follow_ups(*opened(dstc11(most=options.questions // 2), vectors, folder), vectors)
        if options.only in (None, "speed"):
            speed(options.passages, options.embedded, vectors, folder)


if __name__ == "__main__":
    main()
