import ctypes
import dataclasses
import math
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import erf
from torch import Tensor

from shoptalk.nn.native import Library, build, library, ops, use

TYPES = [torch.float32, torch.bfloat16]
needs_kernels = pytest.mark.skipif(library() is None, reason="no C++ compiler, or SHOPTALK_NATIVE=0")


def tensor(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
    values = np.random.default_rng([seed, *shape]).standard_normal(shape) * scale
    return torch.tensor(values, dtype=torch.float32).to(dtype).requires_grad_()


def int32(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """To 1e-5 of the largest value, or to one rounding to bfloat16 of each value and of what was kept for backward."""
    expected, found = expected.detach().double(), found.detach().double()
    top = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * top} if dtype == torch.float32 else {"rtol": 2**-8, "atol": 2**-10 * top}
    torch.testing.assert_close(found, expected, **tolerance)


def agree(mine: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    """Values and gradients of `mine` against `theirs`, which computes in float64 from the same inputs."""
    found, expected = mine(*inputs), theirs(*(x.double() for x in inputs))
    close(found, expected, found.dtype)
    slope = tensor(*found.shape, seed=9, dtype=found.dtype)
    pairs = zip(
        torch.autograd.grad(found, inputs, slope),
        torch.autograd.grad(expected, inputs, slope.double()),
        inputs,
        strict=True,
    )
    for mine_grad, their_grad, x in pairs:
        assert mine_grad.dtype == x.dtype
        # The reference's gradient arrives rounded to the input's type too.
        close(mine_grad, their_grad, torch.bfloat16 if torch.bfloat16 in (x.dtype, found.dtype) else x.dtype)


def in_threads(count: int, run: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return run()
    finally:
        torch.set_num_threads(before)


def same_for_any_threads(run: Callable[[], tuple[Tensor, ...]]) -> None:
    for one, more in zip(in_threads(1, run), in_threads(2, run), strict=True):
        assert torch.equal(one, more)


def with_gradients(run: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    out = run(*inputs)
    return out, *torch.autograd.grad(out, inputs, tensor(*out.shape, seed=5, dtype=out.dtype))


# ---------------------------------------------------------------------------------------------- gelu


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 5), (3, 16, 24), (40_001,)])
def test_gelu_is_x_times_the_normal_distribution_function(dtype: torch.dtype, shape: tuple[int, ...]):
    agree(ops.gelu, torch.nn.functional.gelu, [tensor(*shape, dtype=dtype, scale=3)])


@needs_kernels
def test_gelu_is_exact_to_one_millionth_everywhere():
    x = np.linspace(-12, 12, 200_003, dtype=np.float32)
    wide = x.astype(np.float64)
    share = (1 + erf(wide / math.sqrt(2))) / 2
    given = torch.tensor(x).requires_grad_()
    found = ops.gelu(given)
    assert_allclose(found.detach().numpy(), wide * share, rtol=0, atol=1e-6)
    found.sum().backward()
    assert given.grad is not None
    slope = share + wide * np.exp(-(wide**2) / 2) / math.sqrt(2 * math.pi)
    assert_allclose(given.grad.numpy(), slope, rtol=0, atol=1e-6)


def every_bfloat16() -> Tensor:
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)


