"""Marking what a reply says and its passages do not, learned from corrupted replies (self-supervised).

A reply y of n tokens to passages x is made of sentences of x, some of them reworded; then a number, a name, a unit, a
negation, a qualifier or a word is changed, a word or a whole sentence put in, or a word left out
(`text/corruptions.py`). The encoder reads "[CLS] x [SEP] y [SEP]"; from its state h_j of the reply's token j and from
s_j, how j and the words around it stand beside x (`text/evidence_rows.py`), a head tells twice whether j is
unsupported, u_j = 1:

    z_j = w · gelu(A h_j + B s_j + a) + b               of what is said
    y_j = k (v · gelu(k C s_j + c) + d)                 of how it stands beside the passages alone; k = 6
    L = 1/2 [l(z) + l(y)],   l(z) = - (1 / N) sum_j [ u_j log sigmoid(z_j) + (1 - u_j) log(1 - sigmoid(z_j)) ]

over all N tokens of replies. The probability that a token is unsupported is the mean of both sigmoids.

Kryściński et al. (2020, "FactCC", sections 3.1 and 3.2) train such a classifier on corrupted sentences of documents,
one label for a sentence; a label for each token is as in Kovács & Recski (2025, "LettuceDetect", section 3), whose
labels are people's.

What differs from both: nothing is labelled and no language model writes anything; the head also reads s_j, because a
small encoder has few minutes to learn to compare words; it reads s_j alone as well, because an encoder learns which
words are never wrong in training, and a mistake of another kind is made of these; passages are not the whole document.

Run alone on a toy: python -m shoptalk.objectives.supervised.ground_tokens
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field, field_validator
from torch import Tensor, nn

from shoptalk.nn import gather
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.heads.grounding import GroundingHead, ReplyCells
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.text.batching import TextBatch
from shoptalk.text.corpus import Corpus
from shoptalk.text.corruptions import CLEAN_SHARE, KINDS, make_reply
from shoptalk.text.evidence_rows import EvidenceForm, EvidenceRow, PlacedTokens, labels_of, pieces_of
from shoptalk.text.mistakes import Inventory
from shoptalk.text.order import permuted
from shoptalk.text.plain_sentences import sentences

MOST_KNOWN = 20_000
"""Passages whose names, words and sentences are held in memory to draw replacements from; of more, a random sample."""


@dataclass(frozen=True)
class GroundBatch(TextBatch):
    """n replies, each behind its passages in one row; and per group whether each token of its replies is wrong."""

    replies: ReplyCells
    wrong: tuple[Float[Tensor, " _"], ...]


class GroundSpec(Spec):
    """Marking the unsupported words of corrupted replies."""

    kind: Literal["ground"] = "ground"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "texts of at least two documents"
    lr: float = Field(default=1e-4, gt=0)
    batch: int = Field(default=16, ge=1)
    passes: float = Field(default=30.0, gt=0)
    kinds: tuple[str, ...] = Field(default=tuple(KINDS), min_length=1, description="of corruptions")
    clean: float = Field(default=CLEAN_SHARE, ge=0, lt=1, description="share of replies that are not corrupted")
    more: int = Field(default=2, ge=0, description="most passages beside the one that is corrupted")

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise ValueError(f"there is no kind of corruption {unknown[0]!r}; there is: {', '.join(KINDS)}")
        return kinds

    def examples(self, corpus: Corpus) -> Examples:
        """Every passage, or every text where there are turns alone; none where all are of one document."""
        if not len(corpus) or int(corpus.conversation[0]) == int(corpus.conversation[-1]):
            return []
        passages = corpus.passages()
        return passages if len(passages) > 1 else range(len(corpus))

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], GroundBatch]:
        """Replies made and corrupted anew at every visit."""
        maker = ReplyMaker(material, self)

        def collate(examples: Sequence[int], key: Key) -> GroundBatch:
            replies = [maker(example, key) for example in examples]
            rows = [reply.row for reply in replies]
            texts = material.product.batch([row.ids for row in rows])
            return GroundBatch(
                texts=texts,
                replies=ReplyCells.of(rows, texts),
                wrong=tuple(
                    torch.from_numpy(np.concatenate([replies[i].wrong for i in group.rows.tolist()]).astype(np.float32))
                    for group in texts.groups
                ),
            )

        return collate

    def build(self, product: TextEncoder) -> "GroundTokens":
        """The encoder, and a new head for tokens."""
        return GroundTokens(product)


@dataclass(frozen=True)
class MadeReply:
    """A reply behind its passages, what of it is unsupported, and the kind of its corruption, if it has any."""

    row: EvidenceRow
    wrong: Bool[np.ndarray, " R"]
    kind: str
    text: str
    passage: str
    """What the reply was made of, without its markup."""


class ReplyMaker:
    """Makes the row and the labels of an example: a function of the example and the key."""

    def __init__(self, material: Material[TextEncoder], spec: GroundSpec) -> None:
        corpus, product = material.corpus, material.product
        self.spec, self.tokenizer = spec, product.tokenizer
        self.form = EvidenceForm.of(product.tokenizer, max_length=product.max_length)
        self.places = np.asarray(spec.examples(corpus), dtype=np.int64)
        self.texts = corpus.texts
        self.document = corpus.conversation
        known = self.places
        if len(known) > MOST_KNOWN:
            known = known[np.sort(permuted(len(known), range(MOST_KNOWN), seed=0, epoch=0))]
        self.inventory = Inventory.of([self.texts[int(i)] for i in known], self.document[known].tolist())

    def __call__(self, example: int, key: Key) -> MadeReply:
        """The reply to the passage at this position of the corpus, or to as much of it as a row can hold."""
        told = self._told(example)
        passage = pieces_of(self.tokenizer, told)
        most = self.form.room(self.form.longest_reply) - len(self.form.between)
        whole = len(passage.ids) <= most  # a reply must say nothing that the row has no room for
        reply = make_reply(
            [self.texts[example] if whole else told[: int(passage.spans[most - 1, 1])]],
            self.inventory,
            kinds=self.spec.kinds,
            seed=key.seed,
            step=key.step,
            example=example,
            document=int(self.document[example]),
            clean=self.spec.clean,
        )
        pieces = pieces_of(self.tokenizer, reply.text)
        row = self.form.row(self._passages(example, passage, len(pieces.ids), key), pieces)
        return MadeReply(row, labels_of(row.spans, reply.spans), reply.kind, reply.text, told)

    def _told(self, item: int) -> str:
        """A text as the assistant's gate reads it: without its markup, headings on a line of their own."""
        text = self.texts[item]
        blocks = [
            (headings, told)
            for headings, lines in groupby(text.splitlines(), lambda line: line.lstrip().startswith("#"))
            if (told := sentences("\n".join(lines), headings=headings))
        ]
        lines = [
            (" – " if headings else " ").join(part for _, told in run for part in told)
            for headings, run in groupby(blocks, itemgetter(0))
        ]
        return "\n".join(lines) or " ".join(text.split())

    def _passages(self, example: int, passage: PlacedTokens, reply: int, key: Key) -> list[PlacedTokens]:
        """The passage with up to `more` others that find room, beside it in the corpus or anywhere, in any order."""
        rng = np.random.default_rng([key.seed, key.step, example, 1])
        kept = [passage]
        left = self.form.room(reply) - len(passage.ids) - len(self.form.between)
        place = int(np.searchsorted(self.places, example))
        for offset in range(1, int(rng.integers(self.spec.more + 1)) + 1):
            near = rng.random() < 0.5
            other = (place + offset) % len(self.places) if near else int(rng.integers(len(self.places)))
            pieces = pieces_of(self.tokenizer, self._told(int(self.places[other])))
            if other != place and len(pieces.ids) + len(self.form.between) <= left:
                kept.append(pieces)
                left -= len(pieces.ids) + len(self.form.between)
        return [kept[number] for number in rng.permutation(len(kept)).tolist()]


class GroundTokens(Objective[TextEncoder, GroundBatch]):
    """The encoder, and a head that marks tokens."""

    def __init__(self, product: TextEncoder) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.head = GroundingHead(product.network.dim)

    def forward(self, batch: GroundBatch) -> Loss:
        """Mean binary cross-entropy of both logits over the tokens of all replies and processes."""
        total = torch.zeros((), device=self.encoder.device)
        count = max(1, sum(map(len, batch.wrong)))
        for number, group, counts in self.encoder.share(batch.texts):
            cells, shared, wrong = (
                part[number] if counts else part[number][:0]
                for part in (batch.replies.cells, batch.replies.shared, batch.wrong)
            )
            logits = self.head.logits(self.encoder, group, cells, shared)
            labels = sent(wrong, logits.device)[:, None].expand_as(logits)
            losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
            total = total + losses / (count * logits.shape[1])
        return Loss(total=gather.sum_across(total), terms={})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(GroundSpec(batch=16), steps=80)
