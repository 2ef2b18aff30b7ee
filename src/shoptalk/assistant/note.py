"""The note for a person who takes a conversation over: what the visitor wrote that says most."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float


def note_of(
    messages: Sequence[str], embed: Callable[[Sequence[str]], Float[np.ndarray, "N D"]], *, most: int = 5
) -> list[int]:
    """Of a visitor's messages the places of so many, in their order: the first, the last, and those between whose
    vectors are nearest to the mean of all. `most` is at least 2.
    """
    if len(messages) <= most:
        return list(range(len(messages)))
    vectors = embed(messages)
    central = (vectors @ vectors.mean(axis=0))[1:-1]
    return sorted({0, len(messages) - 1, *(1 + np.argsort(-central, kind="stable")[: most - 2]).tolist()})
