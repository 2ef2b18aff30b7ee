"""Dropout by our kernel: where it steps in for torch's, what it keeps, and that training repeats."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shoptalk.nn import fast_dropout as module
from shoptalk.nn.encoder_decoder import target_loss
from shoptalk.nn.fast_dropout import fast_dropout
from shoptalk.nn.native import library, ops
from shoptalk.nn.native.check import dropout_factors
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from shoptalk.text.spans import SourceTarget

needs_kernels = pytest.mark.skipif(library() is None, reason="no compiler for the kernels")


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many elements each draw of the kernel had."""
    sizes: list[int] = []
    dropout = ops.dropout

    def counting(x: Tensor, share: float, *, seed: int) -> Tensor:
        sizes.append(x.numel())
        return dropout(x, share, seed=seed)

    with monkeypatch.context() as patch:
        patch.setattr(module.native, "dropout", counting)
        yield sizes


@needs_kernels
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 9_000), st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 2**63 - 1))
def test_a_mask_is_of_its_seed_and_place_and_the_gradients_mask_is_the_same(count: int, share: float, seed: int):
    x = torch.linspace(1, 2, max(1, count)).requires_grad_()
    expected = dropout_factors(-(-max(1, count) // 4_096), 4_096, share, seed).flatten()[: len(x)]
    out = ops.dropout(x, share, seed=seed)
    (slope,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(out.double(), x.double() * expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-6, atol=0)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_is_dropped_and_the_mean_stays(dtype: torch.dtype, share: float):
    ones = torch.ones(64, 4_099, dtype=dtype)
    torch.manual_seed(0)
    with fast_dropout():
        out = nn.functional.dropout(ones, share)
    assert out.dtype == dtype and out.shape == ones.shape
    kept = float((out != 0).float().mean())
    assert abs(kept - (1 - share)) < 5 * math.sqrt(share * (1 - share) / ones.numel())
    assert set(out.unique().tolist()) == {0.0, float(torch.tensor(1 / (1 - share), dtype=dtype))}


@needs_kernels
def test_the_number_of_threads_changes_nothing():
    x, before = torch.randn(40_000), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(ops.dropout(x, 0.3, seed=5))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


@needs_kernels
@pytest.mark.parametrize("call", [nn.functional.dropout, nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5))])
def test_functions_and_modules_of_torch_use_it_inside_and_not_outside(call: Any, monkeypatch: pytest.MonkeyPatch):
    with counted(monkeypatch) as sizes:
        call(torch.ones(3, 5))
        assert sizes == []
        with fast_dropout():
            call(torch.ones(3, 5))
            call(torch.ones(5, 3).T)
        assert sizes == [15, 15]
        call(torch.ones(3, 5))
        assert sizes == [15, 15]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"p": 0.0}, 1.0),
        ({"p": 1.0}, 0.0),
        ({"p": 0.5, "training": False}, 1.0),
    ],
)
def test_nothing_to_draw_draws_nothing(given: dict[str, Any], expected: float):
    state = torch.get_rng_state()
    with fast_dropout():
        out = nn.functional.dropout(torch.ones(7), **given)
    assert out.tolist() == [expected] * 7
    if given["p"] < 1.0:
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("x", [torch.ones(9, dtype=torch.float64), torch.ones(9, dtype=torch.float16)])
def test_other_types_are_torchs(x: Tensor, monkeypatch: pytest.MonkeyPatch):
    with counted(monkeypatch) as sizes, fast_dropout():
        assert nn.functional.dropout(x, 0.5).dtype == x.dtype
    assert sizes == []


def test_in_place_is_torchs_and_in_place():
    x = torch.ones(50)
    with fast_dropout():
        assert nn.functional.dropout(x, 0.5, inplace=True) is x
    assert (x == 0).any()


def test_without_kernels_torchs_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "library", lambda: None)
    torch.manual_seed(3)
    with fast_dropout():
        inside = nn.functional.dropout(torch.ones(50), 0.5)
    torch.manual_seed(3)
    assert torch.equal(inside, nn.functional.dropout(torch.ones(50), 0.5))


@needs_kernels
def test_an_encoder_decoder_draws_in_training_alone_and_the_same_from_the_same_seed(monkeypatch: pytest.MonkeyPatch):
    model = tiny_encoder_decoder()
    network = model.network
    for part in network.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.5
    batch = model.pairs([SourceTarget(model.ids(["two dogs"])[0], model.ids(["zwei hunde"])[0])])

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return target_loss(network, batch).total.item()

    with counted(monkeypatch) as sizes:
        network.eval()
        assert loss(0) == loss(1)
        assert sizes == []
        network.train()
        assert loss(0) == loss(0) != loss(1)
        assert len(sizes) > 9