@needs_kernels
def test_gelu_in_bfloat16_is_right_to_the_last_bit_for_every_number_there_is():
    x = every_bfloat16()
    x = x[x.isfinite()].requires_grad_()
    found = ops.gelu(x)
    found.sum().backward()
    assert x.grad is not None
    wide = x.detach().double().numpy()
    share = (1 + erf(wide / math.sqrt(2))) / 2
    # Far out the slope is 0 or 1, and the term of the density would be infinity times zero.
    slope = share + np.clip(wide, -50, 50) * np.exp(-(np.clip(wide, -50, 50) ** 2) / 2) / math.sqrt(2 * math.pi)
    for values, exact in ((found.detach(), wide * share), (x.grad, slope)):
        error = np.abs(values.double().numpy() - exact)
        last_bit = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-130))) - 7)
        assert (error <= np.where(np.abs(exact) > 1 / 64, (1 / 2 + 1 / 8) * last_bit, 1e-4 + last_bit)).all()
    far = x.detach().abs() > 5
    assert torch.equal(found[far], x[far].clamp(min=0))
    assert torch.equal(x.grad[far], (x[far] > 0).to(torch.bfloat16))


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
def test_gelus_slope_lets_a_number_that_is_none_through(dtype: torch.dtype):
    x = torch.tensor([0.5, math.nan, 3.0, -7.0], dtype=dtype).requires_grad_()
    ops.gelu(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isnan().tolist() == [False, True, False, False]


# ---------------------------------------------------------------------------------------------- layer norm


def layer_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    total = x + residual
    centred = total - total.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def norm_inputs(rows: int, width: int, x: torch.dtype, residual: torch.dtype) -> list[Tensor]:
    return [
        tensor(rows, width, seed=1, dtype=x),
        (tensor(rows, width, seed=2) * 2 + 3).to(residual).detach().requires_grad_(),
        tensor(width, seed=3),
        tensor(width, seed=4),
    ]


def native_norm(*inputs: Tensor, dropout: float = 0.0, seed: int = 0) -> Tensor:
    return ops.add_layer_norm(*inputs, eps=1e-5, dropout=dropout, seed=seed)


@needs_kernels
@pytest.mark.parametrize("x_type", TYPES)
@pytest.mark.parametrize("residual_type", TYPES)
@pytest.mark.parametrize(("rows", "width"), [(0, 8), (1, 1), (5, 7), (33, 20), (100, 64)])
def test_add_layer_norm_normalises_the_sum(x_type: torch.dtype, residual_type: torch.dtype, rows: int, width: int):
    inputs = norm_inputs(rows, width, x_type, residual_type)
    assert native_norm(*inputs).dtype == residual_type
    agree(native_norm, layer_norm, inputs)


def recovered_factors(rows: int, width: int, dropout: float, seed: int) -> Tensor:
    """The factors that dropout applies to x, read off the output: which of two values the normed sum is nearer to."""
    residual = tensor(rows, width, seed=8).detach()
    ones, zeros = torch.ones(width), torch.zeros(width)
    big = torch.full((rows, width), 1000.0)
    out = ops.add_layer_norm(big, residual, ones, zeros, eps=1e-5, dropout=dropout, seed=seed)
    return (out > 0).float() / (1 - dropout)


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
def test_layer_norms_backward_uses_the_mask_of_its_forward(dtype: torch.dtype):
    factors = recovered_factors(50, 44, 0.3, 7).double()
    inputs = norm_inputs(50, 44, dtype, dtype)
    agree(
        lambda *given: native_norm(*given, dropout=0.3, seed=7),
        lambda x, *rest: layer_norm(x * factors, *rest),
        inputs,
    )


@needs_kernels
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_keeps_its_share_and_is_a_function_of_the_seed(share: float):
    masks = {seed: recovered_factors(400, 128, share, seed) > 0 for seed in (0, 1, 2**40, -1)}
    for seed, mask in masks.items():
        # Five standard deviations, of all elements, of each row and of each column.
        for kept, n in ((mask.float().mean(), mask.numel()), (mask.float().mean(0), 400), (mask.float().mean(1), 128)):
            assert float((kept - (1 - share)).abs().max()) < 5 * math.sqrt(share * (1 - share) / n)
        assert torch.equal(mask, recovered_factors(400, 128, share, seed) > 0)
    first, second = masks[0].float(), masks[1].float()
    agreement = float((first == second).float().mean())
    assert abs(agreement - (share**2 + (1 - share) ** 2)) < 0.01
    # Neighbours along either axis are as independent as the draws of two seeds.
    for shifted in (first.roll(1, 0), first.roll(1, 1)):
        assert abs(float((first == shifted).float().mean()) - (share**2 + (1 - share) ** 2)) < 0.01


@needs_kernels
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_layer_norm_does_not_depend_on_the_number_of_threads(dropout: float):
    inputs = norm_inputs(500, 48, torch.float32, torch.float32)
    same_for_any_threads(lambda: with_gradients(lambda *given: native_norm(*given, dropout=dropout, seed=3), *inputs))


@needs_kernels
def test_the_shared_gradient_of_both_summands_is_not_changed_through_either():
    inputs = norm_inputs(4, 8, torch.float32, torch.float32)
    x, residual = inputs[:2]
    for _ in range(2):  # the second time gradients are added to what is there
        native_norm(*inputs).square().sum().backward()
    assert x.grad is not None
    assert residual.grad is not None
    expected = residual.grad.clone()
    x.grad.zero_()
    assert torch.equal(residual.grad, expected)


# ---------------------------------------------------------------------------------------------- attention


def attention(qkv: Tensor, begins: list[int], lengths: list[int], heads: int, factors: Tensor | None = None) -> Tensor:
    """One document at a time, straight from the definition; `factors` [heads, T, T] multiply the probabilities."""
    width = qkv.shape[1] // 3 // heads
    out = qkv[:, : heads * width] * 0
    for begin, length in zip(begins, lengths, strict=True):
        part = slice(begin, begin + length)
        query, key, value = qkv[part].reshape(length, 3, heads, width).permute(1, 2, 0, 3)
        shares = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(width), -1)
        if factors is not None:
            shares = shares * factors[:, part, part]
        out[part] = (shares @ value).transpose(0, 1).reshape(length, heads * width)
    return out


