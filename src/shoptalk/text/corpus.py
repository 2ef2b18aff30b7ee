"""The corpus as objectives see it: a list of texts, and which of them follow each other in a conversation.

A document contributes one text per turn, or one per passage. Texts of one conversation keep its number, so that an
objective can pair consecutive turns or keep turns of one conversation from being each other's negatives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Corpus:
    """N texts in document order.

    `conversation[i]` numbers the document of text i; `turn[i]` is its place among the turns of that conversation,
    and -1 for passages of plain documents, whose order nothing may learn from. A turn that was left out of training
    leaves a gap in these numbers.
    """

    texts: tuple[str, ...]
    conversation: Int[np.ndarray, " N"]
    turn: Int[np.ndarray, " N"]
    digest: str
    """Content hash of the artifact the corpus was read from."""

    def __len__(self) -> int:
        return len(self.texts)

    def sample(self, most: int, *, seed: int) -> "Corpus":
        """Whole documents at random, in their order, until they hold about `most` texts; all where they hold fewer."""
        if len(self) <= most:
            return self
        documents, sizes = np.unique(self.conversation, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(documents))
        taken = documents[order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))]]
        kept = np.isin(self.conversation, taken)
        return Corpus(
            texts=tuple(text for text, keep in zip(self.texts, kept, strict=True) if keep),
            conversation=self.conversation[kept],
            turn=self.turn[kept],
            digest=f"{self.digest}:{most}:{seed}",
        )

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(context, reply): each two consecutive turns of a conversation, as positions in `texts`."""
        for i in range(len(self) - 1):
            # A turn that was dropped leaves a gap: its neighbours did not follow each other.
            follows = self.turn[i] >= 0 and self.turn[i + 1] == self.turn[i] + 1
            if follows and self.conversation[i] == self.conversation[i + 1]:
                yield i, i + 1
