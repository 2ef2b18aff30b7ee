"""Which errors are the end of what the machine has, or the user allows, and no bug."""

import errno
import os

import pytest

from shoptalk.errors import ArtifactError, exhausted


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), "ulimit -f"),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), "ulimit -f"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "Memory ran out"),
        (MemoryError(), "Memory ran out"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"), "Memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "Memory ran out"),
    ],
)
def test_the_end_of_disk_memory_and_limits_is_told_with_what_to_do(error: BaseException, advice: str) -> None:
    said = exhausted(error)
    assert said is not None and advice in said


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        OSError(errno.ENOENT, "gone"),
        KeyError("out of memory"),
        RuntimeError("shapes differ"),
        ArtifactError("a file (os error 28)"),
    ],
)
def test_other_errors_are_not(error: BaseException) -> None:
    assert exhausted(error) is None
