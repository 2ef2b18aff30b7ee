"""What only one process at a time may fill: a lock that goes with the process, however it ends."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from shoptalk.errors import StorageError


def hold(handle: int, folder: Path) -> None:
    """Lock what is open for this process, or say that `folder` is another's.

    Raises:
        StorageError: another process holds it.
    """
    import fcntl  # Unix only, as is the lock

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(handle).st_nlink:  # whoever held it has just taken it away
            raise BlockingIOError
    except BlockingIOError:
        raise StorageError(
            f"{folder} is in use by another shoptalk process. Wait for it, or give another --out."
        ) from None


@contextlib.contextmanager
def held(making: Path, path: Path) -> Iterator[None]:
    """Hold a folder that is being filled for `path`, so that no other process takes it for what a killed one left.

    Raises:
        StorageError: another process is filling it.
    """
    handle = os.open(making, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems, such as NFS, lock no folders
            hold(handle, path)
        yield
    finally:
        os.close(handle)