def laid_out(lengths: list[int], gaps: list[int]) -> tuple[list[int], int]:
    """Where documents begin with these gaps before them, and the number of tokens with one more gap behind."""
    begins, end = [], 0
    for length, gap in zip(lengths, gaps, strict=True):
        begins.append(end + gap)
        end += gap + length
    return begins, end + 2


LENGTHS = [1, 14, 0, 8, 33, 70]
BEGINS, TOKENS = laid_out(LENGTHS, [3, 0, 1, 0, 5, 0])


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("heads", "width"), [(3, 8), (2, 24), (2, 32), (1, 64), (1, 128)])
def test_attention_stays_within_each_document(dtype: torch.dtype, heads: int, width: int):
    begins, lengths = int32(*BEGINS), int32(*LENGTHS)
    agree(
        lambda qkv: ops.varlen_attention(qkv, begins, lengths, heads),
        lambda qkv: attention(qkv, BEGINS, LENGTHS, heads),
        [tensor(TOKENS, 3 * heads * width, dtype=dtype)],
    )


@needs_kernels
@settings(max_examples=40, deadline=None)
@given(
    documents=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=6),
    heads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_attention_over_any_documents_and_gaps(documents: list[tuple[int, int]], heads: int, seed: int):
    lengths, gaps = [length for length, _ in documents], [gap for _, gap in documents]
    begins, tokens = laid_out(lengths, gaps)
    qkv = tensor(tokens, 3 * heads * 8, seed=seed)
    found, slope = with_gradients(lambda x: ops.varlen_attention(x, int32(*begins), int32(*lengths), heads), qkv)
    expected, expected_slope = with_gradients(
        lambda x: attention(x, begins, lengths, heads), qkv.detach().double().requires_grad_()
    )
    close(found, expected, torch.float32)
    close(slope, expected_slope, torch.float32)
    outside = torch.ones(tokens, dtype=torch.bool)
    for begin, length in zip(begins, lengths, strict=True):
        outside[begin : begin + length] = False
    assert not found[outside].any()
    assert not slope[outside].any()


@needs_kernels
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_documents_do_not_see_each_other(dropout: float):
    begins, lengths = int32(*BEGINS), int32(*LENGTHS)

    def run(qkv: Tensor) -> tuple[Tensor, ...]:
        return with_gradients(lambda x: ops.varlen_attention(x, begins, lengths, 2, dropout=dropout, seed=4), qkv)

    qkv = tensor(TOKENS, 3 * 2 * 16)
    changed = qkv.detach().clone()
    changed[BEGINS[4] : BEGINS[4] + LENGTHS[4]] = math.nan
    others = torch.ones(TOKENS, dtype=torch.bool)
    others[BEGINS[4] : BEGINS[4] + LENGTHS[4]] = False
    for before, after in zip(run(qkv), run(changed.requires_grad_()), strict=True):
        assert torch.equal(before[others], after[others])
        assert after[~others].isnan().all()


