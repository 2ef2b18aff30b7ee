"""What every stage may read: the run's folder, the settings, and where to report progress."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from shoptalk.artifact import locked
from shoptalk.config import Config
from shoptalk.errors import BaseModelError
from shoptalk.nn import gather
from shoptalk.nn.bases import open_model
from shoptalk.nn.machine import prepare
from shoptalk.nn.precision import Precision, choose_precision
from shoptalk.nn.product import Embedder, Product
from shoptalk.training import launch
from shoptalk.training.profile import Profile
from shoptalk.training.reporter import Reporter, Silent

STAGES = ("curate", "baseline", "plan", "choose", "pretrain", "decide", "evidence", "finetune")
"""Of `adapt`, in order. It may have more after these; a reporter takes them as they come."""


@dataclass(frozen=True)
class World:
    """The run's folder, the settings, and the reporter."""

    run: Path
    config: Config
    report: Reporter
    asked_base: str | None = None
    """What the settings named as the base, where `config.base` is the folder that was made of it."""
    profile: Profile = field(default_factory=Profile, repr=False, compare=False)
    """Where this process's time goes."""

    @property
    def base_name(self) -> str:
        """The base as people know it."""
        return self.asked_base or self.config.base

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks: the first of those that train together."""
        return gather.rank() == 0


@contextlib.contextmanager
def together(run: Path, config: Config, report: Reporter) -> Iterator[World]:
    """The world of a training that `torchrun` may have started several processes for (`training/launch.py`): the first
    holds the folder's lock and speaks, the others are silent.

    Raises:
        ConfigError: the processes cannot work together, or have devices of different kinds.
        StorageError: the folder cannot be written or is in use.
    """
    with launch.joined(best_device()):
        launch.refuse_unlike(best_device().type)  # whether kernels compute depends on the network: `train` asks
        first = gather.rank() == 0
        with locked(run) if first else contextlib.nullcontext():
            yield World(run=run, config=config, report=report if first else Silent())


def open_product(config: Config, model: str | None = None) -> Product:
    """A model (the base, if none is named) on the best device, to be measured in the settings' precision."""
    device = best_device()
    prepare(device)
    product = open_model(model or config.base)
    product.network.to(device)
    return product.in_precision(usual_precision(config))


def open_embedder(config: Config, model: str | None = None) -> Embedder:
    """The same of an encoder.

    Raises:
        BaseModelError: it is a model of another kind.
    """
    product = open_product(config, model)
    if not isinstance(product, Embedder):
        raise BaseModelError(f"{model or config.base} is no encoder and gives no vectors. Name one, such as minilm.")
    return product


def usual_precision(config: Config) -> Precision:
    """What the settings ask for, else what the clock says; the same for all that this process does."""
    return _timed(best_device())[0] if config.train.precision == "auto" else config.train.precision


def matmul_rates() -> dict[str, float]:
    """What the choice of precision rests on, in GFLOP/s."""
    return _timed(best_device())[1]


@functools.cache
def _timed(device: torch.device) -> tuple[Precision, dict[str, float]]:
    return launch.agree(lambda: choose_precision(device))


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    if torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        if found is not None:
            return found
    return torch.device("cpu")
