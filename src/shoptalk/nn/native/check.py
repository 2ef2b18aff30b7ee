"""What a library must get right before it is used: every kernel, forward and backward, against plain torch.

The kernels are compiled for whatever processor is there, by whatever compiler: a wrong one must not train a model
quietly. Sizes are odd, so that the ends of rows that fill no vector are met too. (An instruction that the processor
lacks kills the process; no check can catch that. -march=native, and the processor in the library's name, are what make
it unlikely.)
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from shoptalk.nn.native import check_step, ops
from shoptalk.nn.native.handle import Library, on_trial

_Pair = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # computed values, and expected ones
_Named = tuple[str, tuple[Tensor, ...], tuple[Tensor, ...]]

_WIDTH = 37  # no multiple of any vector's width, and more than two of the widest
_SHARE, _SEED = 0.3, -5
_HEADS, _HEAD_WIDTH = 2, 40  # for vectors of 16: a pair, and half of one
# Documents with gaps between them, empty, of one token, and longer than the queries that go through at a time.
_BEGINS, _LENGTHS, _TOKENS = (0, 1, 4, 11), (1, 0, 7, 35), 47


def disagreement(candidate: Library) -> str | None:
    """The first kernel of this library that computes something else than torch does; None where all agree.

    Takes milliseconds, draws nothing from torch's random state, and does not depend on the caller's modes.
    """
    plain = torch.inference_mode(False), torch.autocast("cpu", enabled=False), torch.enable_grad()
    with plain[0], plain[1], plain[2], on_trial(candidate):
        for dtype in (torch.float32, torch.bfloat16):
            name = "what comes first"
            try:
                for name, values, expected in _kernels(dtype):
                    if not all(map(_close, values, expected)):
                        return f"{name} in {dtype}"
            except (ValueError, IndexError) as error:  # a kernel that takes good input for bad
                return f"what comes after {name} in {dtype}: {error}"
    return None


def _kernels(dtype: torch.dtype) -> Iterator[_Named]:
    """Each kernel's name, values and gradients, and what they should be in float64."""
    yield "gelu", *_both(ops.gelu, torch.nn.functional.gelu, _values(5, _WIDTH, dtype=dtype) * 3)
    yield "dropout", *_dropout(dtype)
    for share in (0.0, _SHARE):
        yield "add_layer_norm", *_layer_norm(dtype, share)
        yield "varlen_attention", *_attention(dtype, share)
        yield "segment_softmax", *_segment_softmax(dtype, share)
    yield "segment_mean", *_segment_mean(dtype)
    yield "cross_entropy_rows", *_cross_entropy(dtype)
    yield "few_rows", *check_step.products(_values, dtype)
    yield "llama_step", *check_step.step(_values, dtype)


def _dropout(dtype: torch.dtype) -> _Pair:
    rows, of_row = 2, 4_096  # a row and a part of another, by which the kernel counts
    factors = dropout_factors(rows, of_row, _SHARE, _SEED).flatten()[: of_row + _WIDTH]
    x = _values(of_row + _WIDTH, dtype=dtype)
    return _both(lambda x: ops.dropout(x, _SHARE, seed=_SEED), lambda x: x * factors, x)


