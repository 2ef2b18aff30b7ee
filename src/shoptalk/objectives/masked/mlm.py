"""Masked language modelling (Devlin et al. 2019, BERT, section 3.1).

Of a share r of the tokens, 80 % become [MASK], 10 % a random token, 10 % stay; the model predicts the original
token x_i of each chosen position i from the corrupted text x̃:

    L = - (1 / |M|) sum_{i in M} log p(x_i | x̃)

What differs from the paper: logits are computed at the chosen positions only (same loss, a sixth of the head's work);
r may go to 40 %, which Wettig et al. (2023) found better for small models; whole words may be chosen together.

Run alone on a toy: python -m shoptalk.objectives.masked.mlm
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from shoptalk.nn import gather
from shoptalk.nn.encoder import Product
from shoptalk.nn.losses import linear_cross_entropy
from shoptalk.objective import Examples, Key, Loss, Objective, Spec, Targets
from shoptalk.text.batching import TextBatch
from shoptalk.text.chance import uniform
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised

RANDOM_SHARE, KEPT_SHARE = 0.1, 0.1


@dataclass(frozen=True)
class MaskedBatch(TextBatch):
    """Corrupted texts, and per group the chosen positions (in the flattened group) with their original tokens."""

    positions: tuple[Int[Tensor, " _"], ...]
    labels: tuple[Int[Tensor, " _"], ...]


class MlmSpec(Spec):
    """Masked language modelling."""

    kind: Literal["mlm"] = "mlm"
    lr: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=10.0, gt=0)
    mask_rate: float = Field(default=0.15, ge=0.15, le=0.4)
    whole_word: bool = False

    def examples(self, corpus: Corpus) -> Examples:
        """Every text."""
        return range(len(corpus))

    def collate(
        self, corpus: Corpus, tokens: Tokenised, product: Product, targets: Targets | None
    ) -> Callable[[Sequence[int], Key], MaskedBatch]:
        """Texts corrupted anew at every visit."""
        tokenizer = product.tokenizer
        vocabulary = len(tokenizer)
        ordinary = ~np.isin(np.arange(vocabulary), tokenizer.all_special_ids)
        pieces = tokenizer.convert_ids_to_tokens(range(vocabulary))
        continues = np.array([piece.startswith("##") for piece in pieces]) if self.whole_word else None

        def collate(examples: Sequence[int], key: Key) -> MaskedBatch:
            rows = [tokens[example] for example in examples]
            lengths = np.array([len(row) for row in rows])
            ids, text = np.concatenate(rows), np.repeat(np.arange(len(rows)), lengths)
            starts = np.cumsum(lengths) - lengths
            where = np.asarray(examples)[text], np.arange(len(ids)) - starts[text]
            order, fate, other = (uniform(key.seed, key.step, *where, stream=stream) for stream in range(3))
            picks = choose(ids, text, order, ordinary, continues, self.mask_rate)
            seen = corrupt(ids, picks, fate, other, mask_id=tokenizer.mask_token_id, vocabulary=vocabulary)
            texts = product.batch(np.split(seen, starts[1:]))
            positions, labels = [], []
            for group in texts.groups:
                # The group's cells hold its texts' tokens one after the other; these are the tokens' numbers.
                number = np.concatenate([np.arange(starts[i], starts[i] + lengths[i]) for i in group.rows.tolist()])
                chosen = picks[number]
                positions.append(group.cells[torch.from_numpy(chosen)])
                labels.append(torch.from_numpy(ids[number[chosen]]))
            return MaskedBatch(texts=texts, positions=tuple(positions), labels=tuple(labels))

        return collate

    def build(self, product: Product) -> "MaskedLanguageModel":
        """BERT's head on the encoder, its output layer tied to the input embeddings."""
        return MaskedLanguageModel(product)


