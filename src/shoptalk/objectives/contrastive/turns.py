"""Contexts and replies as positives: what was said must identify the reply that followed it, and the reply what it
answers.

The lineage is ConveRT (Henderson et al. 2020, section 3: response selection with in-batch negatives, and section 4.2:
several turns of context) and Dialogue Sentence Embeddings (Zhou et al. 2022, DSE: consecutive utterances as positive
pairs, equation 1, both directions):

    L = 1/2 [ InfoNCE(context -> reply) + InfoNCE(reply -> context) ]

With hard negatives (Karpukhin et al. 2020, DPR, section 3.2) a part of the batch consists of near pairs: of replies
that lie close to another's in the base's space and belong to other conversations. They are negatives in both
directions.

What differs from the papers: one shared encoder reads both sides, each under a prompt of its own, which is saved with
it; contexts are the last turns as one text, the newest first (`text/dialogue.py`). Turns of the same conversation, and
turns with the same words, are taken out of each other's negatives, because "thanks!" answers many turns and is wrong
for none of them; near replies that are nearly equal are not chosen, for the same reason.

Run alone on a toy: python -m shoptalk.objectives.contrastive.turns
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor

from shoptalk.index import neighbours as nearest
from shoptalk.nn.encoder import TextEncoder, embed
from shoptalk.nn.losses import info_nce
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec, Targets
from shoptalk.text.batching import TextBatch
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import Replies
from shoptalk.text.tokens import tokenise

CONSIDERED = 32
"""Of a reply, how many of its nearest others are asked whether they are hard negatives."""


@dataclass(frozen=True)
class PairBatch(TextBatch):
    """n pairs: texts 0..n-1 are the contexts, and n..2n-1 their replies."""

    related: Bool[Tensor, "n n"]
    """Which replies are no negatives: related[i, j] says so of reply j and context i."""


class TurnsSpec(Spec):
    """Contexts of several turns and the replies to them."""

    kind: Literal["turns"] = "turns"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "consecutive turns of conversations"
    lr: float = Field(default=1e-4, gt=0)
    batch: int = Field(default=64, ge=2)
    passes: float = Field(default=5.0, gt=0)
    temperature: float = Field(default=0.05, gt=0)
    context_turns: int = Field(default=5, ge=1, description="turns that make a context, at most")
    anyone: bool = Field(default=False, description="learn from customers' answers too, not from agents' replies alone")
    near: float = Field(
        default=0.0, ge=0, lt=1, description="share of a batch that is near replies of other pairs in it"
    )
    near_equal: float = Field(default=0.95, gt=0, le=1, description="cosine from which a near reply counts as equal")
    query: str = Field(default="query: ", description="put before each context, and saved as the prompt of that name")
    reply: str = Field(default="reply: ", description="put before each reply, and saved as the prompt of that name")

    def examples(self, corpus: Corpus) -> Examples:
        """The position of each reply; its context is what was said before it."""
        replies = Replies.of(corpus, anyone=self.anyone)
        return replies.examples() if len(replies) > 1 else []

    @property
    def prepares(self) -> bool:
        """Whether there are hard negatives to find."""
        return self.near > 0

    def prepare(self, corpus: Corpus, product: TextEncoder) -> Targets | None:
        """The `near` replies of each example [E, k], as numbers of examples, nearest first; -1 for those left out."""
        positions = np.asarray(self.examples(corpus), dtype=np.int64)
        if not self.near or not len(positions):
            return None
        vectors = embed(product, [corpus.texts[i] for i in positions.tolist()])
        cosines, numbers = nearest(vectors, min(CONSIDERED, len(positions) - 1))
        conversation, wording = np.asarray(corpus.conversation)[positions], corpus.wording[positions]
        unfair = (conversation[numbers] == conversation[:, None]) | (wording[numbers] == wording[:, None])
        unfair |= cosines >= self.near_equal
        return {"near": np.where(unfair, -1, numbers).astype(np.int32)}

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], PairBatch]:
        """Contexts and their replies, each under its prompt."""
        corpus, product = material.corpus, material.product
        replies, wording = Replies.of(corpus, anyone=self.anyone), corpus.wording
        near = None if material.targets is None else material.targets["near"]

        def collate(examples: Sequence[int], key: Key) -> PairBatch:
            chosen = np.asarray(examples, dtype=np.int64)
            if near is not None:
                chosen = _with_near(chosen, replies.positions, near, round(self.near * len(chosen)), key)
            answered = np.array([replies.question(i) for i in chosen.tolist()])
            texts = [self.query + replies.context(i, self.context_turns) for i in chosen.tolist()]
            texts += [self.reply + corpus.texts[i] for i in chosen.tolist()]
            conversation, said, asked = np.asarray(corpus.conversation)[chosen], wording[chosen], wording[answered]
            related = (conversation[:, None] == conversation) | (said[:, None] == said) | (asked[:, None] == said)
            if self.context_turns == 1:  # contexts of several turns that end alike may well have different replies
                related |= asked[:, None] == asked
            tokens = tokenise(product.tokenizer, texts, max_length=product.max_length)
            return PairBatch(
                texts=product.batch([tokens[i] for i in range(len(tokens))]), related=torch.from_numpy(related)
            )

        return collate

    def build(self, product: TextEncoder) -> "Turns":
        """The encoder, without a head; it knows in which form it reads contexts and replies from now on."""
        prompts = {name: text for name, text in (("query", self.query), ("reply", self.reply)) if text}
        product = replace(product, prompts={**product.prompts, **prompts}, context_turns=self.context_turns)
        return Turns(product, temperature=self.temperature)


def _with_near(
    chosen: Int[np.ndarray, " n"],
    positions: Int[np.ndarray, " E"],
    near: Int[np.ndarray, "E k"],
    most: int,
    key: Key,
) -> Int[np.ndarray, " n"]:
    """The examples, the last `most` of which make room for a near reply of one of the others."""
    kept, companions = chosen[: len(chosen) - most], list[int]()
    taken = set(kept.tolist())
    for number in np.searchsorted(positions, kept).tolist():
        rng = np.random.default_rng([key.seed, key.step, number])
        fair = [int(positions[i]) for i in near[number] if i >= 0 and int(positions[i]) not in taken]
        if fair and len(companions) < most:
            companions.append(fair[int(rng.integers(len(fair)))])
            taken.add(companions[-1])
    rest = [i for i in chosen[len(kept) :].tolist() if i not in taken]  # a full batch keeps the tensors' shapes
    return np.array([*kept.tolist(), *companions, *rest][: len(chosen)], dtype=np.int64)


class Turns(Objective[TextEncoder, PairBatch]):
    """Symmetric InfoNCE between contexts and their replies."""

    def __init__(self, product: TextEncoder, *, temperature: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.temperature = temperature

    def forward(self, batch: PairBatch) -> Loss:
        """Mean of the two directions' InfoNCE."""
        contexts, replies = self.encoder(batch.texts).chunk(2)
        related = sent(batch.related, contexts.device)
        forwards = info_nce(contexts, replies, temperature=self.temperature, excluded=related)
        backwards = info_nce(replies, contexts, temperature=self.temperature, excluded=related.T)
        terms = {"context_to_reply": forwards.detach(), "reply_to_context": backwards.detach()}
        return Loss(total=(forwards + backwards) / 2, terms=terms)


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(TurnsSpec(batch=16))
