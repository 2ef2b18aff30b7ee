"""The note for a person who takes a conversation over: what the visitor wrote that says most."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float


def note_of(
    messages: Sequence[str], embed: Callable[[Sequence[str]], Float[np.ndarray, "N D"]], *, most: int = 5
) -> list[str]:
    """Of a visitor's messages at most so many, in their order: the first, the last, and those whose vectors are nearest
    to the mean of all.
    """
    if len(messages) <= most:
        return list(messages)
    vectors = embed(messages)
    central = vectors @ vectors.mean(axis=0)
    kept = {0, len(messages) - 1, *np.argsort(-central)[: most - 2].tolist()}
    return [text for number, text in enumerate(messages) if number in kept]