def attention_factors(length: int, heads: int, dropout: float, seed: int) -> Tensor:
    """[heads, length, length] factors on the probabilities: with equal keys and one-hot values they are the output."""
    width = -(-length // 8) * 8
    qkv = torch.zeros(length, 3, heads, width)
    qkv[:, 2, :, :length] = torch.eye(length).unsqueeze(1)
    out = ops.varlen_attention(qkv.flatten(1), int32(0), int32(length), heads, dropout=dropout, seed=seed)
    return out.view(length, heads, width)[:, :, :length].transpose(0, 1) * length


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
def test_attentions_backward_uses_the_mask_of_its_forward(dtype: torch.dtype):
    factors = attention_factors(90, 2, 0.25, 11)
    kept = factors > 0
    torch.testing.assert_close(factors[kept], torch.full_like(factors[kept], 1 / 0.75))
    assert abs(float(kept.float().mean()) - 0.75) < 0.02
    assert not torch.equal(kept, attention_factors(90, 2, 0.25, 12) > 0)
    assert not torch.equal(kept[0], kept[1])
    agree(
        lambda qkv: ops.varlen_attention(qkv, int32(0), int32(90), 2, dropout=0.25, seed=11),
        lambda qkv: attention(qkv, [0], [90], 2, factors.double()),
        [tensor(90, 3 * 2 * 32, dtype=dtype)],
    )


@needs_kernels
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_does_not_depend_on_the_number_of_threads(dropout: float):
    begins, lengths, qkv = int32(*BEGINS), int32(*LENGTHS), tensor(TOKENS, 3 * 4 * 32)
    same_for_any_threads(
        lambda: with_gradients(lambda x: ops.varlen_attention(x, begins, lengths, 4, dropout=dropout, seed=2), qkv)
    )


@needs_kernels
def test_large_scores_do_not_overflow():
    qkv = tensor(20, 3 * 16, scale=30)  # scores of thousands, which float32 knows to 1e-4
    found, slope = with_gradients(lambda x: ops.varlen_attention(x, int32(0), int32(20), 1), qkv)
    expected = attention(qkv.double(), [0], [20], 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
    assert slope.isfinite().all()


# ---------------------------------------------------------------------------------------------- segment softmax

RUN_BEGINS = torch.tensor([[0, 0, 0, 3, 3, 5, 5, 5, 5, 0, 0], [0, 2, 4, 1, 10, 0, 11, 3, 3, 3, 9]], dtype=torch.int32)
RUN_ENDS = torch.tensor(
    [[3, 3, 3, 5, 5, 9, 9, 9, 9, 0, 0], [11, 3, 4, 11, 11, 10, 11, 11, 4, 5, 10]], dtype=torch.int32
)


def segment_softmax(scores: Tensor, begins: Tensor, ends: Tensor, scale: float) -> Tensor:
    keys = torch.arange(scores.shape[-1])
    inside = ((keys >= begins[..., None]) & (keys < ends[..., None]))[:, None]
    weights = torch.exp(scores * scale - (scores * scale).detach().amax(-1, keepdim=True)) * inside
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)


def wide_runs(width: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(width)
    begins = rng.integers(0, width, (2, width))
    ends = np.minimum(width, begins + rng.integers(0, width + 1, (2, width)))
    return torch.tensor(begins, dtype=torch.int32), torch.tensor(ends, dtype=torch.int32)


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("runs", [(RUN_BEGINS, RUN_ENDS), wide_runs(8), wide_runs(45)])
def test_segment_softmax_shares_within_each_querys_run(dtype: torch.dtype, runs: tuple[Tensor, Tensor]):
    begins, ends = runs
    scores = tensor(2, 3, begins.shape[1], begins.shape[1], dtype=dtype, scale=2)
    agree(
        lambda x: ops.segment_softmax(x, begins, ends, scale=0.3),
        lambda x: segment_softmax(x, begins, ends, 0.3),
        [scores],
    )
    found = ops.segment_softmax(scores, begins, ends, scale=0.3)
    keys = torch.arange(begins.shape[1])
    outside = ((keys < begins[..., None]) | (keys >= ends[..., None]))[:, None].expand_as(found)
    assert not found[outside].any()


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shift", [0.0, -400.0])
def test_segment_softmaxs_backward_uses_the_mask_of_its_forward(dtype: torch.dtype, shift: float):
    flat = torch.zeros(2, 3, 45, 45)
    begins, ends = wide_runs(45)

    def run(scores: Tensor) -> Tensor:
        return ops.segment_softmax(scores, begins, ends, scale=0.5, dropout=0.4, seed=6)

    counts = (ends - begins).clamp(min=1)[:, None, :, None]
    factors = run(flat) * counts
    assert abs(float((factors > 0).sum() / (3 * (ends - begins).sum())) - 0.6) < 0.02
    scores = (tensor(2, 3, 45, 45, scale=2) + shift).to(dtype).detach().requires_grad_()
    agree(run, lambda x: segment_softmax(x, begins, ends, 0.5) * factors.double(), [scores])


@needs_kernels
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_empty_run_gives_zeros_wherever_it_is(dropout: float):
    begins, ends = int32(-3, 40, 9).view(1, 3), int32(-7, 40, 2).view(1, 3)
    found = with_gradients(
        lambda x: ops.segment_softmax(x, begins, ends, scale=1.0, dropout=dropout), tensor(1, 2, 3, 3)
    )
    assert not any(part.any() for part in found)


@needs_kernels
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_segment_softmax_does_not_depend_on_the_number_of_threads(dropout: float):
    begins, ends = wide_runs(45)
    scores = tensor(2, 3, 45, 45)
    same_for_any_threads(
        lambda: with_gradients(
            lambda x: ops.segment_softmax(x, begins, ends, scale=1.0, dropout=dropout, seed=1), scores
        )
    )


# ---------------------------------------------------------------------------------------------- segment mean


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", [1, 8, 37])
def test_segment_mean_averages_each_documents_rows(dtype: torch.dtype, width: int):
    def mean(hidden: Tensor) -> Tensor:
        parts = [hidden[begin : begin + length] for begin, length in zip(BEGINS, LENGTHS, strict=True)]
        return torch.stack([part.sum(0) / max(1, len(part)) for part in parts])

    def mine(hidden: Tensor) -> Tensor:
        return ops.segment_mean(hidden, int32(*BEGINS), int32(*LENGTHS))

    hidden = tensor(TOKENS, width, dtype=dtype)
    agree(mine, mean, [hidden])
    same_for_any_threads(lambda: with_gradients(mine, hidden))


# ---------------------------------------------------------------------------------------------- cross-entropy


def cross_entropy(scores: np.ndarray, labels: np.ndarray, weight: float) -> tuple[float, np.ndarray]:
    """Bishop 2006, equations 4.108 and 4.109, in double precision."""
    raised = np.exp(scores - scores.max(1, keepdims=True))
    shares = raised / raised.sum(1, keepdims=True)
    at_labels = shares[np.arange(len(labels)), labels]
    return float(-np.log(at_labels).sum() * weight), weight * (shares - np.eye(scores.shape[1])[labels])


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "columns"), [(0, 5), (1, 1), (4, 8), (7, 37), (150, 100), (301, 18)])
def test_cross_entropy_of_rows_and_the_gradient_in_their_place(dtype: torch.dtype, rows: int, columns: int):
    scores = (tensor(rows, columns, scale=4) + 50).detach().to(dtype)
    bias = tensor(columns, seed=1).detach()
    labels = torch.tensor(np.random.default_rng(0).integers(0, columns, rows))
    expected, gradient = (
        cross_entropy(scores.double().numpy() + bias.double().numpy(), labels.numpy(), 0.3)
        if rows
        else (0.0, np.zeros((0, columns)))
    )
    before = scores.clone()
    alone = ops.cross_entropy_rows(scores, bias, labels, weight=0.3)
    assert torch.equal(scores, before)
    to_bias = torch.full((columns,), 2.0)
    assert ops.cross_entropy_rows_(scores, bias, labels, weight=0.3, to_bias=to_bias) == alone
    assert alone.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    close(scores, torch.tensor(gradient), dtype)
    assert_allclose(to_bias.numpy(), 2 + gradient.sum(0), rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
def test_the_columns_sums_do_not_depend_on_the_number_of_threads(dtype: torch.dtype):
    bias, labels = tensor(5000, seed=1).detach(), torch.arange(203) * 7

    def run() -> tuple[Tensor, ...]:
        scores, to_bias = tensor(203, 5000).detach().to(dtype), torch.ones(5000)
        return ops.cross_entropy_rows_(scores, bias, labels, weight=0.01, to_bias=to_bias), scores, to_bias

    same_for_any_threads(run)


@needs_kernels
@pytest.mark.parametrize("dtype", TYPES)
def test_a_word_that_is_out_of_the_question_gets_an_exact_zero(dtype: torch.dtype):
    scores, to_bias = torch.zeros(5, 20, dtype=dtype), torch.zeros(20)
    bias = torch.zeros(20)
    bias[3], bias[17] = -100.0, -math.inf
    loss = ops.cross_entropy_rows_(scores, bias, torch.zeros(5, dtype=torch.int64), weight=1.0, to_bias=to_bias)
    assert loss.item() == pytest.approx(5 * math.log(18), rel=1e-6)
    assert not scores[:, [3, 17]].any()
    assert not to_bias[[3, 17]].any()


# ---------------------------------------------------------------------------------------------- all of them


@needs_kernels
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_number_that_is_not_finite_is_seen_behind_every_operation(value: float, dtype: torch.dtype):
    x = torch.zeros(4, 48, dtype=dtype)
    x[1, 5] = value
    weight, bias = torch.ones(48), torch.zeros(48)
    runs = torch.zeros(1, 4, dtype=torch.int32), torch.full((1, 4), 4, dtype=torch.int32)
    scores = torch.zeros(1, 1, 4, 4, dtype=dtype)
    scores[0, 0, 1, 2] = value
    results = [
        ops.gelu(x),
        ops.add_layer_norm(x, x, weight, bias, eps=1e-5),
        ops.varlen_attention(x, int32(0), int32(4), 2),
        ops.segment_softmax(scores, *runs, scale=1.0),
        ops.segment_mean(x, int32(0), int32(4)),
        ops.cross_entropy_rows(x, torch.zeros(48), torch.zeros(4, dtype=torch.int64), weight=1.0),
    ]
    for result in results:
        assert not result.isfinite().all()


@needs_kernels
def test_gradients_may_arrive_strided():
    qkv = tensor(10, 3 * 16)
    ops.varlen_attention(qkv, int32(0), int32(10), 2).sum().backward()  # an expanded scalar
    x = tensor(3, 4)
    ops.gelu(x).t().contiguous().t().sum().backward()
    assert x.grad is not None
    assert qkv.grad is not None
    assert qkv.grad.isfinite().all()


@needs_kernels
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.gelu(torch.zeros(4, 4).t()[:2]), "contiguous tensor on the CPU as x"),
        (lambda: ops.gelu(torch.zeros(4, dtype=torch.float64)), "float32 or bfloat16 as x, not torch.float64"),
        (lambda: ops.gelu(torch.zeros(4, device="meta")), "on the CPU as x, not .* on meta"),
        (
            lambda: native_norm(*norm_inputs(2, 8, *TYPES)[:2], torch.ones(8, dtype=torch.bfloat16), torch.ones(8)),
            "float32 as weight",
        ),
        (lambda: native_norm(*norm_inputs(2, 8, *TYPES), dropout=1.0), "dropout is a share .* given 1.0"),
        (
            lambda: ops.varlen_attention(torch.zeros(4, 36), int32(0), int32(4), 1),
            "rows of 36 for 1 heads; it takes heads that are 8 to 128 wide, in steps of 8",
        ),
        (lambda: ops.varlen_attention(torch.zeros(4, 24), int32(0, 2), int32(3, 2), 1), "document 1 begins at 2"),
        (lambda: ops.varlen_attention(torch.zeros(4, 24), int32(2), int32(3), 1), "within 4 tokens; document 0"),
        (lambda: ops.segment_mean(torch.zeros(4, 24), int32(-1), int32(3)), "document 0 begins at -1"),
        (lambda: ops.segment_mean(torch.zeros(4, 24), torch.zeros(1, dtype=torch.int64), int32(3)), "int32|jaxtyping"),
        (
            lambda: ops.segment_softmax(torch.zeros(1, 1, 2, 2), *int32(0, 1, 1, 3).view(2, 1, 2), scale=1.0),
            r"the keys \(1, 3\) for query 1, in rows of 2",
        ),
    ],
)
def test_what_the_kernels_cannot_take_is_refused(call: Callable[[], Tensor], message: str):
    with pytest.raises(Exception, match=rf"(?s){message}"):
        call()


