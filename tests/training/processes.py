"""Several processes on this machine for a test, as torchrun would start them, without importing torch in each anew.

A fork server imports everything once; a test's processes are its forks.
"""

import multiprocessing
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch

# What a test's processes need; imported here, it is imported once for all of them.
import shoptalk.commands.pretrain
import shoptalk.training.launch
import tests.toyworld  # noqa: F401

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "torch.distributed.fsdp"])


class Job:
    """Processes that run `work(*arguments)` each, joined to one group unless there is only one."""

    def __init__(self, size: int, work: Callable[..., Any], *arguments: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.errors = Path(tempfile.mkdtemp())
        self.queue: SimpleQueue[tuple[int, Any]] = _CONTEXT.SimpleQueue()
        self.processes: list[ForkServerProcess] = []
        for rank in range(size):
            environment = {
                "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port), "SHOPTALK_NATIVE": os.environ.get("SHOPTALK_NATIVE", "1"),
            }  # fmt: skip
            process = _CONTEXT.Process(
                target=_run, args=(environment, self.errors / str(rank), self.queue, work, arguments), daemon=True
            )
            process.start()
            self.processes.append(process)

    def statuses(self, *, seconds: float = 60) -> list[int | None]:
        """How each process ended; None where it still runs after so long, which ends it."""
        found: list[int | None] = []
        for process in self.processes:
            process.join(seconds)
            found.append(process.exitcode)
            process.kill()
        return found

    def results(self) -> list[Any]:
        """What `work` returned in each process."""
        found = {}
        while len(found) < len(self.processes):
            if self.queue.empty() and any(process.exitcode for process in self.processes):
                self.statuses()
                raise AssertionError("\n".join(self.said()))
            if not self.queue.empty():
                rank, value = self.queue.get()
                found[rank] = value
            self.processes[0].join(0.02)
        self.statuses()
        return [found[rank] for rank in range(len(self.processes))]

    def said(self) -> list[str]:
        """What each process wrote to standard error."""
        return [(self.errors / str(rank)).read_text(encoding="utf-8") for rank in range(len(self.processes))]


def together(size: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(*arguments)` returns in each of `size` processes."""
    return Job(size, work, *arguments).results()


def _run(
    environment: dict[str, str], errors: Path, queue: "SimpleQueue[tuple[int, Any]]", work: Any, arguments: Any
) -> None:
    sys.stderr = errors.open("w", encoding="utf-8", buffering=1)
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        with shoptalk.training.launch.joined(torch.device("cpu")):
            queue.put((int(environment["RANK"]), work(*arguments)))
    except SystemExit:
        raise
    except BaseException as error:
        traceback.print_exc()
        sys.exit(shoptalk.training.launch.status_of(error))
