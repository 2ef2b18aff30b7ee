"""Causal language modelling by an encoder: a detour before masked language modelling (Touchent & de la Clergerie 2026,
"A causal language modeling detour improves encoder continued pretraining", arXiv 2605.12438).

An encoder reads a text x_1 ... x_n from left to right, so that the state of a token has seen those up to it alone, and
BERT's prediction head foretells the next one:

    L = - (1 / T) sum over texts and i < n of log p(x_{i+1} | x_1 ... x_i)        T terms in all

Every token teaches, where masked language modelling learns from a sixth of them. A short phase of `mlm` then has to
give the encoder its look to the right back: the candidate is `causal-then-mlm`.

What differs from the paper: the head is new, since sentence encoders have none, and each phase begins its own; both
phases have equal budgets; the paper's encoders are ModernBERTs on biomedical text.

Run alone on a toy: python -m shoptalk.objectives.autoregressive.causal
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.token_head import TokenHead
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import MaskedBatch
from shoptalk.text.corpus import Corpus


class CausalSpec(Spec):
    """Causal language modelling by an encoder that reads from left to right; a detour before mlm."""

    kind: Literal["causal"] = "causal"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=10.0, gt=0)

    def examples(self, corpus: Corpus) -> Examples:
        """Every text."""
        return range(len(corpus))

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], MaskedBatch]:
        """Whole texts; the chosen positions are those before another token of the same text."""

        def collate(examples: Sequence[int], key: Key) -> MaskedBatch:
            texts = material.product.batch([material.inputs[example] for example in examples])
            positions, labels = [], []
            for group in texts.groups:
                last = torch.zeros(group.ids.numel(), dtype=torch.bool)
                last[(group.begins + group.lengths - 1)[group.lengths > 0]] = True
                before = group.cells[~last[group.cells]]
                positions.append(before)
                labels.append(group.ids.flatten()[before + 1])
            return MaskedBatch(texts=texts, positions=tuple(positions), labels=tuple(labels))

        return collate

    def build(self, product: TextEncoder) -> "CausalEncoder":
        """BERT's head on the encoder, its output layer tied to the input embeddings."""
        return CausalEncoder(product)


class CausalEncoder(Objective[TextEncoder, MaskedBatch]):
    """The encoder, reading from left to right, with BERT's prediction head."""

    def __init__(self, product: TextEncoder) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.encoder.read_rows(sparse=False)  # the output layer is the same table, and reads all of it
        self.head = TokenHead(product.network.dim, len(product.tokenizer))

    def forward(self, batch: MaskedBatch) -> Loss:
        """Mean cross-entropy of every token that has one before it in its text, in nats."""
        total = self.head.masked_loss(self.encoder, batch.texts, batch.positions, batch.labels, causal=True)
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(CausalSpec(batch=16))
