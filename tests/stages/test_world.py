"""What a training of several processes asks before it begins."""

import contextlib
from pathlib import Path

import torch

from shoptalk.config import load
from shoptalk.nn import gather
from shoptalk.stages import world
from shoptalk.training.reporter import Silent
from tests.training.processes import Job, together


def begun(run: Path, devices: tuple[str, str]) -> bool:
    """Begin in a process that has joined the others already, on a device of its own."""
    world.launch.joined = lambda device: contextlib.nullcontext()
    world.best_device = lambda: torch.device(devices[gather.rank()])
    with world.together(run, load(), Silent()) as one:
        return one.first


def test_processes_on_a_cpu_and_on_a_gpu_are_refused_before_anything_is_done_without_talk_of_compilers(tmp_path: Path):
    job = Job(2, begun, tmp_path, ("cpu", "cuda"))
    assert job.statuses() == [2, 2]
    (line,) = filter(None, job.said())
    assert "(cpu: process 0; cuda: process 1)" in line and "CUDA_VISIBLE_DEVICES=-1" in line
    assert "compiler" not in line


def test_processes_on_devices_of_one_kind_begin_together(tmp_path: Path):
    assert together(2, begun, tmp_path, ("cpu", "cpu")) == [True, False]
