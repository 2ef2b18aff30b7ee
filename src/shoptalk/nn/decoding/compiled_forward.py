"""The compiled pass (`nn/native/llama_step.cpp`) for decoders that are built as Llama is: SmolLM2, gpt-nano, gpt-mini.

It reads the same weights and keeps its states in the same cache as the stock model, so that prompts go through the one
and single tokens through the other. Sums and norms are float32 even where weights are bfloat16.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlamaForCausalLM

from shoptalk.nn.decoding.forward import Feed, Forward
from shoptalk.nn.decoding.kv_cache import KeyValueCache
from shoptalk.nn.int8_weights import is_rounded
from shoptalk.nn.native import library
from shoptalk.nn.native.step import LARGEST_HEAD, LlamaStep, StepShape

MOST = 48
"""Tokens at once; for more, matrix products that are blocked for the caches are faster."""
_ROTARY = ("default", "linear", "llama3")
"""Rotary positions whose angles do not depend on the text's length."""
_VECTORS = 32
"""Widths are multiples of it: two of the widest vectors."""


class CompiledForward(Forward):
    """A few tokens at a time."""

    def __init__(self, step: LlamaStep) -> None:
        self._step = step

    def __call__(self, feeds: Sequence[Feed]) -> list[Float[np.ndarray, "w V"]]:
        """As `Forward` says."""
        cells = [(token, feed.slot, feed.begin + number) for feed in feeds for number, token in enumerate(feed.ids)]
        begins = np.cumsum([0, *(len(feed.ids) for feed in feeds)])
        wanted = [int(begin) + number for begin, feed in zip(begins, feeds, strict=False) for number in feed.wanted]
        with torch.inference_mode():
            logits = self._step(torch.tensor(cells), torch.tensor(wanted)).numpy()
        return np.split(logits, np.cumsum([len(feed.wanted) for feed in feeds])[:-1])


def compiled_forward(backbone: Any, cache: KeyValueCache) -> CompiledForward | None:
    """The compiled pass of a model whose cache has its memory already; None where it is not built so, or where there
    are no kernels.
    """
    if library() is None or not _built_as_llama(backbone) or not cache.layers:
        return None
    config, body = backbone.config, backbone.base_model
    tables: list[Tensor] = []
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        tables += [
            layer.input_layernorm.weight.float(),
            *(part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)),
            layer.post_attention_layernorm.weight.float(),
            *(part.weight for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)),
        ]
    tables += [body.norm.weight.float(), body.embed_tokens.weight, backbone.lm_head.weight]
    shape = StepShape(
        layers=len(body.layers),
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head=body.layers[0].self_attn.head_dim,
        hidden=config.intermediate_size,
        vocabulary=len(backbone.lm_head.weight),
        slots=cache.slots,
        capacity=cache.capacity,
    )
    with torch.inference_mode():
        cosines, sines = body.rotary_emb(torch.zeros(1), torch.arange(cache.capacity)[None])
    return CompiledForward(
        LlamaStep(
            shape=shape,
            tables=[table.detach() for table in tables],
            states=[states for layer in cache.layers for states in (layer.keys, layer.values)],
            cosines=cosines[0].contiguous(),
            sines=sines[0].contiguous(),
            eps=config.rms_norm_eps,
        )
    )


def _built_as_llama(backbone: Any) -> bool:
    """Whether it is a Llama of sizes that the kernel takes."""
    if type(backbone) is not LlamaForCausalLM or is_rounded(backbone):
        return False
    config, attention = backbone.config, backbone.base_model.layers[0].self_attn
    types = {parameter.dtype for parameter in backbone.parameters()}
    widths = (config.hidden_size, config.intermediate_size, attention.head_dim)
    return (
        config.hidden_act == "silu"
        and not any(linear.bias is not None for linear in (attention.q_proj, attention.o_proj))
        and backbone.base_model.layers[0].mlp.gate_proj.bias is None
        and config.rope_parameters.get("rope_type") in _ROTARY
        and attention.head_dim <= LARGEST_HEAD
        and all(width % _VECTORS == 0 for width in widths)
        and len(types) == 1
        and types <= {torch.float32, torch.bfloat16}
    )
