"""Attention within each text of packed rows: for stock transformers models, on CPUs and GPUs.

`register` adds `shoptalk` to transformers' attention interface. A model opened with it takes `packing=Packing(group)`
among its inputs; how the texts are kept apart depends on the device:

- CUDA: variable-length flash attention over the tokens alone (Dao et al. 2022; Dao 2023): torch's own, or the
  flash-attn package's where attention drops out, which torch's cannot. Written for GPUs and tested by simulation;
  no GPU has measured it yet.
- everywhere else, and on CUDA where neither can serve: plain matmuls with a block-diagonal bias. On CPUs this beats
  the fused kernel, whose backward pass is slow there.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from shoptalk.nn.transfer import sent
from shoptalk.text.batching import Group

NAME = "shoptalk"
RELATIVE = ("mpnet",)
"""Model types that add a learned bias to each score, by how far key and query lie apart (Song et al. 2020).

Tokens of a text lie side by side in a packed row, as far apart as in a row of their own, so one table [H, W, W] serves
every row.
"""
# Far below any score, but finite, so that a row that is all padding does not become NaN.
_APART = -1e9


@dataclass(frozen=True)
class Packing:
    """Where the texts of a group lie, on the device and in the forms that attention needs; each computed only once."""

    group: Group
    device: torch.device
    causal: bool = False
    """Whether no token sees those after it."""

    @cached_property
    def bias(self) -> Float[Tensor, "R 1 W W"]:
        """0 between cells of the same text, and among the padding of a row, of which one sees the other; between all
        others far below any score.
        """
        segments = sent(self.group.segments, self.device)
        apart = segments[:, None, :, None] != segments[:, None, None, :]
        if self.causal:
            places = torch.arange(segments.shape[1], device=self.device)
            apart = apart | (places[:, None] < places[None, :])
        return torch.zeros(apart.shape, device=self.device).masked_fill(apart, _APART)

    @cached_property
    def cells(self) -> Int[Tensor, " t"]:
        """The cells of all tokens, text by text."""
        return sent(self.group.cells, self.device)

    @cached_property
    def starts(self) -> Int[Tensor, " m1"]:
        """Where each text begins among all tokens, and their number: cumulative lengths, as flash attention wants."""
        return sent(torch.nn.functional.pad(self.group.lengths.cumsum(0), (1, 0)), self.device, torch.int32)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return int(self.group.lengths.max())


def packed_attention(
    module: torch.nn.Module,
    query: Float[Tensor, "R H W d"],
    key: Float[Tensor, "R H W d"],
    value: Float[Tensor, "R H W d"],
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    packing: Packing | None = None,
    **_: Any,
) -> tuple[Float[Tensor, "R W H d"], None]:
    """Softmax attention (Vaswani et al. 2017, equation 1) of each text to itself; the signature is transformers'.

    Without `packing` the mask decides which positions attend to which, as in any other model.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if packing is not None and not packing.causal and query.is_cuda and (kernel := varlen_kernel(dropout)) is not None:
        return _varlen(kernel, query, key, value, packing, scale, dropout), None
    bias = attention_mask if packing is None else packing.bias
    scores = torch.matmul(query * scale, key.transpose(2, 3))
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    weights = torch.nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


Kernel = Callable[..., Tensor]


def varlen_kernel(dropout: float) -> Kernel | None:
    """The flash attention kernel that can serve: (q, k, v, starts, longest, scale, dropout) -> out, all [t, H, d]."""
    if importlib.util.find_spec("flash_attn") is not None:
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]

        def packaged(
            q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int, scale: float, dropout: float
        ) -> Tensor:
            attended: Tensor = flash_attn_varlen_func(
                q, k, v, starts, starts, longest, longest, dropout_p=dropout, softmax_scale=scale
            )
            return attended

        return packaged
    if dropout > 0:
        return None
    from torch.nn.attention.varlen import varlen_attn

    def native(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int, scale: float, dropout: float) -> Tensor:
        attended = varlen_attn(q, k, v, starts, starts, longest, longest, scale=scale)
        assert isinstance(attended, Tensor)  # a pair only where more is asked for
        return attended

    return native


def _varlen(
    kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, packing: Packing, scale: float, dropout: float
) -> Float[Tensor, "R W H d"]:
    rows, heads, width, size = query.shape
    # Flash attention exists for half precision alone; under autocast the projections are in it already.
    dtype = query.dtype if query.dtype in {torch.float16, torch.bfloat16} else torch.bfloat16

    def tokens(states: Tensor) -> Float[Tensor, "t H d"]:
        return states.transpose(1, 2).reshape(rows * width, heads, size)[packing.cells].to(dtype)

    attended = kernel(tokens(query), tokens(key), tokens(value), packing.starts, packing.longest, scale, dropout)
    out = torch.zeros(rows * width, heads, size, dtype=query.dtype, device=query.device)
    return out.index_copy(0, packing.cells, attended.to(query.dtype)).reshape(rows, width, heads, size)


def use(backbone: Any, name: str) -> None:
    """Let a stock model attend by `name`: `NAME`, or the stock "eager".

    A model whose attention is its own, such as MPNet's with its bias of distance, does not ask the interface which to
    use. It reads packed rows by a mask, and its configuration says only that it does.
    """
    if backbone.config.model_type in RELATIVE:
        backbone.config._attn_implementation = name
    else:
        backbone.set_attn_implementation(name)


def register() -> None:
    """Make `NAME` known to transformers: before any stock model is built, which `predict` does without."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, AttentionMaskInterface()["eager"])
