"""Makes the next batch while the device computes with this one.

On accelerators the processor is idle during a step: it then makes the next batch, in page-locked memory, from which
CUDA copies asynchronously. On CPUs there is no idle time to use, and batches are made in turn. Either way batch i is a
function of i, so the training is the same.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@contextlib.contextmanager
def prefetching(make: Callable[[int], T], *, until: int, device: torch.device) -> Iterator[Callable[[int], T]]:
    """`make`, called for 0, 1, 2, ... in turn and never for `until` or beyond, one call ahead where that helps."""
    if device.type == "cpu":
        yield make
        return
    ahead: dict[int, Future[T]] = {}
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:

        def get(i: int) -> T:
            now = ahead.pop(i, None) or pool.submit(make, i)
            if i + 1 < until:
                ahead[i + 1] = pool.submit(make, i + 1)
            return now.result()

        yield get
        for future in ahead.values():
            future.cancel()


def page_locked(batch: Any) -> Any:
    """A batch with every tensor in page-locked memory; dataclasses and tuples are looked into."""
    if isinstance(batch, torch.Tensor):
        return batch.pin_memory()
    if isinstance(batch, tuple):
        return tuple(page_locked(part) for part in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {field.name: page_locked(getattr(batch, field.name)) for field in dataclasses.fields(batch)}
        return dataclasses.replace(batch, **fields)
    return batch
