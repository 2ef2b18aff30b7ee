"""Which failures end a candidate, and which end the run."""

import pytest
import torch

from shoptalk.errors import BaseModelError, CollapsedError, ConfigError, DivergedError, SourceError, StorageError
from shoptalk.training.elimination import eliminating

NO_MEMORY = "it needs more memory than this machine has: give it a smaller objectives.mlm.batch"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (DivergedError("the loss is nan"), "it diverged: the loss is nan"),
        (CollapsedError("all are one"), "it collapsed: all are one"),
        (ConfigError("it wants a longer text"), "it cannot run here: it wants a longer text"),
        (BaseModelError("there is no head"), "it cannot run here: there is no head"),
        (MemoryError(), NO_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), NO_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), NO_MEMORY),
    ],
)
def test_a_candidate_that_fails_by_itself_is_out_with_its_reason(failure: Exception, reason: str) -> None:
    eliminated: dict[str, str] = {}
    with eliminating(eliminated, "mlm"):
        raise failure
    assert eliminated["mlm"].startswith(reason)


@pytest.mark.parametrize("failure", [StorageError("full"), SourceError("gone"), RuntimeError("a bug"), KeyError("x")])
def test_a_full_disk_or_a_bug_ends_the_run(failure: Exception) -> None:
    eliminated: dict[str, str] = {}
    with pytest.raises(type(failure)), eliminating(eliminated, "mlm"):
        raise failure
    assert eliminated == {}


def test_a_curriculum_that_needs_too_much_memory_is_told_of_the_batches_of_both_phases() -> None:
    eliminated: dict[str, str] = {}
    with eliminating(eliminated, "causal-then-mlm"):
        raise MemoryError
    assert "give it a smaller objectives.causal.batch or objectives.mlm.batch" in eliminated["causal-then-mlm"]