def choose(
    ids: Int[np.ndarray, " T"],
    text: Int[np.ndarray, " T"],
    order: Float[np.ndarray, " T"],
    ordinary: Bool[np.ndarray, " V"],
    continues: Bool[np.ndarray, " V"] | None,
    rate: float,
) -> Bool[np.ndarray, " T"]:
    """Which tokens to predict: of each text the share `rate` of its ordinary tokens, at least one where there is one.

    `text` numbers each token's text, ascending; the tokens of smallest `order` are chosen. With `continues` (which
    vocabulary entries continue a word) whole words are, in the order of their first pieces, until the share is reached.
    """
    at = np.flatnonzero(ordinary[ids])
    own, rank = text[at], order[at]
    begins = np.r_[True, own[1:] != own[:-1]][: len(at)]
    words = np.cumsum(begins | ~continues[ids[at]]) - 1 if continues is not None else np.arange(len(at))
    first_piece = np.r_[True, words[1:] != words[:-1]][: len(at)]
    sorting = np.lexsort((words, rank[first_piece][words], own))  # the last key counts most
    own, words = own[sorting], words[sorting]
    sizes = np.bincount(own, minlength=int(text[-1]) + 1 if len(text) else 0)
    wanted = np.where(sizes > 0, np.maximum(1, np.rint(rate * sizes)), 0)
    # A word is chosen where fewer tokens of its text than wanted come before its first piece.
    first = np.maximum.accumulate(np.where(np.r_[True, words[1:] != words[:-1]][: len(at)], np.arange(len(at)), 0))
    before = first - (np.cumsum(sizes) - sizes)[own]
    picks = np.zeros(len(ids), dtype=bool)
    picks[at[sorting[before < wanted[own]]]] = True
    return picks


def corrupt(
    ids: Int[np.ndarray, " T"],
    picks: Bool[np.ndarray, " T"],
    fate: Float[np.ndarray, " T"],
    other: Float[np.ndarray, " T"],
    *,
    mask_id: int,
    vocabulary: int,
) -> Int[np.ndarray, " T"]:
    """The tokens as the model sees them: of the chosen 80 % [MASK], 10 % random, 10 % unchanged.

    `fate` and `other`, both uniform in [0, 1), say which of the three happens and which the random token is.
    """
    replaced = np.where(fate < RANDOM_SHARE, (other * vocabulary).astype(np.int64), mask_id)
    return np.where(picks & (fate < 1 - KEPT_SHARE), replaced, ids)


class MaskedLanguageModel(Objective[MaskedBatch]):
    """The encoder with BERT's prediction head."""

    def __init__(self, product: Product) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.encoder
        self.encoder.read_rows(sparse=False)  # the output layer is the same table, and reads all of it
        width = product.encoder.dim
        dense = nn.Linear(width, width)
        self.transform = nn.Sequential(dense, nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(len(product.tokenizer)))
        nn.init.normal_(dense.weight, std=0.02)  # BERT's initialisation
        nn.init.zeros_(dense.bias)

    @property
    def table(self) -> Float[Tensor, "V D"]:
        """The input embeddings, to which the output layer is tied."""
        table: Tensor = self.encoder.backbone.get_input_embeddings().weight  # type: ignore[operator]
        return table if len(table) == len(self.bias) else table[: len(self.bias)]

    def logits(self, hidden: Float[Tensor, "m D"]) -> Float[Tensor, "m V"]:
        """Scores of every vocabulary entry at m positions."""
        return nn.functional.linear(self.transform(hidden), self.table, self.bias)

    def forward(self, batch: MaskedBatch) -> Loss:
        """Mean cross-entropy over the chosen positions of all groups, in nats."""
        total = torch.zeros((), device=self.encoder.device)
        count = sum(len(labels) for labels in batch.labels)
        for number, group, counts in self.encoder.share(batch.texts):
            chosen = batch.positions[number] if counts else batch.positions[number][:0]
            labels = batch.labels[number][: len(chosen)]
            hidden = self.encoder.hidden(group).flatten(0, 1)[chosen.to(self.encoder.device)]
            total = total + linear_cross_entropy(
                self.transform(hidden), self.table, self.bias, labels.to(hidden.device), weight=1 / max(count, 1)
            )
        total = gather.sum_across(total)
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(MlmSpec(batch=16))
