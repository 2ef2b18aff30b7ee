"""Sequential denoising auto-encoder for sentence embeddings (Wang, Reimers & Gurevych 2021, TSDAE, section 3).

A share r of a text's tokens is deleted, and the encoder turns the rest into one vector s(x̃). From it alone a decoder
predicts the whole text, each token given the true ones before it:

    L = - (1 / T) sum_x sum_t log p(x_t | x_<t, s(x̃))

In the decoder's layers, tokens attend to the tokens before them and, through cross-attention, to the vector. A softmax
over a single score is 1, so cross-attention is the linear map W_o W_v s at every position, and is computed as that.

What differs from the paper: the decoder is one new layer (`layers`), where the paper's has as many as the encoder and
shares its weights. So it costs little, and cannot predict much without the vector. Its input and output embeddings are
the encoder's. The vector is the one that is shipped: pooled as the encoder pools, and of unit length (times sqrt(D) for
the decoder). Special tokens are never deleted, and at least one other token stays. A batch has 64 texts, not 8.

A batch counts the tokens that are encoded and those that are decoded.

Run alone on a toy: python -m shoptalk.objectives.masked.tsdae
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from shoptalk.nn import gather
from shoptalk.nn.attention import Packing, packed_attention
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.token_head import TokenHead
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import Group, TokenBatch
from shoptalk.text.corpus import Corpus
from shoptalk.text.deletion import delete, ordinary_ids

FAR_BELOW = -1e9  # any score; finite, so that no softmax becomes NaN


@dataclass(frozen=True)
class DenoisingBatch:
    """n texts with tokens deleted, for the encoder, and whole, for the decoder to predict."""

    damaged: TokenBatch
    whole: TokenBatch

    @property
    def tokens(self) -> int:
        """Real tokens, encoded and decoded."""
        return self.damaged.tokens + self.whole.tokens

    @property
    def cells(self) -> int:
        """Tokens and padding, encoded and decoded."""
        return self.damaged.cells + self.whole.cells


class TsdaeSpec(Spec):
    """Denoising auto-encoder: a text is predicted from its vector with tokens deleted."""

    kind: Literal["tsdae"] = "tsdae"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=3e-5, gt=0)
    batch: int = Field(default=64, ge=1)
    passes: float = Field(default=5.0, gt=0)
    deletion: float = Field(default=0.6, gt=0, lt=1, description="share of a text's tokens that the encoder misses")
    layers: int = Field(default=1, ge=1, le=6, description="of the decoder")

    def examples(self, corpus: Corpus) -> Examples:
        """Every text."""
        return range(len(corpus))

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], DenoisingBatch]:
        """Texts with tokens deleted, drawn anew at every visit, and the whole texts."""
        ordinary = ordinary_ids(material.product.tokenizer)

        def collate(examples: Sequence[int], key: Key) -> DenoisingBatch:
            rows = [material.inputs[example] for example in examples]
            damaged = delete(rows, examples, ordinary=ordinary, share=self.deletion, seed=key.seed, step=key.step)
            return DenoisingBatch(damaged=material.product.batch(damaged), whole=material.product.batch(rows))

        return collate

    def build(self, product: TextEncoder) -> "DenoisingAutoencoder":
        """The encoder, and a decoder of `layers` layers."""
        return DenoisingAutoencoder(product, layers=self.layers)


class DecoderLayer(nn.Module):
    """A post-norm transformer decoder layer (Vaswani et al. 2017, section 3.1) whose memory is one vector per text."""

    def __init__(self, width: int, heads: int) -> None:
        """`width` is that of the states and of the vectors."""
        super().__init__()
        self.heads = heads
        self.projection, self.attended = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.memory = nn.Linear(width, width)  # W_o W_v of the cross-attention
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.after_attention, self.after_memory, self.after_dense = (nn.LayerNorm(width) for _ in range(3))

    def forward(
        self, states: Float[Tensor, "R W D"], bias: Float[Tensor, "R 1 W W"], vectors: Float[Tensor, "R W D"]
    ) -> Float[Tensor, "R W D"]:
        """`bias` masks the attention; `vectors` holds the vector of each cell's text."""
        rows, width, dim = states.shape
        projected = self.projection(states).reshape(rows, width, 3, self.heads, dim // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        attended, _ = packed_attention(self, query, key, value, bias)
        states = self.after_attention(states + self.attended(attended.reshape(rows, width, dim)))
        states = self.after_memory(states + self.memory(vectors))
        output: Tensor = self.after_dense(states + self.narrow(nn.functional.gelu(self.widen(states))))
        return output


class Decoder(nn.Module):
    """From the tokens so far and the text's vector to states that predict the next token; without dropout."""

    def __init__(self, width: int, heads: int, *, layers: int, longest: int) -> None:
        """`longest` is the most tokens of a text."""
        super().__init__()
        self.positions = nn.Embedding(longest, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(DecoderLayer(width, heads) for _ in range(layers))
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)  # BERT's initialisation
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def forward(
        self, group: Group, table: Float[Tensor, "V D"], vectors: Float[Tensor, "n D"]
    ) -> Float[Tensor, "R W D"]:
        """The states at every cell of a group; `vectors` are those of all the batch's texts."""
        segments = sent(group.segments, vectors.device)
        memories = nn.functional.pad(vectors[sent(group.rows, vectors.device)], (0, 0, 0, 1))  # padding's segment is -1
        embedded = nn.functional.embedding(sent(group.ids, vectors.device), table)
        states = self.norm(embedded + self.positions(sent(group.positions, vectors.device)))
        ahead = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool, device=vectors.device).triu(1)
        bias = Packing(group, vectors.device).bias.masked_fill(ahead, FAR_BELOW)
        memory = memories[segments] * memories.shape[1] ** 0.5
        for layer in self.layers:
            states = layer(states, bias, memory)
        decoded: Tensor = states
        return decoded


class DenoisingAutoencoder(Objective[TextEncoder, DenoisingBatch]):
    """The encoder of texts with tokens deleted, and the decoder that predicts the whole texts."""

    def __init__(self, product: TextEncoder, *, layers: int) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.encoder.read_rows(sparse=False)  # the output layer is the same table, and reads all of it
        heads = int(product.network.backbone.config.num_attention_heads)  # type: ignore[union-attr, arg-type]
        self.decoder = Decoder(product.network.dim, heads, layers=layers, longest=product.max_length)
        self.head = TokenHead(product.network.dim, len(product.tokenizer))

    def forward(self, batch: DenoisingBatch) -> Loss:
        """Mean cross-entropy, in nats, of every token that follows another in its text."""
        vectors = self.encoder(batch.damaged)
        table = self.head.table_of(self.encoder)
        count = sum(int((group.lengths - 1).clamp(min=0).sum()) for group in batch.whole.groups)
        total = torch.zeros((), device=vectors.device)
        for number, counts in gather.share(batch.whole.groups):
            group = batch.whole.groups[number]
            cells, labels = next_tokens(group)
            if not counts:
                cells, labels = cells[:0], labels[:0]
            states = self.decoder(group, table, vectors).flatten(0, 1)[sent(cells, vectors.device)]
            total = total + self.head.loss(states, table, sent(labels, vectors.device), weight=1 / max(count, 1))
        total = gather.sum_across(total)
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})


def next_tokens(group: Group) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """The cells of a group that are followed by another token of their text, and that token."""
    cells = group.cells
    inner = torch.ones(len(cells), dtype=torch.bool)
    inner[(group.lengths.cumsum(0) - 1)[group.lengths > 0]] = False
    return cells[inner], group.ids.flatten()[cells[inner] + 1]


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(TsdaeSpec(batch=16))
