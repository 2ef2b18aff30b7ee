"""Unsupervised SimCSE (Gao, Yao & Chen 2021, equation 4): dropout as the only augmentation.

Each text x_i is encoded twice with different dropout masks z, z'; each vector must identify the other in the batch:

    l_i = - log  exp(sim(h_i^z, h_i^z') / tau)  /  sum_j exp(sim(h_i^z, h_j^z') / tau)

What differs from the paper: no extra MLP on top while training (sentence encoders have none to throw away).
It often harms an encoder that was already trained with supervision, and is included as a baseline.

Run alone on a toy: python -m shoptalk.objectives.contrastive.simcse
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.losses import info_nce
from shoptalk.nn.product import TEXT, Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TokenBatch
from shoptalk.text.corpus import Corpus


class SimcseSpec(Spec):
    """Unsupervised SimCSE."""

    kind: Literal["simcse"] = "simcse"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "at least two texts"
    lr: float = Field(default=3e-5, gt=0)
    batch: int = Field(default=64, ge=2)
    passes: float = Field(default=1.0, gt=0)
    temperature: float = Field(default=0.05, gt=0)

    def examples(self, corpus: Corpus) -> Examples:
        """Every text; a batch of one would have no negatives."""
        return range(len(corpus)) if len(corpus) > 1 else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], TokenBatch]:
        """Every text twice."""

        def collate(examples: Sequence[int], key: Key) -> TokenBatch:
            return material.product.batch([material.inputs[i] for i in (*examples, *examples)])

        return collate

    def build(self, product: TextEncoder) -> "Simcse":
        """The encoder, without a head."""
        return Simcse(product, temperature=self.temperature)


class Simcse(Objective[TextEncoder, TokenBatch]):
    """Two dropout views of each text attract, all others repel."""

    def __init__(self, product: TextEncoder, *, temperature: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.temperature = temperature

    def forward(self, batch: TokenBatch) -> Loss:
        """Mean InfoNCE over the batch; needs training mode, where the two views differ."""
        first, second = self.encoder(batch).chunk(2)
        total = info_nce(first, second, temperature=self.temperature)
        return Loss(total=total, terms={})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(SimcseSpec(batch=16))
