"""A reader that marks what a reply says and its passages do not: an encoder, and a head on each token of the reply.

    grounding = Grounding(product, head, threshold=0.5)
    (marked,) = grounding.marks([Claim(("A bicycle costs 4 crowns.",), "It costs 9 crowns.")])
    marked.spans, marked.probability          # ((9, 10),), 0.98

The head reads a token's state, in which the encoder has put the passages beside the reply, and which runs of tokens
both share (`text/evidence_rows.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor, nn

from shoptalk.nn.encoder import Encoder, TextEncoder, evaluating
from shoptalk.nn.precision import autocast
from shoptalk.nn.transfer import sent
from shoptalk.text.batching import LADDER, Group, TokenBatch, make_batch_of_one
from shoptalk.text.evidence_rows import FEATURES, OF_TOKENS, EvidenceForm, EvidenceRow, pieces_of, spans_of

WIDTH = 64
"""Of the head's hidden layers."""
STEEP = 6.0
"""Times what the reader of words alone takes in, and says: else it would learn little in some hundred steps."""
AT_ONCE = 32
"""Rows in a batch."""


@dataclass(frozen=True)
class ReplyCells:
    """Where the replies of a batch are: per group the cells of their tokens (flattened), row by row, and features."""

    cells: tuple[Int[Tensor, " _"], ...]
    shared: tuple[Float32[Tensor, "_ F"], ...]

    @classmethod
    def of(cls, rows: Sequence[EvidenceRow], texts: TokenBatch) -> "ReplyCells":
        """Those of a batch that was made of the rows."""
        return cls(
            cells=tuple(_reply_cells(rows, group) for group in texts.groups),
            shared=tuple(
                torch.from_numpy(np.concatenate([rows[i].shared for i in group.rows.tolist()]))
                for group in texts.groups
            ),
        )


def _reply_cells(rows: Sequence[EvidenceRow], group: Group) -> Int[Tensor, " _"]:
    """The group's cells of its rows' replies."""
    return torch.cat(
        [
            torch.arange(begin + rows[i].reply.start, begin + rows[i].reply.stop)
            for i, begin in zip(group.rows.tolist(), group.begins.tolist(), strict=True)
        ]
    )


class GroundingHead(nn.Module):
    """Two logits that a token of a reply is unsupported: of its state and features, and of its features alone.

    The second knows no word, only how it stands beside the passages: it marks what the first has learned is harmless.
    """

    def __init__(self, width: int, *, features: int = FEATURES, hidden: int = WIDTH) -> None:
        """`width` is that of the encoder's states; a head of `OF_TOKENS` features has the first logit alone."""
        super().__init__()
        self.states, self.shared = nn.Linear(width, hidden), nn.Linear(features, hidden, bias=False)
        self.score = nn.Linear(hidden, 1)
        words = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.words = words if features > OF_TOKENS else None

    def forward(self, states: Float[Tensor, "m D"], shared: Float32[Tensor, "m F"]) -> Float32[Tensor, "m K"]:
        """Logits of m tokens, in float32 whatever the precision of the layers."""
        with torch.autocast(states.device.type, enabled=False):
            shared = shared[:, : self.shared.in_features]
            logits: Tensor = self.score(nn.functional.gelu(self.states(states.float()) + self.shared(shared)))
            if self.words is not None:
                logits = torch.cat([logits, STEEP * self.words(STEEP * shared)], dim=1)
        return logits

    def logits(
        self, encoder: Encoder, group: Group, cells: Int[Tensor, " m"], shared: Float32[Tensor, "m F"]
    ) -> Tensor:
        """Those of the tokens in these cells of a group."""
        states = encoder.hidden(group).flatten(0, 1)
        return self(states[sent(cells, states.device)], sent(shared, states.device))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Claim:
    """A reply, and the passages that it is to rest on."""

    passages: tuple[str, ...]
    reply: str


