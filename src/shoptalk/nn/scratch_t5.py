"""An encoder–decoder with random weights, `scratch:t5-nano`, for text that no base was trained on.

It is a T5 (Raffel et al. 2020, section 2.1): relative positions, RMSNorm before each block, no biases, and one table
for reading and writing tokens. Its size is chosen for two CPU cores and minutes.

Weights begin as T5's, which were made for Adafactor, whose steps grow with the weights. AdamW's do not, so two kinds of
parameters have learning rates of their own (`EncoderDecoderNetwork.rates`), relative to the others':

- the table's, the square root of the width. Its entries are as large as what the blocks write, and the logits are
  divided by that root; with one rate for all, the table would keep its random vectors, and with a small table the
  blocks would drown the words. It is Vaswani et al.'s (2017, section 3.4) table times that root, written as one number.
- the queries', one over the root of a head's width: T5 begins with queries that are smaller by it instead of dividing
  the attention's logits, and steps of one size would undo that within tens of steps.

With these the decoder learns to look words up in the source, without them hardly ever (docs/log.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import T5Config, T5ForConditionalGeneration

from shoptalk.nn.encoder_decoder import RATES, EncoderDecoder, EncoderDecoderNetwork
from shoptalk.nn.language_model import CONTEXT
from shoptalk.nn.product import Kind
from shoptalk.nn.scratch_pictures import MARK, PREFIX
from shoptalk.text.spans import SENTINELS
from shoptalk.text.trained_bpe import train_bpe

_DEVIATION = 0.8
"""Of the table's entries, and so of the first logits."""


@dataclass(frozen=True)
class T5Size:
    """A T5 with random weights."""

    kind: ClassVar[Kind] = "seq2seq"
    """Of the product that it becomes."""
    objective: ClassVar[str] = "span"
    """That trains it."""

    name: str
    layers: int
    """On each side."""
    width: int
    heads: int
    hidden: int
    """Width of the feed-forward block."""
    vocabulary: int
    """Most pieces of the tokenizer, sentinels included; a small corpus has fewer."""

    @property
    def parameters(self) -> int:
        """All that are trained, with a full vocabulary."""
        attention, feed_forward = 4 * self.width**2, 2 * self.width * self.hidden
        reading = self.layers * (attention + feed_forward + 2 * self.width)
        writing = self.layers * (2 * attention + feed_forward + 3 * self.width)
        positions = 2 * _BUCKETS * self.heads
        return reading + writing + positions + 2 * self.width + self.vocabulary * self.width

    @property
    def about(self) -> str:
        """One line for `shoptalk models`."""
        return (
            f"random weights, a tokenizer trained on your text: encoder–decoder, {self.layers} + {self.layers} layers, "
            f"{self.width} dimensions, {self.parameters / 1e6:.1f} M parameters, any language"
        )


_BUCKETS = 32
"""Of relative positions, as T5 has."""
T5_SIZES = {
    size.name: size
    for size in (T5Size(f"{PREFIX}t5-nano", layers=3, width=256, heads=4, hidden=1_024, vocabulary=8_192),)
}


def scratch_t5(size: T5Size, tokenizer: Any, *, seed: int) -> T5ForConditionalGeneration:
    """A T5 of that size with random weights, in evaluation mode; the same for the same seed and vocabulary size.

    The global random state is left alone.
    """
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=size.width,
        d_kv=size.width // size.heads,
        d_ff=size.hidden,
        num_layers=size.layers,
        num_decoder_layers=size.layers,
        num_heads=size.heads,
        relative_attention_num_buckets=_BUCKETS,
        dropout_rate=0.1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        **{MARK: size.name, RATES: True},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        model.shared.weight.mul_(_DEVIATION)
    return model.eval()


def young_encoder_decoder(size: T5Size, texts: Sequence[str], *, seed: int) -> EncoderDecoder:
    """An encoder–decoder of that size with random weights, and a tokenizer trained on the texts."""
    tokenizer = train_bpe(texts, most=size.vocabulary, max_length=CONTEXT, sentinels=SENTINELS)
    network = EncoderDecoderNetwork(scratch_t5(size, tokenizer, seed=seed))
    return EncoderDecoder(network, tokenizer, CONTEXT, name=size.name)
