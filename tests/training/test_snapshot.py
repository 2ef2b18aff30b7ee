import contextlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from shoptalk import artifact
from shoptalk.errors import StorageError
from shoptalk.training import snapshot
from shoptalk.training.optim import Optimizer


class Tied(nn.Module):
    """A parameter used twice, one that is not contiguous, one that never learns, and a buffer of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(5, 3, _weight=torch.randn(5, 3, generator=generator))
        self.out = nn.Linear(3, 5)
        self.out.weight = self.table.weight
        self.turned = nn.Parameter(torch.randn(3, 4, generator=generator).T)
        self.idle = nn.Parameter(torch.randn(2, generator=generator))
        self.register_buffer("queue", torch.randn(2, generator=generator), persistent=False)
        with torch.no_grad():
            self.out.bias.copy_(torch.randn(5, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.out(self.table(x) @ self.turned.T[:, :3]) ** 2).mean()


def trained(seed: int, steps: int) -> tuple[Tied, Optimizer]:
    module = Tied(seed)
    optimizer = Optimizer((torch.optim.AdamW(module.parameters(), lr=0.1, fused=True),))
    for _ in range(steps):
        step(module, optimizer)
    return module, optimizer


def step(module: Tied, optimizer: Optimizer) -> None:
    optimizer.zero_grad()
    module(torch.tensor([0, 1, 4])).backward()
    optimizer.step()


def state(module: nn.Module) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in (*module.parameters(), *module.buffers())]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_loaded_snapshot_goes_on_bit_for_bit(tmp_path: Path, steps: int):
    module, optimizer = trained(seed=0, steps=steps)
    snapshot.save(tmp_path / "s", module, optimizer, {"done": steps, "extra": [1, 2]})
    other, fresh = trained(seed=1, steps=0)
    assert snapshot.load(tmp_path / "s", other, fresh) == {"done": steps, "extra": [1, 2]}
    assert equal(state(module), state(other))
    for _ in range(3):
        step(module, optimizer)
        step(other, fresh)
    assert equal(state(module), state(other))
    assert other.out.weight is other.table.weight


def test_saving_copies_only_what_shares_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module, optimizer = trained(seed=0, steps=1)
    given: dict[str, torch.Tensor] = {}
    real = snapshot.save_file
    monkeypatch.setattr(snapshot, "save_file", lambda tensors, path: (given.update(tensors), real(tensors, path)))
    snapshot.save(tmp_path / "s", module, optimizer, {"done": 1})
    mine = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept = {name for name, tensor in given.items() if tensor.data_ptr() in mine}
    assert "module.table.weight" in kept
    assert len({tensor.data_ptr() for tensor in given.values()}) == len(given)


def test_only_the_module_may_be_loaded(tmp_path: Path):
    module, optimizer = trained(seed=0, steps=2)
    snapshot.save(tmp_path / "s", module, optimizer, {"done": 2})
    other = Tied(seed=1)
    snapshot.load_module(tmp_path / "s", other)
    assert equal(state(module), state(other))


def test_a_snapshot_does_not_change_when_training_goes_on(tmp_path: Path):
    module, optimizer = trained(seed=0, steps=2)
    snapshot.save(tmp_path / "s", module, optimizer, {"done": 2})
    then = state(module)
    step(module, optimizer)
    snapshot.load_module(tmp_path / "s", module)
    assert equal(then, state(module))


def test_nothing_is_pickled(tmp_path: Path):
    snapshot.save(tmp_path / "s", *trained(seed=0, steps=1), {"done": 1})
    assert {file.suffix for file in (tmp_path / "s").iterdir()} == {".json", ".safetensors"}


def saved_at(parent: Path, *steps: int) -> None:
    for number in steps:
        snapshot.save(snapshot.path_for(parent, number), *trained(seed=0, steps=0), {"done": number})


def test_the_newest_is_the_one_with_the_most_steps_up_to_a_limit(tmp_path: Path):
    saved_at(tmp_path, 2, 10, 9, 123_456_789)
    assert snapshot.newest(tmp_path, most=10**9) == snapshot.path_for(tmp_path, 123_456_789)
    assert snapshot.newest(tmp_path, most=10) == snapshot.path_for(tmp_path, 10)
    assert snapshot.newest(tmp_path, most=8) == snapshot.path_for(tmp_path, 2)
    assert snapshot.newest(tmp_path, most=1) is None
    assert snapshot.newest(tmp_path / "nowhere", most=1) is None
    assert snapshot.steps_done(snapshot.path_for(tmp_path, 9)) == 9


def test_a_half_written_snapshot_is_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved_at(tmp_path, 1)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(json, "dumps", crash)  # after the tensors are written
        saved_at(tmp_path, 2)
    assert snapshot.newest(tmp_path, most=9) == snapshot.path_for(tmp_path, 1)
    (tmp_path / "step-00000003").mkdir()
    assert snapshot.newest(tmp_path, most=9) == snapshot.path_for(tmp_path, 1)


def test_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(snapshot, "save_file", full)
    with pytest.raises(StorageError, match="disk is full"):
        saved_at(tmp_path, 1)


def test_old_snapshots_go_when_a_new_one_is_complete(tmp_path: Path):
    saved_at(tmp_path, 1, 2, 3)
    (tmp_path / "log.jsonl").write_text("{}\n")
    snapshot.keep_only(tmp_path, snapshot.path_for(tmp_path, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "step-00000003"]
    snapshot.keep_only(tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_crash_while_deleting_never_leaves_half_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved_at(tmp_path, 1, 2)

    def crash(folder: Path, **_: object) -> None:
        (folder / "tensors.safetensors").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(artifact.shutil, "rmtree", crash)
        snapshot.keep_only(tmp_path, snapshot.path_for(tmp_path, 2))
    assert snapshot.newest(tmp_path, most=9) == snapshot.path_for(tmp_path, 2)
    saved_at(tmp_path, 1)  # nothing is in the way
    snapshot.keep_only(tmp_path, snapshot.path_for(tmp_path, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_what_a_killed_process_was_writing_is_swept_up(tmp_path: Path):
    saved_at(tmp_path, 7)
    (tmp_path / ".step-00000005.making-dead").mkdir()
    snapshot.keep_only(tmp_path, snapshot.path_for(tmp_path, 7))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]


def test_what_no_training_made_stays(tmp_path: Path):
    saved_at(tmp_path, 7)
    theirs = ["step-2/notes.txt", "step-00000003/notes.txt", "step-by-step.md", ".step-by-step.making-of.txt"]
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    snapshot.keep_only(tmp_path, None)
    assert all((tmp_path / name).read_text() == "mine" for name in theirs)
    assert snapshot.newest(tmp_path, most=9) is None
