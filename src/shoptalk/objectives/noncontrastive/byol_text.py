"""BYOL on text (Grill et al. 2020, equations 2 and 3): predict the vector that a moving average of the encoder gives.

The online network θ gives two views v, v' of each text the vectors z, z'; a predictor q maps them to the vectors that
the target network ξ, an exponential moving average of θ, gives the text. With both sides of unit length,

    L = ‖ q(z) - z'_ξ ‖² = 2 - 2 cos( q(z), z'_ξ ),        and L + L̃, with v and v' exchanged, is minimised;
    after each step  ξ ← τ ξ + (1 - τ) θ,  with τ from `momentum` to 1 along half a cosine.

What differs from the paper: dropout is the augmentation, as in SimCSE, and the target network runs without it, so its
two views are one; there is no projector (sentence encoders have none to throw away), the predictor reads the text
vector itself; the predictor's norm is LayerNorm, which does not depend on the other texts of the batch.

Run alone on a toy: python -m shoptalk.objectives.noncontrastive.byol_text
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.losses import squared_distance
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.teacher import Teacher, cosine_momentum
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TextBatch, TokenBatch
from shoptalk.text.corpus import Corpus


@dataclass(frozen=True)
class ViewsBatch(TextBatch):
    """2n texts for the online network, the second n the first ones again, and the n texts for the target network."""

    once: TokenBatch


class ByolTextSpec(Spec):
    """BYOL on text: two dropout views and an averaged target network."""

    kind: Literal["byol_text"] = "byol_text"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=3e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=1.0, gt=0)
    momentum: float = Field(default=0.996, ge=0, le=1, description="of the target network, at the start")
    hidden: int = Field(default=4096, ge=1, description="width of the predictor's hidden layer")

    def examples(self, corpus: Corpus) -> Examples:
        """Every text, if there are at least two."""
        return range(len(corpus)) if len(corpus) > 1 else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], ViewsBatch]:
        """Every text twice for the online network, and once for the target network."""

        def collate(examples: Sequence[int], key: Key) -> ViewsBatch:
            rows = [material.inputs[i] for i in examples]
            return ViewsBatch(texts=material.product.batch([*rows, *rows]), once=material.product.batch(rows))

        return collate

    def build(self, product: TextEncoder) -> "ByolText":
        """The encoder, its average, and a predictor with random weights."""
        return ByolText(product, momentum=self.momentum, hidden=self.hidden)


class ByolText(Objective[TextEncoder, ViewsBatch]):
    """Online network, target network and predictor."""

    def __init__(self, product: TextEncoder, *, momentum: float, hidden: int) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.target = Teacher(product.network)
        self.momentum = momentum
        width = product.network.dim
        self.predictor = nn.Sequential(
            nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, width)
        )

    def forward(self, batch: ViewsBatch) -> Loss:
        """The mean of L + L̃ over the texts, from 0 to 8; needs training mode, where the two views differ."""
        targets = self.target(batch.once)
        first, second = self.predictor(self.encoder(batch.texts)).chunk(2)
        total = squared_distance(first, targets) + squared_distance(second, targets)
        return Loss(total=total, terms={"cosine": 1 - total.detach() / 4})

    def after_step(self, progress: float, outputs: Any) -> None:
        """Update the moving average."""
        self.target.follow(self.encoder, momentum=cosine_momentum(progress, start=self.momentum))


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(ByolTextSpec(batch=16))
