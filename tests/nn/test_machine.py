import os
from pathlib import Path

import pytest
import torch

from shoptalk.nn import machine, precision
from shoptalk.nn.machine import prepare, usable_cores
from shoptalk.nn.native import library
from tests.toyworld import small_spec, toy_world

BOUND = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", BOUND),
        ("50000 100000", 1),  # half a core is one thread
        ("100000 100000", 1),
        (f"{1000 * 100000} 100000", BOUND),
        ("nonsense", BOUND),
    ],
)
def test_a_containers_quota_limits_the_threads(tmp_path: Path, quota: str, cores: int):
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == cores


def test_without_a_quota_the_cores_are_those_the_process_is_bound_to(tmp_path: Path):
    assert usable_cores(tmp_path / "none") == BOUND


def test_threads_that_the_user_set_are_obeyed(monkeypatch: pytest.MonkeyPatch):
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    prepare.cache_clear()
    try:
        found = prepare(torch.device("cpu"))
        assert found.threads == threads == torch.get_num_threads()
        assert found.kernels == (library() is not None)
        assert str(found).startswith(f"{threads} thread{'s' if threads > 1 else ''}, ")
    finally:
        prepare.cache_clear()


@pytest.mark.skipif(library() is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    ("objective", "served"), [("mlm", True), ("span", True), ("clip", True), ("clm", False), ("mae", False)]
)
def test_compiled_kernels_compute_only_the_networks_that_they_serve_and_only_where_they_are_in_use(
    monkeypatch: pytest.MonkeyPatch, objective: str, served: bool
):
    monkeypatch.setenv("SHOPTALK_NATIVE", "1")
    network = toy_world(small_spec(objective)).product.network
    words = "compiled kernels on cpu" if served else "kernels of torch alone on cpu"
    assert machine.arithmetic(network) == words
    monkeypatch.setenv("SHOPTALK_NATIVE", "0")
    assert machine.arithmetic(network) == "kernels of torch alone on cpu"


def test_what_computes_names_the_kind_of_device_that_the_network_is_on():
    network = toy_world(small_spec("mlm")).product.network.to("meta")
    assert machine.arithmetic(network) == "kernels of torch alone on meta"


@pytest.mark.parametrize(
    ("device", "rates", "choice"),
    [
        # GFLOP/s as measured or published for kinds of machines; on none of them is bfloat16 assumed.
        ("cpu", {"float32": 95.0, "bfloat16": 0.3}, "float32"),  # AVX2 alone: bfloat16 is emulated
        ("cpu", {"float32": 285.0, "bfloat16": 1940.0}, "bfloat16"),  # AMX
        ("cpu", {"float32": 285.0, "bfloat16": 180.0}, "float32"),  # the same, told to use AVX-512 without bfloat16
        ("mps", {"float32": 2500.0, "bfloat16": 2600.0}, "float32"),  # Apple: no faster, so not worth the rounding
        ("cuda", {"float32": 19_500.0, "bfloat16": 250_000.0}, "bfloat16"),
        ("cuda", {"float32": 8_000.0, "bfloat16": 600.0}, "float32"),  # GPUs from before bfloat16
    ],
)
def test_precision_follows_the_clock_on_every_kind_of_machine(
    monkeypatch: pytest.MonkeyPatch, device: str, rates: dict[str, float], choice: str
):
    measured = {getattr(torch, name): rate for name, rate in rates.items()}
    monkeypatch.setattr(precision, "matmul_rate", lambda dtype, device, *, size: measured[dtype])
    assert precision.choose_precision(torch.device(device))[0] == choice
