"""Language models with random weights, `scratch:gpt-nano` and `scratch:gpt-mini`, for text that no base was trained on.

Both are decoders as Llama is built (Touvron et al. 2023): rotary positions, RMSNorm before each block, SwiGLU, no
biases, and one table for reading and writing tokens. Their blocks have as many weights as GPT-2's of the same width,
12 x width² a layer: SwiGLU's three matrices are two thirds as wide as GPT-2's two. The sizes are chosen for two CPU
cores:

- `gpt-nano` has 4 layers of width 256; half of what it computes is the table of 8 thousand pieces.
- `gpt-mini` has 6 layers of width 384, for a corpus and a budget of hours.

Weights begin as GPT-2's (Radford et al. 2019, section 2.3): normal with a deviation of 0.02, and those of the matrices
that write into the residual stream divided by the square root of their number, so that the stream does not grow with
the depth.

A model that began so says it in its config.json (`shoptalk_base`), wherever it is trained further.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from shoptalk.errors import BaseModelError
from shoptalk.nn.language_model import CONTEXT, CausalNetwork, LanguageModel
from shoptalk.nn.product import Kind, Product
from shoptalk.nn.scratch_pictures import MARK, PREFIX, nearest_name
from shoptalk.nn.scratch_t5 import T5_SIZES, T5Size, young_encoder_decoder
from shoptalk.text.trained_bpe import END_OF_TURN, train_bpe

_DEVIATION = 0.02
_WRITES = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
"""The two matrices of a layer that write into the residual stream."""


@dataclass(frozen=True)
class LmSize:
    """A decoder with random weights."""

    kind: ClassVar[Kind] = "lm"
    """Of the product that it becomes."""
    objective: ClassVar[str] = "clm"
    """That trains it."""

    name: str
    layers: int
    width: int
    heads: int
    hidden: int
    """Width of the feed-forward block: 8/3 of the model's, to the nearest multiple of 64."""
    vocabulary: int
    """Most pieces of the tokenizer; a small corpus has fewer."""

    @property
    def parameters(self) -> int:
        """All that are trained, with a full vocabulary."""
        layer = 4 * self.width**2 + 3 * self.width * self.hidden + 2 * self.width
        return self.layers * layer + self.width + self.vocabulary * self.width

    @property
    def about(self) -> str:
        """One line for `shoptalk models`."""
        return (
            f"random weights, a tokenizer trained on your text: decoder, {self.layers} layers, {self.width} "
            f"dimensions, {self.parameters / 1e6:.1f} M parameters, any language"
        )


_GPT_SIZES = {
    size.name: size
    for size in (
        LmSize(f"{PREFIX}gpt-nano", layers=4, width=256, heads=4, hidden=704, vocabulary=8_192),
        LmSize(f"{PREFIX}gpt-mini", layers=6, width=384, heads=6, hidden=1_024, vocabulary=16_384),
    )
}
LM_SIZES: dict[str, LmSize | T5Size] = {**_GPT_SIZES, **T5_SIZES}
"""Every size of a language model with random weights."""


def lm_size_of(ref: str) -> LmSize | T5Size | None:
    """The size of a language model that a reference such as `scratch:gpt-nano` names; None for those of another kind.

    Raises:
        BaseModelError: it begins as these do, and there is no such size.
    """
    if ref in LM_SIZES:
        return LM_SIZES[ref]
    if ref.startswith((f"{PREFIX}gpt", f"{PREFIX}t5")) and "+" not in ref:
        raise BaseModelError(
            f"There is no base {ref!r}. Language models with random weights are: {', '.join(LM_SIZES)}."
            f"{nearest_name(ref, [*LM_SIZES])}"
        )
    return None


def how_to_make(ref: str, writer: LmSize | T5Size | None) -> str:
    """Why a base with random weights cannot be opened, and the command that makes a model of it; `writer` is its size
    where it writes.
    """
    only = f"{ref!r} is random weights with a tokenizer trained on your text, so it exists only inside a run."
    objective, left = ("mlm", "encoder") if writer is None else (writer.objective, "model")
    made = (
        f"{only} Make one: `shoptalk pretrain SOURCES --objective {objective} --base {ref} --out DIR`; then give "
        f"DIR/{left} here, or DIR/base for what it began as."
    )
    if writer is None or writer.kind != "seq2seq":
        return made
    return (
        f"{only} Make one that translates: `shoptalk finetune {ref} PAIRS.tsv --task translate --out DIR`; then give "
        f"DIR here. One that fills gaps and can be finetuned: `shoptalk pretrain SOURCES --objective {objective} "
        f"--base {ref} --out DIR`; then give DIR/model."
    )


def scratch_lm(size: LmSize, tokenizer: Any, *, seed: int, max_length: int) -> LlamaForCausalLM:
    """A decoder of that size with random weights, in evaluation mode; the same for the same seed and vocabulary size.

    The global random state is left alone. Texts of up to `max_length` tokens are within its context.
    """
    ends = [tokenizer.eos_token_id]
    if END_OF_TURN in tokenizer.get_vocab():
        ends.append(tokenizer.convert_tokens_to_ids(END_OF_TURN))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=max_length,
        initializer_range=_DEVIATION,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{MARK: size.name},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(_WRITES):
                weight.div_(math.sqrt(len(_WRITES) * size.layers))
    model.generation_config.eos_token_id = ends  # a reply ends with its turn, a text with the end of text
    return model.eval()


def young_language_model(size: LmSize | T5Size, texts: Sequence[str], *, seed: int) -> Product:
    """A language model of that size with random weights, and a tokenizer trained on the texts."""
    if isinstance(size, T5Size):
        return young_encoder_decoder(size, texts, seed=seed)
    tokenizer = train_bpe(texts, most=size.vocabulary, max_length=CONTEXT)
    backbone = scratch_lm(size, tokenizer, seed=seed, max_length=CONTEXT)
    return LanguageModel(CausalNetwork(backbone), tokenizer, CONTEXT, name=size.name)
