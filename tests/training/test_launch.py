"""One process, two or three: the same losses, the same snapshots, and one exit status for all.

Tolerances: processes add the same numbers up in another order, and AdamW's division carries that on. Over ten steps
at a rate of 1e-3 losses agree to `TOLERANCE` of their objective in float32, whatever the number of processes: five
times the largest difference that was seen with AVX2 and with AVX-512, rounded up to a power of ten.
"""

import os
import shutil
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shoptalk.artifact import create
from shoptalk.errors import ConfigError, StorageError
from shoptalk.nn import gather
from shoptalk.nn.encoder import embed
from shoptalk.nn.low_rank import LoraSettings
from shoptalk.objectives import OBJECTIVES
from shoptalk.text import batching, source_target
from shoptalk.training import launch, snapshot
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.loop import LoopConfig, train
from tests.toyworld import MIXTURE, small_spec, toy_world
from tests.training.processes import Job, together

RELATIVE = 1e-5
"""Of any objective."""
TOLERANCE = dict.fromkeys((*OBJECTIVES, MIXTURE), 1e-6) | dict.fromkeys(
    # These divide similarities by a temperature, or compare vectors with a moving teacher's, which magnifies.
    ("simcse", "turns", "neighbours", "distil", "byol_text", "simclr", "dino", "clip"),
    RELATIVE,
)
TOLERANCE["byol"] = 1e-4
"""Batch norms stand behind each other in encoder, projector and predictor, and each divides by a deviation."""
CONFIG = LoopConfig(steps=10, batch=16, lr=1e-3, seed=3)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """What to train, and how a batch falls into groups that processes can share."""

    name: str
    shared_cells: int = 64
    """In place of batching.SHARED_CELLS: so few that even the toy's batches have two groups; many for only one."""
    native: bool = True
    """The kernels of `nn/native`; their dropout is another one than torch's, and sharded models use torch's."""
    rank: int = 0
    """Of low-rank adaptations of a language model."""


def training_of(setting: Setting, folder: Path, config: LoopConfig, *, seconds: float = float("inf")) -> Training:
    batching.SHARED_CELLS = setting.shared_cells
    source_target.GROUP_CELLS, source_target.GROUP_COST = 8 * setting.shared_cells, setting.shared_cells
    os.environ["SHOPTALK_NATIVE"] = str(int(setting.native))
    spec = small_spec(setting.name, config.batch)
    world = toy_world(spec.model_copy(update={"lora": LoraSettings(rank=setting.rank)}) if setting.rank else spec)
    return Training.build(
        world.spec,
        corpus=world.corpus,
        inputs=world.tokens,
        product=world.product,
        targets=world.targets,
        config=replace(config, head_rate=world.spec.head_rate),
        folder=folder,
        snapshot_seconds=seconds,
    )


def token_batches(batch: Any) -> list[Any]:
    """All that an objective's batch holds for encoders and decoders to read."""
    if isinstance(batch, batching.TokenBatch | source_target.SourceTargetBatch):
        return [batch]
    inside = batch if isinstance(batch, tuple) else vars(batch).values() if hasattr(batch, "__dict__") else ()
    return [found for part in inside for found in token_batches(part)]


def trained(
    setting: Setting, folder: Path, config: LoopConfig = CONFIG, until: int | None = None
) -> tuple[list[float], list[float]]:
    """Every step's loss, and the sums of all whole parameters at the end."""
    training = training_of(setting, folder, config)
    collate, groups = training.collate, set()

    def counted(*arguments: Any) -> Any:
        batch = collate(*arguments)
        groups.update(len(part.groups) for part in token_batches(batch))
        return batch

    training = replace(training, collate=counted)
    losses = [step.loss for step in advance(training, until=until or config.steps)]
    # Pictures are shared by rows, not by groups.
    assert not groups or (min(groups) >= 2) == (setting.shared_cells == 64), groups
    return losses, [float(gather.whole(p.detach()).double().sum()) for p in training.objective.parameters()]


