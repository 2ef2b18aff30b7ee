"""data2vec on text (Baevski et al. 2022, section 3): predict a teacher's contextual states at the masked positions.

The teacher, an exponential moving average of the student, reads the whole text; a_t^l is its state of token t after
layer l of L. The student reads the text with tokens masked as BERT's are, and regresses the average of the top K:

    y_t = (1 / K) sum_{l = L-K+1..L} LN( a_t^l ),    LN without weights
    L(y, f) = (y - f)² / 2β  where |y - f| ≤ β,  else |y - f| - β/2;    averaged over positions and dimensions

    after each step  ξ ← τ ξ + (1 - τ) θ,  with τ from `momentum` to `last_momentum`

What differs from the paper: a_t^l is the layer's output, not that of its feed-forward part before the last residual
(which fused kernels do not keep); τ grows along the whole training, not its first 100,000 steps; the embeddings are
averaged too, where the paper's teacher shares the student's; K is cut to the layers there are.

Run alone on a toy: python -m shoptalk.objectives.masked.data2vec
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from shoptalk.nn import gather
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.teacher import Teacher, linear_momentum
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TextBatch
from shoptalk.text.corpus import Corpus
from shoptalk.text.masking import Masker


@dataclass(frozen=True)
class HiddenBatch(TextBatch):
    """Corrupted texts; per group the original tokens, and the chosen positions in the flattened group."""

    originals: tuple[Int[Tensor, "_ _"], ...]
    positions: tuple[Int[Tensor, " _"], ...]


class Data2vecSpec(Spec):
    """data2vec: masked prediction of an averaged teacher's hidden states."""

    kind: Literal["data2vec"] = "data2vec"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=10.0, gt=0)
    mask_rate: float = Field(default=0.15, ge=0.15, le=0.4)
    top: int = Field(default=10, ge=1, description="layers of the teacher that make a target, from the last down")
    beta: float = Field(default=4.0, gt=0, description="where the loss turns from squared to absolute")
    momentum: float = Field(default=0.999, ge=0, le=1, description="of the teacher, at the start")
    last_momentum: float = Field(default=0.9999, ge=0, le=1, description="of the teacher, at the end")

    def examples(self, corpus: Corpus) -> Examples:
        """Every text, if there are at least two."""
        return range(len(corpus)) if len(corpus) > 1 else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], HiddenBatch]:
        """Texts corrupted anew at every visit, and the original texts."""
        masker = Masker(material.product.tokenizer, rate=self.mask_rate)

        def collate(examples: Sequence[int], key: Key) -> HiddenBatch:
            rows = [material.inputs[example] for example in examples]
            masked = masker(rows, examples, seed=key.seed, step=key.step)
            texts = material.product.batch(masked.rows)
            # The layout of a batch depends on the texts' lengths alone, which masking does not change.
            whole = material.product.batch(rows)
            return HiddenBatch(
                texts=texts,
                originals=tuple(group.ids for group in whole.groups),
                positions=masked.targets(texts)[0],
            )

        return collate

    def build(self, product: TextEncoder) -> "Data2vec":
        """The encoder, its average, and a linear layer with random weights."""
        return Data2vec(
            product,
            top=self.top,
            beta=self.beta,
            momentum=self.momentum,
            last_momentum=self.last_momentum,
        )


class Data2vec(Objective[TextEncoder, HiddenBatch]):
    """Student, teacher and regression head."""

    def __init__(self, product: TextEncoder, *, top: int, beta: float, momentum: float, last_momentum: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.teacher = Teacher(product.network)
        self.head = nn.Linear(product.network.dim, product.network.dim)
        self.top, self.beta = top, beta
        self.momentum, self.last_momentum = momentum, last_momentum

    def forward(self, batch: HiddenBatch) -> Loss:
        """Mean smooth L1 distance over the chosen positions of all groups and the dimensions."""
        total = torch.zeros((), device=self.encoder.device)
        spread = torch.zeros((), device=self.encoder.device)
        count = max(1, sum(len(positions) for positions in batch.positions))
        for number, group, counts in self.encoder.share(batch.texts):
            chosen = sent(batch.positions[number] if counts else batch.positions[number][:0], self.encoder.device)
            layers = self.teacher.top_layers(replace(group, ids=batch.originals[number]), self.top)
            targets = target([states.flatten(0, 1)[chosen] for states in layers])
            predicted = self.head(self.encoder.hidden(group).flatten(0, 1)[chosen]).float()
            distance = nn.functional.smooth_l1_loss(predicted, targets, beta=self.beta, reduction="sum")
            total = total + distance / (count * self.encoder.dim)
            spread = spread + targets.square().sum() / (count * self.encoder.dim)
        # A collapsed teacher gives every token one state; the paper watches the targets' size for it too.
        terms = {"target_square": gather.sum_across(spread)}
        return Loss(total=gather.sum_across(total), terms=terms)

    def after_step(self, progress: float, outputs: Any) -> None:
        """Update the moving average."""
        momentum = linear_momentum(progress, start=self.momentum, end=self.last_momentum)
        self.teacher.follow(self.encoder, momentum=momentum)


def target(layers: Sequence[Float[Tensor, "m D"]]) -> Float[Tensor, "m D"]:
    """y_t above: the layers' states, each normalised without weights, averaged; in float32."""
    normalised = [nn.functional.layer_norm(states.float(), states.shape[-1:]) for states in layers]
    return torch.stack(normalised).mean(0)


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(Data2vecSpec(batch=16))
