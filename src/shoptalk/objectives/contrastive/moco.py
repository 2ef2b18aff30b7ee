"""MoCo v2 (He et al. 2020, equations 1 and 2; Chen, Fan, Girshick & He 2020): find a picture's key among a queue's.

A query encoder θ_q gives one view of each picture a unit vector q, the key encoder θ_k gives the other view the key
k_+. The negatives k_1 ... k_K are the keys of earlier batches, a queue: their number does not depend on the batch's.

    L_q = - log  exp(q · k_+ / τ)  /  ( exp(q · k_+ / τ) + sum_i exp(q · k_i / τ) )                                (1)
    after each step  θ_k ← m θ_k + (1 - m) θ_q,    and the batch's keys take the places of the queue's oldest      (2)

Both encoders end in an MLP of one hidden layer (version 2), which is thrown away. The queue begins with random vectors.

Batch norms would let queries recognise keys by the statistics of the pictures that they were normalised with. So, as in
the paper, a batch is normalised in parts (a part was a GPU; here `parts` sets their number, and each part's statistics
are over all processes), and the pictures are shuffled before the key encoder, so that a key's part is another one than
its query's. Where the encoder has no batch norm there is one part.

What differs from the paper: sizes are for pictures of 32 to 96 pixels and 10^4 of them, trained for hundreds of steps
rather than 10^6: a queue of 4,096 keys, not 65,536, and m of 0.99, not 0.999; AdamW at 1e-3, not SGD. Views are cut
from the picture as it was decoded at the encoder's size (the centre square), not from the original.

Run alone on a toy: python -m shoptalk.objectives.contrastive.moco
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from shoptalk.image.augment import MOCO2, Chain
from shoptalk.image.batches import Views
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.nn.losses import info_nce_of_queue
from shoptalk.nn.product import Kind
from shoptalk.nn.teacher import Teacher
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives.views import views_of
from shoptalk.text.corpus import Corpus


@dataclass(frozen=True)
class ShuffledViews(Views):
    """A view for the queries, one for the keys, and the order in which the key encoder reads the second."""

    order: Int[Tensor, " n"]


class MocoSpec(Spec):
    """MoCo v2: a picture's other view attracts, the queue's keys repel."""

    kind: Literal["moco"] = "moco"
    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    needs: ClassVar[str] = "at least two pictures"
    head_rate: ClassVar[float | None] = 1.0
    lr: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=256, ge=2)
    passes: float = Field(default=200.0, gt=0)
    temperature: float = Field(default=0.2, gt=0)
    queue: int = Field(default=4096, ge=1, description="keys of earlier pictures that are the negatives")
    momentum: float = Field(default=0.99, ge=0, le=1, description="of the key encoder")
    parts: int = Field(default=4, ge=1, description="of a batch, which batch norms normalise one by one")
    hidden: int = Field(default=2048, ge=1, description="width of the head's hidden layer")
    dimensions: int = Field(default=128, ge=1, description="of queries and keys")
    chain: Chain = MOCO2

    def examples(self, corpus: Corpus) -> Examples:
        """Every picture, if there are at least two."""
        return corpus.pictures if len(corpus.pictures) > 1 else []

    def collate(self, material: Material[ImageEncoder]) -> Callable[[Sequence[int], Key], ShuffledViews]:
        """Two views of each picture by the same chain, and a shuffle."""
        views = views_of(material, (self.chain, self.chain))

        def collate(examples: Sequence[int], key: Key) -> ShuffledViews:
            order = np.random.default_rng([key.seed, key.step]).permutation(len(examples))
            return ShuffledViews(views(examples, key).views, torch.from_numpy(order))

        return collate

    def build(self, product: ImageEncoder) -> "Moco":
        """The encoder with a head of random weights, the average of both, and a queue of random directions."""
        head = nn.Sequential(nn.Linear(product.dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.dimensions))
        queue = nn.functional.normalize(torch.randn(self.queue, self.dimensions), dim=-1)
        return Moco(product, head, queue, temperature=self.temperature, momentum=self.momentum, parts=self.parts)


class Moco(Objective[ImageEncoder, ShuffledViews]):
    """Query encoder, key encoder and queue."""

    queue: Tensor
    oldest: Tensor

    def __init__(
        self,
        product: ImageEncoder,
        head: nn.Module,
        queue: Float[Tensor, "K D"],
        *,
        temperature: float,
        momentum: float,
        parts: int,
    ) -> None:
        super().__init__()
        self.product = product
        self.encoder = nn.Sequential(product.network, head)
        self.keys = Teacher(self.encoder, batch_statistics=True)
        self.temperature, self.momentum = temperature, momentum
        normed = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.encoder.modules())
        self.parts = parts if normed else 1
        # Snapshots save buffers, so that a resumed run is exact.
        self.register_buffer("queue", queue)
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def forward(self, batch: ShuffledViews) -> Loss:
        """Equation 1, averaged over the pictures."""
        first, second, order = (sent(tensor, self.queue.device) for tensor in (*batch.views, batch.order))
        queries = self._in_parts(self.encoder, first)
        keys = self._in_parts(self.keys, second[order])[order.argsort()]
        total = info_nce_of_queue(queries, keys, self.queue, temperature=self.temperature)
        return Loss(total=total, terms={"cosine": (queries * keys).sum(-1).mean().detach()}, outputs=keys)

    def after_step(self, progress: float, outputs: Float[Tensor, "n D"]) -> None:
        """Update the key encoder, and put the batch's keys in the places of the queue's oldest."""
        self.keys.follow(self.encoder, momentum=self.momentum)
        newest = outputs[-len(self.queue) :]
        places = (self.oldest + torch.arange(len(newest), device=self.queue.device)) % len(self.queue)
        self.queue[places] = newest
        self.oldest.copy_((self.oldest + len(newest)) % len(self.queue))

    def _in_parts(self, encoder: nn.Module, view: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n D"]:
        """Unit vectors of pictures; batch norms see one part of them at a time, of two pictures at least."""
        parts = view.tensor_split(min(self.parts, max(1, len(view) // 2)))
        return nn.functional.normalize(torch.cat([encoder(part) for part in parts]).float(), dim=-1)


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    # The first loss is that against random vectors; afterwards it falls.
    run(MocoSpec(batch=48, queue=48, parts=3, momentum=0.95, temperature=0.1, hidden=64), steps=100)
