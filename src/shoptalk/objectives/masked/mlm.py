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

from shoptalk.nn.encoder import Product
from shoptalk.objective import Key, Loss, Objective, Spec, Targets
from shoptalk.text.batching import TextBatch, group_by_length
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

    def examples(self, corpus: Corpus) -> Sequence[int]:
        """Every text."""
        return range(len(corpus))

    def collate(
        self, corpus: Corpus, tokens: Tokenised, product: Product, targets: Targets | None
    ) -> Callable[[Sequence[int], Key], MaskedBatch]:
        """Texts corrupted anew at every visit."""
        tokenizer = product.tokenizer
        special = np.array(tokenizer.all_special_ids)
        continues = np.array(
            [piece.startswith("##") for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
        )

        def collate(examples: Sequence[int], key: Key) -> MaskedBatch:
            rows, chosen = [], []
            for example in examples:
                ids = tokens[example]
                # An example's masks do not depend on the batch that it happens to be in.
                rng = np.random.default_rng([key.seed, key.step, example])
                picks = choose(ids, special, continues if self.whole_word else None, self.mask_rate, rng)
                rows.append(corrupt(ids, picks, tokenizer.mask_token_id, len(tokenizer), rng))
                chosen.append(picks)
            texts = group_by_length(rows, pad_id=tokenizer.pad_token_id)
            positions, labels = [], []
            for group in texts.groups:
                width = group.ids.shape[1]
                members = group.rows.tolist()
                at = [row * width + np.flatnonzero(chosen[i]) for row, i in enumerate(members)]
                positions.append(torch.from_numpy(np.concatenate(at)))
                labels.append(torch.from_numpy(np.concatenate([tokens[examples[i]][chosen[i]] for i in members])))
            return MaskedBatch(texts=texts, positions=tuple(positions), labels=tuple(labels))

        return collate

    def build(self, product: Product) -> "MaskedLanguageModel":
        """BERT's head on the encoder, its output layer tied to the input embeddings."""
        return MaskedLanguageModel(product)


def choose(
    ids: Int[np.ndarray, " L"],
    special: Int[np.ndarray, " _"],
    continues: Bool[np.ndarray, " V"] | None,
    rate: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, " L"]:
    """Which tokens to predict: a share `rate` of the ordinary ones, at least one where there is one.

    With `continues` (which vocabulary entries continue a word) whole words are chosen, until the share is reached.
    """
    ordinary = np.flatnonzero(~np.isin(ids, special))
    picks = np.zeros(len(ids), dtype=bool)
    if not len(ordinary):
        return picks
    wanted = max(1, round(rate * len(ordinary)))
    if continues is None:
        picks[rng.choice(ordinary, wanted, replace=False)] = True
        return picks
    starts = ~continues[ids[ordinary]]
    starts[0] = True
    word = np.cumsum(starts) - 1
    for number in rng.permutation(word[-1] + 1):
        if picks.sum() >= wanted:
            break
        picks[ordinary[word == number]] = True
    return picks


def corrupt(
    ids: Int[np.ndarray, " L"], picks: Bool[np.ndarray, " L"], mask_id: int, vocabulary: int, rng: np.random.Generator
) -> Int[np.ndarray, " L"]:
    """The text as the model sees it: of the chosen tokens 80 % [MASK], 10 % random, 10 % unchanged."""
    draw = rng.random(len(ids))
    replaced = np.where(draw < RANDOM_SHARE, rng.integers(0, vocabulary, len(ids)), mask_id)
    return np.where(picks & (draw < 1 - KEPT_SHARE), replaced, ids)


class MaskedLanguageModel(Objective[MaskedBatch]):
    """The encoder with BERT's prediction head."""

    def __init__(self, product: Product) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.encoder
        width = product.encoder.dim
        dense = nn.Linear(width, width)
        self.transform = nn.Sequential(dense, nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(len(product.tokenizer)))
        nn.init.normal_(dense.weight, std=0.02)  # BERT's initialisation
        nn.init.zeros_(dense.bias)

    def logits(self, hidden: Float[Tensor, "m D"]) -> Float[Tensor, "m V"]:
        """Scores of every vocabulary entry at m positions."""
        table: Tensor = self.encoder.backbone.get_input_embeddings().weight  # type: ignore[operator]
        return nn.functional.linear(self.transform(hidden), table[: len(self.bias)], self.bias)

    def forward(self, batch: MaskedBatch) -> Loss:
        """Mean cross-entropy over the chosen positions of all groups, in nats."""
        total = torch.zeros((), device=self.encoder.device)
        count = sum(len(labels) for labels in batch.labels)
        for group, positions, labels in zip(batch.texts.groups, batch.positions, batch.labels, strict=True):
            hidden = self.encoder.hidden(group).flatten(0, 1)[positions.to(self.encoder.device)]
            scores = self.logits(hidden).float()
            total = total + nn.functional.cross_entropy(scores, labels.to(scores.device), reduction="sum")
        total = total / max(count, 1)
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(MlmSpec(batch=16))
