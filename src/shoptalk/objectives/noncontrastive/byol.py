"""BYOL (Grill et al. 2020, equations 2 and 3): predict what a moving average of the network gives another view.

The online network θ, an encoder f and a projector g, gives the views v, v' of each picture the vectors z, z'; a
predictor q maps them to the vectors that the target network ξ, an exponential moving average of f and g, gives the
other view. With both sides of unit length,

    L = ‖ q(z) - z'_ξ ‖² = 2 - 2 cos( q(z), z'_ξ ),        and L + L̃, with v and v' exchanged, is minimised;
    after each step  ξ ← τ ξ + (1 - τ) θ,  with τ from `momentum` to 1 along half a cosine.

There are no negatives. What keeps all vectors from becoming one is that the predictor stands on one side only: without
it (`predictor` false, for demonstrations) they do, as in the paper's table 5b. Projector and predictor are MLPs with
one hidden layer and a batch norm in it, and are thrown away. Norms of both networks take their statistics over one view
of all processes' pictures; the target network's, too, normalise by the batch.

What differs from the paper: AdamW at 1e-3, not LARS; a batch of 256, not 4096; τ begins at 0.99, not 0.996, and hidden
layers have 1024 dimensions, not 4096: for hundreds of steps on 10^4 pictures of 32 to 96 pixels. Views are cut from the
picture as it was decoded at the encoder's size (the centre square), not from the original.

Run alone on a toy: python -m shoptalk.objectives.noncontrastive.byol
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from shoptalk.image.augment import BYOL_FIRST, BYOL_SECOND, Chain
from shoptalk.image.batches import Views
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.nn.losses import spread, squared_distance
from shoptalk.nn.product import Kind
from shoptalk.nn.teacher import Teacher, cosine_momentum
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives.views import views_of
from shoptalk.text.corpus import Corpus


class ByolSpec(Spec):
    """BYOL: predict an averaged network's vector of the other view."""

    kind: Literal["byol"] = "byol"
    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    needs: ClassVar[str] = "at least two pictures"
    head_rate: ClassVar[float | None] = 1.0
    lr: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=256, ge=2)
    passes: float = Field(default=200.0, gt=0)
    momentum: float = Field(default=0.99, ge=0, le=1, description="of the target network, at the start")
    hidden: int = Field(default=1024, ge=1, description="width of the projector's and the predictor's hidden layer")
    dimensions: int = Field(default=256, ge=1, description="of the projected vectors, which the loss compares")
    predictor: bool = Field(default=True, description="predict the target's vectors; without it they collapse")
    first_chain: Chain = BYOL_FIRST
    second_chain: Chain = BYOL_SECOND

    def examples(self, corpus: Corpus) -> Examples:
        """Every picture; batch norms need at least two."""
        return corpus.pictures if len(corpus.pictures) > 1 else []

    def collate(self, material: Material[ImageEncoder]) -> Callable[[Sequence[int], Key], Views]:
        """One view of each picture by each chain."""
        return views_of(material, (self.first_chain, self.second_chain))

    def build(self, product: ImageEncoder) -> "Byol":
        """The encoder with projector and predictor of random weights, and the average of encoder and projector."""
        projector = _mlp(product.dim, self.hidden, self.dimensions)
        predictor = _mlp(self.dimensions, self.hidden, self.dimensions) if self.predictor else nn.Identity()
        return Byol(product, projector, predictor, momentum=self.momentum)


def _mlp(width: int, hidden: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


class Byol(Objective[ImageEncoder, Views]):
    """Online network, target network and predictor."""

    def __init__(self, product: ImageEncoder, projector: nn.Module, predictor: nn.Module, *, momentum: float) -> None:
        super().__init__()
        self.product = product
        self.online = nn.Sequential(product.network, projector)
        self.target = Teacher(self.online, batch_statistics=True)
        self.predictor = predictor
        self.momentum = momentum

    def forward(self, batch: Views) -> Loss:
        """The mean of L + L̃ over the pictures, from 0 to 8."""
        one, other = (self.online(view) for view in batch.views)
        of_one, of_other = (self.target(view).float() for view in batch.views)
        total = squared_distance(self.predictor(one), of_other) + squared_distance(self.predictor(other), of_one)
        return Loss(total=total, terms={"cosine": 1 - total.detach() / 4, "spread": spread(one.detach())})

    def after_step(self, progress: float, outputs: Any) -> None:
        """Update the moving average."""
        self.target.follow(self.online, momentum=cosine_momentum(progress, start=self.momentum))


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(ByolSpec(batch=16))
