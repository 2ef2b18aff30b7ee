"""Causal language modelling (Radford et al. 2018, GPT, section 3.1; 2019, GPT-2): each token from those before it.

Of a document x_1 ... x_n, before which stands the token x_0 that documents begin with:

    L = - (1 / T) sum_i log p(x_i | x_0 ... x_{i-1})        over the T tokens of all windows of a batch

A window is a stretch of one document, as long as the context allows: passages of a document, or turns of a
conversation, one after the other. Windows stand side by side in rows, and no cell sees another window (as in Ding et
al. 2024, "Fewer truncations improve language modeling", which packs whole documents; Zhao et al. 2024 find that seeing
across documents costs quality). An example is a row: which windows stand in it is decided once, by real token counts
(`text/windows.py`). Logits and gradients are computed for some cells at a time (`nn/losses`): the matrix of all logits,
49,152 numbers for each token of SmolLM2, never exists.

With `replay_percent`, that share of a batch's rows comes from general text such as the model has read before, against
forgetting (Ibrahim et al. 2024, "Simple and scalable strategies to continually pre-train large language models"). The
rows of the corpus are those of a training without it, step by step, and replayed rows come on top: at step i those from
floor(i q) to floor((i + 1) q) - 1 of all general rows in an order that is drawn anew in every pass, where
q = batch share / (1 - share). So of a batch of four a share of 5 % is one replayed row in about every fifth step. All
rows' tokens count alike in the loss.

What differs from the papers: an adapted model's learning rate and batch, found for continued pre-training of a small
model on minutes of text; windows end between passages where they can, and not in the middle of a sentence; what is
replayed is text of the user's choice, for nobody has the text that a base was trained on.

Run alone on a toy: python -m shoptalk.objectives.autoregressive.clm
"""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from shoptalk.errors import ConfigError
from shoptalk.nn.language_model import LanguageModel, next_token_loss
from shoptalk.nn.low_rank import LoraSettings, adapt_matrices
from shoptalk.nn.product import Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.corpus import PARTED_BY, Corpus, Positions
from shoptalk.text.order import permuted
from shoptalk.text.packing import PackedRows, pack_rows
from shoptalk.text.stored import runs
from shoptalk.text.windows import Windows, in_rows, stretch, windows_of

_REPLAYED = 1
"""What tells the draws of replayed rows from those of others by the same seed."""


class ClmSpec(Spec):
    """Causal language modelling: the next token, on whole stretches of documents."""

    kind: Literal["clm"] = "clm"
    takes: ClassVar[frozenset[Kind]] = frozenset({"lm"})
    lr: float = Field(default=2e-4, gt=0)
    batch: int = Field(default=4, ge=1, description="rows, each of as many tokens as a context has")
    replay_percent: float = Field(
        default=0.0, ge=0.0, lt=100.0, description="of all rows, those of general text (`replay.sources`), on top"
    )
    passes: float = Field(default=4.0, gt=0)
    context: int = Field(default=512, ge=16, description="tokens of a row, at most the model's own")
    checkpoint_layers: bool = Field(
        default=False, description="compute layers again in the backward pass: slower, and takes far less memory"
    )
    lora: LoraSettings = LoraSettings()

    def examples(self, corpus: Corpus) -> Examples:
        """The first position of every document."""
        return Positions(runs(np.asarray(corpus.conversation)))

    def drawn_from(self, material: Material[LanguageModel]) -> Examples:
        """The rows that hold all windows of the corpus."""
        return range(len(in_rows(self._windows(material).sizes, cells=self._cells(material.product))))

    @property
    def replays(self) -> bool:
        """Whether a share of its rows is general text."""
        return self.replay_percent > 0

    def collate(self, material: Material[LanguageModel]) -> Callable[[Sequence[int], Key], PackedRows]:
        """The rows with the windows that they hold.

        Raises:
            ConfigError: general text is to be replayed, and there is none.
        """
        cells, (_, own) = self._cells(material.product), self._rows(material)
        if not self.replays:
            return lambda examples, key: pack_rows([own(row) for row in examples], length=cells)
        if material.general is None:
            raise ConfigError(
                f"objectives.clm.replay_percent = {self.replay_percent:g} and there is no general text to replay: name "
                "some as replay.sources (--replay SOURCE), or leave the setting out."
            )
        n_general, general = self._rows(material.general)

        def collate(examples: Sequence[int], key: Key) -> PackedRows:
            replayed = replayed_rows(n_general, beside=len(examples), percent=self.replay_percent, key=key)
            rows = [*(own(row) for row in examples), *(general(row) for row in replayed)]
            return pack_rows(rows, length=cells)

        return collate

    def _rows(self, material: Material[LanguageModel]) -> tuple[int, Callable[[int], list[Int[np.ndarray, " w"]]]]:
        """How many rows there are, and of a row's number its windows, each with what stands before and after."""
        product, corpus = material.product, material.corpus
        windows, between = self._windows(material), parted_by(product)
        rows = in_rows(windows.sizes, cells=self._cells(product))
        before, after = (np.array([token], dtype=np.int64) for token in (product.begin, product.part))

        def window(number: int) -> Int[np.ndarray, " w"]:
            ids, closes = stretch(windows, number, material.inputs, corpus, between)
            return np.concatenate([before, ids, after] if closes else [before, ids])

        return len(rows), lambda row: [window(number) for number in rows.of(row)]

    def _cells(self, product: LanguageModel) -> int:
        return min(self.context, product.max_length)

    def _windows(self, material: Material[LanguageModel]) -> Windows:
        cells = self._cells(material.product)
        return windows_of(material.corpus, material.inputs.lengths, parted_by(material.product), cells=cells)

    def build(self, product: LanguageModel) -> "CausalLanguageModel":
        """The model as it is, for it has its output layer; with low-rank adaptations where the settings have a rank.

        Raises:
            ConfigError: the model has no such layers, or matrices that are too small for the rank.
        """
        adapt_matrices(product.network.backbone, self.lora)
        return CausalLanguageModel(product, checkpoint_layers=self.checkpoint_layers)


def replayed_rows(rows: int, *, beside: int, percent: float, key: Key) -> list[int]:
    """Which of `rows` rows of general text step `key.step` replays beside so many rows of the corpus, so that over all
    steps `percent` of the rows are replayed. Every pass through them is a new permutation.
    """
    each = beside * percent / (100.0 - percent)
    begin, end = math.floor(key.step * each), math.floor((key.step + 1) * each)
    # A seed of its own: the corpus's rows are drawn by the same key.
    seed = int(np.random.SeedSequence([key.seed, _REPLAYED]).generate_state(1)[0])
    numbers: list[int] = []
    for epoch in range(begin // rows, -(-end // rows)):
        first = epoch * rows
        places = range(max(begin - first, 0), min(end - first, rows))
        numbers += permuted(rows, places, seed=seed, epoch=epoch).tolist()
    return numbers


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
