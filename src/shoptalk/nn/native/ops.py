"""The native kernels as torch operations with gradients, for CPU tensors in float32 or bfloat16.

Storage may be bfloat16; the arithmetic is float32. Results depend neither on the number of threads nor on what else is
in the batch. Dropout masks are a function of (seed, position) that backward evaluates again: the caller draws a seed
each time, nothing is stored. Callers make sure that `library()` is not None and that tensors are contiguous; anything
else is an error of Shoptalk's own, and says so.
"""

from typing import Any, cast

import torch
from jaxtyping import Float, Float32, Float64, Int32, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from shoptalk.nn.native.handle import Library, in_use

HEAD_WIDTHS = range(8, 129, 8)
"""Widths of an attention head that `varlen_attention` takes."""


def new_seed() -> int:
    """A new stream for a dropout, from torch's generator: it governs these masks as it does torch's own."""
    return int(torch.randint(2**63 - 1, ()))


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel, 2016, eq. 1).

    Exact to 1e-6 in float32. In bfloat16, value and slope are off by an eighth of the last bit before they are rounded,
    or by 1e-4 where they are below 1/64.
    """
    _check(x=x)
    return _apply(_Gelu, x)


def dropout(x: Float[Tensor, "*shape"], share: float, *, seed: int) -> Float[Tensor, "*shape"]:
    """x with `share` of its elements zero and the others divided by 1 - share (Srivastava et al., 2014, section 4)."""
    _check(x=x)
    _check_share(share)
    return _apply(_Dropout, x, share, seed)


def add_layer_norm(
    x: Float[Tensor, "*rows D"],
    residual: Float[Tensor, "*rows D"],
    weight: Float[Tensor, "D"],
    bias: Float[Tensor, "D"],
    *,
    eps: float,
    dropout: float = 0.0,
    seed: int = 0,
) -> Float[Tensor, "*rows D"]:
    """LayerNorm(residual + dropout(x)) in the type of `residual`; weight and bias are float32 (Ba et al., 2016, eq. 4).

    `dropout` is the share of elements that become zero; the others are divided by 1 - dropout.
    """
    _check(x=x, residual=residual)
    _check_float32(weight=weight, bias=bias)
    _check_share(dropout)
    return _apply(_AddLayerNorm, x, residual, weight, bias, eps, dropout, seed)


def varlen_attention(
    qkv: Float[Tensor, "T triple"],
    begins: Int32[Tensor, "N"],
    lengths: Int32[Tensor, "N"],
    heads: int,
    *,
    dropout: float = 0.0,
    seed: int = 0,
) -> Float[Tensor, "T D"]:
    """softmax(q kᵀ / sqrt(d)) v within each document of a flat token axis, for every head of width d = D / heads.

    Rows of `qkv` (3 D wide) hold the queries of all heads, then the keys, then the values. Document n is `lengths[n]`
    tokens from `begins[n]` on; documents ascend and do not overlap. Tokens of no document get zeros, and zero
    gradients. `dropout` acts on the probabilities.
    """
    _check(qkv=qkv)
    _check_runs(begins=begins, lengths=lengths)
    _check_share(dropout)
    width, rest = divmod(qkv.shape[-1], 3 * heads)
    if rest or width not in HEAD_WIDTHS:
        raise ValueError(
            f"native attention was given rows of {qkv.shape[-1]} for {heads} heads; it takes heads that are "
            f"{HEAD_WIDTHS.start} to {HEAD_WIDTHS.stop - 1} wide, in steps of {HEAD_WIDTHS.step}: use another attention"
        )
    return _apply(_VarlenAttention, qkv, begins, lengths, heads, dropout, seed)


def segment_softmax(
    scores: Float[Tensor, "R H W W"],
    begins: Int32[Tensor, "R W"],
    ends: Int32[Tensor, "R W"],
    *,
    scale: float,
    dropout: float = 0.0,
    seed: int = 0,
) -> Float[Tensor, "R H W W"]:
    """softmax(scale * scores) over the keys begins[r, i] <= j < ends[r, i] of each query (r, i), exact zeros elsewhere.

    A query with an empty run gets zeros. `dropout` acts on the probabilities.
    """
    _check(scores=scores)
    _check_runs(begins=begins, ends=ends)
    _check_share(dropout)
    return _apply(_SegmentSoftmax, scores, begins, ends, scale, dropout, seed)


def segment_mean(
    hidden: Float[Tensor, "T D"], begins: Int32[Tensor, "N"], lengths: Int32[Tensor, "N"]
) -> Float[Tensor, "N D"]:
    """The mean of each document's rows in float32; of an empty document it is zero. Documents ascend, as above."""
    _check(hidden=hidden)
    _check_runs(begins=begins, lengths=lengths)
    return _apply(_SegmentMean, hidden, begins, lengths)


def cross_entropy_rows(
    scores: Float[Tensor, "m V"], bias: Float32[Tensor, " V"], labels: Int64[Tensor, " m"], *, weight: float
) -> Float64[Tensor, ""]:
    """`weight` times the summed cross-entropy, in nats, of softmax(scores + bias) against the labels, one per row.

    No gradient flows through it: `cross_entropy_rows_` is for training.
    """
    return _cross_entropy(scores, bias, labels, weight, None)


