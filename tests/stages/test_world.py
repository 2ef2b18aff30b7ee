"""What a training of several processes asks before it begins."""

import contextlib
from pathlib import Path

import pytest

from shoptalk.config import load
from shoptalk.nn import gather
from shoptalk.stages import world
from shoptalk.training.reporter import Silent


@pytest.mark.parametrize(("size", "asked"), [(1, []), (2, ["compiled kernels on cpu"])])
def test_several_processes_ask_each_other_what_computes_and_one_alone_compiles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, asked: list[str]
):
    found: list[str] = []
    monkeypatch.setattr(world.launch, "joined", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(world.launch, "refuse_unlike", found.append)
    monkeypatch.setattr(world, "arithmetic", lambda device: "compiled kernels on cpu")
    monkeypatch.setattr(gather, "world_size", lambda: size)
    monkeypatch.setattr(gather, "rank", lambda: 0)
    with world.together(tmp_path, load(), Silent()):
        assert found == asked
