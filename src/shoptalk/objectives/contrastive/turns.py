"""Consecutive turns as positives: each turn must identify the reply that followed it.

The lineage is ConveRT (Henderson et al. 2020, section 3: response selection with in-batch negatives) and Dialogue
Sentence Embeddings (Zhou et al. 2022, DSE: consecutive utterances as positive pairs, equation 1, both directions):

    L = 1/2 [ InfoNCE(context -> reply) + InfoNCE(reply -> context) ]

What differs from the papers: one shared encoder; turns of the same conversation, and turns with the same words, are
taken out of each other's negatives, because "thanks!" answers many turns and is wrong for none of them.

Run alone on a toy: python -m shoptalk.objectives.contrastive.turns
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
from shoptalk.nn.losses import info_nce
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TextBatch
from shoptalk.text.corpus import Corpus


@dataclass(frozen=True)
class PairBatch(TextBatch):
    """n pairs: texts 0..n-1 are the contexts, and n..2n-1 their replies."""

    related: Bool[Tensor, "n n"]
    """Which replies are no negatives: related[i, j] says so of reply j and context i."""


class TurnsSpec(Spec):
    """Consecutive turns of a conversation."""

    kind: Literal["turns"] = "turns"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "consecutive turns of conversations"
    lr: float = Field(default=3e-5, gt=0)
    batch: int = Field(default=64, ge=2)
    passes: float = Field(default=5.0, gt=0)
    temperature: float = Field(default=0.05, gt=0)

    def examples(self, corpus: Corpus) -> Examples:
        """The position of each context; its reply is the next text."""
        contexts = corpus.contexts()
        return contexts if len(contexts) > 1 else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], PairBatch]:
        """Contexts and their replies."""
        wording = material.corpus.wording

        def collate(examples: Sequence[int], key: Key) -> PairBatch:
            contexts = np.asarray(examples)
            replies = contexts + 1
            same_conversation = (
                material.corpus.conversation[contexts][:, None] == material.corpus.conversation[replies][None, :]
            )
            same_context = wording[contexts][:, None] == wording[contexts][None, :]
            same_reply = wording[replies][:, None] == wording[replies][None, :]
            same_across = wording[contexts][:, None] == wording[replies][None, :]
            texts = [material.inputs[i] for i in (*contexts, *replies)]
            return PairBatch(
                texts=material.product.batch(texts),
                related=torch.from_numpy(same_conversation | same_context | same_reply | same_across),
            )

        return collate

    def build(self, product: TextEncoder) -> "Turns":
        """The encoder, without a head."""
        return Turns(product, temperature=self.temperature)


class Turns(Objective[TextEncoder, PairBatch]):
    """Symmetric InfoNCE between turns and their replies."""

    def __init__(self, product: TextEncoder, *, temperature: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.temperature = temperature

    def forward(self, batch: PairBatch) -> Loss:
        """Mean of the two directions' InfoNCE."""
        contexts, replies = self.encoder(batch.texts).chunk(2)
        related = sent(batch.related, contexts.device)
        forwards = info_nce(contexts, replies, temperature=self.temperature, excluded=related)
        backwards = info_nce(replies, contexts, temperature=self.temperature, excluded=related.T)
        terms = {"context_to_reply": forwards.detach(), "reply_to_context": backwards.detach()}
        return Loss(total=(forwards + backwards) / 2, terms=terms)


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(TurnsSpec(batch=16))
