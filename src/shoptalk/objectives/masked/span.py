"""Span corruption (Raffel et al. 2020, T5, section 3.1.4): an encoder reads a text with spans hidden, and a decoder
writes what is hidden.

Of the tokens of a text 15 % are hidden, in spans of 3 on average; each span becomes one sentinel, and the target is
the sentinels, each with its span, and one more sentinel (`text/spans.py`):

    text      Thank you for inviting me to your party last week .
    source    Thank you <X> me to your party <Y> week .
    target    <X> for inviting <Y> last <Z>

    L = - (1 / T) sum_t log p(target_t | target_<t, source)        over the T tokens of all targets of a batch

Logits and gradients are computed for some cells at a time (`nn/losses`).

What differs from the paper: the spans lie anywhere with equal probability, where theirs end with a span, always, which
of a short text would make a beginning to be continued; a text is a stretch of one document (`text/windows.py`), where
theirs are joined until 512 tokens are full; rates and batches are for minutes of text on a small model, with AdamW.

Run alone on a toy: python -m shoptalk.objectives.masked.span
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from shoptalk.nn.encoder_decoder import EncoderDecoder, target_loss
from shoptalk.nn.product import Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.corpus import Corpus, Positions
from shoptalk.text.source_target import SourceTargetBatch
from shoptalk.text.spans import SpanCorrupter, sentinels_of
from shoptalk.text.windows import BETWEEN, CHARACTERS_A_TOKEN, window_begins


class SpanSpec(Spec):
    """Span corruption: the spans that a text misses, written out."""

    kind: Literal["span"] = "span"
    takes: ClassVar[frozenset[Kind]] = frozenset({"seq2seq"})
    lr: float = Field(default=2e-4, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=4.0, gt=0)
    context: int = Field(default=256, ge=16, description="tokens of a text, at most the model's own")
    rate: float = Field(default=0.15, gt=0, lt=1, description="share of a text's tokens that are hidden")
    mean_length: float = Field(default=3.0, ge=1, description="tokens of a hidden span, on average")

    def examples(self, corpus: Corpus) -> Examples:
        """The positions at which texts begin."""
        return Positions(window_begins(corpus, characters=CHARACTERS_A_TOKEN * self.context))

    def collate(self, material: Material[EncoderDecoder]) -> Callable[[Sequence[int], Key], SourceTargetBatch]:
        """Texts corrupted anew at every visit."""
        product, corpus = material.product, material.corpus
        begins = np.append(np.asarray(self.examples(corpus)), len(corpus))
        context = min(self.context, product.room)
        corrupter = SpanCorrupter(sentinels_of(product.tokenizer), rate=self.rate, mean_length=self.mean_length)
        between = {turns: product.ids([text])[0] for turns, text in BETWEEN.items()}

        def text(begin: int) -> Int[np.ndarray, " w"]:
            end = int(begins[np.searchsorted(begins, begin, side="right")])
            pieces = [material.inputs[begin]]
            for place in range(begin + 1, end):
                pieces += [between[bool(corpus.turn[place] >= 0)], material.inputs[place]]
            return np.concatenate(pieces)[:context]

        def collate(examples: Sequence[int], key: Key) -> SourceTargetBatch:
            rows = [text(example) for example in examples]
            return product.pairs(corrupter(rows, examples, seed=key.seed, step=key.step))

        return collate

    def build(self, product: EncoderDecoder) -> "SpanModel":
        """The model as it is: it has its output layer."""
        return SpanModel(product)


class SpanModel(Objective[EncoderDecoder, SourceTargetBatch]):
    """The encoder–decoder with the output layer that it has."""

    def __init__(self, product: EncoderDecoder) -> None:
        super().__init__()
        self.product = product
        self.network = product.network

    def forward(self, batch: SourceTargetBatch) -> Loss:
        """Mean cross-entropy of the targets' tokens, in nats."""
        loss = target_loss(self.network, batch)
        return Loss(total=loss.total, terms={"bits": loss.nats / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(SpanSpec(batch=16))
