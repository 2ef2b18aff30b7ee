"""Snapshots: all that exact resumption needs, as safetensors and JSON. Nothing is ever pickled.

A snapshot holds whole tensors by name, whether or not they were sharded over processes, so that any number of processes
can resume from it.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from shoptalk.artifact import create, discard, open_artifact
from shoptalk.nn import gather
from shoptalk.readback import MANIFEST, as_written, read_json
from shoptalk.training import launch
from shoptalk.training.optim import Optimizer

_TENSORS = "tensors.safetensors"
_MODULE, _OPTIMIZER = "module.", "optimizer."
_NAME = re.compile(r"step-\d{8,}")
_UNFINISHED = re.compile(r"\.step-\d{8,}\.making-.*")


def save(folder: Path, objective: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write the module's tensors, the optimizer's and `state` as one artifact: complete or absent.

    With several processes each calls this, and the first one writes.
    """
    tensors = _tensors(objective, optimizer)

    def write() -> None:
        with create(folder, kind="snapshot", config={"done": state["done"]}, parents={}) as inside:
            save_file(tensors, inside / _TENSORS)
            (inside / "state.json").write_text(json.dumps(state), encoding="utf-8")

    launch.agree(write)


def load(folder: Path, objective: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Put a snapshot's tensors back in place, bit for bit, and return its state."""
    load_module(folder, objective)
    parts: dict[str, list[str]] = {}
    for name in _names(folder):
        if name.startswith(_OPTIMIZER):
            parameter_name, _, part = name.removeprefix(_OPTIMIZER).rpartition("/")
            parts.setdefault(parameter_name, []).append(part)
    for parameter_name, parameter, parameter_state in _optimizer_states(objective, optimizer):
        for part in parts.get(parameter_name, []):
            value = _read(folder, f"{_OPTIMIZER}{parameter_name}/{part}")
            parameter_state[part] = _laid_out_like(parameter, value)
    return read_json(folder / "state.json", dict)


def load_module(folder: Path, objective: nn.Module) -> None:
    """Put only the module's tensors back in place: to probe or ship the weights of a snapshot."""
    with as_written(folder), torch.no_grad():
        for name, tensor in _module_tensors(objective).items():
            gather.local(tensor).copy_(gather.part_of(_read(folder, f"{_MODULE}{name}"), tensor))


def _names(folder: Path) -> list[str]:
    with as_written(folder), safe_open(folder / _TENSORS, framework="pt") as stored:
        return list(stored.keys())


def _read(folder: Path, name: str) -> torch.Tensor:
    """One tensor of a snapshot. The file is opened for each: while it is open, all that was read of it counts as this
    process's memory, and that is three times the model.
    """
    with as_written(folder), safe_open(folder / _TENSORS, framework="pt") as stored:
        tensor: torch.Tensor = stored.get_tensor(name).clone()
        return tensor


def steps_done(folder: Path) -> int:
    """How many steps a snapshot was taken after."""
    state = read_json(folder / "state.json", dict)
    with as_written(folder):
        return int(state["done"])


def newest(parent: Path, *, most: int) -> Path | None:
    """The complete snapshot with the most steps below `parent`, of those with at most `most`; or None."""
    paths = [
        path
        for path in parent.glob("step-*")
        if _NAME.fullmatch(path.name) and open_artifact(path) is not None and steps_done(path) <= most
    ]
    return max(paths, key=steps_done, default=None)


def path_for(parent: Path, step: int) -> Path:
    """Where the snapshot after `step` steps lives."""
    return parent / f"step-{step:08d}"


def keep_only(parent: Path, path: Path | None) -> None:
    """Delete every snapshot but `path`, or all for None. To be called when the new one is complete: one always is.

    Snapshots that a killed process left unfinished are deleted too. What has another name, or no manifest, is
    somebody's own and stays.
    """
    for other in parent.glob("step-*"):
        if other != path and _NAME.fullmatch(other.name) and (other / MANIFEST).is_file():
            discard(other)
    for stale in parent.glob(".step-*.making-*"):
        if _UNFINISHED.fullmatch(stale.name):
            shutil.rmtree(stale, ignore_errors=True)


def _tensors(objective: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """All tensors by name; on the first process alone, though the others take part in putting sharded ones together."""
    tensors = {f"{_MODULE}{name}": tensor for name, tensor in _module_tensors(objective).items()}
    for parameter_name, _, parameter_state in _optimizer_states(objective, optimizer):
        for name, value in parameter_state.items():
            tensors[f"{_OPTIMIZER}{parameter_name}/{name}"] = value
    whole: dict[str, torch.Tensor] = {}
    written: set[int] = set()
    for name, tensor in tensors.items():
        full = gather.whole(tensor.detach())
        if gather.rank() == 0:
            whole[name] = _alone(full.cpu().contiguous(), written)
    return whole


def _alone(tensor: torch.Tensor, written: set[int]) -> torch.Tensor:
    """The tensor, or a copy where others share its memory: safetensors refuses those. `written` are the memories of
    those before it.
    """
    memory = tensor.untyped_storage()
    if memory.nbytes() == tensor.nbytes and memory.data_ptr() not in written:
        written.add(memory.data_ptr())
        return tensor
    return tensor.clone()


def _module_tensors(objective: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(objective.named_parameters()), **dict(objective.named_buffers())}


def _optimizer_states(
    objective: nn.Module, optimizer: Optimizer
) -> Iterator[tuple[str, torch.Tensor, dict[str, torch.Tensor]]]:
    """Each parameter's name, itself and its state. Names, because the optimizer's order may differ between runs."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    return ((names[id(parameter)], parameter, state) for parameter, state in optimizer.states)


def _laid_out_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """On the parameter's device and with its strides: the fused optimizer walks both in the order of memory."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    empty = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
    gather.local(empty).copy_(gather.part_of(value, parameter))
    return empty
