"""Supervised fine-tuning on conversations (Ouyang et al. 2022, InstructGPT, section 3.5): what the assistant says next.

Of a conversation as the model's chat template writes it, x_0 ... x_n, of which the assistant says the tokens in A:

    L = - (1 / |A|) sum_{i in A} log p(x_i | x_0 ... x_{i-1})        over the conversations of a batch

so that the model learns to answer, and not to ask. The conversations are the company's own: the next turn is the
label, and nobody labels anything. Several stand side by side in rows and do not see each other. Of one that is longer
than the context a stretch is read that ends with one of its replies, drawn anew at every visit: the last tokens alone
would teach nothing but how conversations end.

What differs from the paper: the sum is over the assistant's tokens alone, its end of turn included, where theirs is
over a prompt's completion; a batch's conversations count by their tokens.

Run alone on a toy: python -m shoptalk.objectives.autoregressive.sft
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from shoptalk.errors import ConfigError
from shoptalk.nn.language_model import LanguageModel, next_token_loss
from shoptalk.nn.low_rank import LoraSettings, adapt_matrices
from shoptalk.nn.product import Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec, Targets
from shoptalk.text.chat import Message, Rendered, answered, messages_of, refuse_unwritable, rendered
from shoptalk.text.corpus import Corpus, Positions
from shoptalk.text.packing import PackedRows, pack

_MOST_TOLD = 400
"""Characters of a reason that is kept: a message may name every turn of a conversation."""


@dataclass(frozen=True)
class ChatRows:
    """Conversations in rows."""

    rows: PackedRows
    taught: Bool[Tensor, "R L"]
    """Which cells the assistant says."""

    @property
    def tokens(self) -> int:
        """Cells that hold a token."""
        return self.rows.tokens

    @property
    def cells(self) -> int:
        """All cells."""
        return self.rows.cells


class SftSpec(Spec):
    """Fine-tuning on conversations: the loss is on what the assistant says."""

    kind: Literal["sft"] = "sft"
    takes: ClassVar[frozenset[Kind]] = frozenset({"lm"})
    needs: ClassVar[str] = (
        "at least one conversation in which a turn of the role assistant, agent or bot answers another"
    )
    lr: float = Field(default=1e-4, gt=0)
    batch: int = Field(default=8, ge=1)
    passes: float = Field(default=3.0, gt=0)
    context: int = Field(default=512, ge=16, description="tokens of a conversation, at most the model's own")
    lora: LoraSettings = LoraSettings()

    def examples(self, corpus: Corpus) -> Examples:
        """The first position of every conversation with a reply."""
        return Positions(np.searchsorted(np.asarray(corpus.conversation), answered(corpus)))

    def prepare(self, corpus: Corpus, product: LanguageModel) -> Targets:
        """The first positions of the conversations that the model's chat template writes as they are ("written"), and,
        where there are some, of those that it changes or cannot write ("left_out"), with what it does to the first of
        them ("reason"). No tokens are made: a hundred thousand conversations of six turns take about a minute.

        Raises:
            ConfigError: it can write none of them.
        """
        conversation, written, left_out = np.asarray(corpus.conversation), list[int](), list[int]()
        first: Exception | None = None
        for begin in self.examples(corpus):
            end = int(np.searchsorted(conversation, conversation[begin], side="right"))
            try:
                refuse_unwritable(product.tokenizer, messages_of(corpus, begin, end))
                written.append(begin)
            except (ConfigError, ValueError) as error:
                first = first or error
                left_out.append(begin)
        if left_out and not written:
            raise ConfigError(f"None of {len(left_out):,} conversations can be learned from. {first}") from first
        targets = {"written": np.array(written, dtype=np.int64)}
        if left_out:
            targets |= {"left_out": np.array(left_out), "reason": np.array([str(first)[:_MOST_TOLD]])}
        return targets

    def remark(self, targets: Targets) -> str | None:
        """How many conversations are left out, and what the template does to the first of them."""
        if "left_out" not in targets:
            return None
        left, of = len(targets["left_out"]), len(targets["left_out"]) + len(targets["written"])
        return f"leaves out {left:,} of {of:,} conversations. {targets['reason'][0]}"

    def drawn_from(self, material: Material[LanguageModel]) -> Examples:
        """The examples that the model's chat template writes as they are, where `prepare` has looked."""
        if material.targets is None:
            return self.examples(material.corpus)
        return Positions(material.targets["written"])

    def collate(self, material: Material[LanguageModel]) -> Callable[[Sequence[int], Key], ChatRows]:
        """Whole conversations as the model's chat template writes them, and stretches of those that are too long."""
        product, corpus = material.product, material.corpus
        conversation = np.asarray(corpus.conversation)
        context, weights = min(self.context, product.max_length), len(product.network.table)

        def read(begin: int, key: Key) -> Rendered:
            end = int(np.searchsorted(conversation, conversation[begin], side="right"))
            messages = messages_of(corpus, begin, end) or [Message("user", corpus.texts[begin])]
            chat = rendered(product.tokenizer, messages, most=context, weights=weights)
            replies = [place for place, message in enumerate(messages) if message.role == "assistant"]
            if not chat.cut or not replies:
                return chat
            last = replies[int(np.random.default_rng([key.seed, key.step, begin]).integers(len(replies)))]
            return rendered(product.tokenizer, messages[: last + 1], most=context, weights=weights)

        def collate(examples: Sequence[int], key: Key) -> ChatRows:
            chats = [read(begin, key) for begin in examples]
            # Equal lengths are placed alike.
            taught = pack([chat.taught.astype(np.int64) for chat in chats], length=context).ids > 0
            return ChatRows(pack([chat.ids for chat in chats], length=context), taught)

        return collate

    def build(self, product: LanguageModel) -> "ChatModel":
        """The model as it is, with low-rank adaptations where the settings have a rank.

        Raises:
            ConfigError: the model has no such layers, or matrices that are too small for the rank.
        """
        adapt_matrices(product.network.backbone, self.lora)
        return ChatModel(product)


class ChatModel(Objective[LanguageModel, ChatRows]):
    """The decoder with the output layer that it has."""

    def __init__(self, product: LanguageModel) -> None:
        super().__init__()
        self.product = product
        self.network = product.network

    def forward(self, batch: ChatRows) -> Loss:
        """Mean cross-entropy of what the assistant says, in nats."""
        total = next_token_loss(self.network, batch.rows, batch.taught[:, 1:])
        return Loss(total=total, terms={"bits": total.detach() / np.log(2)})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(SftSpec(batch=16, context=128))
