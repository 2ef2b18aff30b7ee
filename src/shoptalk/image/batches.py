"""Batches of pictures: several augmented views of each."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

CELL = 256
"""Pixels that count as much of a budget as a token of text: a picture is cut into patches of 16 x 16."""


@dataclass(frozen=True)
class Views:
    """Views of n pictures; row i of every view is of the same picture. Views may differ in size."""

    views: tuple[Float[Tensor, "n 3 _ _"], ...]

    @property
    def tokens(self) -> int:
        """Height x width / 256 of each picture of each view, at least 1."""
        return sum(len(view) * max(1, view.shape[2] * view.shape[3] // CELL) for view in self.views)

    @property
    def cells(self) -> int:
        """The same: pictures have no padding."""
        return self.tokens
