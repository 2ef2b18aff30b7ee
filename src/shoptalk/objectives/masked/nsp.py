"""Next sentence prediction (Devlin et al. 2019, BERT, section 3.1, task 2), on the turns of conversations.

Half of the time B is the turn that followed A, half of the time another conversation's; a head on the encoded sequence
"[CLS] A [SEP] B [SEP]" predicts which (y = 1: it followed):

    L = - (1 / n) sum_i [ y_i log sigmoid(z_i) + (1 - y_i) log(1 - sigmoid(z_i)) ]

What differs from the paper: the head reads the encoder's pooled vector, because that is what is shipped (where pooling
takes the first token it is the paper's). A and B have no segment types, which packed rows do not carry: [SEP] alone
divides them. The wrong B is a reply in its own conversation too, so that it does not suffice to recognise openings, and
its words differ from the true one's. Masked language modelling is not added: that is the mixture "mlm+nsp".

Liu et al. (2019, RoBERTa, section 4.2) found no gain from it in pre-training; it is included as a baseline.

Run alone on a toy: python -m shoptalk.objectives.masked.nsp
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.pair_head import PairHead
from shoptalk.nn.product import TEXT, Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TextBatch
from shoptalk.text.chance import uniform
from shoptalk.text.corpus import Corpus
from shoptalk.text.pairs import PairForm

TRIES = 8
"""Random replies among which a wrong one is looked for; where all are from the same conversation or have the words of
the true one, the pair keeps the true one.
"""


@dataclass(frozen=True)
class JudgedBatch(TextBatch):
    """n pairs, each as one text, and whether the second part followed the first."""

    follows: Bool[Tensor, " n"]


class NspSpec(Spec):
    """Next sentence prediction on consecutive turns."""

    kind: Literal["nsp"] = "nsp"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "consecutive turns of at least two conversations"
    lr: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=5.0, gt=0)

    def examples(self, corpus: Corpus) -> Examples:
        """The position of each A; the next text is its true B. None for documents, whose order says nothing."""
        contexts = corpus.contexts()
        conversations = corpus.conversation[contexts.numbers]
        return contexts if len(conversations) and conversations.min() < conversations.max() else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], JudgedBatch]:
        """Pairs, each true with probability 1/2, drawn anew at every visit."""
        form = PairForm.of(material.product.tokenizer, max_length=material.product.max_length)
        contexts = material.corpus.contexts().numbers

        def collate(examples: Sequence[int], key: Key) -> JudgedBatch:
            firsts = np.asarray(examples)
            seconds, follows = choose(material.corpus, contexts, firsts, key)
            rows = [form.join(material.inputs[a], material.inputs[b]) for a, b in zip(firsts, seconds, strict=True)]
            return JudgedBatch(texts=material.product.batch(rows), follows=torch.from_numpy(follows))

        return collate

    def build(self, product: TextEncoder) -> "NextSentence":
        """The encoder and BERT's head for pairs."""
        return NextSentence(product)


def choose(
    corpus: Corpus, contexts: Int[np.ndarray, " C"], firsts: Int[np.ndarray, " n"], key: Key
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The second text of each pair, and whether it is the one that followed; a function of the key and the first."""
    keeps = uniform(key.seed, key.step, firsts, np.zeros_like(firsts), stream=0) < 0.5
    places = np.tile(np.arange(TRIES), len(firsts))
    tries = uniform(key.seed, key.step, np.repeat(firsts, TRIES), places, stream=1).reshape(-1, TRIES)
    others = contexts[(tries * len(contexts)).astype(np.int64)].astype(np.int64) + 1
    wrong = corpus.conversation[others] != corpus.conversation[firsts][:, None]
    wrong &= corpus.wording[others] != corpus.wording[firsts + 1][:, None]
    follows = keeps | ~wrong.any(axis=1)
    other = others[np.arange(len(firsts)), wrong.argmax(axis=1)]
    return np.where(follows, firsts + 1, other), follows


class NextSentence(Objective[TextEncoder, JudgedBatch]):
    """The encoder, and a head that says whether B followed A."""

    def __init__(self, product: TextEncoder) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.head = PairHead(product.network.dim)

    def forward(self, batch: JudgedBatch) -> Loss:
        """Mean binary cross-entropy, and the share of pairs judged rightly."""
        total, accuracy = self.head.loss(self.encoder(batch.texts), batch.follows)
        return Loss(total=total, terms={"accuracy": accuracy})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run, toy_dialogues

    run(NspSpec(batch=32), steps=112, corpus=toy_dialogues())
