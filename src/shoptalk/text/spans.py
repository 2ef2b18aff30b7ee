"""Spans of a text replaced by sentinels (Raffel et al. 2020, T5, section 3.1.4): what an encoder reads, and what a
decoder then writes.

    corrupter = SpanCorrupter(sentinels, rate=0.15, mean_length=3.0)
    pairs = corrupter(rows, examples, seed=0, step=0)
    pairs[0].source     # Thank you <X> me to your party <Y> week
    pairs[0].target     # <X> for inviting <Y> last <Z>

Which spans are replaced depends on seed, step and example alone (`text/chance.py`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from shoptalk.errors import BaseModelError
from shoptalk.text.chance import uniform

Ids = Int[np.ndarray, " _"]
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))
"""T5's names of its sentinel tokens, in the order in which a text uses them."""


class SourceTarget(NamedTuple):
    """Token ids that are read, and those that are then written; neither has special tokens around it."""

    source: Ids
    target: Ids


def sentinels_of(tokenizer: Any) -> Ids:
    """The ids of a tokenizer's sentinels, as far as they have T5's names.

    Raises:
        BaseModelError: it has fewer than two.
    """
    vocabulary = tokenizer.get_vocab()
    ids = [vocabulary[name] for name in SENTINELS if name in vocabulary]
    if len(ids) < 2:
        raise BaseModelError(
            f"This model's tokenizer has {len(ids)} of the tokens {SENTINELS[0]}, {SENTINELS[1]}, ..., which span "
            "corruption puts in the place of what it hides. Give a model of T5's kind, or scratch:t5-nano."
        )
    return np.array(ids, dtype=np.int64)


class SpanCorrupter:
    """Hides a share of each text's tokens in spans, anew at every step."""

    def __init__(self, sentinels: Ids, *, rate: float, mean_length: float) -> None:
        """`rate` is the share of the tokens that are hidden, in spans of `mean_length` tokens on average. A text has at
        most one span fewer than there are sentinels: the last one ends the target.
        """
        self.sentinels = sentinels
        self.rate, self.mean_length = rate, mean_length

    def __call__(self, rows: Sequence[Ids], examples: Sequence[int], *, seed: int, step: int) -> list[SourceTarget]:
        """Each text corrupted, a function of `seed`, `step` and `examples`, the numbers of the texts."""
        lengths = [len(row) + 1 for row in rows]  # a text of n tokens has n + 1 places that a span may begin at
        numbers = np.repeat(np.asarray(examples, dtype=np.int64), lengths)
        places = np.concatenate([np.arange(length) for length in lengths]) if rows else np.zeros(0, dtype=np.int64)
        cuts, gaps = (uniform(seed, step, numbers, places, stream=stream) for stream in (0, 1))
        ends = np.cumsum(lengths)
        return [
            self._corrupted(row, cuts[end - length : end], gaps[end - length : end])
            for row, length, end in zip(rows, lengths, ends.tolist(), strict=True)
        ]

    def counts(self, length: int) -> tuple[int, int]:
        """How many tokens of a text are hidden, and in how many spans."""
        if length == 0:
            return 0, 0
        hidden = min(max(round(self.rate * length), 1), max(length - 1, 1))
        spans = max(round(hidden / self.mean_length), 1)
        return hidden, min(spans, hidden, length - hidden + 1, len(self.sentinels) - 1)

    def _corrupted(self, ids: Ids, cuts: Float[np.ndarray, " P"], gaps: Float[np.ndarray, " P"]) -> SourceTarget:
        """Of P = tokens + 1 random numbers each, the smallest say where spans are parted, and where they stand."""
        hidden, spans = self.counts(len(ids))
        kept = len(ids) - hidden
        # All ways to part the hidden tokens into spans are equally likely, and so are all ways to put the spans into
        # different gaps of the kept tokens, those before the first and after the last included.
        parted = np.sort(_smallest(cuts[: hidden - 1], spans - 1)) + 1 if spans else np.zeros(0, dtype=np.int64)
        sizes = np.diff(np.concatenate([[0], parted, [hidden]])) if spans else np.zeros(0, dtype=np.int64)
        before = np.sort(_smallest(gaps[: kept + 1], spans))  # kept tokens that stand before each span
        source: list[Ids] = []
        target: list[Ids] = []
        place = done = 0
        for number in range(spans):
            sentinel = self.sentinels[number : number + 1]
            begin = place + int(before[number]) - done
            end = begin + int(sizes[number])
            source += [ids[place:begin], sentinel]
            target += [sentinel, ids[begin:end]]
            place, done = end, int(before[number])
        return SourceTarget(
            np.concatenate([*source, ids[place:]]).astype(np.int64),
            np.concatenate([*target, self.sentinels[spans : spans + 1]]).astype(np.int64),
        )


def _smallest(numbers: Float[np.ndarray, " P"], count: int) -> Int[np.ndarray, " c"]:
    """The places of the `count` smallest numbers."""
    return np.argsort(numbers, kind="stable")[:count]
