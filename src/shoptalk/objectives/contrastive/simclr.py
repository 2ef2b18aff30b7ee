"""SimCLR (Chen, Kornblith, Norouzi & Hinton 2020, equation 1): two augmented views of a picture must find each other.

An encoder f and a projector g map the 2n views of a batch to vectors z of unit length; each view must identify the
other one of its picture among the 2n - 1 others:

    l_ij = - log  exp(z_i · z_j / τ)  /  sum_{k ≠ i} exp(z_i · z_k / τ),        L the mean over both orders of all pairs

The projector is thrown away: what ships is f. The paper's own settings for CIFAR-10 (its appendix B.9) are kept: τ of
0.5, no blur in the chain. Both linear layers of the projector end in a batch norm, as in the authors' code.

What differs from the paper: AdamW at 1e-3, not LARS, and a batch of 256 pictures, not 1024 to 4096, for hours of two
cores rather than of many accelerators; the projector's hidden layer has `hidden` dimensions, not as many as f gives,
and its last batch norm learns a shift, which that of the authors' code does not. Views are cut from the picture as it
was decoded at the encoder's size (the centre square), not from the original.

Run alone on a toy: python -m shoptalk.objectives.contrastive.simclr
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from shoptalk.image.augment import SIMCLR, Chain
from shoptalk.image.batches import Views
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.nn.losses import nt_xent
from shoptalk.nn.product import Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives.views import views_of
from shoptalk.text.corpus import Corpus


class SimclrSpec(Spec):
    """SimCLR: two views of a picture attract, all others repel."""

    kind: Literal["simclr"] = "simclr"
    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    needs: ClassVar[str] = "at least two pictures"
    head_rate: ClassVar[float | None] = 1.0
    lr: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=256, ge=2)
    passes: float = Field(default=200.0, gt=0)
    temperature: float = Field(default=0.5, gt=0)
    hidden: int = Field(default=1024, ge=1, description="width of the projector's hidden layer")
    dimensions: int = Field(default=128, ge=1, description="of the projected vectors, which the loss compares")
    chain: Chain = SIMCLR

    def examples(self, corpus: Corpus) -> Examples:
        """Every picture; a batch of one would have no negatives."""
        return corpus.pictures if len(corpus.pictures) > 1 else []

    def collate(self, material: Material[ImageEncoder]) -> Callable[[Sequence[int], Key], Views]:
        """Two views of each picture by the same chain."""
        return views_of(material, (self.chain, self.chain))

    def build(self, product: ImageEncoder) -> "Simclr":
        """The encoder with a projector of random weights."""
        projector = nn.Sequential(
            nn.Linear(product.dim, self.hidden, bias=False),
            nn.BatchNorm1d(self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.dimensions, bias=False),
            nn.BatchNorm1d(self.dimensions),
        )
        return Simclr(product, projector, temperature=self.temperature)


class Simclr(Objective[ImageEncoder, Views]):
    """Encoder and projector. Norms of the encoder take their statistics over both views of all processes' pictures."""

    def __init__(self, product: ImageEncoder, projector: nn.Module, *, temperature: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.projector = projector
        self.temperature = temperature

    def forward(self, batch: Views) -> Loss:
        """Equation 1, averaged over the 2n views."""
        views = torch.cat([sent(view, self.encoder.device) for view in batch.views])
        projected = self.projector(self.encoder(views))
        first, second = nn.functional.normalize(projected.float(), dim=-1).chunk(2)
        total = nt_xent(first, second, temperature=self.temperature)
        return Loss(total=total, terms={"cosine": (first * second).sum(-1).mean().detach()})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(SimclrSpec(batch=48, temperature=0.2, hidden=64))
