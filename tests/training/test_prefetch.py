import threading
from typing import Any

import pytest
import torch

from shoptalk.nn import transfer
from shoptalk.objective import Key
from shoptalk.objectives import OBJECTIVES
from shoptalk.training.prefetch import page_locked, prefetching
from tests.toyworld import MIXTURE, small_spec, toy_world

CPU, OTHER = torch.device("cpu"), torch.device("meta")  # any device that is no CPU


@pytest.mark.parametrize("device", [CPU, OTHER])
def test_every_batch_comes_once_in_order_and_none_beyond_the_end(device: torch.device):
    made: list[int] = []

    def make(i: int) -> int:
        made.append(i)
        return 10 * i

    with prefetching(make, until=5, device=device) as get:
        assert [get(i) for i in range(5)] == [0, 10, 20, 30, 40]
    assert made == [0, 1, 2, 3, 4]


def test_the_next_batch_is_made_while_this_one_is_used():
    second = threading.Event()

    def make(i: int) -> int:
        if i == 1:
            second.set()
        return i

    with prefetching(make, until=3, device=OTHER) as get:
        get(0)
        assert second.wait(timeout=10)


def test_an_error_in_a_batch_comes_out_where_the_batch_is_asked_for():
    def make(i: int) -> int:
        if i == 1:
            raise ValueError("batch 1 is bad")
        return i

    with prefetching(make, until=3, device=OTHER) as get:
        assert get(0) == 0
        with pytest.raises(ValueError, match="batch 1 is bad"):
            get(1)


def test_stopping_early_leaves_no_thread_behind():
    before = threading.active_count()
    with prefetching(lambda i: i, until=100, device=OTHER) as get:
        get(0)
    assert threading.active_count() == before


@pytest.mark.parametrize("name", ["mlm", "neighbours", "turns", "simcse"])
def test_page_locking_reaches_every_tensor_of_every_batch_and_changes_none(name: str, monkeypatch: pytest.MonkeyPatch):
    locked: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        locked.append(id(tensor))
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)  # there is no CUDA here to lock pages for
    world = toy_world(small_spec(name))
    batch = world.collate(world.data[:8], Key(0, 0))
    copy = page_locked(batch)
    found = list(tensors(batch))
    assert len(locked) == len(found) > 0
    assert {id(tensor) for tensor in found} == set(locked)
    for one, other in zip(found, tensors(copy), strict=True):
        assert torch.equal(one, other)
    assert copy.tokens == batch.tokens


def tensors(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        yield part
    elif isinstance(part, tuple):
        for inner in part:
            yield from tensors(inner)
    elif hasattr(part, "__dict__"):
        for inner in vars(part).values():
            yield from tensors(inner)


def storage(tensor: torch.Tensor) -> int:
    """Where it is: a part of a page-locked tensor is page-locked, a copy is not."""
    return tensor.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", [*sorted(OBJECTIVES), MIXTURE])
def test_nobody_waits_for_a_batch_to_reach_the_device(name: str, monkeypatch: pytest.MonkeyPatch):
    """There is no CUDA here: the processor is taken for a device that copies on its own."""
    world = toy_world(small_spec(name))
    batch = world.collate(world.data[:8], Key(0, 0))
    mine = {storage(tensor) for tensor in tensors(batch)}
    waited: list[bool] = []
    plain = torch.Tensor.to

    def to(tensor: torch.Tensor, *arguments: Any, non_blocking: bool = False, **named: Any) -> torch.Tensor:
        if storage(tensor) in mine and isinstance(arguments[0], torch.device):
            waited.append(not non_blocking)
        return plain(tensor, *arguments, non_blocking=non_blocking, **named)

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(transfer, "_SIDE_BY_SIDE", frozenset({"cpu"}))
    world.objective.train()
    world.objective(batch).total.backward()
    assert waited and not any(waited)


def test_a_copy_within_the_processor_is_a_plain_one():
    tensor = torch.arange(3)
    assert transfer.sent(tensor, CPU) is tensor
    assert transfer.sent(tensor, CPU, torch.float32).dtype == torch.float32
