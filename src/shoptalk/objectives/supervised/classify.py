"""Full fine-tuning of an encoder under a linear head (Devlin et al. 2019, section 3.2: "Fine-tuning BERT").

From a text's unit vector v, with dropout, the head computes a logit for each of C classes:

    z_c = s <w_c, dropout(v)> + b_c

The target t is a distribution over classes (one-hot, smoothed or pseudo-labels), or with `multi_label` one
probability per label; text i has the weight w_i, 1 on average:

    L = (1/n) sum_i w_i sum_c - t_ic log softmax(z_i)_c
    L = (1/n) sum_i w_i sum_c - t_ic log sigma(z_ic) - (1 - t_ic) log sigma(-z_ic)         multi-label

What differs from the paper: the head sits on the vector that is served (the normalised mean) and not on BERT's pooler.
Entries of a unit vector are about D^-1/2 where those of a pooler's are about 1, so a head would need weights too large
for its few steps: hence the fixed scale s. The head starts at zero; `start` replaces it by one that was fitted on the
frozen vectors, because training that begins with a good head distorts the encoder less (Kumar et al. 2022, "Fine-tuning
can distort pretrained features", section 3.4: linear probing, then fine-tuning).

Run alone on a toy: python -m shoptalk.objectives.supervised.classify
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives.supervised import LabelledBatch, gather_texts, labels_of
from shoptalk.text.corpus import Corpus


class ClassifySpec(Spec):
    """Full fine-tuning under a linear head, from labels or pseudo-labels. For `shoptalk finetune`."""

    supervised: ClassVar[bool] = True
    needs: ClassVar[str] = "at least two texts"
    kind: Literal["classify"] = "classify"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=1e-4, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=8.0, gt=0)
    classes: int = Field(default=2, ge=1, description="columns of the targets")
    multi_label: bool = Field(default=False, description="a text may have any number of labels")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="of the head's input; the layers keep their own")
    scale: float = Field(default=20.0, gt=0, description="what the head's scores of unit vectors are multiplied by")

    def examples(self, corpus: Corpus) -> Examples:
        """Every text, if there are at least two."""
        return range(len(corpus)) if len(corpus) > 1 else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], LabelledBatch]:
        """The examples with their `targets` [N, C] and, if there are any, `weights` [N].

        Raises:
            ConfigError: the targets are missing, or do not fit the texts or the classes.
        """
        labels = labels_of(material.targets, kind=self.kind, texts=len(material.corpus), classes=self.classes)

        def collate(examples: Sequence[int], key: Key) -> LabelledBatch:
            return gather_texts(material.product, material.inputs, labels, examples)

        return collate

    def build(self, product: TextEncoder) -> "Classify":
        """The encoder, and a head of zeros."""
        return Classify(
            product, classes=self.classes, multi_label=self.multi_label, dropout=self.dropout, scale=self.scale
        )


class Classify(Objective[TextEncoder, LabelledBatch]):
    """The encoder and a linear head on it."""

    def __init__(self, product: TextEncoder, *, classes: int, multi_label: bool, dropout: float, scale: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.encoder.dim, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.multi_label = multi_label
        self.scale = scale

    def start(self, weights: Float[Tensor, "C D"], intercepts: Float[Tensor, " C"]) -> None:
        """Replace the head by one for unit vectors: z = weights v + intercepts."""
        with torch.no_grad():
            self.head.weight.copy_(weights / self.scale)
            self.head.bias.copy_(intercepts)

    def linear(self) -> tuple[Float[Tensor, "C D"], Float[Tensor, " C"]]:
        """The head for unit vectors as it is now: copies of weights and intercepts."""
        return self.scale * self.head.weight.detach(), self.head.bias.detach().clone()

    def forward(self, batch: LabelledBatch) -> Loss:
        """Weighted cross-entropy; in float32 whatever the precision of the layers."""
        vectors = self.dropout(self.encoder(batch.texts).float())
        targets, weights = sent(batch.targets, vectors.device), sent(batch.weights, vectors.device)
        with torch.autocast(vectors.device.type, enabled=False):
            scores = nn.functional.linear(self.scale * vectors, self.head.weight, self.head.bias)
        if self.multi_label:
            losses = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none").sum(1)
        else:
            losses = -(targets * scores.log_softmax(1)).sum(1)
        return Loss(total=(weights * losses).mean(), terms={})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(ClassifySpec(batch=16))