def cross_entropy_rows_(
    scores: Float[Tensor, "m V"],
    bias: Float32[Tensor, " V"],
    labels: Int64[Tensor, " m"],
    *,
    weight: float,
    to_bias: Float32[Tensor, " V"],
) -> Float64[Tensor, ""]:
    """The same, in place: scores become the gradient by the scores, and its columns' sums are added to `to_bias`.

    The gradient is weight * (softmax - one-hot) (Bishop, 2006, eq. 4.109), rounded to the scores' type once; the sums
    are of the unrounded values.
    """
    _check_float32(to_bias=to_bias)
    return _cross_entropy(scores, bias, labels, weight, to_bias)


def _cross_entropy(scores: Tensor, bias: Tensor, labels: Tensor, weight: float, to_bias: Tensor | None) -> Tensor:
    _check(scores=scores)
    _check_float32(bias=bias)
    _check_layout("labels", labels)
    rows, columns = scores.shape
    kernels, losses = _kernels(), torch.empty(rows, dtype=torch.float64)
    partials = None if to_bias is None else torch.empty(kernels.call("cross_entropy_blocks", rows) or 0, columns)
    addresses = (None if t is None else t.data_ptr() for t in (scores, bias, labels, losses, partials, to_bias))
    wrong = kernels.call("cross_entropy", _half(scores), *addresses, rows, columns, weight, torch.get_num_threads())
    if wrong is not None and wrong >= 0:
        raise IndexError(f"label {int(labels[wrong])} of row {wrong} is outside a vocabulary of {columns}")
    return losses.sum()


# ---------------------------------------------------------------------------------------- autograd


def _apply(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    return cast(Tensor, function.apply(*arguments))  # type: ignore[no-untyped-call]


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        _kernels().call("gelu", _half(x), x.data_ptr(), out.data_ptr(), x.numel(), torch.get_num_threads())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dout, dx = dout.contiguous(), torch.empty_like(x)
        where = (x.data_ptr(), dout.data_ptr(), dx.data_ptr())
        _kernels().call("gelu_backward", _half(x), *where, x.numel(), torch.get_num_threads())
        return dx


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float, seed: int) -> Tensor:
        ctx.draw = (share, seed)
        return _dropped(x, *ctx.draw)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        return _dropped(dout.contiguous(), *ctx.draw), None, None


def _dropped(x: Tensor, share: float, seed: int) -> Tensor:
    out = torch.empty_like(x)
    threads = torch.get_num_threads()
    _kernels().call("dropout", _half(x), x.data_ptr(), out.data_ptr(), x.numel(), share, seed, threads)
    return out


class _AddLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float, dropout: float, seed: int
    ) -> Tensor:
        width = x.shape[-1]
        rows = x.numel() // width
        means, rstds = torch.empty(rows), torch.empty(rows)
        out = torch.empty_like(residual)
        addresses = (t.data_ptr() for t in (x, residual, weight, bias, out, means, rstds))
        _kernels().call(
            "layer_norm",
            _half(x),
            _half(residual),
            *addresses,
            rows,
            width,
            eps,
            dropout,
            seed,
            torch.get_num_threads(),
        )
        ctx.save_for_backward(x, residual, weight, means, rstds)
        ctx.draw = (dropout, seed)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        x, residual, weight, means, rstds = ctx.saved_tensors
        dropout, seed = ctx.draw
        rows, width = means.numel(), weight.numel()
        kernels, dout = _kernels(), dout.contiguous()
        dresidual = torch.empty_like(residual)
        # Without dropout both inputs have one and the same gradient: it is written once.
        dx = dresidual if dropout == 0 and x.dtype == residual.dtype else torch.empty_like(x)
        dweight, dbias = torch.empty_like(weight), torch.empty_like(weight)
        partial = torch.empty(kernels.call("layer_norm_blocks", rows) or 0, 2, width)
        tensors = (dout, x, residual, weight, means, rstds, dx, dresidual, dweight, dbias, partial)
        addresses = (t.data_ptr() for t in tensors)
        kernels.call(
            "layer_norm_backward", _half(x), _half(residual), *addresses, rows, width, dropout, seed,
            torch.get_num_threads(),
        )  # fmt: skip
        return dx, dresidual, dweight, dbias, None, None, None


