"""The note for a person who takes a conversation over: what the visitor wrote that says most."""

from collections.abc import Sequence


def note_of(messages: Sequence[str], *, most: int = 5) -> list[int]:
    """Of a visitor's messages the places of so many, in their order: the first, the last, and the longest between.
    `most` is at least 2.

    On conversations of doctors and of everyday life the longest are nearer to what people note than those whose vectors
    are nearest to the mean of all, or than the first ones (benchmarks/README.md, "Summaries").
    """
    ends = {0, len(messages) - 1} if messages else set()
    between = sorted(range(1, len(messages) - 1), key=lambda place: -len(messages[place]))
    return sorted({*ends, *between[: most - 2]})
