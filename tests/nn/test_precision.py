import pytest
import torch

from shoptalk.nn import precision
from shoptalk.nn.precision import autocast, choose_precision, matmul_rate

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("float32", "bfloat16", "choice"),
    [
        (100.0, 129.0, "float32"),  # near-equal speeds would flip from run to run
        (100.0, 131.0, "bfloat16"),
        (100.0, 5.0, "float32"),
        (50.0, 400.0, "bfloat16"),
        (1e-3, 1.29e-3, "float32"),
    ],
)
def test_bfloat16_must_clearly_win(monkeypatch: pytest.MonkeyPatch, float32: float, bfloat16: float, choice: str):
    rates = {torch.float32: float32, torch.bfloat16: bfloat16}
    monkeypatch.setattr(precision, "matmul_rate", lambda dtype, device, *, size: rates[dtype])
    chosen, measured = choose_precision(CPU)
    assert chosen == choice
    assert measured == {"float32": round(float32, 1), "bfloat16": round(bfloat16, 1)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rate_is_measured_on_this_machine(dtype: torch.dtype):
    # Between a slow emulation and the fastest core there is: a unit wrong by a thousand would show.
    assert 0.05 < matmul_rate(dtype, CPU, size=128, seconds=0.01) < 20_000


def test_float32_changes_nothing_and_bfloat16_changes_the_layers_only():
    layer, x = torch.nn.Linear(3, 2), torch.ones(1, 3)
    with autocast("float32", CPU):
        assert layer(x).dtype == torch.float32
    with autocast("bfloat16", CPU):
        assert layer(x).dtype == torch.bfloat16
        assert layer.weight.dtype == torch.float32
    assert layer(x).dtype == torch.float32