@dataclass(frozen=True)
class Marked:
    """What of a reply is unsupported."""

    spans: tuple[tuple[int, int], ...]
    """Characters of the reply, in ascending order."""
    probability: float
    """Of the least supported token; 0 for an empty reply."""


@dataclass(frozen=True)
class Grounding:
    """The encoder, the head, and the probability from which a token is marked."""

    product: TextEncoder
    head: GroundingHead
    threshold: float

    def rows(self, claim: Claim) -> list[EvidenceRow]:
        """The claim as the encoder reads it: one row, or several of which each reads a stretch of a long reply."""
        tokenizer = self.product.tokenizer
        form = EvidenceForm.of(tokenizer, max_length=self.product.max_length)
        passages, reply = [pieces_of(tokenizer, text) for text in claim.passages], pieces_of(tokenizer, claim.reply)
        return form.rows(passages, reply, of_words=self.head.words is not None)

    def probabilities(self, rows: Sequence[EvidenceRow]) -> list[Float32[np.ndarray, " _"]]:
        """Of each row, the probability of each token of its reply that the passages do not support it."""
        order = np.argsort([len(row.ids) for row in rows], kind="stable").tolist()
        found: dict[int, np.ndarray] = {}
        network = self.product.network
        layers = autocast(self.product.precision, network.device)
        with evaluating(network), torch.inference_mode(), layers:
            for begin in range(0, len(order), AT_ONCE):
                part = order[begin : begin + AT_ONCE]
                chosen = [rows[i] for i in part]
                texts = self._batch(chosen)
                places = ReplyCells.of(chosen, texts)
                for number, group, _ in network.share(texts):
                    cells, shared = places.cells[number], places.shared[number]
                    logits = self.head.logits(network, group, cells, shared)
                    chances = logits.sigmoid().mean(dim=1).cpu().numpy()
                    members = group.rows.tolist()
                    ends = np.cumsum([len(chosen[i].spans) for i in members])[:-1]
                    for i, piece in zip(members, np.split(chances, ends), strict=True):
                        found[part[i]] = piece
        return [found[i] for i in range(len(rows))]

    def _batch(self, rows: Sequence[EvidenceRow]) -> TokenBatch:
        """A row that is read alone is hardly wider than it must be."""
        product = self.product
        if len(rows) == 1 and product.network.packed:
            pad = product.tokenizer.pad_token_id
            return make_batch_of_one(rows[0].ids, pad_id=pad, longest=product.max_length)
        return product.batch([row.ids for row in rows])

    def marks(self, claims: Sequence[Claim]) -> list[Marked]:
        """What of each reply is unsupported: all of a reply is read, however long."""
        rows = [self.rows(claim) for claim in claims]
        chances = iter(self.probabilities([row for of_claim in rows for row in of_claim]))
        replies = []
        for claim, of_claim in zip(claims, rows, strict=True):
            spans = np.concatenate([row.spans for row in of_claim])
            of_tokens = np.concatenate([next(chances) for _ in of_claim])
            marked = spans_of(spans, self.marked(of_tokens), claim.reply)
            replies.append(Marked(marked, float(of_tokens.max(initial=0.0))))
        return replies

    def marked(self, chances: Float32[np.ndarray, " R"]) -> Bool[np.ndarray, " R"]:
        """Which tokens are, by their probabilities."""
        return chances >= self.threshold


LONGEST = 384
"""Tokens of a row: three passages of the assistant and a reply."""


def reading_longer(product: TextEncoder, *, most: int = LONGEST) -> TextEncoder:
    """The encoder for rows of up to `most` tokens, where its positions and its tokenizer reach so far."""
    config = product.network.backbone.config
    positions = int(getattr(config, "max_position_embeddings", most))
    limit = min(most, positions, int(product.tokenizer.model_max_length))
    longest = max((length for length in LADDER if length <= limit), default=limit)
    return replace(product, max_length=max(longest, min(product.max_length, limit)))
