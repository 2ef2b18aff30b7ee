"""Attention of decoders that are trained in bfloat16 on a CPU: plain matrix products, a block of queries at a time.

    with causal_blocks(backbone):
        states = backbone.base_model(...)       # its layers attend by `attend_in_blocks`

Softmax attention (Vaswani et al. 2017, equation 1) where no cell sees those after it: the cells of a block of queries
are compared with the keys up to the block's end alone, so that most of what a mask would throw away is never computed.
Query heads that share a key's head (grouped queries, Ainslie et al. 2023) are read as one longer head. The backward
pass is written out here, from the probabilities of the forward pass, which are kept in bfloat16.

Scores are rounded to bfloat16 before their softmax, as in transformers' own plain attention; the fused kernel keeps
them in float32. For SmolLM2, whose scores reach 65, gradients are as near to float32's with either; where all scores
have a large part in common, as large biases of queries and keys give them, the fused kernel's are nearer.

torch's fused kernel is the faster one in float32, and for forward passes alone; its backward pass in bfloat16 is not
(figures in docs/log.md, 2026-12-01).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

NAME = "shoptalk-causal"
BLOCK = 128
"""Queries of a block: of 64 they are as fast, of 256 half as fast again slower."""
_UNSEEN = -1e9
"""Far below any score, and finite: a row in which nothing is seen would have no softmax otherwise."""

_ALSO = ("position_bias", "softcap", "s_aux")
"""What some decoders do with scores besides masking them, under the names of transformers' arguments."""


class _Blocks(torch.autograd.Function):
    """Attention of a block of queries after the other; B rows, K heads of keys, G query heads for each."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,
        query: Float[Tensor, "B H L d"],
        key: Float[Tensor, "B K L d"],
        value: Float[Tensor, "B K L d"],
        bias: Float[Tensor, "B 1 L L"],
        scale: float,
    ) -> Float[Tensor, "B H L d"]:
        rows, heads, length, size = query.shape
        groups = rows * key.shape[1]
        queries = (query * scale).reshape(groups, -1, length, size)
        keys, values = key.reshape(groups, length, size), value.reshape(groups, length, size)
        attended = torch.empty_like(queries)
        kept = []
        for begin in range(0, length, BLOCK):
            end = min(length, begin + BLOCK)
            asked = queries[:, :, begin:end].reshape(groups, -1, size)
            scores = torch.bmm(asked, keys[:, :end].transpose(1, 2)).view(rows, heads, end - begin, end)
            weights = scores.add_(bias[:, :, begin:end, :end]).softmax(-1).view(groups, -1, end)
            attended[:, :, begin:end] = torch.bmm(weights, values[:, :end]).view(groups, -1, end - begin, size)
            kept.append(weights)
        ctx.save_for_backward(queries, keys, values, *kept)
        ctx.scale = scale
        return attended.view(rows, heads, length, size)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Float[Tensor, "B H L d"]):  # type: ignore[no-untyped-def]
        queries, keys, values, *kept = ctx.saved_tensors
        groups, shared, length, size = queries.shape
        rows, heads = gradient.shape[:2]
        gradient = gradient.reshape(groups, shared, length, size)
        to_queries = torch.empty_like(queries)
        # Blocks add up in float32: a key is seen by all blocks after it.
        to_keys, to_values = (torch.zeros_like(keys, dtype=torch.float32) for _ in range(2))
        for number, weights in enumerate(kept):
            begin, end = number * BLOCK, weights.shape[-1]
            asked = queries[:, :, begin:end].reshape(groups, -1, size)
            to_attended = gradient[:, :, begin:end].reshape(groups, -1, size)
            to_values[:, :end] += torch.bmm(weights.transpose(1, 2), to_attended)
            to_weights = torch.bmm(to_attended, values[:, :end].transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            to_queries[:, :, begin:end] = torch.bmm(to_scores, keys[:, :end]).view(groups, -1, end - begin, size)
            to_keys[:, :end] += torch.bmm(to_scores.transpose(1, 2), asked)
        return (
            (to_queries * ctx.scale).view(rows, heads, length, size),
            to_keys.to(keys.dtype).view(rows, -1, length, size),
            to_values.to(values.dtype).view(rows, -1, length, size),
            None,
            None,
        )


def attend_in_blocks(
    module: torch.nn.Module,
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B K M d"],
    value: Float[Tensor, "B K M v"],
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Float[Tensor, "B L H v"], None]:
    """Attention by blocks, in bfloat16; by torch's fused kernel where there is more to it than a causal mask. The
    signature is transformers'.
    """
    plain = dropout == 0 and not any(more.get(name) is not None for name in _ALSO)
    if not plain or not _is_whole(query, value, attention_mask):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return attended, None
    assert attention_mask is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.autocast(query.device.type, enabled=False):
        # Rotary positions leave queries and keys in float32; torch's kernel rounds them as well.
        query, key, value = (states.to(torch.bfloat16) for states in (query, key, value))
        bias = torch.zeros_like(attention_mask, dtype=torch.bfloat16).masked_fill_(~attention_mask, _UNSEEN)
        out: Tensor = _Blocks.apply(query, key, value, bias, scale)  # type: ignore[no-untyped-call]
    return out.transpose(1, 2).contiguous(), None


def _is_whole(query: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Whether all cells of the rows are read at once, under a mask that says which sees which."""
    length = query.shape[2]
    expected = (len(query), 1, length, length)
    return (
        mask is not None and mask.dtype == torch.bool and mask.shape == expected and value.shape[-1] == query.shape[-1]
    )


@contextlib.contextmanager
def causal_blocks(backbone: Any) -> Iterator[None]:
    """Let the layers of a stock decoder attend by blocks inside, where its weights are trained in bfloat16 on a CPU and
    it would take torch's fused kernel. The mask that it is given must let no cell see those after it.

    Layers that are computed again in the backward pass, outside of this, must attend as they did: they are left alone.
    """
    config = backbone.config
    before = config._attn_implementation
    if not (torch.is_grad_enabled() and torch.is_autocast_enabled("cpu") and before == "sdpa"):
        yield
        return
    may_set = getattr(type(backbone), "_can_set_attn_implementation", None)
    asks_interface = may_set is not None and may_set()  # others, such as Falcon, know some names alone
    if not asks_interface or backbone.device.type != "cpu" or backbone.is_activation_checkpointing:
        yield
        return
    _register()
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend_in_blocks)
    AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])
