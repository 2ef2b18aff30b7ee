"""Causal language modelling (Radford et al. 2018, GPT, section 3.1; 2019, GPT-2): each token from those before it.

Of a document x_1 ... x_n, before which stands the token x_0 that documents begin with:

    L = - (1 / T) sum_i log p(x_i | x_0 ... x_{i-1})        over the T tokens of all windows of a batch

A window is a stretch of one document, as long as the context allows: passages of a document, or turns of a
conversation, one after the other. Windows stand side by side in rows, and no cell sees another window (as in Ding et
al. 2024, "Fewer truncations improve language modeling", which packs whole documents; Zhao et al. 2024 find that seeing
across documents costs quality). An example is a row: which windows stand in it is decided once, by real token counts
(`text/windows.py`). Logits and gradients are computed for some cells at a time (`nn/losses`): the matrix of all logits,
49,152 numbers for each token of SmolLM2, never exists.

What differs from the papers: an adapted model's learning rate and batch, found for continued pre-training of a small
model on minutes of text; windows end between passages where they can, and not in the middle of a sentence.

Run alone on a toy: python -m shoptalk.objectives.autoregressive.clm
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from shoptalk.nn.language_model import LanguageModel, next_token_loss
from shoptalk.nn.product import Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.corpus import PARTED_BY, Corpus, Positions
from shoptalk.text.packing import PackedRows, pack_rows
from shoptalk.text.stored import runs
from shoptalk.text.windows import Windows, in_rows, stretch, windows_of


class ClmSpec(Spec):
    """Causal language modelling: the next token, on whole stretches of documents."""

    kind: Literal["clm"] = "clm"
    takes: ClassVar[frozenset[Kind]] = frozenset({"lm"})
    lr: float = Field(default=2e-4, gt=0)
    batch: int = Field(default=4, ge=1, description="rows, each of as many tokens as a context has")
    passes: float = Field(default=4.0, gt=0)
    context: int = Field(default=512, ge=16, description="tokens of a row, at most the model's own")
    checkpoint_layers: bool = Field(
        default=False, description="compute layers again in the backward pass: slower, and takes far less memory"
    )

    def examples(self, corpus: Corpus) -> Examples:
        """The first position of every document."""
        return Positions(runs(np.asarray(corpus.conversation)))

    def drawn_from(self, material: Material[LanguageModel]) -> Examples:
        """The rows that hold all windows of the corpus."""
        return range(len(in_rows(self._windows(material).sizes, cells=self._cells(material.product))))

    def collate(self, material: Material[LanguageModel]) -> Callable[[Sequence[int], Key], PackedRows]:
        """The rows with the windows that they hold."""
        product, corpus, cells = material.product, material.corpus, self._cells(material.product)
        windows, between = self._windows(material), parted_by(product)
        rows = in_rows(windows.sizes, cells=cells)
        before, after = (np.array([token], dtype=np.int64) for token in (product.begin, product.part))

        def window(number: int) -> Int[np.ndarray, " w"]:
            ids, closes = stretch(windows, number, material.inputs, corpus, between)
            return np.concatenate([before, ids, after] if closes else [before, ids])

        def collate(examples: Sequence[int], key: Key) -> PackedRows:
            return pack_rows([[window(number) for number in rows.of(row)] for row in examples], length=cells)

        return collate

    def _cells(self, product: LanguageModel) -> int:
        return min(self.context, product.max_length)

    def _windows(self, material: Material[LanguageModel]) -> Windows:
        cells = self._cells(material.product)
        return windows_of(material.corpus, material.inputs.lengths, parted_by(material.product), cells=cells)

    def build(self, product: LanguageModel) -> "CausalLanguageModel":
        """The model as it is: it has its output layer."""
        return CausalLanguageModel(product, checkpoint_layers=self.checkpoint_layers)


def parted_by(product: LanguageModel) -> dict[bool, Int[np.ndarray, " g"]]:
    """The tokens of `PARTED_BY`."""
    return {
        turns: np.asarray(product.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
        for turns, text in PARTED_BY.items()
    }


class CausalLanguageModel(Objective[LanguageModel, PackedRows]):
    """The decoder with the output layer that it has."""

    def __init__(self, product: LanguageModel, *, checkpoint_layers: bool) -> None:
        super().__init__()
        self.product = product
        self.network = product.network
        if checkpoint_layers:
            product.network.backbone.activation_checkpointing_enable(  # type: ignore[operator]
                activation_checkpointing_kwargs={"use_reentrant": False}
            )

    def forward(self, batch: PackedRows) -> Loss:
        """Mean cross-entropy of every token that has one before it in its window, in nats."""
        total = next_token_loss(self.network, batch)
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(ClmSpec(batch=16, context=64))
