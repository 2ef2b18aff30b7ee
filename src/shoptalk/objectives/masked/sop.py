"""Sentence order prediction (Lan et al. 2020, ALBERT, section 3.1), on the turns of conversations.

Two consecutive turns come in their order or swapped, each half of the time; a head on the encoded sequence
"[CLS] A [SEP] B [SEP]" predicts which (y = 1: in order):

    L = - (1 / n) sum_i [ y_i log sigmoid(z_i) + (1 - y_i) log(1 - sigmoid(z_i)) ]

Both orders hold the same words, so unlike next sentence prediction this cannot be solved by the topic alone. In
conversations of two turns it can be solved by recognising the speaker, and teaches little else.

What differs from the paper: the head reads the encoder's pooled vector, because that is what is shipped (where pooling
takes the first token it is the paper's). A and B have no segment types, which packed rows do not carry: [SEP] alone
divides them. Turns of equal words are left out. Masked language modelling is not added: that is the mixture "mlm+sop".

Run alone on a toy: python -m shoptalk.objectives.masked.sop
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.pair_head import PairHead
from shoptalk.nn.product import TEXT, Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TextBatch
from shoptalk.text.chance import uniform
from shoptalk.text.corpus import Corpus, Positions
from shoptalk.text.pairs import PairForm


@dataclass(frozen=True)
class OrderBatch(TextBatch):
    """n pairs, each as one text, and whether its parts are in order."""

    ordered: Bool[Tensor, " n"]


class SopSpec(Spec):
    """Sentence order prediction on consecutive turns."""

    kind: Literal["sop"] = "sop"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "consecutive turns of conversations that differ in words"
    lr: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=5.0, gt=0)

    def examples(self, corpus: Corpus) -> Examples:
        """The position of each earlier turn; the next text is the later one. None for documents."""
        contexts = corpus.contexts().numbers
        return Positions(contexts[corpus.wording[contexts] != corpus.wording[contexts + 1]])

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], OrderBatch]:
        """Pairs, each swapped with probability 1/2, drawn anew at every visit."""
        form = PairForm.of(material.product.tokenizer, max_length=material.product.max_length)

        def collate(examples: Sequence[int], key: Key) -> OrderBatch:
            earlier = np.asarray(examples)
            ordered = uniform(key.seed, key.step, earlier, np.zeros_like(earlier), stream=0) < 0.5
            firsts = np.where(ordered, earlier, earlier + 1)
            seconds = np.where(ordered, earlier + 1, earlier)
            rows = [form.join(material.inputs[a], material.inputs[b]) for a, b in zip(firsts, seconds, strict=True)]
            return OrderBatch(texts=material.product.batch(rows), ordered=torch.from_numpy(ordered))

        return collate

    def build(self, product: TextEncoder) -> "SentenceOrder":
        """The encoder and BERT's head for pairs."""
        return SentenceOrder(product)


class SentenceOrder(Objective[TextEncoder, OrderBatch]):
    """The encoder, and a head that says whether two turns are in order."""

    def __init__(self, product: TextEncoder) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.head = PairHead(product.network.dim)

    def forward(self, batch: OrderBatch) -> Loss:
        """Mean binary cross-entropy, and the share of pairs judged rightly."""
        total, accuracy = self.head.loss(self.encoder(batch.texts), batch.ordered)
        return Loss(total=total, terms={"accuracy": accuracy})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run, toy_dialogues

    run(SopSpec(batch=16), steps=80, corpus=toy_dialogues())