class _VarlenAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, begins: Tensor, lengths: Tensor, heads: int, dropout: float, seed: int
    ) -> Tensor:
        tokens, triple = qkv.shape
        out, normalisers = qkv.new_empty(tokens, triple // 3), torch.empty(tokens, heads, 2)
        addresses = (t.data_ptr() for t in (qkv, out, normalisers, begins, lengths))
        sizes = (begins.numel(), tokens, heads, triple // 3 // heads)
        wrong = _kernels().call("attention", _half(qkv), *addresses, *sizes, dropout, seed, torch.get_num_threads())
        _check_documents(wrong, begins, lengths, tokens)
        ctx.save_for_backward(qkv, begins, lengths, normalisers)
        ctx.draw = (dropout, seed)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        qkv, begins, lengths, normalisers = ctx.saved_tensors
        tokens, heads, _ = normalisers.shape
        dout, dqkv = dout.contiguous(), torch.empty_like(qkv)
        addresses = (t.data_ptr() for t in (qkv, dout, normalisers, dqkv, begins, lengths))
        sizes = (begins.numel(), tokens, heads, qkv.shape[1] // 3 // heads)
        _kernels().call("attention_backward", _half(qkv), *addresses, *sizes, *ctx.draw, torch.get_num_threads())
        return dqkv, None, None, None, None, None


class _SegmentSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, begins: Tensor, ends: Tensor, scale: float, dropout: float, seed: int
    ) -> Tensor:
        rows, heads, width, _ = scores.shape
        out, normalisers = torch.empty_like(scores), torch.empty(rows, heads, width, 2)
        addresses = (t.data_ptr() for t in (scores, begins, ends, out, normalisers))
        ctx.settings = (rows, heads, width, scale, dropout, seed)
        wrong = _kernels().call("segment_softmax", _half(scores), *addresses, *ctx.settings, torch.get_num_threads())
        if wrong is not None and wrong >= 0:
            run = int(begins.flatten()[wrong]), int(ends.flatten()[wrong])
            raise ValueError(f"native segment_softmax was given the keys {run} for query {wrong}, in rows of {width}")
        # Without dropout the output is the probabilities, which the product with the values keeps anyway.
        ctx.save_for_backward(begins, ends, *((scores, normalisers) if dropout > 0 else (out,)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        begins, ends, kept, *rest = ctx.saved_tensors
        normalisers = rest[0].data_ptr() if rest else None
        dout, dscores = dout.contiguous(), torch.empty_like(kept)
        addresses = (
            kept.data_ptr(),
            dout.data_ptr(),
            begins.data_ptr(),
            ends.data_ptr(),
            normalisers,
            dscores.data_ptr(),
        )
        _kernels().call("segment_softmax_backward", _half(kept), *addresses, *ctx.settings, torch.get_num_threads())
        return dscores, None, None, None, None, None


class _SegmentMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, begins: Tensor, lengths: Tensor) -> Tensor:
        tokens, width = hidden.shape
        means = torch.empty(begins.numel(), width)
        addresses = (t.data_ptr() for t in (hidden, means, begins, lengths))
        wrong = _kernels().call(
            "segment_mean", _half(hidden), *addresses, begins.numel(), tokens, width, torch.get_num_threads()
        )
        _check_documents(wrong, begins, lengths, tokens)
        ctx.save_for_backward(begins, lengths)
        ctx.like = (tokens, width, hidden.dtype)
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dmeans: Tensor) -> tuple[Tensor | None, ...]:
        begins, lengths = ctx.saved_tensors
        tokens, width, dtype = ctx.like
        dmeans, dhidden = dmeans.contiguous(), torch.empty(tokens, width, dtype=dtype)
        addresses = (t.data_ptr() for t in (dmeans, dhidden, begins, lengths))
        sizes = (begins.numel(), tokens, width)
        _kernels().call("segment_mean_backward", _half(dhidden), *addresses, *sizes, torch.get_num_threads())
        return dhidden, None, None


# ---------------------------------------------------------------------------------------- what the kernels rely on


def _kernels() -> Library:
    kernels = in_use()
    if kernels is None:
        raise RuntimeError("native kernels were called where there are none: ask library() first (a bug in Shoptalk)")
    return kernels


def _half(tensor: Tensor) -> int:
    return int(tensor.dtype == torch.bfloat16)


def _check(**tensors: Tensor) -> None:
    shape = next(iter(tensors.values())).shape
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.bfloat16):
            _refuse(name, tensor, "float32 or bfloat16")
        _check_layout(name, tensor)
        if tensor.shape != shape:
            _refuse(name, tensor, f"the shape {tuple(shape)}")


def _check_float32(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            _refuse(name, tensor, "float32")
        _check_layout(name, tensor)


def _check_runs(**tensors: Tensor) -> None:
    shape = next(iter(tensors.values())).shape
    for name, tensor in tensors.items():
        if tensor.dtype != torch.int32:
            _refuse(name, tensor, "int32")
        _check_layout(name, tensor)
        if tensor.shape != shape:
            _refuse(name, tensor, f"the shape {tuple(shape)}")


def _check_layout(name: str, tensor: Tensor) -> None:
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        _refuse(name, tensor, "a contiguous tensor on the CPU")


def _refuse(name: str, tensor: Tensor, expected: str) -> None:
    given = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}, strides {tensor.stride()}"
    raise ValueError(f"native kernels take {expected} as {name}, not {given} (a bug in Shoptalk)")


def _check_share(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is a share from 0 up to, not including, 1; given {dropout}")


def _check_documents(wrong: int | None, begins: Tensor, lengths: Tensor, tokens: int) -> None:
    if wrong is not None and wrong >= 0:
        raise ValueError(
            f"documents must ascend and not overlap, within {tokens} tokens; document {wrong} begins at "
            f"{int(begins[wrong])} and has {int(lengths[wrong])} tokens (a bug in Shoptalk)"
        )
