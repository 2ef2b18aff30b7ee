"""What is measured of the base and of every menu entry: the same texts, the same draws, the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk import decide
from shoptalk.errors import DivergedError
from shoptalk.evaluate.labelfree import label_free_score
from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.probes.alignment_uniformity import squared_distances, uniformity_loss
from shoptalk.probes.collapse import collapse
from shoptalk.probes.forgetting import general_similarity
from shoptalk.probes.knn import knn_predict
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.probes.rank import rankme
from shoptalk.probes.retrieval import reciprocal_ranks
from shoptalk.records import Example, Reading

SAMPLE = 512
"""Texts for the label-free measures: more than the encoder's dimensions, few enough to embed at every look."""


@dataclass(frozen=True)
class Labelled:
    """The label set with its k-shot draws, drawn once and used for every entry."""

    texts: tuple[str, ...]
    labels: Int[np.ndarray, " N"]
    cluster: Int[np.ndarray, " N"]
    names: tuple[str, ...]
    draws: decide.Draws

    @classmethod
    def draw(cls, examples: Sequence[Example], *, shots: int, n_draws: int, seed: int) -> "Labelled":
        """Draw the label sets.

        Raises:
            InputError: a class has too few independent examples to hold one out.
        """
        names, labels = np.unique([example.label for example in examples], return_inverse=True)
        cluster = np.array([example.cluster for example in examples])
        drawn = decide.draws(names[labels], cluster, shots=shots, n_draws=n_draws, seed=seed)
        texts = tuple(example.text for example in examples)
        return cls(texts, labels, cluster, tuple(str(name) for name in names), drawn)

    def first(self, n_draws: int) -> "Labelled":
        """The same with the first of its draws alone."""
        return replace(self, draws=decide.Draws(self.draws.training[:n_draws], self.draws.tested[:n_draws]))

    @property
    def shots(self) -> int:
        """Labels per class in a draw."""
        return int(self.draws.training.shape[1]) // len(self.names)

    def fewer_shots(self, asked: int) -> str | None:
        """Which labels make a draw smaller than is asked for, and what to do; None where none do."""
        return decide.fewer_shots(np.array(self.names)[self.labels], self.cluster, shots=asked)


@dataclass(frozen=True)
class Bench:
    """All that a measurement needs besides the product."""

    labelled: Labelled | None
    sample: tuple[str, ...]
    """Held-out or training texts for the label-free measures."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Held-out (context, reply) pairs; empty where there are no conversations."""
    held_out: tuple[str, ...] = ()
    """Held-out texts, for what a pretext task's own loss is on unseen text."""
    pool: tuple[str, ...] = ()
    """Unlabelled texts that heads may learn from (`evaluate/best_head.py`); only the verdict's looks need them."""


@dataclass(frozen=True)
class Measured:
    """A product's measurements: label-free readings, and with labels each example's outcome per draw."""

    readings: tuple[Reading, ...]
    correct: Bool[np.ndarray, "R N"] | None = field(repr=False, default=None)
    vectors: Float[np.ndarray, "S D"] | None = field(repr=False, default=None)
    """The base's of the bench's sample, where there are no labels: what `labelfree` compares a challenger's with."""

    def values(self) -> dict[str, float]:
        """Every reading's value by name."""
        return {reading.name: reading.value for reading in self.readings}


def save_measured(folder: Path, measured: Measured) -> None:
    """A measurement as files: `readings.jsonl`, with labels `correct.npy` [R, N], without `vectors.npy` [S, D]."""
    rows = [reading.model_dump_json() + "\n" for reading in measured.readings]
    (folder / "readings.jsonl").write_text("".join(rows), encoding="utf-8")
    for name, array in (("correct.npy", measured.correct), ("vectors.npy", measured.vectors)):
        if array is not None:
            np.save(folder / name, array)


