"""Keep freed memory: a forward pass frees and takes the same large blocks thousands of times a minute.

glibc gives blocks above a threshold back to the kernel at once and has every page of the next one faulted in and
zeroed again. On CPUs that is a large part of a training step (figures in docs/log.md).
"""

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 2**31 - 1


def keep_memory() -> bool:
    """Tell glibc's malloc to reuse large blocks within this process; True where that is possible.

    The process then holds its peak memory until it ends. Other allocators and systems are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_M_MMAP_THRESHOLD, _KEEP) and mallopt(_M_TRIM_THRESHOLD, _KEEP))
    return False
