"""Language models: a transformers decoder that gives each token's probability from those before it. In memory and on
disk.

On disk a language model is a plain transformers folder: `AutoModelForCausalLM.from_pretrained(path)` and
`AutoTokenizer.from_pretrained(path)` open it where Shoptalk is not installed, with its chat template.

Texts stand side by side in rows (`text/packing.py`), each read as if it were alone, after the token that documents
begin with. The V logits of a cell are computed for a few cells at a time, never for a whole row.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shoptalk.artifact import usual_modes, write_text
from shoptalk.errors import BaseModelError
from shoptalk.nn import gather
from shoptalk.nn.causal_attention import causal_blocks
from shoptalk.nn.encoder import MODEL_CARD, evaluating
from shoptalk.nn.int8_weights import is_rounded, write_rounded
from shoptalk.nn.losses import linear_cross_entropy
from shoptalk.nn.low_rank import is_adapted, merged
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.product import Kind, Scorer
from shoptalk.nn.transfer import sent
from shoptalk.text.chat import end_of_turn
from shoptalk.text.corpus import Corpus
from shoptalk.text.packing import PackedRows, branch, pack
from shoptalk.text.tokens import Tokenised, tokenise, tokenise_to

CONTEXT = 512
"""Tokens that are read at once, where the model takes as many: what two cores train on in minutes."""
LONGEST_ITEM = 1 << 20
"""Tokens of one text that are read; what is longer than a context is cut into several windows."""
PARTS = ("<|endoftext|>", "<|end_of_text|>", "</s>")
"""Tokens that part documents in the texts that models were trained on, in the order of preference."""
_AT_ONCE = 4_096
"""Cells of a forward pass without gradients."""
_LOGITS = 512
"""Cells whose logits are there at once."""


class CausalNetwork(nn.Module):
    """Tokens to hidden states, and the table that scores every token from them."""

    def __init__(self, backbone: nn.Module) -> None:
        """`backbone` is a transformers `...ForCausalLM`."""
        super().__init__()
        self.backbone = backbone

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def table(self) -> Float[Tensor, "V D"]:
        """The output layer's weights: a row for each token of the vocabulary."""
        weight: Tensor = self.backbone.get_output_embeddings().weight  # type: ignore[operator]
        return weight

    def hidden(self, rows: PackedRows) -> Float[Tensor, "R L D"]:
        """The last layer's states; a cell sees the cells of its own sequence up to itself."""
        body: Any = self.backbone.base_model
        with causal_blocks(self.backbone):
            states: Tensor = body(
                input_ids=sent(rows.ids, self.device),
                attention_mask=sent(rows.seen(), self.device),
                position_ids=sent(rows.positions, self.device),
                use_cache=False,
            ).last_hidden_state
        return states


