import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shoptalk.training.optim import RowAdamW, make_optimizer

LR, DECAY = 0.1, 0.3


def by_hand(table: np.ndarray, gradients: list[dict[int, np.ndarray]]) -> np.ndarray:
    """Loshchilov & Hutter 2019, algorithm 2, for the rows that each step's gradient has; the others rest."""
    table = table.astype(np.float64)
    first, second = np.zeros_like(table), np.zeros_like(table)
    for step, rows in enumerate(gradients, start=1):
        for row, gradient in rows.items():
            first[row] = 0.9 * first[row] + 0.1 * gradient
            second[row] = 0.999 * second[row] + 0.001 * gradient**2
            direction = (first[row] / (1 - 0.9**step)) / (np.sqrt(second[row] / (1 - 0.999**step)) + 1e-8)
            table[row] -= LR * (direction + DECAY * table[row])
    return table


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=5), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_rows_that_were_read_move_as_in_adamw_and_the_others_rest(reads: list[list[int]], seed: int):
    generator = torch.Generator().manual_seed(seed)
    table = nn.Parameter(torch.randn(6, 3, generator=generator))
    before, gradients = table.detach().numpy().copy(), []
    optimizer = RowAdamW([{"params": [table], "lr": LR, "weight_decay": DECAY}])
    for rows in reads:
        values = torch.randn(len(rows), 3, generator=generator)
        table.grad = torch.sparse_coo_tensor(torch.tensor([rows]), values, (6, 3), check_invariants=True)
        optimizer.step()
        summed: dict[int, np.ndarray] = {}
        for row, value in zip(rows, values.double().numpy(), strict=True):
            summed[row] = summed.get(row, 0) + value
        gradients.append(summed)
    np.testing.assert_allclose(table.detach().numpy(), by_hand(before, gradients), rtol=1e-4, atol=1e-5)


class Model(nn.Module):
    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 4, sparse=sparse)
        self.head = nn.Linear(4, 1)
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) * (number + 1))


@pytest.mark.parametrize("most", [1e-2, 1e3])
def test_where_every_row_is_read_sparse_and_dense_gradients_train_alike(most: float):
    weights = []
    for sparse in (False, True):
        model = Model(sparse=sparse)
        optimizer = make_optimizer(model, model.table, lr=0.01, weight_decay=0.1)
        for group in optimizer.groups:
            group["lr"] = group["base_lr"]
        for step in range(4):
            optimizer.zero_grad()
            rows = torch.cat([torch.arange(50), torch.tensor([step, step])])  # some rows twice
            model.head(model.table(rows)).square().sum().backward()
            optimizer.clip(most)
            norm = torch.cat([p.grad.to_dense().flatten() for p in model.parameters() if p.grad is not None]).norm()
            assert norm <= most * 1.001
            optimizer.step()
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_rows_that_were_not_read_stay_bit_for_bit():
    model = Model(sparse=True)
    before = model.table.weight.detach().clone()
    optimizer = make_optimizer(model, model.table, lr=0.1, weight_decay=0.1)
    model.head(model.table(torch.tensor([3, 7, 3]))).sum().backward()
    optimizer.clip(1.0)
    optimizer.step()
    moved = (model.table.weight != before).any(1).nonzero().flatten().tolist()
    assert moved == [3, 7]
