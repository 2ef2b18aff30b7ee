"""Causal language modelling (Radford et al. 2018, GPT, section 3.1; 2019, GPT-2): each token from those before it.

Of a document x_1 ... x_n, before which stands the token x_0 that parts documents:

    L = - (1 / T) sum_i log p(x_i | x_0 ... x_{i-1})        over the T tokens of all windows of a batch

A window is a stretch of one document, as long as the context allows: passages of a document, or turns of a
conversation, one after the other. Windows stand side by side in rows, and no cell sees another window (as in Ding et
al. 2024, "Fewer truncations improve language modeling", which packs whole documents; Zhao et al. 2024 find that seeing
across documents costs quality). Logits and gradients are computed for some cells at a time (`nn/losses`): the matrix of
all logits, 49,152 numbers for each token of SmolLM2, never exists.

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
from shoptalk.text.corpus import Corpus, Positions
from shoptalk.text.packing import PackedRows, pack

BYTES_A_TOKEN = 3
"""By which windows are laid out, before any tokenizer is known: English has more, so that most windows fit. A window
that does not fit is read in parts."""
MOST_PARTS = 4
"""Of a window that does not fit, those that a batch has room for: a turn may hold a whole log file."""
BETWEEN = {True: "\n", False: "\n\n"}
"""What parts the turns of a conversation, and the passages of a document."""


class ClmSpec(Spec):
    """Causal language modelling: the next token, on whole stretches of documents."""

    kind: Literal["clm"] = "clm"
    takes: ClassVar[frozenset[Kind]] = frozenset({"lm"})
    lr: float = Field(default=2e-4, gt=0)
    batch: int = Field(default=8, ge=1)
    passes: float = Field(default=4.0, gt=0)
    context: int = Field(default=512, ge=16, description="tokens of a window, at most the model's own")
    checkpoint_layers: bool = Field(
        default=False, description="compute layers again in the backward pass: slower, and takes far less memory"
    )

    def examples(self, corpus: Corpus) -> Examples:
        """The positions at which windows begin."""
        return Positions(window_begins(corpus, size=BYTES_A_TOKEN * self.context))

    def collate(self, material: Material[LanguageModel]) -> Callable[[Sequence[int], Key], PackedRows]:
        """The windows in as few rows as hold them; one that is longer than the context in parts."""
        product, corpus = material.product, material.corpus
        begins = np.append(np.asarray(self.examples(corpus)), len(corpus))
        context = min(self.context, product.max_length)
        between = {
            turns: np.asarray(product.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
            for turns, text in BETWEEN.items()
        }
        last_of_document = np.append(np.diff(np.asarray(corpus.conversation)) != 0, True)
        part = np.array([product.part], dtype=np.int64)

        def window(begin: int) -> Int[np.ndarray, " w"]:
            end = int(begins[np.searchsorted(begins, begin, side="right")])
            pieces = [part]
            for place in range(begin, end):
                if place > begin:
                    pieces.append(between[bool(corpus.turn[place] >= 0)])
                pieces.append(material.inputs[place])
            if last_of_document[end - 1]:
                pieces.append(part)
            return np.concatenate(pieces)

        def collate(examples: Sequence[int], key: Key) -> PackedRows:
            parts = [part for number in examples for part in parts_of(window(number), context, key, number)]
            return pack(parts, length=context)

        return collate

    def build(self, product: LanguageModel) -> "CausalLanguageModel":
        """The model as it is: it has its output layer."""
        return CausalLanguageModel(product, checkpoint_layers=self.checkpoint_layers)


def window_begins(corpus: Corpus, *, size: int) -> Int[np.ndarray, " E"]:
    """The positions at which windows begin: at each document's first item, and wherever the items since the last
    beginning have more bytes than `size` together with the next one.
    """
    conversation = np.asarray(corpus.conversation)
    begins: list[int] = []
    taken = 0
    for place, text in enumerate(corpus.texts):
        length = len(text.encode("utf-8", "surrogatepass"))
        if not begins or conversation[place] != conversation[place - 1] or taken + length > size:
            begins.append(place)
            taken = 0
        taken += length
    return np.array(begins, dtype=np.int64)


def parts_of(ids: Int[np.ndarray, " w"], context: int, key: Key, example: int) -> list[Int[np.ndarray, " _"]]:
    """A window as it is read: whole where it fits, else in parts as long as the context, up to `MOST_PARTS` that follow
    each other. Of more the key draws the first, so that later passes read the others.
    """
    begins = range(0, len(ids), context)
    room = len(begins) - MOST_PARTS
    first = 0 if room <= 0 else int(np.random.default_rng([*key, example]).integers(room + 1))
    return [ids[begin : begin + context] for begin in begins[first : first + MOST_PARTS]]


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
