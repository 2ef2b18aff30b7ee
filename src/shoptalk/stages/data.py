"""Curate and baseline: from files to a corpus, a label set and the number that everything is compared with."""

import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shoptalk.artifact import Artifact, create, digest, file_digest, key_of, open_artifact, write_text
from shoptalk.config import CurateConfig
from shoptalk.curate.curate import HELD_OUT, TRAIN, curate, read_drops, write_corpus
from shoptalk.curate.dedup import matches
from shoptalk.curate.labels import read_labels
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import SourceError
from shoptalk.evaluate.heads import POOL, Seen, kind_answers, load_heads, save_heads
from shoptalk.evaluate.menu import SAMPLE, Bench, Labelled, Measured, load_measured, measure, save_measured
from shoptalk.nn.bases import resolve
from shoptalk.nn.heads.names import EXAMPLES
from shoptalk.nn.scratch import size_of
from shoptalk.probes.retrieval import choose_pairs
from shoptalk.records import Document, Drop, Example, Reading
from shoptalk.stages.world import World, open_product
from shoptalk.text.corpus import Corpus, open_corpus
from shoptalk.text.order import permuted

HELD_OUT_SHARE, HELD_OUT_MOST = 0.1, 1000
"""Of the conversations, kept from training so that next-turn retrieval is asked of unseen ones."""


@dataclass(frozen=True)
class Curated:
    """The curate stage's artifact, read back."""

    artifact: Artifact
    train: Corpus
    held_out: Corpus
    """Conversations that training never sees."""
    examples: tuple[Example, ...]
    tests: tuple[Example, ...]
    drops: Iterable[Drop]
    """Read anew each time they are gone through."""
    n_documents: int
    folder: Path
    """Where it is."""


