"""Encoder–decoder language models, such as T5: the probability of a text given another one. In memory and on disk.

On disk one is a plain transformers folder: `AutoModelForSeq2SeqLM.from_pretrained(path)` and
`AutoTokenizer.from_pretrained(path)` open it where Shoptalk is not installed.

Each pair of a source and a target has a row of its own (`text/source_target.py`), so that any build of transformers'
works. The V logits of a cell are computed for a few cells at a time, never for a whole row.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shoptalk.artifact import usual_modes, write_text
from shoptalk.nn import gather
from shoptalk.nn.encoder import MODEL_CARD, evaluating
from shoptalk.nn.fast_dropout import fast_dropout
from shoptalk.nn.language_model import LONGEST_ITEM, token_nats
from shoptalk.nn.losses import linear_cross_entropy
from shoptalk.nn.native import library
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.product import Kind, Product
from shoptalk.nn.transfer import sent
from shoptalk.text.corpus import Corpus
from shoptalk.text.source_target import PairGroup, SourceTargetBatch, make_pairs
from shoptalk.text.spans import Ids, SourceTarget
from shoptalk.text.tokens import Tokenised, tokenise, tokenise_to

RATES = "shoptalk_rates"
"""In a model's config.json: its weights began so that some of them want learning rates of their own."""
_AT_ONCE = 256
"""Pairs of a batch without gradients."""
_SCALED = ("umt5", "switch_transformers")
"""Relatives of T5 that always scale what the output layer reads; T5 itself says so in its configuration."""


class EncoderDecoderNetwork(nn.Module):
    """A source and what is written so far to hidden states, and the table that scores every token from them."""

    def __init__(self, backbone: nn.Module) -> None:
        """`backbone` is a transformers model that `AutoModelForSeq2SeqLM` opens."""
        super().__init__()
        self.backbone = backbone

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def by_kernels(self) -> bool:
        """Whether the compiled kernels draw its dropout masks (`fast_dropout.py`)."""
        return self.device.type == "cpu" and library() is not None

    @property
    def table(self) -> Float[Tensor, "V D"]:
        """The output layer's weights: a row for each token of the vocabulary."""
        weight: Tensor = self.backbone.get_output_embeddings().weight  # type: ignore[operator]
        return weight

    @property
    def bias(self) -> Float[Tensor, " V"]:
        """What BART's kind adds to the logits; nothing elsewhere."""
        bias: Tensor | None = getattr(self.backbone, "final_logits_bias", None)
        return torch.zeros(len(self.table), device=self.device) if bias is None else bias[0]

    @property
    def start_id(self) -> int:
        """The token that a decoder begins with."""
        config: Any = self.backbone.config
        start = config.decoder_start_token_id
        return int(start if start is not None else config.pad_token_id)

    @property
    def rates(self) -> dict[str, float]:
        """Of parameters the learning rate, relative to the others', by name: where a model began with random weights
        here (`scratch_t5.py`) the table's and the queries' are others.
        """
        config: Any = self.backbone.config
        if not getattr(config, RATES, False):
            return {}
        factors = {"shared.weight": config.d_model**0.5, "q.weight": config.d_kv**-0.5}
        return {
            name: factor
            for name, _ in self.named_parameters()
            for ending, factor in factors.items()
            if name.endswith(f".{ending}")
        }

    def share(self, batch: SourceTargetBatch) -> Iterator[tuple[PairGroup, bool]]:
        """The groups that this process computes, and whether the result counts.

        In training every group has its own stream of randomness, so its dropout does not depend on which process
        computes it; afterwards all processes' generators agree again.
        """
        base = int(torch.randint(2**62, ())) if self.training else 0
        for number, counts in gather.share(batch.groups):
            if self.training:
                torch.manual_seed(base + 1 + number)
            yield batch.groups[number], counts
        if self.training:
            torch.manual_seed(base)

    def hidden(self, group: PairGroup) -> Float[Tensor, "m T D"]:
        """The decoder's last states, as the output layer reads them: that of a cell has read the source and what was
        written up to that cell.
        """
        with fast_dropout() if self.training else nullcontext():
            return self._hidden(group)

    def _hidden(self, group: PairGroup) -> Float[Tensor, "m T D"]:
        backbone: Any = self.backbone
        seen = sent(group.seen, self.device).long()
        states = backbone.get_encoder()(input_ids=sent(group.source, self.device), attention_mask=seen)
        decoded: Tensor = backbone.get_decoder()(
            input_ids=sent(group.written, self.device),
            encoder_hidden_states=states.last_hidden_state,
            encoder_attention_mask=seen,
            use_cache=False,
        ).last_hidden_state
        # T5 with one table for reading and writing shrinks the states before it (Raffel et al. 2020, their code).
        config = backbone.config
        scaled = getattr(config, "scale_decoder_outputs", config.model_type in _SCALED)
        return decoded * decoded.shape[-1] ** -0.5 if scaled else decoded


class TextFrame(NamedTuple):
    """What a tokenizer puts around a text."""

    before: Ids
    after: Ids


