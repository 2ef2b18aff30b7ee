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
from shoptalk.text.corpus import PARTED_BY, Corpus, Positions
from shoptalk.text.source_target import SourceTargetBatch
from shoptalk.text.spans import SpanCorrupter, sentinels_of
from shoptalk.text.stored import runs
from shoptalk.text.windows import AROUND, Windows, stretch, windows_of


class SpanSpec(Spec):
    """Span corruption: the spans that a text misses, written out."""

    kind: Literal["span"] = "span"
    takes: ClassVar[frozenset[Kind]] = frozenset({"seq2seq"})
    lr: float = Field(default=1e-4, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=4.0, gt=0)
    context: int = Field(default=256, ge=16, description="tokens of a text, at most the model's own")
    rate: float = Field(default=0.15, gt=0, lt=1, description="share of a text's tokens that are hidden")
    mean_length: float = Field(default=3.0, ge=1, description="tokens of a hidden span, on average")

    def examples(self, corpus: Corpus) -> Examples:
        """The first position of every document."""
        return Positions(runs(np.asarray(corpus.conversation)))

    def drawn_from(self, material: Material[EncoderDecoder]) -> Examples:
        """The windows of the corpus."""
        return range(len(self._windows(material).items))

    def collate(self, material: Material[EncoderDecoder]) -> Callable[[Sequence[int], Key], SourceTargetBatch]:
        """Texts corrupted anew at every visit."""
        product, windows, between = material.product, self._windows(material), parted_by(material.product)
        corrupter = SpanCorrupter(sentinels_of(product.tokenizer), rate=self.rate, mean_length=self.mean_length)

        def text(number: int) -> Int[np.ndarray, " w"]:
            return stretch(windows, number, material.inputs, material.corpus, between)[0]

        def collate(examples: Sequence[int], key: Key) -> SourceTargetBatch:
            rows = [text(example) for example in examples]
            return product.pairs(corrupter(rows, examples, seed=key.seed, step=key.step))

        return collate

    def _windows(self, material: Material[EncoderDecoder]) -> Windows:
        cells = min(self.context, material.product.room) + AROUND  # nothing stands before a text
        return windows_of(material.corpus, material.inputs.lengths, parted_by(material.product), cells=cells)

    def build(self, product: EncoderDecoder) -> "SpanModel":
        """The model as it is: it has its output layer."""
        return SpanModel(product)


def parted_by(product: EncoderDecoder) -> dict[bool, Int[np.ndarray, " g"]]:
    """The tokens of `PARTED_BY`."""
    return {turns: product.ids([text])[0] for turns, text in PARTED_BY.items()}


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