def curate_stage(world: World, sources: Sequence[Path], labels: Path | None, test: Path | None) -> Curated:
    """Read everything, drop what must not be learned from, hold some conversations out; leaves `RUN/corpus`.

    Raises:
        SourceError: a file named by the user cannot be used, or nothing is left to learn from.
    """
    config = world.config
    parents = dict(source_fingerprint(sources))
    for role, path in (("labels", labels), ("test", test)):
        if path is not None:
            if not path.is_file():
                raise SourceError(f"The {role} file {path} does not exist. Give a .csv or .jsonl file, gzip or not.")
            parents[f"{role}:{path.name}"] = file_digest(path)
    # What is held out is part of what the artifact holds.
    settings = config.curate.model_dump() | {"held_out": [HELD_OUT_SHARE, HELD_OUT_MOST]}
    folder, key = world.run / "corpus", key_of(kind="corpus", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        world.report.say(f"curate: reading {', '.join(path.name for path in sources)}")
        _make_corpus(folder, sources, labels, test, config.curate, settings, parents)
    return open_curated(world)


def open_curated(world: World) -> Curated:
    """What `curate_stage` has left in `RUN/corpus`."""
    folder = world.run / "corpus"
    artifact = open_artifact(folder)
    assert artifact is not None
    return Curated(
        artifact=artifact,
        train=open_corpus(folder / TRAIN, digest=artifact.content),
        held_out=open_corpus(folder / HELD_OUT, digest=artifact.content),
        examples=tuple(_read_examples(folder / "labels.jsonl")),
        tests=tuple(_read_examples(folder / "test.jsonl")),
        drops=_Drops(folder),
        n_documents=int(artifact.readings["documents"]),
        folder=folder,
    )


@dataclass(frozen=True)
class _Drops(Iterable[Drop]):
    """There can be as many drops as documents, so they stay on disk."""

    folder: Path

    def __iter__(self) -> Iterator[Drop]:
        return read_drops(self.folder)


@dataclass(frozen=True)
class Baseline:
    """The unadapted base's measurements; nothing later is believed without them."""

    artifact: Artifact
    bench: Bench
    measured: Measured
    seconds: float
    """What measuring took: the forecast of every later look."""
    tokens_per_second: float
    """Of embedding, real tokens."""
    kinds: Mapping[str, np.ndarray]
    """With labels, each kind of head's answers on the draws [R, N], as label numbers."""
    kinds_seconds: float
    """What those took: the forecast of the same for the challenger."""
    seen: Seen | None = None
    """With labels, the vectors that the heads saw."""


def baseline_stage(world: World, curated: Curated) -> Baseline:
    """Measure the base on everything that entries will be measured on; leaves `RUN/baseline`."""
    config = world.config
    labelled = None
    if curated.examples:
        labelled = Labelled.draw(curated.examples, shots=config.shots, n_draws=config.draws, seed=config.seed)
    size = len(curated.train)
    places = permuted(size, range(min(size, SAMPLE)), seed=config.seed, epoch=0)
    bench = Bench(
        labelled,
        sample=tuple(curated.train.texts[i] for i in places),
        pairs=tuple(choose_pairs(curated.held_out, seed=config.seed)),
        held_out=tuple(curated.held_out.texts[:SAMPLE]),
        pool=pool_of(curated.train, seed=config.seed),
    )
    settings = {"shots": config.shots, "draws": config.draws, "seed": config.seed, "base": world.base_name}
    if labelled is None:
        settings["vectors"] = len(bench.sample)  # kept beside the readings, so a baseline without them is another
    else:
        settings["answers"] = len(bench.pool)  # and the heads' vectors likewise
        settings["names"] = EXAMPLES  # what a label's name counts as
    parents = {"corpus": curated.artifact.content, "base": base_digest(config.base)}
    folder, key = world.run / "baseline", key_of(kind="baseline", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        world.report.say(f"baseline: measuring {world.base_name} as it is")
        product = open_product(config)
        texts = [*bench.sample, *(labelled.texts if labelled else ()), *(text for pair in bench.pairs for text in pair)]
        begun = time.perf_counter()
        measured = measure(product, bench)
        seconds = time.perf_counter() - begun
        rate = product.tokens(texts) / seconds
        begun, kinds, seen = time.perf_counter(), {}, None
        if labelled is not None:
            seen = Seen.by(product, labelled.texts, bench.pool, labels=labelled.names)
            kinds = kind_answers(seen, labelled.labels, labelled.draws.training)
        detail = {"tokens_per_second": rate, "kinds_seconds": time.perf_counter() - begun}
        timing = Reading(name="baseline", value=seconds, unit="s", n=1, detail=detail)
        with create(folder, kind="baseline", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            save_heads(inside, kinds, seen)
            write_text(inside / "timing.json", timing.model_dump_json())
    artifact = open_artifact(folder)
    assert artifact is not None
    timing = Reading.model_validate_json((folder / "timing.json").read_text(encoding="utf-8"))
    kinds, seen = load_heads(folder)
    return Baseline(
        artifact,
        bench,
        load_measured(folder),
        timing.value,
        float(timing.detail["tokens_per_second"]),
        kinds=kinds,
        kinds_seconds=float(timing.detail["kinds_seconds"]),
        seen=seen,
    )


def pool_of(corpus: Corpus, *, seed: int) -> tuple[str, ...]:
    """Unlabelled texts for the run's heads: a random sample, each wording once."""
    return tuple(pool_places(corpus, seed=seed))


def pool_places(corpus: Corpus, *, seed: int) -> dict[str, int]:
    """The same texts with where each stands in the corpus, the first place that was drawn."""
    found: dict[str, int] = {}
    for place in permuted(len(corpus), range(min(len(corpus), 2 * POOL)), seed=seed, epoch=1).tolist():
        found.setdefault(corpus.texts[place], place)
    return dict(itertools.islice(found.items(), POOL))


def base_digest(ref: str) -> str:
    """What a base is, as one hash: the SHA-256 of its weights.

    A base that is yet to be made from the corpus (`scratch:mini`) is what it is to be. One that was made (`RUN/base`)
    is all of its folder: equal random weights may come with the tokenizer of another corpus.
    """
    size = size_of(ref)
    if size is not None:
        return digest(vars(size))
    folder = resolve(ref)
    made = open_artifact(folder)
    return made.content if made is not None and made.kind == "base" else file_digest(folder / "model.safetensors")


def _make_corpus(
    folder: Path,
    sources: Sequence[Path],
    labels: Path | None,
    test: Path | None,
    config: CurateConfig,
    settings: Mapping[str, Any],
    parents: dict[str, str],
) -> None:
    examples, label_drops = read_labels(labels, config) if labels else ([], [])
    tests, test_drops = read_labels(test, config) if test else ([], [])
    examples, leaks = _without_tests(examples, tests, config.near_duplicate)
    items = itertools.chain(label_drops, test_drops, leaks, stream_sources(sources, config))
    reserved = [example.text for example in (*examples, *tests)]
    readings: dict[str, float] = {}
    with create(folder, kind="corpus", config=settings, parents=parents, readings=readings) as inside:
        written = write_corpus(
            inside,
            curate(items, reserved=reserved, config=config),
            passage_characters=config.passage_characters,
            held_out=HoldOut(HELD_OUT_MOST),
        )
        if not written.documents:
            raise SourceError(
                f"Nothing is left to learn from: every document was dropped ({', '.join(sorted(written.dropped))}). "
                "Give unlabelled text that is not the labelled text itself."
            )
        readings["documents"] = written.documents
        _write_examples(inside / "labels.jsonl", examples)
        _write_examples(inside / "test.jsonl", tests)


def _without_tests(
    examples: Sequence[Example], tests: Sequence[Example], threshold: float
) -> tuple[list[Example], list[Drop]]:
    """Labelled examples that are near duplicates of a test example would make the test easier than life."""
    if not examples or not tests:
        return list(examples), []
    leaks = matches([example.text for example in examples], [example.text for example in tests], threshold)
    kept = [example for example, leak in zip(examples, leaks, strict=True) if not leak]
    dropped = [
        Drop(id=example.id, source="labels", reason="in-test-cluster", sample=example.text[:200])
        for example, leak in zip(examples, leaks, strict=True)
        if leak
    ]
    return kept, dropped


class HoldOut:
    """Chooses the first `most` conversations of a share of all: a function of a conversation's id alone, so that new
    conversations move no old one.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, document: Document) -> bool:
        """Whether the document is held out; to be asked of every document once, in their order."""
        if not document.turns or not self._left:
            return False
        place = int.from_bytes(hashlib.sha256(document.id.encode("utf-8", "surrogatepass")).digest()[:4], "big")
        chosen = place < HELD_OUT_SHARE * 2**32
        self._left -= chosen
        return chosen


def _write_examples(path: Path, examples: Iterable[Example]) -> None:
    path.write_text("".join(example.model_dump_json() + "\n" for example in examples), encoding="utf-8")


def _read_examples(path: Path) -> list[Example]:
    with path.open(encoding="utf-8") as file:
        return [Example.model_validate_json(line) for line in file]
