"""Training with one process or several: joining the processes that `torchrun` started, and the work of the first one.

    with joined(device):                                    # one process, unless torchrun started it
        tokens = shared(folder, make=..., read=...)         # the first process makes an artifact, all read it
        with distributed(objective, shard=False, tables=[]) as module:
            module(batch).total.backward()                  # gradients are averaged: see nn/gather.py

Whatever ends one process ends all of them, with the same exit status; one of them says why.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from shoptalk.artifact import Artifact, open_artifact
from shoptalk.errors import ArtifactError, ConfigError, ShoptalkError, StorageError, exhausted
from shoptalk.nn import gather

T = TypeVar("T")

STEP = timedelta(minutes=10)
"""The longest that a process waits for the others within a step; a host that vanishes without notice costs this."""
ALONE = timedelta(hours=24)
"""The longest that the others wait for work that the first process does for all, such as reading the sources."""
VISIBLE = timedelta(minutes=1)
"""The longest until a finished artifact is visible on other hosts: network file systems cache listings for a while."""
LOST, LEAVING = timedelta(seconds=1), timedelta(seconds=5)
"""The longest to look for another process's reason to end, and to wait until the others have read one's own."""

_HEAD = 256  # bytes
_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
_waiting: dist.ProcessGroup | None = None  # all processes, with the patience of `ALONE`


# Joining and leaving


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes that `torchrun` started; does nothing where it started none or one.

    Args:
        device: the kind of device to train on. On CUDA each process gets the GPU of its number on the host.

    Raises:
        ConfigError: processes cannot work together on this device, or cannot reach each other.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys() or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    store = _join(device)
    try:
        yield
    except BaseException as error:
        status = _farewell(store, error)
        if status is not None:
            raise SystemExit(status) from error
        raise
    else:
        _leave()


def _join(device: torch.device) -> dist.Store:
    global _waiting  # noqa: PLW0603 (as the process group itself)
    number, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    backend = _BACKENDS.get(device.type)
    if backend is None:
        raise ConfigError(
            f"{size} processes were started, and the device here is {device.type!r}, on which processes cannot add up "
            "their gradients. Expected CPUs or CUDA: start one process, without torchrun."
        )
    if device.type == "cuda":
        place, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= gpus:
            raise ConfigError(
                f"This host has {gpus} GPUs, and process {place + 1} was started on it. Expected one process per GPU: "
                f"torchrun --nproc-per-node {gpus}."
            )
        torch.cuda.set_device(place)
    try:
        # The store is kept: through it a process says why it leaves. Where it is torchrun's own it outlives a restart,
        # and holds the addresses of processes that are gone (seen in torch 2.13): each start gets keys of its own.
        torchrun_store, rank, world_size = next(rendezvous("env://", timeout=STEP))
        lasts = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if lasts else "0"
        store = PrefixStore(f"shoptalk/{start}", torchrun_store)
        dist.init_process_group(
            backend, store=PrefixStore("group", store), rank=rank, world_size=world_size, timeout=STEP
        )
        _waiting = dist.new_group(backend="gloo", timeout=ALONE)
    except RuntimeError as error:
        raise ConfigError(
            f"Process {number} of {size} cannot reach the others through {os.environ['MASTER_ADDR']}:"
            f"{os.environ.get('MASTER_PORT')} ({error}). Expected hosts that reach each other on every port; name the "
            "network interface with GLOO_SOCKET_IFNAME. See docs/guides/several-machines.md."
        ) from error
    return store


def _leave() -> None:
    global _waiting  # noqa: PLW0603
    _waiting = None
    if dist.is_initialized():
        dist.destroy_process_group()


def _farewell(store: dist.Store, error: BaseException) -> int | None:
    """Report to the others why this process ends, or read their report: the exit status, or None for that of `error`.

    Only the first process to fail prints its error: most errors would otherwise be printed once per process.
    """
    rank, size = dist.get_rank(), dist.get_world_size()
    lost = _is_lost_peer(error)
    report = first_report = f"{rank}:{130 if lost else status_of(error)}"
    with contextlib.suppress(RuntimeError):  # the store is gone where the process that held it was killed
        if lost:  # a process that failed has reported before it ended; one that was killed has not
            _until(lambda: store.check(["failed"]), LOST)
        first_report = bytes(store.compare_set("failed", "", report)).decode()
        store.add("left", 1)
    # The others, waiting for this one in the middle of a step, notice now.
    _leave()
    if not lost:
        with contextlib.suppress(RuntimeError):
            _until(lambda: store.add("left", 0) >= size, LEAVING)
    first, status = first_report.split(":")
    if int(first) != rank:
        return int(status)
    if lost:
        sys.stderr.write(
            f"shoptalk: another process of this job has ended, so process {rank} and the others end too ({error}). "
            "What is finished is kept: the same command continues, with any number of processes.\n"
        )
        return int(status)
    return None


def _until(condition: Callable[[], bool], most: timedelta) -> None:
    end = time.monotonic() + most.total_seconds()
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def status_of(error: BaseException) -> int:
    """The exit status that the command line gives an error."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 2 if isinstance(error, ShoptalkError) or exhausted(error) is not None else 1


def _is_lost_peer(error: BaseException) -> bool:
    # gloo's errors are plain RuntimeErrors that begin with the line of its source.
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/" in str(error))


# What the first process does for all


