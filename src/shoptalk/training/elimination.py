"""Elimination: which failures end a candidate and not the run, and how they are told."""

import contextlib
from collections.abc import Iterator

import torch

from shoptalk.errors import (
    BaseModelError,
    CollapsedError,
    ConfigError,
    DivergedError,
    ShoptalkError,
    TooLittleTextError,
)
from shoptalk.objectives.recipe import Recipe

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@contextlib.contextmanager
def eliminating(eliminated: dict[str, str], name: str) -> Iterator[None]:
    """Inside is a candidate's own work: where it fails, the reason goes into `eliminated` and nothing is raised."""
    try:
        yield
    except (ShoptalkError, MemoryError, RuntimeError) as error:
        reason = _why_not(error, name)
        if reason is None:
            raise
        eliminated[name] = reason


def _why_not(error: BaseException, name: str) -> str | None:
    """Why a candidate is out, where the candidate failed; None for what ends the run: a full disk, a bug."""
    if isinstance(error, DivergedError):
        return f"it diverged: {error}"
    if isinstance(error, CollapsedError):
        return f"it collapsed: {error}"
    if isinstance(error, TooLittleTextError):
        return str(error)
    if isinstance(error, (ConfigError, BaseModelError)):
        return f"it cannot run here: {error}"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error) for word in _NO_MEMORY):
        # The error does not say in which phase of a curriculum it came.
        batch = " or ".join(f"objectives.{phase.name}.batch" for phase in Recipe.parse(name).phases)
        return f"it needs more memory than this machine has: give it a smaller {batch}, or leave it out"
    return None