@needs_kernels
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_kernels_run_on_the_threads_of_torch():
    found = library()
    assert found is not None
    assert found.shared_pool
    x = torch.zeros(400_000)

    def threads_after(run: Callable[[Tensor], Tensor]) -> int:
        in_threads(2, lambda: (run(x),))
        return len(list(Path("/proc/self/task").iterdir()))

    # A pool of its own would be one more thread.
    assert threads_after(torch.exp) == threads_after(ops.gelu) == threads_after(torch.exp)


# ---------------------------------------------------------------------------------------------- checking


def wrong_in_one_value(name: str, place: int, half: bool) -> Library:
    """The library, but one kernel's output (the argument at `place`) has a 7 in it, in one of the two types."""
    found = library()
    assert found is not None
    kernel = found.functions[name]

    def run(*arguments: int | float | None) -> int | None:
        result = kernel(*arguments)
        address = arguments[place]
        if bool(arguments[0]) == half and isinstance(address, int):
            value = ctypes.c_double if (name, place) == ("cross_entropy", 4) else ctypes.c_float
            value.from_address(address).value = 7.0  # two values in bfloat16, the second of them 7
        return result

    return dataclasses.replace(found, functions={**found.functions, name: run})


# Every kernel, and where among its arguments its outputs are.
OUTPUTS = {
    "gelu": [2],
    "dropout": [2],
    "gelu_backward": [3],
    "layer_norm": [6],
    "layer_norm_backward": [8, 9, 10, 11],
    "attention": [2],
    "attention_backward": [4],
    "segment_softmax": [4],
    "segment_softmax_backward": [6],
    "segment_mean": [2],
    "segment_mean_backward": [2],
    "cross_entropy": [1, 4, 6],
    "few_rows": [3],
    "llama_step": [11],
}


