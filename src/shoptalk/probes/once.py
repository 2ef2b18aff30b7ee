"""An encoder while its weights stand still: several probes ask for the same vectors, and each item is embedded once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from shoptalk.errors import DivergedError
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import Embedder, Wrapped


class Once(Wrapped):
    """Embeds each group of items once; made for one measurement of weights that stand still, and then thrown away."""

    def __init__(self, inside: Embedder) -> None:
        super().__init__(inside)
        self._vectors: dict[tuple[Any, ...], Float[np.ndarray, "N D"]] = {}

    def remember(self, items: Sequence[Any], vectors: Float[np.ndarray, "N D"]) -> None:
        """Vectors that these weights are known to give the items, without a prompt and in their own precision."""
        self._vectors[(None, None, *items)] = vectors

    def embed(
        self, items: Sequence[Any], *, precision: Precision | None = None, prompt: str | None = None
    ) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the items, all of them finite numbers; finite weights that have grown very large give others.

        Raises:
            DivergedError: vectors are NaN or infinite.
        """
        key = (precision, prompt, *items)
        if key not in self._vectors:
            vectors = self.inside.embed(items, precision=precision, prompt=prompt)
            broken = int((~np.isfinite(vectors)).any(axis=1).sum())
            if broken:
                raise DivergedError(
                    f"The encoder gives {broken:,} of {len(vectors):,} texts vectors that are NaN or infinite: the "
                    "training that made it diverged. Lower its learning rate, or leave the candidate out."
                )
            self._vectors[key] = vectors
        return self._vectors[key]
