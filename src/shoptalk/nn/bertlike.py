"""The layers of BERT and its kin, run for CPUs on the stock model's own weights.

What differs from transformers' forward pass, with the same result: queries, keys and values come from one product;
attention runs over the tokens of each text and nothing else; dropout, residual and norm are one kernel, and dropout
keeps no mask; under autocast the states between layers stay in bfloat16. Needs the kernels of `nn/native`; without
them the stock forward pass serves.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shoptalk.nn import attention, gather
from shoptalk.nn.native import library
from shoptalk.nn.native.ops import HEAD_WIDTHS, add_layer_norm, gelu, new_seed, segment_softmax, varlen_attention
from shoptalk.text.batching import Group

FAMILY = ("bert", "roberta", "xlm-roberta", "camembert")
"""Model types whose modules are named and wired as BERT's are. Those of `attention.RELATIVE` are served too: they add a
bias of distance to the scores, and name the parts of their attention otherwise.
"""
LONG = 40
"""Mean tokens per text from which bfloat16 attention runs on the matrix units, in whole rows: products of shorter texts
are too small for them. Estimated from timings without matrix units; not measured on a machine that has them."""

_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Model types that count positions from padding's + 1."""


def first_position(config: Any) -> int:
    """The row of the table of positions that the first token of a text has."""
    return int(config.pad_token_id) + 1 if config.model_type in _AFTER_PADDING else 0


def serves(backbone: nn.Module) -> bool:
    """Whether these layers can stand in for the backbone's own, on this machine."""
    config: Any = backbone.config
    return (
        (config.model_type in attention.RELATIVE or (config.model_type in FAMILY and not config.is_decoder))
        and config.hidden_act == "gelu"
        and config.hidden_size // config.num_attention_heads in HEAD_WIDTHS
        and next(backbone.parameters()).device.type == "cpu"
        and not gather.sharded(backbone)  # whose layers put their parameters together when they are called
        and library() is not None
    )


@dataclass(frozen=True)
class _Texts:
    """Where the texts of a group lie, as the kernels want it."""

    begins: Int[Tensor, " m"]
    lengths: Int[Tensor, " m"]
    rows: int
    width: int
    edges: tuple[Int[Tensor, "R W"], Int[Tensor, "R W"]] | None
    """Each cell's first and last-but-one visible cell in its row, for attention in whole rows; None for tokens."""
    bias: Float[Tensor, "1 H W W"] | None
    """What is added to the scores of each query and key, where their distance counts."""


@dataclass(frozen=True)
class Weights:
    """One layer's matrices and biases in the precision of the products: converted once per batch, not per group."""

    projection: tuple[Float[Tensor, "D3 D"], Float[Tensor, " D3"]]
    attended: tuple[Float[Tensor, "D D"], Float[Tensor, " D"]]
    widen: tuple[Float[Tensor, "E D"], Float[Tensor, " E"]]
    narrow: tuple[Float[Tensor, "D E"], Float[Tensor, " D"]]


class _Attention(NamedTuple):
    """A layer's attention by its parts, whatever the stock model calls them."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    dense: nn.Linear
    """Of what was attended to."""
    output: Any
    """Has the dropout and the norm after `dense`."""
    inner: Any
    """Has the number of heads, and where the model can be trained, the dropout of the attention itself."""


def attention_parts(backbone: nn.Module, layer: Any) -> _Attention:
    """A layer's attention by its parts."""
    whole = layer.attention
    if _relative(backbone):
        inner = whole.attn
        return _Attention(inner.q, inner.k, inner.v, inner.o, whole, inner)
    inner = whole.self
    return _Attention(inner.query, inner.key, inner.value, whole.output.dense, whole.output, inner)


def _relative(backbone: nn.Module) -> bool:
    config: Any = backbone.config
    return config.model_type in attention.RELATIVE


def weights(backbone: nn.Module) -> list[Weights]:
    """The layers' weights, in bfloat16 under autocast; gradients flow back to the backbone's own parameters."""
    first = next(backbone.encoder.layer.parameters())  # type: ignore[union-attr]
    dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else first.dtype
    converted = []
    for layer in backbone.encoder.layer:  # type: ignore[union-attr]
        parts = attention_parts(backbone, layer)
        inputs = (parts.query, parts.key, parts.value)
        projection = (
            torch.cat([each.weight for each in inputs]).to(dtype),
            torch.cat([each.bias for each in inputs]).to(dtype),
        )
        dense = (parts.dense, layer.intermediate.dense, layer.output.dense)
        converted.append(Weights(projection, *((part.weight.to(dtype), part.bias.to(dtype)) for part in dense)))
    return converted


