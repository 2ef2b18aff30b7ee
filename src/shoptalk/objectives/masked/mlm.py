"""Masked language modelling (Devlin et al. 2019, BERT, section 3.1).

Of a share r of the tokens, 80 % become [MASK], 10 % a random token, 10 % stay; the model predicts the original
token x_i of each chosen position i from the corrupted text x̃:

    L = - (1 / |M|) sum_{i in M} log p(x_i | x̃)

What differs from the paper: logits are computed at the chosen positions only (same loss, a sixth of the head's work);
r may go to 40 %, which Wettig et al. (2023) found better for small models; whole words may be chosen together.

Run alone on a toy: python -m shoptalk.objectives.masked.mlm
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.masked_bits import masked_bits
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.token_head import TokenHead
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Probe, Spec
from shoptalk.text.batching import MaskedBatch
from shoptalk.text.corpus import Corpus
from shoptalk.text.masking import Masker


class MlmSpec(Spec):
    """Masked language modelling."""

    kind: Literal["mlm"] = "mlm"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=10.0, gt=0)
    mask_rate: float = Field(default=0.15, ge=0.15, le=0.4)
    whole_word: bool = False

    def examples(self, corpus: Corpus) -> Examples:
        """Every text."""
        return range(len(corpus))

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], MaskedBatch]:
        """Texts corrupted anew at every visit."""
        masker = Masker(material.product.tokenizer, rate=self.mask_rate, whole_word=self.whole_word)

        def collate(examples: Sequence[int], key: Key) -> MaskedBatch:
            masked = masker([material.inputs[example] for example in examples], examples, seed=key.seed, step=key.step)
            texts = material.product.batch(masked.rows)
            positions, labels = masked.targets(texts)
            return MaskedBatch(texts=texts, positions=positions, labels=labels)

        return collate

    def build(self, product: TextEncoder) -> "MaskedLanguageModel":
        """BERT's head on the encoder, its output layer tied to the input embeddings."""
        return MaskedLanguageModel(product)


class MaskedLanguageModel(Objective[TextEncoder, MaskedBatch]):
    """The encoder with BERT's prediction head."""

    def __init__(self, product: TextEncoder) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.encoder.read_rows(sparse=False)  # the output layer is the same table, and reads all of it
        self.head = TokenHead(product.network.dim, len(product.tokenizer))

    def logits(self, hidden: Float[Tensor, "m D"]) -> Float[Tensor, "m V"]:
        """Scores of every vocabulary entry at m positions."""
        scores: Tensor = self.head(hidden, self.head.table_of(self.encoder))
        return scores

    def forward(self, batch: MaskedBatch) -> Loss:
        """Mean cross-entropy over the chosen positions of all groups, in nats."""
        total = self.head.masked_loss(self.encoder, batch.texts, batch.positions, batch.labels)
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})

    def unseen(self, held_out: Sequence[str], *, seed: int) -> Probe | None:
        """Bits per masked token of the held-out texts, by this head."""
        return masked_bits(held_out, seed=seed, head=self.logits) if held_out else None


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(MlmSpec(batch=16))