@needs_kernels
def test_a_right_library_passes_its_check_and_leaves_the_random_state_alone(capsys: pytest.CaptureFixture[str]):
    found, state = library(), torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert use.checked(found) is found
    assert torch.equal(torch.get_rng_state(), state)
    assert capsys.readouterr().err == ""


def test_every_kernel_is_checked():
    assert set(OUTPUTS) == {name for name in build._SIGNATURES if not name.endswith("_blocks")} - {"set_fork"}


@needs_kernels
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in OUTPUTS.items() for place in places])
def test_a_library_that_is_wrong_in_one_value_is_refused(
    name: str, place: int, half: bool, capsys: pytest.CaptureFixture[str]
):
    assert use.checked(wrong_in_one_value(name, place, half)) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert "the compiled CPU kernels are wrong on this machine" in line
    assert f"{name.removesuffix('_backward')}" in line
    assert f"in {TYPES[half]}" in line
    assert library() is not None  # which was not the one on trial


@needs_kernels
def test_a_library_that_finds_fault_with_good_input_is_refused(capsys: pytest.CaptureFixture[str]):
    found = library()
    assert found is not None
    candidate = dataclasses.replace(found, functions={**found.functions, "attention": lambda *arguments: 1})
    assert use.checked(candidate) is None
    assert "document 1 begins at" in capsys.readouterr().err


