"""Snapshots: all that exact resumption needs, as safetensors and JSON. Nothing is ever pickled."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shoptalk.artifact import create, discard, open_artifact


def save(folder: Path, objective: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write the module's tensors, the optimizer's and `state` as one artifact: complete or absent."""
    with create(folder, kind="snapshot", config={"done": state["done"]}, parents={}) as inside:
        save_file(_tensors(objective, optimizer), inside / "tensors.safetensors")
        (inside / "state.json").write_text(json.dumps(state), encoding="utf-8")


def load(folder: Path, objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a snapshot's tensors back in place, bit for bit, and return its state."""
    tensors = load_file(folder / "tensors.safetensors")
    load_module(folder, objective)
    for number, parameter in enumerate(_parameters(optimizer)):
        prefix = f"optimizer.{number}."
        found = {
            name.removeprefix(prefix): _laid_out_like(parameter, value)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        if found:
            optimizer.state[parameter] = found
    state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return state


def load_module(folder: Path, objective: nn.Module) -> None:
    """Put only the module's tensors back in place: for probing or shipping what a snapshot holds."""
    tensors = load_file(folder / "tensors.safetensors")
    with torch.no_grad():
        for name, tensor in _module_tensors(objective).items():
            tensor.copy_(tensors[f"module.{name}"])


def steps_done(folder: Path) -> int:
    """How many steps a snapshot was taken after."""
    return int(json.loads((folder / "state.json").read_text(encoding="utf-8"))["done"])


def newest(parent: Path, *, most: int) -> Path | None:
    """The complete snapshot with the most steps below `parent`, of those with at most `most`; or None."""
    found = [path for path in parent.glob("step-*") if open_artifact(path) is not None and steps_done(path) <= most]
    return max(found, key=steps_done, default=None)


def path_for(parent: Path, step: int) -> Path:
    """Where the snapshot after `step` steps lives."""
    return parent / f"step-{step:08d}"


def keep_only(parent: Path, path: Path | None) -> None:
    """Delete every other snapshot, all of them for None; called once the new one is complete, so that one always is.

    What a killed process left of snapshots it was writing goes too.
    """
    for other in parent.glob("step-*"):
        if other != path:
            discard(other)
    for stale in parent.glob(".step-*.making-*"):
        shutil.rmtree(stale, ignore_errors=True)


def _tensors(objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {f"module.{name}": tensor for name, tensor in _module_tensors(objective).items()}
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{number}.{name}"] = value
    # Contiguous copies: safetensors refuses tensors that share memory (tied weights, for instance).
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _module_tensors(objective: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(objective.named_parameters()), **dict(objective.named_buffers())}


def _laid_out_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """On the parameter's device and with its strides: the fused optimizer walks both in the order of memory."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
