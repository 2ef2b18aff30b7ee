"""AdamW (Loshchilov & Hutter 2019): fused for dense gradients, and row-wise for tables of which a batch reads few rows.

A vocabulary's embeddings are half of a small encoder's parameters, and a batch of chat turns reads one row in fifty.
With gradients and updates of those rows only, the memory of the others is not touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shoptalk.nn import gather

HEAD_LR = 10.0
"""A head's learning rate, relative to a trained encoder's: it starts from random weights and needs a higher one."""


class RowAdamW(torch.optim.Optimizer):
    """AdamW for tables [N, D]: rows without a gradient stay as they are, moments included.

    A row whose gradient is all zeros has none: so sparse gradients train as the dense ones do that several processes
    may have to add up.

    What differs from the paper, as in torch.optim.SparseAdam: such rows have neither weight decay nor momentum updates.
    """

    def __init__(self, params: list[dict[str, Any]]) -> None:
        super().__init__(params, {"lr": 0.0, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the rows that have gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, *_rows(gather.local(parameter.grad)), group)

    def _update(self, parameter: Tensor, rows: Tensor, values: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        (first_rate, second_rate), step = group["betas"], state["step"].item()
        table, firsts, seconds = map(gather.local, (parameter, state["exp_avg"], state["exp_avg_sq"]))
        first = firsts[rows].lerp_(values, 1 - first_rate)
        second = seconds[rows].mul_(second_rate).addcmul_(values, values, value=1 - second_rate)
        firsts[rows], seconds[rows] = first, second
        denominator = (second / (1 - second_rate**step)).sqrt_().add_(group["eps"])
        decayed = table[rows].mul_(1 - group["lr"] * group["weight_decay"])
        table[rows] = decayed.addcdiv_(first, denominator, value=-group["lr"] / (1 - first_rate**step))


def _rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers and the values of the rows that are not zero."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        read = gradient.values().any(1)
        return gradient.indices()[0][read], gradient.values()[read]
    rows = gradient.any(1).nonzero()[:, 0]
    return rows, gradient[rows]


@dataclass(frozen=True)
class Optimizer:
    """The dense and the row-wise optimizer as one."""

    parts: tuple[torch.optim.Optimizer, ...]

    @property
    def groups(self) -> Iterator[dict[str, Any]]:
        """Every parameter group."""
        return (group for part in self.parts for group in part.param_groups)

    @property
    def states(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Every parameter with its state, which may be empty and may be filled in place."""
        return ((parameter, part.state[parameter]) for part in self.parts for group in part.param_groups
                for parameter in group["params"])  # fmt: skip

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def clip(self, most: float) -> None:
        """Scale all gradients so that their joint norm is at most `most`."""
        gradients, in_parts = [], False
        for group in self.groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.coalesce()
                    gradients.append(parameter.grad.values())
                elif parameter.grad is not None:
                    gradients.append(gather.local(parameter.grad))
                    in_parts = in_parts or gradients[-1] is not parameter.grad
        norm = nn.utils.get_total_norm(gradients)
        if in_parts:  # each process has other ones
            norm = gather.sum_across(norm.square()).sqrt()
        factor = (most / (norm + 1e-6)).clamp(max=1.0)
        # Asking the value is cheap on CPUs and saves a pass over all gradients; on GPUs it would make them wait.
        if factor.device.type != "cpu" or factor.item() < 1.0:
            torch._foreach_mul_(gradients, factor)

    def step(self) -> None:
        """Update the parameters."""
        for part in self.parts:
            part.step()


def tables_by_rows(product: nn.Module) -> list[nn.Embedding]:
    """The tables that are marked for gradients that hold only the rows that were read."""
    return [part for part in product.modules() if isinstance(part, nn.Embedding) and part.sparse]


def make_optimizer(
    objective: nn.Module,
    product: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    tables: Sequence[nn.Embedding] | None = None,
    head_rate: float | None = None,
) -> Optimizer:
    """Parameter groups: the product and the heads, each split into matrices, which decay, and biases and norms.

    `tables` are updated by rows; by default `tables_by_rows(product)`. `head_rate` is the heads' learning rate relative
    to the product's, by default `HEAD_LR`. Where the product has `rates`, these are of some of its parameters, by their
    names, relative to the others.
    """
    inside = {id(parameter) for parameter in product.parameters()}
    named: Mapping[str, float] = getattr(product, "rates", {})
    rates = {id(parameter): named[name] for name, parameter in product.named_parameters() if name in named}
    by_rows = {id(table.weight) for table in (tables_by_rows(product) if tables is None else tables)}
    dense: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    parts_of = [(True, factor, lr * factor) for factor in (1.0, *sorted({*rates.values()} - {1.0}))]
    for of_product, factor, rate in (*parts_of, (False, 1.0, lr * (HEAD_LR if head_rate is None else head_rate))):
        for matrices in (True, False):
            chosen = [
                parameter
                for parameter in objective.parameters()
                if parameter.requires_grad
                and (id(parameter) in inside) == of_product
                and (parameter.ndim > 1) == matrices
                and rates.get(id(parameter), 1.0) == factor
            ]
            settings = {"base_lr": rate, "lr": rate, "weight_decay": weight_decay if matrices else 0.0}
            for groups, in_table in ((dense, False), (rows, True)):
                if parameters := [parameter for parameter in chosen if (id(parameter) in by_rows) == in_table]:
                    groups.append({"params": parameters} | settings)
    parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(dense, fused=True)] if dense else []
    if rows:
        parts.append(RowAdamW(rows))
    return Optimizer(tuple(parts))
