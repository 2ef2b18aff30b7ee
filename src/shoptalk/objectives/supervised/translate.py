"""Fine-tuning on parallel text (Sutskever et al. 2014, section 2; Raffel et al. 2020, section 2.1): the target, given
the source.

Of pairs (x, y), such as a sentence and its translation, or a thread and its summary, with y's end as its last token:

    L = - (1 / T) sum_t log p~(y_t | y_<t, x)        over the T tokens of all targets of a batch

where each token's label is smoothed: 1 - s on the token, s spread over the vocabulary (Vaswani et al. 2017, section
5.4). What is read has no loss.

A corpus of pairs is one of conversations of two turns; in any other, each turn is a source and the next one its target.

What differs from Raffel et al.: no words in front of the source name the task, for a model here has one; and the loss
is smoothed.

Run alone on a toy: python -m shoptalk.objectives.supervised.translate
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from shoptalk.nn.encoder_decoder import EncoderDecoder, target_loss
from shoptalk.nn.product import Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.corpus import Corpus
from shoptalk.text.source_target import SourceTargetBatch
from shoptalk.text.spans import SourceTarget


class TranslateSpec(Spec):
    """Parallel text: the target of each pair, given its source."""

    kind: Literal["translate"] = "translate"
    takes: ClassVar[frozenset[Kind]] = frozenset({"seq2seq"})
    supervised: ClassVar[bool] = True
    needs: ClassVar[str] = "at least one source with a target after it"
    lr: float = Field(default=1e-4, gt=0)
    batch: int = Field(default=128, ge=1)
    passes: float = Field(default=10.0, gt=0)
    smoothing: float = Field(default=0.1, ge=0, lt=1, description="of each token's label, what others share")

    def examples(self, corpus: Corpus) -> Examples:
        """The position of each source."""
        return corpus.contexts()

    def collate(self, material: Material[EncoderDecoder]) -> Callable[[Sequence[int], Key], SourceTargetBatch]:
        """Each source with the item after it."""
        product, inputs = material.product, material.inputs

        def collate(examples: Sequence[int], key: Key) -> SourceTargetBatch:
            return product.pairs([SourceTarget(inputs[place], inputs[place + 1]) for place in examples])

        return collate

    def build(self, product: EncoderDecoder) -> "Translator":
        """The model as it is."""
        return Translator(product, smoothing=self.smoothing)


class Translator(Objective[EncoderDecoder, SourceTargetBatch]):
    """The encoder–decoder with the output layer that it has."""

    def __init__(self, product: EncoderDecoder, *, smoothing: float) -> None:
        super().__init__()
        self.product = product
        self.network = product.network
        self.smoothing = smoothing

    def forward(self, batch: SourceTargetBatch) -> Loss:
        """Mean smoothed cross-entropy of the targets' tokens, in nats."""
        loss = target_loss(self.network, batch, smoothing=self.smoothing)
        return Loss(total=loss.total, terms={"bits": loss.nats / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(TranslateSpec(batch=16))
