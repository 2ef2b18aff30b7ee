"""Text bases with random weights, `scratch:mini` and `scratch:small`, for text that no base model was trained on.

Both are BERT (Devlin et al. 2019), so packed rows and the CPU kernels serve them. The sizes are chosen for two CPU
cores, where an hour of training is a few million tokens:

- `mini` is the BERT-mini of Turc et al. (2019, "Well-read students learn better", table 1): 4 layers of width 256. Its
  layers are 3.1 M parameters, 3.4 times fewer than MiniLM's, and its vocabulary is 8 thousand pieces instead of 30, so
  half an hour goes through some millions of tokens.
- `small` has MiniLM's width and depth, 6 layers of 384, for a corpus and a budget of hours.

Every encoder that began so says it in its config.json (`shoptalk_base`), wherever it is trained further: random weights
need a higher learning rate than a trained base.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import BertConfig, BertModel

from shoptalk.errors import BaseModelError
from shoptalk.nn import attention
from shoptalk.nn.encoder import Encoder, TextEncoder
from shoptalk.nn.scratch_lm import LM_SIZES, lm_size_of
from shoptalk.nn.scratch_pictures import MARK, PICTURE_SIZES, PREFIX, nearest_name, picture_size_of

attention.register()


@dataclass(frozen=True)
class Size:
    """An architecture with random weights."""

    name: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    """Most pieces of the tokenizer; a small corpus has fewer."""

    @property
    def about(self) -> str:
        """One line for `shoptalk models`."""
        layers = self.layers * 12 * self.width**2
        return (
            f"random weights, a tokenizer trained on your text: BERT, {self.layers} layers, {self.width} dimensions, "
            f"{(layers + self.vocabulary * self.width) / 1e6:.1f} M parameters, any language"
        )


SIZES = {
    size.name: size
    for size in (
        Size(f"{PREFIX}mini", layers=4, width=256, heads=4, vocabulary=8_192),
        Size(f"{PREFIX}small", layers=6, width=384, heads=6, vocabulary=16_384),
    )
}


def size_of(ref: str) -> Size | None:
    """The size of a text encoder that a reference such as `scratch:mini` names; None for references of another kind.

    Raises:
        BaseModelError: there is no such size.
    """
    if not ref.startswith(PREFIX) or "+" in ref or picture_size_of(ref) is not None or lm_size_of(ref) is not None:
        return None
    if ref not in SIZES:
        known = [*SIZES, *PICTURE_SIZES, *LM_SIZES]
        raise BaseModelError(
            f"There is no base {ref!r}. Bases with random weights are: {', '.join(known)}.{nearest_name(ref, known)}"
        )
    return SIZES[ref]


def scratch_product(size: Size, tokenizer: Any, *, seed: int, max_length: int) -> TextEncoder:
    """An encoder of that size with random weights, in evaluation mode; the same for the same seed and vocabulary size.

    The global random state is left alone. Texts of up to `max_length` tokens have positions.
    """
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=attention.NAME,
        **{MARK: size.name},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = BertModel(config)
    return TextEncoder(network=Encoder(backbone).eval(), tokenizer=tokenizer, max_length=max_length, name=size.name)
