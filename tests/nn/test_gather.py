"""What several processes compute together is what one computes alone."""

import numpy as np
import pytest
import torch
from torch import nn

from shoptalk.nn import gather
from shoptalk.text.batching import make_batch
from tests.training.processes import together

GROUP = make_batch([np.arange(3)], pad_id=0).groups[0]
COUNTS = ((3, 2), (0, 4), (5, 0))
THREE = (2, 0, 3)


def rows(counts: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(counts)).normal(size=(sum(counts), 4))).requires_grad_()


def loss_of(gathered: torch.Tensor) -> torch.Tensor:
    """Over all pairs, so that each row's gradient depends on every other row."""
    return (gathered @ gathered.T).tanh().square().sum() + gathered[0].sum()


def gathered_gradient(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The gathered rows, and the gradient of this process's own ones."""
    begin = sum(counts[: gather.rank()])
    local = rows(counts).detach()[begin : begin + counts[gather.rank()]].requires_grad_()
    gathered = gather.gather_rows(local, counts)
    loss_of(gathered).backward()
    assert local.grad is not None
    return gathered.detach().numpy(), local.grad.numpy()


def summed_gradient() -> tuple[float, float]:
    value = torch.tensor(gather.rank() + 1.5, requires_grad=True)
    total = gather.sum_across(value)
    total.square().backward()
    assert value.grad is not None
    return total.item(), value.grad.item()


def work(sets: tuple[tuple[int, ...], ...]) -> dict[str, object]:
    with gather.alone():
        lonely = (gather.world_size(), gather.rank(), gather.gather_rows(rows((2,)), (2,)).shape[0])
    return {
        "gathered": [gathered_gradient(counts) for counts in sets],
        "summed": summed_gradient(),
        "alone": lonely,
        "sharded": sharded(),
    }


def sharded() -> tuple[bool, bool, list[int], bool]:
    """What FSDP2 makes of a small model, asked through `gather`."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    plain = gather.sharded(model)
    fully_shard(model, mesh=init_device_mesh("cpu", (gather.world_size(),)))
    parts = [gather.local(p).shape[0] for p in model.parameters()]
    same = all(torch.equal(gather.whole(p), before[name]) for name, p in model.named_parameters())
    same &= all(torch.equal(gather.part_of(before[name], p), gather.local(p)) for name, p in model.named_parameters())
    return plain, gather.sharded(model), parts, same


@pytest.mark.parametrize("sets", [COUNTS, (THREE,)], ids=["two processes", "three processes"])
@pytest.mark.slow
def test_gathered_rows_and_their_gradients_are_those_of_one_process(sets: tuple[tuple[int, ...], ...]):
    size = len(sets[0])
    found = together(size, work, sets)
    for number, counts in enumerate(sets):
        whole = rows(counts)
        loss_of(whole).backward()
        assert whole.grad is not None
        parts = [found[rank]["gathered"][number] for rank in range(size)]
        for gathered, _ in parts:
            np.testing.assert_array_equal(gathered, whole.detach().numpy())
        # Every process has N times its rows' gradient: averaging what follows from it over N gives the whole.
        np.testing.assert_allclose(np.concatenate([own for _, own in parts]) / size, whole.grad.numpy(), rtol=1e-12)
    total = sum(rank + 1.5 for rank in range(size))
    assert [one["summed"] for one in found] == [(total, size * 2 * total)] * size
    assert [one["alone"] for one in found] == [(1, 0, 2)] * size
    for rank, one in enumerate(found):
        parts = [5, 5, 1, 1]
        own = [len(torch.arange(n).chunk(size)[rank]) if rank < len(torch.arange(n).chunk(size)) else 0 for n in parts]
        assert one["sharded"] == (False, True, own, True)


@pytest.mark.parametrize(("groups", "size"), [(5, 2), (1, 3), (4, 4), (0, 2)])
def test_every_group_counts_once_and_every_process_takes_as_many_turns(
    groups: int, size: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gather, "world_size", lambda: size)
    shares = []
    for rank in range(size):
        monkeypatch.setattr(gather, "rank", lambda rank=rank: rank)
        shares.append(gather.share([GROUP] * groups))
    assert len({len(one) for one in shares}) == 1
    assert sorted(number for one in shares for number, counts in one if counts) == list(range(groups))
    for rank, one in enumerate(shares):
        assert all(gather.owner(number) == rank for number, counts in one if counts)


def test_without_other_processes_everything_is_the_identity():
    local = torch.ones(2, 3, requires_grad=True)
    assert gather.gather_rows(local, (2,)) is local and gather.sum_across(local.sum()) == 6
    assert gather.local(local) is local and gather.whole(local) is local
    assert not gather.sharded(nn.Linear(2, 2))
    assert gather.share([GROUP, GROUP]) == [(0, True), (1, True)]
