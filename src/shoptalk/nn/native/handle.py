"""The compiled kernels as Python sees them, and which of them the operations run on.

Beneath everything else in this folder: `build.py` opens a library, `ops.py` runs on the one that is in use, `check.py`
puts one on trial, and `use.py` puts one into use.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Library:
    """The compiled kernels: functions that take tensors as their addresses."""

    path: Path
    shared_pool: bool
    """Whether kernels run on torch's own threads; where its OpenMP runtime was not found they run on one."""
    functions: Mapping[str, Callable[..., int | None]]

    def call(self, name: str, *arguments: int | float | None) -> int | None:
        """Call one kernel; tensors are given as their addresses."""
        return self.functions[name](*arguments)


_on_trial: ContextVar[Library | None] = ContextVar("on_trial", default=None)
_proven: Library | None = None  # of the whole process


def wanted() -> bool:
    """Whether kernels may be used at all: `SHOPTALK_NATIVE=0` says no."""
    return os.environ.get("SHOPTALK_NATIVE", "1") != "0"


def in_use() -> Library | None:
    """The library that operations run on: the one on trial, else the one that was put into use; None without either."""
    return (_on_trial.get() or _proven) if wanted() else None


def put_into_use(library: Library) -> None:
    """Operations run on this library from now on, in every thread."""
    global _proven  # noqa: PLW0603 (one for the whole process)
    _proven = library


@contextlib.contextmanager
def on_trial(candidate: Library) -> Iterator[None]:
    """The operations inside run on this library."""
    token = _on_trial.set(candidate)
    try:
        yield
    finally:
        _on_trial.reset(token)
