"""Drafts by prompt lookup (Saxena, 2023): what followed the last few tokens when they stood in the text before.

An answer that quotes its passages repeats runs of their tokens. A draft is checked by the model in one pass, as many
tokens at once, and costs little where reading the weights is what takes the time.
"""

from collections.abc import Sequence

GRAMS = (4, 3, 2)
"""Lengths of the runs that are looked up, the longest first."""


class PromptLookup:
    """Where each run of tokens stood last, and so what may come next."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.append(token)

    def append(self, token: int) -> None:
        """The text goes on with this token."""
        end = len(self._ids)
        for size in GRAMS:
            if size <= end:
                self._after[tuple(self._ids[end - size :])] = end
        self._ids.append(token)

    def draft(self, most: int) -> list[int]:
        """Up to `most` tokens that may come next; none where the last two have not stood together before."""
        for size in GRAMS:
            begin = self._after.get(tuple(self._ids[-size:])) if size <= len(self._ids) else None
            if begin is not None:
                return self._ids[begin : begin + max(0, most)]
        return []