def many(jobs: list[tuple[Any, ...]]) -> list[Any]:
    """Several trainings one after the other in the same processes."""
    return [trained(*job) for job in jobs]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `training_of` sets is set back."""
    monkeypatch.setattr(batching, "SHARED_CELLS", batching.SHARED_CELLS)
    for name in ("GROUP_CELLS", "GROUP_COST"):
        monkeypatch.setattr(source_target, name, getattr(source_target, name))
    monkeypatch.setenv("SHOPTALK_NATIVE", os.environ.get("SHOPTALK_NATIVE", "1"))


def agree_with(one: list[float], other: list[float]) -> None:
    assert len(one) == len(other)
    np.testing.assert_allclose(other, one, rtol=RELATIVE)


# ------------------------------------------------------------------------------------------- the same losses


@pytest.mark.slow
def test_every_objective_has_the_same_losses_on_one_and_on_two_processes(tmp_path: Path):
    settings = [Setting(name) for name in (*OBJECTIVES, MIXTURE)]
    first, second = together(2, many, [(setting, tmp_path / "two" / setting.name) for setting in settings])
    differ: dict[str, float] = {}
    for setting, (losses, weights), (seen, kept) in zip(settings, first, second, strict=True):
        assert losses == seen and weights == kept, f"{setting.name}: the two processes differ"
        alone, _ = trained(setting, tmp_path / "one" / setting.name)
        differ[setting.name] = float(np.abs(np.divide(losses, alone) - 1).max())
        assert losses[0] != losses[-1], setting.name
        rows = read_log(tmp_path / "two" / setting.name)
        assert [row["loss"] for row in rows] == losses, setting.name  # one process wrote
    assert {name: largest for name, largest in differ.items() if not largest <= TOLERANCE[name]} == {}


@pytest.mark.slow
def test_losses_in_bfloat16_are_those_of_one_process_to_its_rounding(tmp_path: Path):
    settings, config = [Setting(name) for name in ("mlm", "neighbours")], replace(CONFIG, precision="bfloat16")
    found = together(2, many, [(setting, tmp_path / "two" / setting.name, config) for setting in settings])[0]
    for setting, (losses, _) in zip(settings, found, strict=True):
        alone, _ = trained(setting, tmp_path / "one" / setting.name, config)
        np.testing.assert_allclose(losses, alone, rtol=2**-7, err_msg=setting.name)


def test_a_batch_of_one_group_trains_on_two_processes_too(tmp_path: Path):
    settings = [Setting(name, shared_cells=10**6) for name in ("mlm", "turns", "span")]
    config = replace(CONFIG, steps=4)
    found = together(2, many, [(setting, tmp_path / "two" / setting.name, config) for setting in settings])[0]
    for setting, (losses, _) in zip(settings, found, strict=True):
        agree_with(trained(setting, tmp_path / "one" / setting.name, config)[0], losses)


def test_a_batch_of_one_row_trains_on_two_processes_too(tmp_path: Path):
    settings, config = [Setting(name) for name in ("clm", "sft")], replace(CONFIG, steps=3, batch=1)
    found = together(2, many, [(setting, tmp_path / "two" / setting.name, config) for setting in settings])[0]
    for setting, (losses, _) in zip(settings, found, strict=True):
        agree_with(trained(setting, tmp_path / "one" / setting.name, config)[0], losses)


def test_sharded_parameters_train_to_the_same_losses(tmp_path: Path):
    settings, config = [Setting(name, native=False) for name in ("mlm", "turns")], replace(CONFIG, steps=6)
    shard = replace(config, shard=True)
    found = together(2, many, [(setting, tmp_path / "two" / setting.name, shard) for setting in settings])
    for setting, (losses, weights), (seen, kept) in zip(settings, *found, strict=True):
        assert losses == seen and weights == kept
        agree_with(trained(setting, tmp_path / "one" / setting.name, config)[0], losses)


@pytest.mark.slow
def test_low_rank_adaptations_train_to_the_same_losses_on_two_processes_sharded_or_not(tmp_path: Path):
    settings, config = [Setting(name, rank=4) for name in ("clm", "sft")], replace(CONFIG, steps=4)
    alone = [trained(setting, tmp_path / "one" / setting.name, config)[0] for setting in settings]
    for shard in (False, True):
        folder, both = tmp_path / f"shard {shard}", replace(config, shard=shard)
        found = together(2, many, [(setting, folder / setting.name, both) for setting in settings])
        for one, (losses, weights), (seen, kept) in zip(alone, *found, strict=True):
            assert losses == seen and weights == kept
            agree_with(one, losses)


def refused_where_one_has_no_kernels() -> None:
    launch.refuse_unlike("compiled kernels on cpu" if gather.rank() == 0 else "kernels of torch alone on cpu")


def told_by_all() -> list[str]:
    launch.refuse_unlike("compiled kernels on cpu")
    return launch.of_all(f"{gather.rank()} of {gather.world_size()}")


def test_processes_of_which_one_has_no_kernels_are_refused_with_what_to_do():
    job = Job(3, refused_where_one_has_no_kernels)
    assert job.statuses() == [2, 2, 2]
    (said,) = filter(None, job.said())
    assert "compiled kernels on cpu: process 0; kernels of torch alone on cpu: process 1, 2" in said
    assert "SHOPTALK_NATIVE=0 on every host" in said


def trained_with_kernels_on_the_first(setting: Setting, folder: Path, config: LoopConfig) -> list[float]:
    return trained(replace(setting, native=gather.rank() == 0), folder, config)[0]


def test_processes_of_which_one_has_no_kernels_do_not_train_what_the_kernels_would_serve(tmp_path: Path):
    job = Job(2, trained_with_kernels_on_the_first, Setting("mlm"), tmp_path, CONFIG)
    assert job.statuses() == [2, 2]
    (line,) = filter(None, job.said())
    assert "compiled kernels on cpu: process 0; kernels of torch alone on cpu: process 1" in line


@pytest.mark.parametrize(("name", "shard"), [("mlm", True), ("mae", False)])
def test_processes_of_which_one_has_no_kernels_train_what_the_kernels_do_not_serve(
    name: str, shard: bool, tmp_path: Path
):
    config = replace(CONFIG, steps=3, shard=shard)
    losses, others = together(2, trained_with_kernels_on_the_first, Setting(name), tmp_path, config)
    assert losses == others and len(losses) == 3


def test_processes_that_compute_alike_are_not_refused_and_hear_what_each_says():
    assert together(2, told_by_all) == [["0 of 2", "1 of 2"]] * 2


# --------------------------------------------------------------------------------------------- snapshots


@pytest.mark.parametrize(
    "name",
    ["turns", pytest.param("mlm", marks=pytest.mark.slow)],  # row-wise and dense token embeddings
)
def test_a_snapshot_goes_on_with_another_number_of_processes(name: str, tmp_path: Path):
    config, setting = replace(CONFIG, steps=6), Setting(name, native=False)
    shard, half = replace(config, shard=True), 3
    whole, _ = trained(setting, tmp_path / "whole", config)
    trained(setting, tmp_path / "one", config, half)
    shutil.copytree(tmp_path / "one", tmp_path / "one, two")
    shutil.copytree(tmp_path / "one", tmp_path / "one, two sharded")
    two = [
        (setting, tmp_path / "one, two", config),
        (setting, tmp_path / "one, two sharded", shard),
        (setting, tmp_path / "two, three", config, half),
        (setting, tmp_path / "two sharded, one", shard, half),
    ]
    together(2, many, two)
    trained(setting, tmp_path / "two sharded, one", config)
    together(3, many, [(setting, tmp_path / "two, three", config)])
    for _, folder, *_ in two:
        rows = read_log(folder)
        assert [row["step"] for row in rows] == list(range(1, config.steps + 1)), folder.name
        np.testing.assert_allclose([row["loss"] for row in rows], whole, rtol=RELATIVE, err_msg=folder.name)


def slowly(setting: Setting, folder: Path, config: LoopConfig) -> None:
    """A training with a snapshot after every step, slow enough from the third on to be killed in the middle."""
    for step in advance(training_of(setting, folder, config, seconds=1e-9), until=config.steps):
        time.sleep(1 if step.number >= 3 else 0)


def test_a_job_of_two_with_one_killed_is_continued_by_one_and_by_three(tmp_path: Path):
    setting, config = Setting("mlm"), replace(CONFIG, steps=6)
    whole, _ = trained(setting, tmp_path / "whole", config)
    job = Job(2, slowly, setting, tmp_path / "1", config)
    wait_for(lambda: len(read_log(tmp_path / "1")) >= 3)
    job.processes[1].kill()
    assert job.statuses() == [130, -signal.SIGKILL]
    assert "another process of this job has ended" in job.said()[0]
    newest = snapshot.newest(tmp_path / "1", most=config.steps)
    assert newest is not None
    done = snapshot.steps_done(newest)
    assert 2 <= done < config.steps and len(read_log(tmp_path / "1")) - done <= 1  # a snapshot after every step
    shutil.copytree(tmp_path / "1", tmp_path / "3")
    three = together(3, trained, setting, tmp_path / "3", config)[0][0]
    assert len(three) == len(trained(setting, tmp_path / "1", config)[0]) == config.steps - done
    for later in ("1", "3"):
        agree_with(whole, [row["loss"] for row in read_log(tmp_path / later)])


def wait_for(condition: Any, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


# ------------------------------------------------------------------------------------ the first decides


def steered(folder: Path) -> tuple[int, list[float], bool]:
    """The first process stops after step 3; the other would go on."""
    training = training_of(Setting("simcse"), folder, CONFIG)
    seconds = []
    for step in train(training.objective, training.data, training.collate, CONFIG):
        seconds.append(step.seconds)
        if gather.rank() == 0 and step.number == 3:
            step.steer("stop")
            step.save(folder / "snapshot")
        elif step.number == 3:
            step.save(folder / "snapshot")
    tables = [part.sparse for part in training.objective.modules() if isinstance(part, nn.Embedding)]
    return len(seconds), seconds, any(tables)


def led(folder: Path) -> list[Any]:
    """What the first process makes for all; what it does alone waits for nobody."""
    world = toy_world(OBJECTIVES["simcse"]())

    def make() -> None:
        with create(folder / "made", kind="test", config={}, parents={}) as inside:
            vectors = embed(world.product, world.corpus.texts[:4])
            np.save(inside / "vectors.npy", vectors)

    vectors = launch.shared(folder / "made", make=make, read=lambda: np.load(folder / "made" / "vectors.npy"))
    nothing = launch.shared(folder / "none", make=lambda: None, read=lambda: 7)
    return [vectors.shape, nothing, launch.agree(lambda: {"rank": os.environ["RANK"], "x": 0.1 + 0.2})]


def several(folder: Path) -> tuple[Any, Any]:
    return steered(folder), led(folder)


def test_the_first_process_decides_and_makes_what_all_read(tmp_path: Path):
    found = together(2, several, tmp_path)
    (steps, seconds, sparse), made = found[0]
    assert steps == 3 and sparse
    assert found[1] == ((steps, seconds, sparse), made)
    assert made == [(4, 32), 7, {"rank": "0", "x": 0.1 + 0.2}]
    assert snapshot.steps_done(tmp_path / "snapshot") == 3


# ----------------------------------------------------------------------------------------- failing


def failing(rank: int, where: str) -> None:
    """One process finds its input wrong, the others wait for it."""

    def fail() -> None:
        raise ConfigError("seven is not a colour")

    if where == "ahead":
        launch.agree(fail)
    elif gather.rank() == rank:
        fail()
    gather.sum_across(torch.ones(()))
    launch.agree(lambda: None)


@pytest.mark.parametrize(("rank", "where"), [(0, "ahead"), (0, "in a step"), (1, "in a step")])
def test_an_error_ends_all_processes_with_its_status_and_is_told_once(rank: int, where: str):
    job = Job(3, failing, rank, where)
    assert job.statuses(seconds=30) == [2, 2, 2]
    assert [("seven is not a colour" in text) for text in job.said()] == [number == rank for number in range(3)]


def everyone_fails() -> None:
    raise ConfigError("seven is not a colour")


def test_an_error_of_all_processes_is_told_once():
    job = Job(3, everyone_fails)
    assert job.statuses(seconds=30) == [2, 2, 2]
    assert sum("seven is not a colour" in text for text in job.said()) == 1


def test_an_artifact_that_does_not_show_here_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "VISIBLE", launch.timedelta(seconds=0))
    with pytest.raises(StorageError, match="all hosts share"):
        launch.arrived(tmp_path / "corpus", "key")


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_devices_that_cannot_work_together_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"'{kind}'.*without torchrun"), launch.joined(torch.device(kind)):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="--nproc-per-node 1"), launch.joined(torch.device("cuda")):
        pass


def test_without_torchrun_a_process_stays_alone(monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with launch.joined(torch.device("mps")):
        assert gather.world_size() == 1
        assert launch.agree(lambda: (1, 2)) == (1, 2)
