"""What every stage may read: the run's folder, the settings, and where to report progress."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from shoptalk.config import Config
from shoptalk.training.loop import Step


@runtime_checkable
class Reporter(Protocol):
    """Where progress is told; the command line prints it, tests collect it."""

    def say(self, text: str) -> None:
        """One line for people."""

    def track(self, steps: Iterable[Step], *, done: int, total: int, name: str) -> Iterator[Step]:
        """Pass the steps of a training through, showing where it stands."""


@dataclass(frozen=True)
class World:
    """The run's folder, the settings, and the reporter. `seconds` collects what each stage took."""

    run: Path
    config: Config
    report: Reporter
    seconds: dict[str, float] = field(default_factory=dict)


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    if torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        if found is not None:
            return found
    return torch.device("cpu")