@needs_kernels
def test_what_a_compiler_made_of_a_wrong_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found, compiler = library(), build._compiler()
    assert found is not None
    assert compiler is not None
    shutil.copytree(build.SOURCES, tmp_path / "sources")
    source = tmp_path / "sources" / "segment_mean.cpp"
    text = source.read_text(encoding="utf-8")
    # Wrong only in what is left over when whole vectors are done.
    right, wrong = "store_part(mean + c, sum * share, width - c)", "store_part(mean + c, sum, width - c)"
    assert right in text
    source.write_text(text.replace(right, wrong), encoding="utf-8")
    monkeypatch.setattr(build, "_FLAGS", ("-std=c++17", "-O0", "-fPIC"))
    build._compile(compiler, [source], tmp_path / "wrong.so")
    kernel = ctypes.CDLL(str(tmp_path / "wrong.so")).shoptalk_segment_mean
    kernel.restype, kernel.argtypes = build._SIGNATURES["segment_mean"]
    candidate = dataclasses.replace(found, functions={**found.functions, "segment_mean": kernel})
    assert use.checked(candidate) is None
    assert "segment_mean in torch.float32" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- building


def test_nobody_asks_for_the_library_in_vain(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOPTALK_NATIVE", "0")
    assert library() is None
    with pytest.raises(RuntimeError, match=r"ask library\(\) first"):
        ops.gelu(torch.zeros(3))


def without_a_warning(folder: Path) -> Library | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return build.build(folder)


def test_without_a_compiler_there_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert without_a_warning(tmp_path) is None


@pytest.mark.skipif(not Path("/bin/false").exists() and not Path("/usr/bin/false").exists(), reason="needs `false`")
def test_a_compiler_that_fails_leaves_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "false")
    assert without_a_warning(tmp_path) is None