@dataclass(frozen=True)
class LanguageModel(Scorer):
    """A decoder with its tokenizer, and where it came from."""

    kind: ClassVar[Kind] = "lm"

    network: CausalNetwork
    tokenizer: Any
    max_length: int
    """Tokens of a context."""
    name: str
    precision: Precision = "float32"

    @property
    def begin(self) -> int:
        """The token that stands before every document: the one that the tokenizer itself puts there, as those of Llama
        and Gemma do, whose models read badly without it; else the one that parts documents.
        """
        ids = self.tokenizer("")["input_ids"]
        return int(ids[0]) if ids and ids[0] == self.tokenizer.bos_token_id else self.part

    @property
    def part(self) -> int:
        """The token that stands after every document, and parts it from the next. One that was added to the tokenizer
        alone, without weights in the model, is none.
        """
        vocabulary, rows = self.tokenizer.get_vocab(), len(self.network.table)
        known = next((vocabulary[token] for token in PARTS if vocabulary.get(token, rows) < rows), None)
        return int(known if known is not None else self.tokenizer.eos_token_id)

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Tokenised:
        """Every text's token ids, without special tokens."""
        if folder is None:
            return tokenise(self.tokenizer, corpus.texts, max_length=LONGEST_ITEM, special=False)
        return tokenise_to(
            folder, self.tokenizer, corpus.texts, max_length=LONGEST_ITEM, digest=corpus.digest, special=False
        )

    def units(self, items: Sequence[str]) -> int:
        """Tokens of the texts."""
        return int(tokenise(self.tokenizer, items, max_length=LONGEST_ITEM, special=False).starts[-1])

    def score(self, items: Sequence[str], *, precision: Precision | None = None) -> Float[np.ndarray, " N"]:
        """Bits of each text given its first token: minus the logarithm to base 2 of the probability of what follows it,
        summed over tokens, in float64. A document's beginning is read before the first token, which is not counted:
        what a domain's documents begin with is not how well a language is known (docs/decisions/0035).

        A text that is longer than a context is read in parts, each as if it began a document with the last token of the
        part before it, which is read again and counted once.
        """
        tokens = tokenise(self.tokenizer, items, max_length=LONGEST_ITEM, special=False)
        most, first = self.max_length - 1, self.begin
        sequences, texts = [], []
        for number in range(len(tokens)):
            ids = tokens[number]
            for begin in range(0, max(min(1, len(ids)), len(ids) - 1), max(1, most - 1)):
                sequences.append(np.concatenate([[first], ids[begin : begin + most]]))
                texts.append(number)
        bits = np.zeros(len(items))
        if sequences:
            counted = [np.arange(len(sequence)) > 1 for sequence in sequences]
            np.add.at(bits, texts, self.bits_of(sequences, counted=counted, precision=precision))
        return bits

    def bits_of(
        self,
        sequences: Sequence[Int[np.ndarray, " _"]],
        *,
        counted: Sequence[Bool[np.ndarray, " _"]] | None = None,
        precision: Precision | None = None,
    ) -> Float[np.ndarray, " n"]:
        """Bits of each sequence of ids from its second on, or of the ids that are `counted` among them, given those
        before.
        """
        longest = max(len(sequence) for sequence in sequences)
        length = min(self.max_length, _rounded(longest))
        wanted = None
        if counted is not None:  # equal lengths are placed alike
            wanted = pack([mask.astype(np.int64) for mask in counted], length=length).ids[:, 1:] > 0
        return self._bits(pack(sequences, length=length), len(sequences), precision, wanted)

    def bits_after(
        self, beginnings: Sequence[str], endings: Sequence[Sequence[str]], *, precision: Precision | None = None
    ) -> list[Float[np.ndarray, " e"]]:
        """Bits of each ending given its beginning, which stands at the beginning of a document and is read once.

        Of a beginning that is too long for a context the last tokens are read.
        """
        ids = [self._ids(ends) for ends in endings]
        starts, first = [], self.begin
        for text, ends in zip(beginnings, ids, strict=True):
            most = max(1, self.max_length - sum(1 + len(end) for end in ends))
            start = np.concatenate([[first], *self._ids([text])])
            starts.append(start[-most:].astype(np.int64))
        sizes = [len(start) + sum(1 + len(end) for end in ends) for start, ends in zip(starts, ids, strict=True)]
        rows = branch(starts, ids, length=_rounded(max(sizes)))
        bits = self._bits(rows, sum(map(len, ids)), precision)
        return np.split(bits, np.cumsum([len(ends) for ends in ids])[:-1])

    def _ids(self, texts: Sequence[str]) -> list[Int[np.ndarray, " _"]]:
        tokens = tokenise(self.tokenizer, texts, max_length=LONGEST_ITEM, special=False)
        return [tokens[number] for number in range(len(tokens))]

    def _bits(
        self, rows: PackedRows, count: int, precision: Precision | None, wanted: Bool[Tensor, "R _"] | None = None
    ) -> Float[np.ndarray, " n"]:
        """Bits of the first `count` numbers of the rows, from the second token of each on, of the `wanted` cells."""
        bits, at_once = np.zeros(count), max(1, _AT_ONCE // rows.ids.shape[1])
        layers = autocast(precision or self.precision, self.network.device)
        with evaluating(self.network), torch.inference_mode(), layers:
            for begin in range(0, len(rows.ids), at_once):
                part = rows.rows(slice(begin, begin + at_once))
                follows = part.continued() & (part.segments[:, 1:] < count)
                if wanted is not None:
                    follows &= wanted[begin : begin + at_once]
                nats = token_nats(
                    self.network.hidden(part)[:, :-1][sent(follows, self.network.device)],
                    self.network.table,
                    sent(part.ids[:, 1:][follows], self.network.device),
                )
                owners = part.segments[:, 1:][follows].numpy()
                np.add.at(bits, owners, nats.double().cpu().numpy() / math.log(2.0))
        return bits

    def save(self, folder: Path, *, card: str) -> None:
        """Write a transformers folder with float32 safetensors, or with those of 8 bits where the matrices are rounded;
        `card` becomes its model card. Low-rank adaptations are merged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        backbone = self.merged().network.backbone
        if is_rounded(backbone):
            write_rounded(backbone, folder)
        else:
            backbone.save_pretrained(folder)  # type: ignore[operator]
        self._write_ends(backbone, folder)
        self.tokenizer.save_pretrained(folder)
        write_text(folder / MODEL_CARD, card)
        usual_modes(folder)

    def _write_ends(self, backbone: Any, folder: Path) -> None:
        """Name the token that ends a turn by the chat template among those at which others stop, where it is not."""
        decoding, end = getattr(backbone, "generation_config", None), end_of_turn(self.tokenizer)
        named = decoding.eos_token_id if decoding is not None else None
        ends = named if isinstance(named, list) else [self.tokenizer.eos_token_id if named is None else named]
        if decoding is not None and end is not None and end not in ends:
            changed = copy.deepcopy(decoding)
            changed.eos_token_id = [*ends, end]
            changed.save_pretrained(folder)

    def copy(self) -> "LanguageModel":
        """The same with weights of its own."""
        return replace(self, network=copy.deepcopy(self.network))

    def merged(self) -> "LanguageModel":
        """The same with plain layers in place of low-rank adaptations, where it has such."""
        return replace(self, network=merged(self.network)) if is_adapted(self.network) else self

    def in_precision(self, precision: Precision) -> "LanguageModel":
        """The same network, measured in another precision."""
        return replace(self, precision=precision)

    def ready_to_train(self) -> None:
        """Nothing is to be done: the output layer reads the whole table, whose gradient is therefore whole.

        Raises:
            BaseModelError: its matrices are rounded to 8 bits.
        """
        if is_rounded(self.network.backbone):
            raise BaseModelError(
                f"{self.name} has matrices of 8 bits, which are read and not trained. Train the model that it was "
                "exported from, and export that again."
            )


def _rounded(length: int) -> int:
    """The next multiple of 64: a new shape costs a new kernel on CPUs."""
    return -(-length // 64) * 64


def next_token_loss(
    network: CausalNetwork, rows: PackedRows, wanted: Bool[Tensor, "R _"] | None = None
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of every token that has one before it in its sequence, or of the `wanted` among
    them; each process computes its share of the rows.

    Args:
        network: what is asked.
        rows: sequences side by side.
        wanted: of each cell but the first of a row, whether it counts.
    """
    follows = rows.continued() if wanted is None else rows.continued() & wanted
    count = max(1, int(follows.sum()))
    mine = gather.my_rows(len(rows.ids))
    if mine.start == mine.stop:  # more processes than rows: models read no empty batch, so this one's counts nothing
        mine, follows = slice(0, 1), torch.zeros_like(follows)
    part, follows = rows.rows(mine), follows[mine]
    states = network.hidden(part)[:, :-1][sent(follows, network.device)]
    table = network.table
    no_bias = torch.zeros(len(table), device=table.device)
    labels = sent(part.ids[:, 1:][follows], states.device)
    return gather.sum_across(linear_cross_entropy(states, table, no_bias, labels, weight=1 / count))


def token_nats(
    hidden: Float[Tensor, "m D"],
    table: Float[Tensor, "V D"],
    targets: Int[Tensor, " m"],
    bias: Float[Tensor, " V"] | float = 0.0,
) -> Float[Tensor, " m"]:
    """Of each target, minus the natural logarithm of its probability; softmax in float32, `_LOGITS` rows at a time.
    `bias` is added to the logits.
    """
    parts = [
        nn.functional.cross_entropy(
            nn.functional.linear(hidden[begin : begin + _LOGITS], table).float() + bias,
            targets[begin : begin + _LOGITS],
            reduction="none",
        )
        for begin in range(0, len(targets), _LOGITS)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0)