def load_measured(folder: Path) -> Measured:
    """What `save_measured` wrote."""
    lines = (folder / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    correct, vectors = (
        np.load(path, allow_pickle=False) if path.exists() else None
        for path in (folder / "correct.npy", folder / "vectors.npy")
    )
    return Measured(tuple(Reading.model_validate_json(line) for line in lines), correct, vectors)


def measure(product: Embedder, bench: Bench, *, base: Measured | None = None) -> Measured:
    """Measure a frozen product; each group of texts is embedded once.

    `base` is the base's measurement, where the product is a challenger: without labels it is scored against that.

    Raises:
        DivergedError: vectors are NaN or infinite.
    """
    readings = [general_similarity()(product)]
    sample = None
    if len(bench.sample) > 1:
        sample = _embedded(product, bench.sample)
        alarm = collapse(sample)
        readings += [
            _reading("RankMe", rankme(sample), "effective dimensions", len(sample)),
            _reading("uniformity", uniformity_loss(sample), "log potential", len(sample)),
            _reading("collapsed", float(bool(alarm.detail["collapsed"])), "0 or 1", len(sample)),
        ]
        if base is not None and base.vectors is not None:
            score = label_free_score(sample, base.vectors)
            readings += [score] if score else []
    if len(bench.pairs) > 1:
        contexts = _embedded(product, [context for context, _ in bench.pairs])
        replies = _embedded(product, [reply for _, reply in bench.pairs])
        ranks = reciprocal_ranks(contexts, replies)
        readings += [
            _reading("alignment", float(squared_distances(contexts, replies).mean()), "squared distance", len(ranks)),
            Reading(
                name="next-turn MRR",
                value=float(ranks.mean()),
                unit=f"of 1, among {len(ranks)} replies",
                n=len(ranks),
                outcomes=tuple(float(rank) for rank in ranks),
                detail={"recall_at_1": float(100 * (ranks == 1).mean())},
            ),
        ]
    correct = None
    if bench.labelled is not None:
        vectors = _embedded(product, bench.labelled.texts)
        correct = kshot_outcomes(vectors, bench.labelled.labels, bench.labelled.draws.training)
        tested = bench.labelled.draws.tested
        accuracy = 100 * float(correct[tested].mean())
        cluster, labels = bench.labelled.cluster, bench.labelled.labels
        voted = knn_predict(vectors, vectors, labels, apart=(cluster, cluster)) == labels
        readings.append(_reading("kNN accuracy", 100 * float(voted.mean()), "per cent, leaving one out", len(voted)))
        readings.append(
            _reading(f"{bench.labelled.shots}-shot accuracy", accuracy, "per cent", int(tested.any(0).sum()))
        )
    return Measured(tuple(readings), correct, sample if bench.labelled is None and base is None else None)


def _embedded(product: Embedder, texts: Sequence[str]) -> Float[np.ndarray, "N D"]:
    """The vectors of texts, all of them finite numbers. Finite weights give others where they have grown very large."""
    vectors = embed(product, texts)
    broken = int((~np.isfinite(vectors)).any(axis=1).sum())
    if broken:
        raise DivergedError(
            f"The encoder gives {broken:,} of {len(vectors):,} texts vectors that are NaN or infinite: the training "
            "that made it diverged. Lower its learning rate, or leave the candidate out."
        )
    return vectors


def per_class(
    labelled: Labelled, base: Bool[np.ndarray, "R N"], adapted: Bool[np.ndarray, "R N"]
) -> list[dict[str, Any]]:
    """Accuracy of base and adapted per class, over the draws' tests, in per cent; biggest gains first."""
    rows = []
    for number, name in enumerate(labelled.names):
        cells = labelled.draws.tested & (labelled.labels == number)[None, :]
        if cells.any():
            before, after = 100 * float(base[cells].mean()), 100 * float(adapted[cells].mean())
            n = int((labelled.labels == number).sum())
            rows.append({"label": name, "n": n, "base": before, "adapted": after, "gain": after - before})
    return sorted(rows, key=lambda row: -row["gain"])


def _reading(name: str, value: float, unit: str, n: int) -> Reading:
    return Reading(name=name, value=value, unit=unit, n=n)
