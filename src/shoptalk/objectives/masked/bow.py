"""Bag-of-words prediction: the vector of a text with tokens deleted must predict the words of the whole text.

The bag-of-words term of DupMAE (Liu et al. 2023, "RetroMAE-2", the auto-encoding of ordinary tokens), applied to the
vector that is shipped. With s(x̃) the vector of text x without a share of its tokens, and W(x) its distinct tokens:

    L = - mean_x sum_{w in W(x)} a(w) log p(w | s(x̃)) / sum_{w in W(x)} a(w),    a(w) = c / (c + p(w))

where p(w) is the token's share of the corpus, c = 0.001 and a(w) the weight of smooth inverse frequency (Arora et al.
2017, SIF). There is no decoder that could use the preceding words, so all information must be in the vector: random
weights learn more from it per token than from replies or masked words (docs/guides/from-scratch.md).

What differs from the paper: it is the only loss, without a decoder; the vector is pooled, not a max over the tokens'
projections; tokens are weighted by rarity; tokens are deleted, as in TSDAE, not masked; the encoder runs without
dropout, which costs random weights another 1 to 2 points (docs/log.md). The output layer is new, and not tied.

Run alone on a toy: python -m shoptalk.objectives.masked.bow
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from shoptalk.nn.encoder import TextEncoder, evaluating
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TextBatch
from shoptalk.text.corpus import Corpus
from shoptalk.text.deletion import delete, ordinary_ids
from shoptalk.text.tokens import Tokenised

COMMON = 1e-3
"""c: a token with this share of the corpus has the weight 1/2."""
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class BagBatch(TextBatch):
    """n texts with tokens deleted, and the m distinct tokens of the whole texts: their ids, texts and weights."""

    words: Int[Tensor, " m"]
    owners: Int[Tensor, " m"]
    weights: Float[Tensor, " m"]
    """The weights of each text sum to 1."""


class BowSpec(Spec):
    """Bag-of-words prediction: a text's words from its vector with tokens deleted."""

    kind: Literal["bow"] = "bow"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=2e-4, gt=0)
    batch: int = Field(default=128, ge=1)
    passes: float = Field(default=5.0, gt=0)
    deletion: float = Field(default=0.3, ge=0, lt=1, description="share of a text's tokens that the encoder misses")

    def examples(self, corpus: Corpus) -> Examples:
        """Every text."""
        return range(len(corpus))

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], BagBatch]:
        """Texts with tokens deleted, drawn anew at every visit, and the words of the whole texts."""
        ordinary = ordinary_ids(material.product.tokenizer)
        rarity = weights_of(material.inputs, ordinary)

        def collate(examples: Sequence[int], key: Key) -> BagBatch:
            rows = [material.inputs[example] for example in examples]
            damaged = delete(rows, examples, ordinary=ordinary, share=self.deletion, seed=key.seed, step=key.step)
            bags = [np.unique(row[ordinary[row]]) for row in rows]
            words = np.concatenate(bags)
            owners = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
            weights = rarity[words] / np.bincount(owners, rarity[words], minlength=len(bags))[owners]
            return BagBatch(
                texts=material.product.batch(damaged),
                words=torch.from_numpy(words),
                owners=torch.from_numpy(owners),
                weights=torch.from_numpy(weights.astype(np.float32)),
            )

        return collate

    def build(self, product: TextEncoder) -> "BagOfWords":
        """The encoder, and a linear layer from its vector to the vocabulary."""
        return BagOfWords(product)


def weights_of(tokens: Tokenised, ordinary: Bool[np.ndarray, " V"]) -> Float[np.ndarray, " V"]:
    """a(w) of each token, by its share of the corpus's ordinary tokens."""
    counts = np.zeros(len(ordinary))
    for begin in range(0, len(tokens.flat), _AT_ONCE):
        counts += np.bincount(np.asarray(tokens.flat[begin : begin + _AT_ONCE]), minlength=len(ordinary))
    counts[~ordinary] = 0
    return np.asarray(COMMON / (COMMON + counts / max(counts.sum(), 1)))


class BagOfWords(Objective[TextEncoder, BagBatch]):
    """The encoder, with a linear layer that predicts words from its vector."""

    def __init__(self, product: TextEncoder) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.output = nn.Linear(product.network.dim, len(product.tokenizer))
        # The output table learns at a head's rate, ten times the encoder's; vectors a tenth as long as hidden states
        # compensate for that.
        self.scale = product.network.dim**0.5 / 10
        nn.init.normal_(self.output.weight, std=0.2)
        nn.init.zeros_(self.output.bias)

    def forward(self, batch: BagBatch) -> Loss:
        """The weighted cross-entropy of a text's words, in nats, mean over the texts that have any."""
        with evaluating(self.encoder):
            vectors = self.encoder(batch.texts)
        log_probabilities = torch.log_softmax(self.output(vectors * self.scale).float(), dim=-1)
        weights = sent(batch.weights, log_probabilities.device)
        texts = int((torch.bincount(batch.owners) > 0).sum())
        of_words = log_probabilities[
            sent(batch.owners, log_probabilities.device), sent(batch.words, log_probabilities.device)
        ]
        total = -(weights * of_words).sum() / max(texts, 1)
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(BowSpec(batch=16), steps=160)