def contextualize(
    backbone: nn.Module,
    weights: Sequence[Weights],
    embedded: Float[Tensor, "R W D"],
    group: Group,
    *,
    training: bool,
    top: int = 1,
    causal: bool = False,
) -> list[Float[Tensor, "R W D"]]:
    """The states of the last `top` layers, lowest first, each text apart (Vaswani et al. 2017, section 3; post-norm);
    where it is `causal` no token sees those after it.

    Without gradients no other layer's states are kept.
    """
    rows, width, dim = embedded.shape
    dtype = weights[0].projection[0].dtype
    states = embedded.reshape(rows * width, dim).to(dtype)
    bias = None
    if _relative(backbone):
        bias = backbone.encoder.compute_position_bias(embedded[:1]).to(dtype)  # type: ignore[union-attr, operator]
    texts = _texts(group, bias, in_rows=dtype == torch.bfloat16, causal=causal)
    kept: deque[Tensor] = deque(maxlen=top)
    for layer, matrices in zip(backbone.encoder.layer, weights, strict=True):  # type: ignore[union-attr, arg-type]
        states = _layer(layer, attention_parts(backbone, layer), matrices, states, texts, training)
        kept.append(states)
    return [states.reshape(rows, width, dim) for states in kept]


def _texts(group: Group, bias: Float[Tensor, "1 H W W"] | None, *, in_rows: bool, causal: bool) -> _Texts:
    rows, width = group.ids.shape
    edges = None
    if bias is not None or causal or (in_rows and float(group.lengths.float().mean()) >= LONG):
        first = torch.zeros(rows * width, dtype=torch.int64)
        first[group.cells] = torch.repeat_interleave(group.begins % width, group.lengths)
        last = torch.zeros(rows * width, dtype=torch.int64)
        ends = torch.repeat_interleave(group.begins % width + group.lengths, group.lengths)
        last[group.cells] = group.cells % width + 1 if causal else ends
        edges = (first.reshape(rows, width).int(), last.reshape(rows, width).int())
    return _Texts(group.begins.int(), group.lengths.int(), rows, width, edges, bias)


def _layer(
    layer: Any,
    parts: _Attention,
    matrices: Weights,
    states: Float[Tensor, "T D"],
    texts: _Texts,
    training: bool,
) -> Float[Tensor, "T D"]:
    dropout = parts.inner.dropout.p if training else 0.0
    heads = parts.inner.num_attention_heads
    attended = _attend(linear(states, *matrices.projection), texts, heads, dropout)
    states = _output(parts.output, linear(attended, *matrices.attended), states, training)
    return _output(layer.output, linear(gelu(linear(states, *matrices.widen)), *matrices.narrow), states, training)


def _attend(projected: Float[Tensor, "T D3"], texts: _Texts, heads: int, dropout: float) -> Float[Tensor, "T D"]:
    if texts.edges is None:
        return varlen_attention(projected, texts.begins, texts.lengths, heads, dropout=dropout, seed=_seed(dropout))
    size = projected.shape[1] // 3 // heads
    parts = projected.reshape(texts.rows, texts.width, 3, heads, size).permute(2, 0, 3, 1, 4)
    query, key, value = (part.reshape(texts.rows * heads, texts.width, size) for part in parts)
    scores = torch.bmm(query, key.transpose(1, 2)).reshape(texts.rows, heads, texts.width, texts.width)
    scale = size**-0.5
    if texts.bias is not None:
        scores, scale = torch.add(texts.bias, scores, alpha=scale), 1.0
    weights = segment_softmax(scores, *texts.edges, scale=scale, dropout=dropout, seed=_seed(dropout))
    mixed = torch.bmm(weights.reshape(texts.rows * heads, texts.width, texts.width), value)
    mixed = mixed.reshape(texts.rows, heads, texts.width, size).transpose(1, 2)
    return mixed.reshape(texts.rows * texts.width, heads * size)


def _output(output: Any, states: Float[Tensor, "T D"], residual: Float[Tensor, "T D"], training: bool) -> Tensor:
    """The end of each of BERT's blocks: LayerNorm(residual + dropout(states))."""
    norm, dropout = output.LayerNorm, output.dropout.p if training else 0.0
    return add_layer_norm(states, residual, norm.weight, norm.bias, eps=norm.eps, dropout=dropout, seed=_seed(dropout))


def linear(
    states: Float[Tensor, "T N"], weight: Float[Tensor, "M N"], bias: Float[Tensor, " M"]
) -> Float[Tensor, "T M"]:
    """states weightᵀ + bias, all of one precision, whatever autocast says."""
    product: Tensor = _Linear.apply(states, weight, bias)  # type: ignore[no-untyped-call]
    return product


class _Linear(torch.autograd.Function):
    """A linear layer whose bias gradient is a product too: torch's sum over a bfloat16 matrix's rows is slow."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(states, weight)
        with torch.autocast("cpu", enabled=False):
            return torch.addmm(bias, states, weight.T)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, weight = ctx.saved_tensors
        gradient = gradients[0]
        with torch.autocast("cpu", enabled=False):
            ones = gradient.new_ones(1, len(gradient))
            return gradient @ weight, gradient.T @ states, (ones @ gradient)[0]


def _seed(dropout: float) -> int:
    """A new one for each dropout; nothing is drawn where nothing is dropped."""
    return new_seed() if dropout else 0