def _layer_norm(dtype: torch.dtype, share: float) -> _Pair:
    factors = dropout_factors(5, _WIDTH, share, _SEED)

    def mine(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return ops.add_layer_norm(x, residual, weight, bias, eps=1e-5, dropout=share, seed=_SEED)

    def theirs(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x * factors + residual, (_WIDTH,), weight, bias, eps=1e-5)

    x, residual = _values(5, _WIDTH, dtype=dtype), _values(_WIDTH, 5, dtype=dtype).T.contiguous()
    return _both(mine, theirs, x, residual, _values(_WIDTH), _values(_WIDTH))


def _segment_mean(dtype: torch.dtype) -> _Pair:
    begins, lengths = _documents()
    return _both(
        lambda hidden: ops.segment_mean(hidden, begins, lengths),
        lambda hidden: torch.stack([part.sum(0) / max(1, len(part)) for part in _parts(hidden)]),
        _values(_TOKENS, _WIDTH, dtype=dtype),
    )


def _attention(dtype: torch.dtype, share: float) -> _Pair:
    begins, lengths = _documents()
    longest = max(_LENGTHS)
    factors = dropout_factors(_TOKENS * _HEADS, longest, share, _SEED).view(_TOKENS, _HEADS, longest)

    def expected(qkv: Tensor) -> Tensor:
        mixed = []
        for rows, factor in zip(_parts(qkv), _parts(factors), strict=True):
            q, k, v = rows.view(len(rows), 3, _HEADS, _HEAD_WIDTH).permute(1, 2, 0, 3)
            shares = torch.softmax(q @ k.mT / math.sqrt(_HEAD_WIDTH), -1) * factor[:, :, : len(rows)].transpose(0, 1)
            mixed.append((shares @ v).transpose(0, 1).flatten(1))
        out = qkv.new_zeros(_TOKENS, _HEADS * _HEAD_WIDTH)
        places = [torch.arange(begin, begin + length) for begin, length in zip(_BEGINS, _LENGTHS, strict=True)]
        return out.index_copy(0, torch.cat(places), torch.cat(mixed))

    return _both(
        lambda qkv: ops.varlen_attention(qkv, begins, lengths, _HEADS, dropout=share, seed=_SEED),
        expected,
        _values(_TOKENS, 3 * _HEADS * _HEAD_WIDTH, dtype=dtype),
    )


def _segment_softmax(dtype: torch.dtype, share: float) -> _Pair:
    # Query i sees keys from i/2 on: 37 of them, 20, 5, none ... and most runs neither begin nor end with a vector.
    queries = torch.arange(_WIDTH, dtype=torch.int32)
    begins = (queries // 2)[None]
    ends = torch.minimum(begins + (queries * 16) % 38, torch.tensor(_WIDTH)).to(torch.int32)
    keys = torch.arange(_WIDTH)
    inside = (keys >= begins[..., None]) & (keys < ends[..., None])
    # The columns that dropout counts begin with each run.
    factors = dropout_factors(_HEADS * _WIDTH, _WIDTH, share, _SEED).view(1, _HEADS, _WIDTH, _WIDTH)
    factors = factors.gather(-1, (keys - begins[..., None]).clamp(min=0)[:, None].expand_as(factors))

    def expected(scores: Tensor) -> Tensor:
        raised = (scores * 0.4).exp() * inside[:, None]
        return raised / raised.sum(-1, keepdim=True).clamp(min=1e-30) * factors

    return _both(
        lambda scores: ops.segment_softmax(scores, begins, ends, scale=0.4, dropout=share, seed=_SEED),
        expected,
        _values(1, _HEADS, _WIDTH, _WIDTH, dtype=dtype),
    )


def _cross_entropy(dtype: torch.dtype) -> _Pair:
    rows = 6
    scores, bias, labels = _values(rows, _WIDTH, dtype=dtype), _values(_WIDTH), torch.arange(rows) * 7
    wide = (scores.double() + bias).requires_grad_()
    loss = 0.5 * torch.nn.functional.cross_entropy(wide, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, wide)
    gradients, to_bias = scores.clone(), torch.ones(_WIDTH)
    forward = ops.cross_entropy_rows(gradients, bias, labels, weight=0.5)
    both = ops.cross_entropy_rows_(gradients, bias, labels, weight=0.5, to_bias=to_bias)
    return (forward, both, gradients, to_bias), (loss, loss, gradient, gradient.sum(0) + 1)


def _documents() -> tuple[Tensor, Tensor]:
    return torch.tensor(_BEGINS, dtype=torch.int32), torch.tensor(_LENGTHS, dtype=torch.int32)


def _parts(rows: Tensor) -> list[Tensor]:
    return [rows[begin : begin + length] for begin, length in zip(_BEGINS, _LENGTHS, strict=True)]


def _both(mine: Callable[..., Tensor], theirs: Callable[..., Tensor], *inputs: Tensor) -> _Pair:
    """Values and gradients of both functions, from the same inputs and the same gradient of the output."""
    results = []
    for function, arguments in ((mine, inputs), (theirs, [x.double() for x in inputs])):
        leaves = [x.detach().requires_grad_() for x in arguments]
        out = function(*leaves)
        # A sum, because torch takes most of a second to import what looks at a slope that is given to it.
        slope = _values(*out.shape, dtype=torch.bfloat16)
        results.append((out, *torch.autograd.grad((out.double() * slope).sum(), leaves)))
    return results[0], results[1]


def _close(values: Tensor, expected: Tensor) -> bool:
    """To 1e-5 of the largest value; bfloat16 to a rounding of each value and of what was kept for backward."""
    values, expected = values.detach(), expected.detach()
    error, top = (values.double() - expected).abs(), max(1.0, float(expected.abs().max()))
    half = values.dtype == torch.bfloat16
    return bool((error <= (2**-8 * expected.abs() + 2**-9 * top if half else 1e-5 * top)).all())


def _values(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Standard normal, the same for every shape and seed each time; torch's own random state stays as it is."""
    generator = torch.Generator().manual_seed(sum(shape) + seed)
    return torch.randn(shape, generator=generator).to(dtype)


def dropout_factors(rows: int, columns: int, share: float, seed: int) -> Tensor:
    """[rows, columns] factors of dropout by `simd.h`'s hash, written a second time."""
    if share == 0:
        return torch.ones(rows, columns, dtype=torch.float64)
    key = _splitmix(seed)
    keys = [_splitmix(key + row) for row in range(rows)]
    first, second = (torch.tensor([(key >> shift) & _WORD for key in keys])[:, None] for shift in (0, 32))
    x = torch.arange(columns) ^ first
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _WORD
    x = ((x ^ (x >> 15) ^ second) * 0x735A2D97) & _WORD
    x ^= x >> 15
    return (x >= int(share * 2**32)).double() / (1 - share)


_WORD, _LONG = 2**32 - 1, 2**64 - 1


def _splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _LONG
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _LONG
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _LONG
    return x ^ (x >> 31)
