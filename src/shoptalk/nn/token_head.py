"""BERT's head for predicting tokens (Devlin et al. 2019), its output layer tied to the encoder's input embeddings."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shoptalk.nn import gather
from shoptalk.nn.encoder import Encoder
from shoptalk.nn.losses import linear_cross_entropy
from shoptalk.nn.transfer import sent
from shoptalk.text.batching import TokenBatch


class TokenHead(nn.Module):
    """Dense, GELU, norm; then scores of every vocabulary entry by the embeddings' own table and a bias."""

    def __init__(self, width: int, vocabulary: int) -> None:
        """`width` is the hidden states', `vocabulary` how many entries there are to predict."""
        super().__init__()
        dense = nn.Linear(width, width)
        self.transform = nn.Sequential(dense, nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(dense.weight, std=0.02)  # BERT's initialisation
        nn.init.zeros_(dense.bias)

    def table_of(self, encoder: Encoder) -> Float[Tensor, "V D"]:
        """The encoder's input embeddings, without the rows that pad some tables to a round number."""
        table: Tensor = encoder.backbone.get_input_embeddings().weight  # type: ignore[operator]
        return table if len(table) == len(self.bias) else table[: len(self.bias)]

    def forward(self, hidden: Float[Tensor, "m D"], table: Float[Tensor, "V D"]) -> Float[Tensor, "m V"]:
        """Scores of every vocabulary entry at m positions."""
        return nn.functional.linear(self.transform(hidden), table, self.bias)

    def loss(
        self, hidden: Float[Tensor, "m D"], table: Float[Tensor, "V D"], labels: Int[Tensor, " m"], *, weight: float
    ) -> Float[Tensor, ""]:
        """`weight` times the summed cross-entropy of the labels, in nats; the m x V logits are never held at once."""
        return linear_cross_entropy(self.transform(hidden), table, self.bias, labels, weight=weight)

    def masked_loss(
        self,
        encoder: Encoder,
        texts: TokenBatch,
        positions: Sequence[Int[Tensor, " _"]],
        labels: Sequence[Int[Tensor, " _"]],
        *,
        causal: bool = False,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy over the chosen positions of all groups and processes, in nats (section 3.1).

        Args:
            encoder: what reads the texts, and whose table of embeddings is the output layer.
            texts: corrupted.
            positions: per group the chosen ones, in the flattened group.
            labels: the original tokens there.
            causal: whether no token sees those after it.
        """
        total = torch.zeros((), device=encoder.device)
        count = max(1, sum(map(len, labels)))
        table = self.table_of(encoder)
        for number, group, counts in encoder.share(texts):
            chosen = positions[number] if counts else positions[number][:0]
            targets = labels[number][: len(chosen)]
            hidden = encoder.hidden(group, causal=causal).flatten(0, 1)[sent(chosen, encoder.device)]
            total = total + self.loss(hidden, table, sent(targets, hidden.device), weight=1 / count)
        return gather.sum_across(total)