def agree(work: Callable[[], T]) -> T:
    """Run `work` on the first process, and return its result (None or a JSON value) on every process.

    Within `work` the first process is alone (`gather.alone`): nothing waits for the others.
    """
    if gather.world_size() == 1:
        return work()
    text = b""
    if gather.rank() == 0:
        with gather.alone():
            text = json.dumps(work()).encode()
    head = _sent((str(len(text)).encode() + b"\n" + text)[:_HEAD], _HEAD)
    size, _, payload = head.partition(b"\n")
    if int(size) > len(payload):  # most values come with the head, in one message
        payload = _sent(text, int(size))
    value: T = json.loads(payload[: int(size)])
    return value


def _sent(data: bytes, size: int) -> bytes:
    """The first process's bytes, filled up with zeros to `size` of them."""
    message = torch.zeros(size, dtype=torch.uint8)
    message[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else message[:0]
    dist.broadcast(message, src=0, group=_waiting)
    return message.numpy().tobytes()


def of_first(value: T) -> T:
    """The first process's value, on every process."""
    return agree(lambda: value)


def of_all(text: str) -> list[str]:
    """What every process says in a few words, in the order of ranks, on every process."""
    if gather.world_size() == 1:
        return [text]
    mine = torch.zeros(_HEAD, dtype=torch.uint8)
    words = bytearray(text.encode()[:_HEAD])
    mine[: len(words)] = torch.frombuffer(words, dtype=torch.uint8)
    parts = [torch.empty_like(mine) for _ in range(gather.world_size())]
    dist.all_gather(parts, mine, group=_waiting)
    return [part.numpy().tobytes().rstrip(b"\0").decode() for part in parts]


def refuse_unlike(computed: str) -> None:
    """Refuse processes that would not compute alike: which of them computes what is chance.

    Args:
        computed: what computes on this one: a kind of device, or `machine.arithmetic`, which ends with it.

    Raises:
        ConfigError: one computes otherwise than another.
    """
    computed_by = of_all(computed)
    if len(set(computed_by)) > 1:
        which = "; ".join(
            f"{words}: process {', '.join(str(rank) for rank, other in enumerate(computed_by) if other == words)}"
            for words in dict.fromkeys(computed_by)
        )
        devices = {words.split()[-1] for words in computed_by}
        remedy = (
            "Install a C++ compiler on every host, or set SHOPTALK_NATIVE=0 on every host."
            if len(devices) == 1
            else "Expected the same kind of device for all: leave out the hosts without it, or set "
            "CUDA_VISIBLE_DEVICES=-1 on every host to train on CPUs."
        )
        raise ConfigError(
            f"The processes do not compute alike ({which}): they would round differently and draw different dropout "
            f"masks, and no such run could be repeated. {remedy}"
        )


def shared(folder: Path, *, make: Callable[[], object], read: Callable[[], T]) -> T:
    """Call `make` on the first process, which may leave an artifact in `folder`; then `read` on every process."""

    def work() -> str | None:
        make()
        artifact = open_artifact(folder)
        return None if artifact is None else artifact.key

    key = agree(work)
    if key is not None:
        arrived(folder, key)
    return read()


def arrived(folder: Path, key: str | None = None) -> Artifact:
    """The artifact (of that key) that the first process has left in `folder`, as soon as it is visible here.

    Raises:
        StorageError: it does not appear, so this process sees another folder.
    """
    end = time.monotonic() + VISIBLE.total_seconds()
    while True:
        with contextlib.suppress(ArtifactError):  # some of its files may show before others
            artifact = open_artifact(folder, key=key)
            if artifact is not None:
                return artifact
        if time.monotonic() >= end:
            raise StorageError(
                f"Process 0 has written {folder.resolve()}, and process {gather.rank()} does not find it there. "
                "Expected one folder that all hosts share: give an --out that is such a folder."
            )
        time.sleep(0.1)


# Training together


@contextlib.contextmanager
def distributed(objective: nn.Module, *, shard: bool, tables: Sequence[nn.Embedding]) -> Iterator[nn.Module]:
    """The module to call in place of `objective`: after `backward` every process has the average of all gradients.

    Args:
        objective: each process's own copy, all of them equal.
        shard: spread the parameters over the processes (FSDP2; `objective` is changed in place and stays so); else
            each keeps all of them (DistributedDataParallel).
        tables: embeddings with sparse gradients, which become dense inside where processes cannot add up sparse ones.
    """
    if gather.world_size() == 1:
        yield objective
        return
    device = next(objective.parameters()).device
    dense = tables if shard or device.type != "cpu" else []
    for table in dense:
        table.sparse = False
    try:
        if shard:
            _shard(objective, device)
            yield objective
        else:
            # All processes compute equal buffers, so they need not be sent.
            yield nn.parallel.DistributedDataParallel(
                objective, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
    finally:
        for table in dense:
            table.sparse = True


def _shard(objective: nn.Module, device: torch.device) -> None:
    """Shard layer by layer, so that one layer's parameters at a time are whole; then what belongs to no layer."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if gather.sharded(objective):
        return
    mesh = init_device_mesh(device.type, (gather.world_size(),))
    stacks: list[Any] = [part for part in objective.modules() if isinstance(part, nn.ModuleList)]
    for stack in reversed(stacks):  # inner ones first
        for layer in stack:
            fully_shard(layer, mesh=mesh)
    fully_shard(objective, mesh=mesh)
