"""How an encoder sees labelled and unlabelled items, and what heads of each kind answer on it, draw by draw."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import names
from shoptalk.nn.heads.kinds import FEWEST_IN_POOL, INVERSE_PENALTY, KINDS, PLAIN, views_of
from shoptalk.nn.heads.logistic import LinearHead
from shoptalk.nn.heads.many import fit_many
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.heads.selftrain import self_train
from shoptalk.nn.product import Embedder
from shoptalk.records import Item

POOL = 2_000
"""Unlabelled texts that heads of a run may use: more sharpen neighbourhoods, and are embedded for each encoder."""


@dataclass(frozen=True)
class Seen:
    """How an encoder sees labelled texts, unlabelled ones that heads may use, and labels' names: unit vectors."""

    texts: Float[np.ndarray, "N D"]
    pool: Float[np.ndarray, "M D"]
    named: Float[np.ndarray, "C D"] | None = None

    @classmethod
    def by(
        cls, product: Embedder, texts: Sequence[Item], unlabelled: Sequence[Item], *, labels: Sequence[str] = ()
    ) -> "Seen":
        """Embed them, each once. `labels` are in the order of their numbers; there are none for texts alone."""
        named = names.embedded(product, labels) if labels else None
        return cls(embed(product, texts), embed(product, unlabelled), named)

    @classmethod
    def of_texts(cls, vectors: Float[np.ndarray, "N D"]) -> "Seen":
        """Of labelled texts alone."""
        return cls(vectors, vectors[:0])


def kinds_for(seen: Seen) -> tuple[str, ...]:
    """The kinds of heads that can be fitted on what an encoder sees."""
    return tuple(KINDS) if len(seen.pool) >= FEWEST_IN_POOL else (PLAIN,)


def kind_answers(
    seen: Seen, labels: Int[np.ndarray, " N"], taught: Bool[np.ndarray, "R N"], *, only: str | None = None
) -> dict[str, Int32[np.ndarray, "R N"]]:
    """The label that a head of each kind, fitted on the texts that a draw teaches, gives each of N texts.

    Where the unlabelled texts are too few for neighbourhoods there is the plain linear kind alone. `only` names the one
    kind that is asked for. Labels are numbered from 0; every draw teaches some text of each.
    """
    fits = HeadFits(seen, labels, taught)
    return {kind: fits.answers(kind) for kind in (kinds_for(seen) if only is None else (only,))}


class HeadFits:
    """Heads of several kinds on the same draws: kinds that see texts alike begin with the same fits."""

    def __init__(self, seen: Seen, labels: Int[np.ndarray, " N"], taught: Bool[np.ndarray, "R N"]) -> None:
        self._pool = Pool.of(seen.pool) if len(seen.pool) > 1 else None
        self._views = views_of(seen.texts, self._pool)
        self._named = views_of(seen.named, self._pool) if seen.named is not None else {}
        self._labels, self._taught = labels, taught
        self._fitted: dict[bool, _Fitted] = {}
        self._fit_seconds: dict[bool, float] = {}
        self.seconds: dict[str, float] = {}
        """What each kind that was asked for took, or would have taken alone: its first fits included."""

    def answers(self, kind: str) -> Int32[np.ndarray, "R N"]:
        """What the heads of a kind answer, draw by draw."""
        smoothed, rounds = KINDS[kind]
        if smoothed not in self._fitted:
            begun = time.perf_counter()
            self._fitted[smoothed] = _fit(self._views[smoothed], self._named.get(smoothed), self._labels, self._taught)
            self._fit_seconds[smoothed] = time.perf_counter() - begun
        begun = time.perf_counter()
        heads = self._fitted[smoothed].heads
        if rounds and self._pool is not None:
            unlabelled = self._pool.smoothed if smoothed else self._pool.vectors
            heads = self._fitted[smoothed].self_trained(unlabelled, rounds)
        answers = np.stack([head.predict(self._views[smoothed]) for head in heads]).astype(np.int32)
        self.seconds[kind] = self._fit_seconds[smoothed] + time.perf_counter() - begun
        return answers


@dataclass(frozen=True)
class _Fitted:
    """A head per draw, and what it learned from: labelled texts and labels' names, each counted so often (R P)."""

    heads: list[LinearHead]
    points: Float[np.ndarray, "P D"]
    codes: Int[np.ndarray, " P"]
    counts: Float[np.ndarray, "R P"]

    def self_trained(self, unlabelled: Float[np.ndarray, "M D"], rounds: int) -> list[LinearHead]:
        """The heads after self-training on unlabelled texts, each from its own draw alone."""
        heads = []
        for head, counts in zip(self.heads, self.counts, strict=True):
            used = counts > 0
            points, codes = self.points[used], self.codes[used]
            heads.append(self_train(head, points, codes, unlabelled, counts=counts[used], rounds=rounds))
        return heads


def _fit(
    view: Float[np.ndarray, "N D"],
    named: Float[np.ndarray, "C D"] | None,
    labels: Int[np.ndarray, " N"],
    taught: Bool[np.ndarray, "R N"],
) -> _Fitted:
    """Logistic regression on each draw, with the labels' names where they say something of its texts (`fit_kind`)."""
    n_classes, counts = int(labels.max()) + 1, taught.astype(np.float64)
    points, codes = view, labels
    if named is not None:
        nearest = (view @ named.T).argmax(axis=1)
        speaking = np.array([names.hits_speak(nearest[chosen], labels[chosen], len(named)) for chosen in taught])
        counts = np.concatenate([counts, np.outer(speaking, np.full(len(named), names.EXAMPLES))], axis=1)
        points, codes = np.concatenate([view, named]), np.concatenate([labels, np.arange(len(named))])
    heads = fit_many(points, codes, counts, n_classes=n_classes, inverse_penalty=INVERSE_PENALTY)
    return _Fitted(heads, points, codes, counts)


def right(answers: Int[np.ndarray, "R N"], labels: Int[np.ndarray, " N"]) -> Bool[np.ndarray, "R N"]:
    """Whether each answer is the right one."""
    return np.asarray(answers == labels)


def save_seen(folder: Path, seen: Seen) -> None:
    """Write vectors as files of an existing folder."""
    np.save(folder / "seen.texts.npy", seen.texts)
    np.save(folder / "seen.pool.npy", seen.pool)
    if seen.named is not None:
        np.save(folder / "seen.named.npy", seen.named)


def load_seen(folder: Path) -> Seen | None:
    """What `save_seen` wrote, mapped into memory and not read; None where there is none."""
    vectors = {
        name: np.load(path, mmap_mode="c", allow_pickle=False)
        for name in ("texts", "pool", "named")
        if (path := folder / f"seen.{name}.npy").is_file()
    }
    return Seen(**vectors) if "texts" in vectors else None
