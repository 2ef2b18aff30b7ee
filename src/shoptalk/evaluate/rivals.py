"""Two systems of a run on the messages of a bank: what each answers, as it would be shipped, and where they differ.

A system is an encoder with a head on all labels. What it answers to a message is what it would answer a visitor: the
head that is fitted here is the one that ships, of the kind that the verdict has compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.kind_answers import Seen, kind_answers
from shoptalk.nn.heads.names import embedded as names_of
from shoptalk.nn.product import Embedder
from shoptalk.records import Example, Item

NEIGHBOURS = 5
"""Labelled texts that are shown beside a message."""


@dataclass(frozen=True)
class Answered:
    """What a system answers to M messages, and how its encoder sees them beside N labelled texts."""

    labels: tuple[str, ...]
    codes: Int[np.ndarray, " M"]
    """The answers, as numbers of `labels`."""
    vectors: Float[np.ndarray, "M D"]
    examples: Float[np.ndarray, "N D"]

    def answer(self, i: int) -> str:
        """To message i."""
        return self.labels[int(self.codes[i])]

    def near(self, i: int) -> list[int]:
        """The labelled texts nearest to message i, the nearest first."""
        cosine = self.examples @ self.vectors[i]
        return [int(place) for place in np.argsort(-cosine, kind="stable")[:NEIGHBOURS]]


def answered(
    product: Embedder,
    examples: Sequence[Example],
    pool: Sequence[Item],
    messages: Sequence[str],
    *,
    kind: str,
    names: bool = True,
    seen: Seen | None = None,
) -> Answered:
    """What the head of a kind on all labels answers; with `names` it may learn from the labels' names too. `seen` is
    how the encoder sees the examples and the pool, where that is known.
    """
    labels = sorted({example.label for example in examples})
    number = {label: i for i, label in enumerate(labels)}
    texts = [example.text for example in examples]
    if seen is None:
        named = names_of(product, labels) if names and product.kind == "text" else None
        seen = Seen(embed(product, texts), embed(product, pool), named)
    vectors = embed(product, messages)
    codes = np.array([number[example.label] for example in examples] + [0] * len(messages), dtype=np.int64)
    taught = (np.arange(len(codes)) < len(texts))[None]
    every = replace(seen, texts=np.concatenate([seen.texts, vectors]))
    answers = kind_answers(every, codes, taught, only=kind)[kind][0, len(texts) :]
    return Answered(tuple(labels), answers.astype(np.int64), vectors, np.asarray(seen.texts))


def neighbours_by_both(old: Answered, new: Answered, i: int) -> list[int]:
    """Labelled texts near message i, those of both encoders in turn: neither's view comes first everywhere."""
    mixed = [place for pair in zip(*_in_turn(old.near(i), new.near(i), i), strict=True) for place in pair]
    return list(dict.fromkeys(mixed))[:NEIGHBOURS]


def _in_turn(one: list[int], other: list[int], i: int) -> tuple[list[int], list[int]]:
    return (one, other) if i % 2 == 0 else (other, one)