@dataclass(frozen=True)
class EncoderDecoder(Product):
    """An encoder–decoder with its tokenizer, and where it came from."""

    kind: ClassVar[Kind] = "seq2seq"

    network: EncoderDecoderNetwork
    tokenizer: Any
    max_length: int
    """Tokens of a source, and of a target, with those around them."""
    name: str
    precision: Precision = "float32"

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Tokenised:
        """Every text's token ids, without special tokens."""
        if folder is None:
            return self.ids(corpus.texts)
        return tokenise_to(
            folder, self.tokenizer, corpus.texts, max_length=LONGEST_ITEM, digest=corpus.digest, special=False
        )

    def ids(self, texts: Sequence[str]) -> Tokenised:
        """The same of a few texts, in memory."""
        return tokenise(self.tokenizer, texts, max_length=LONGEST_ITEM, special=False)

    def units(self, items: Sequence[str]) -> int:
        """Tokens of the texts."""
        return int(self.ids(items).starts[-1])

    @cached_property
    def frame(self) -> TextFrame:
        """What stands before and after the tokens of a text; a target ends with it, too."""
        row = self.tokenizer("a", return_special_tokens_mask=True)
        ids, ordinary = np.array(row["input_ids"], dtype=np.int64), np.array(row["special_tokens_mask"]) == 0
        first, last = np.flatnonzero(ordinary)[[0, -1]]
        return TextFrame(ids[:first], ids[last + 1 :])

    @property
    def room(self) -> int:
        """Tokens of a text that are read or written; of a longer one the first."""
        return self.max_length - len(self.frame.before) - len(self.frame.after)

    def framed(self, ids: Ids) -> Ids:
        """A text's ids with what stands around them, cut to the context."""
        return np.concatenate([self.frame.before, ids[: self.room], self.frame.after])

    def pairs(self, pairs: Sequence[SourceTarget]) -> SourceTargetBatch:
        """Pairs of ids without special tokens as a batch."""
        framed = [SourceTarget(self.framed(pair.source), self.framed(pair.target)) for pair in pairs]
        pad = self.tokenizer.pad_token_id
        pad_id, start_id = 0 if pad is None else int(pad), self.network.start_id
        return make_pairs(framed, pad_id=pad_id, start_id=start_id, longest=self.max_length)

    def bits_given(
        self, sources: Sequence[str], targets: Sequence[str], *, precision: Precision | None = None
    ) -> Float[np.ndarray, " N"]:
        """Bits of each target given its source: minus the logarithm to base 2 of its probability, its end included,
        summed over its tokens, in float64. Of what is longer than a context the beginning is read.
        """
        ids, of_targets = self.ids(sources), self.ids(targets)
        bits = np.zeros(len(sources))
        for begin in range(0, len(sources), _AT_ONCE):
            end = min(begin + _AT_ONCE, len(sources))
            pairs = [SourceTarget(ids[number], of_targets[number]) for number in range(begin, end)]
            bits[begin:end] = self.bits_of(pairs, precision=precision)
        return bits

    def bits_of(self, pairs: Sequence[SourceTarget], *, precision: Precision | None = None) -> Float[np.ndarray, " n"]:
        """The same of token ids without special tokens."""
        batch, bits = self.pairs(pairs), np.zeros(len(pairs))
        with (
            evaluating(self.network),
            torch.inference_mode(),
            autocast(precision or self.precision, self.network.device),
        ):
            for group in batch.groups:
                states = self.network.hidden(group)[sent(group.counted, self.network.device)]
                labels = sent(group.target[group.counted], states.device)
                nats = token_nats(states, self.network.table, labels, self.network.bias)
                owners = group.numbers[:, None].expand(group.counted.shape)[group.counted].numpy()
                np.add.at(bits, owners, nats.double().cpu().numpy() / math.log(2.0))
        return bits

    def save(self, folder: Path, *, card: str) -> None:
        """Write a transformers folder with float32 safetensors; `card` becomes its model card."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.backbone.save_pretrained(folder)  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)
        write_text(folder / MODEL_CARD, card)
        usual_modes(folder)

    def copy(self) -> "EncoderDecoder":
        """The same with weights of its own."""
        return replace(self, network=copy.deepcopy(self.network))

    def in_precision(self, precision: Precision) -> "EncoderDecoder":
        """The same network, measured in another precision."""
        return replace(self, precision=precision)

    def ready_to_train(self) -> None:
        """Nothing is to be done: the output layer reads the whole table, whose gradient is therefore whole."""


class TargetLoss(NamedTuple):
    """What is minimised, and the cross-entropy alone, in nats."""

    total: Float[Tensor, ""]
    nats: Float[Tensor, ""]


def target_loss(network: EncoderDecoderNetwork, batch: SourceTargetBatch, *, smoothing: float = 0.0) -> TargetLoss:
    """Mean cross-entropy of every token of the targets, given the source and those before it; each process computes its
    share of the groups.

    With `smoothing` s each token's target is (1 - s) one-hot and s / V everywhere (Szegedy et al. 2016, section 7;
    Vaswani et al. 2017, section 5.4). As -mean_v log p_v = -log p_y + z_y - mean_v z_v, that adds s (z_y - mean_v z_v)
    to the cross-entropy, and the mean of the logits z is the logit of the table's mean row.
    """
    count, table, bias = max(1, batch.targets), network.table, network.bias
    nats = torch.zeros((), device=network.device)
    spread = torch.zeros((), device=network.device)
    for group, counts in network.share(batch):
        wanted = group.counted if counts else torch.zeros_like(group.counted)
        states = network.hidden(group)[sent(wanted, network.device)]
        labels = sent(group.target[wanted], network.device)
        nats = nats + linear_cross_entropy(states, table, bias, labels, weight=1 / count)
        if smoothing:
            rows = nn.functional.embedding(labels, table).float() - table.float().mean(0)
            logits = (states.float() * rows).sum() + (bias[labels] - bias.mean()).sum()
            spread = spread + logits / count
    nats, spread = gather.sum_across(nats), gather.sum_across(spread)
    return TargetLoss(nats + smoothing * spread, nats.detach())