def test_a_cache_folder_that_cannot_be_made_leaves_no_library(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert without_a_warning(tmp_path / "file" / "cache") is None


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A cache folder that holds what the user's own one holds."""
    found = library()
    assert found is not None
    for path in (found.path, found.path.with_suffix(".sha256")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def pretend_to_compile(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Compiling takes seconds: what would be made is what was made before."""
    made: list[Path] = []
    source = library()
    assert source is not None

    def compile_again(compiler: str, sources: list[Path], path: Path) -> None:
        for suffix in (".so", ".sha256"):
            fresh = path.with_suffix(".fresh")
            fresh.write_bytes(source.path.with_suffix(suffix).read_bytes())
            fresh.replace(path.with_suffix(suffix))
        made.append(path)

    monkeypatch.setattr(build, "_compile", compile_again)
    return made


@needs_kernels
def test_what_is_compiled_is_opened_again(copied: Path, monkeypatch: pytest.MonkeyPatch):
    made = pretend_to_compile(monkeypatch)
    assert build.build(copied) is not None
    assert made == []


@needs_kernels
@pytest.mark.parametrize("damage", ["cut short", "changed", "no hash", "gone"])
def test_a_damaged_library_is_rebuilt(damage: str, copied: Path, monkeypatch: pytest.MonkeyPatch):
    made = pretend_to_compile(monkeypatch)
    (path,) = copied.glob("*.so")
    content = path.read_bytes()
    if damage == "no hash":
        path.with_suffix(".sha256").unlink()
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut short" else content[:-100] + bytes(100))
    found = build.build(copied)
    assert found is not None
    assert made == [path]
    assert path.read_bytes() == content


def test_only_the_newest_libraries_stay_and_always_the_one_in_use(tmp_path: Path):
    paths = [tmp_path / f"kernels-{number}.so" for number in range(7)]
    for age, path in enumerate(paths):
        for suffix in (".so", ".sha256", ".lock"):
            path.with_suffix(suffix).write_text("")
        os.utime(path, (1000 - age, 1000 - age))
    (tmp_path / "mine.so").write_text("")
    build._prune(tmp_path, paths[6])  # the oldest: its file came with another time
    left = {*paths[: build.KEPT - 1], paths[6]}
    assert {path.with_suffix("") for path in left} == {path.with_suffix("") for path in tmp_path.glob("kernels-*")}
    assert (tmp_path / "mine.so").exists()


@needs_kernels
def test_compiling_prunes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = pretend_to_compile(monkeypatch)
    for number in range(build.KEPT + 2):
        (tmp_path / f"kernels-{number}.so").write_text("")
    assert build.build(tmp_path) is not None
    assert len(list(tmp_path.glob("*.so"))) == build.KEPT
    assert made[0].exists()


@needs_kernels
def test_other_sources_compilers_and_flags_have_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    compiler = build._compiler()
    assert compiler is not None
    names = {build._key(compiler)}
    with monkeypatch.context() as patch:
        patch.setattr(build, "_processor", lambda: ("another",))
        names.add(build._key(compiler))
    with monkeypatch.context() as patch:
        patch.setattr(build, "_FLAGS", ("-O0",))
        names.add(build._key(compiler))
    with monkeypatch.context() as patch:
        (tmp_path / "other.cpp").write_text("// other\n", encoding="utf-8")
        patch.setattr(build, "SOURCES", tmp_path)
        names.add(build._key(compiler))
    assert len(names) == 4


@needs_kernels
def test_a_small_source_is_really_compiled_once_by_two_processes(tmp_path: Path):
    (tmp_path / "one.cpp").write_text(
        'extern "C" __attribute__((visibility("default"))) int shoptalk_answer() { return 42; }\n', encoding="utf-8"
    )
    script = (
        "import sys, pathlib\n"
        "from shoptalk.nn.native import build\n"
        "build.SOURCES = pathlib.Path(sys.argv[1])\n"
        "build._open = lambda path: print(path)\n"
        "build.build(pathlib.Path(sys.argv[1]) / 'cache')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ.copy()) for _ in range(2)]
    printed = {run.communicate(timeout=120)[0].strip() for run in runs}
    (path,) = printed
    assert ctypes.CDLL(path).shoptalk_answer() == 42
    assert {file.suffix for file in Path(path).parent.iterdir()} == {".so", ".sha256", ".lock"}
