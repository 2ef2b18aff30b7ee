"""The kernels that decoding runs on: products of a few rows with a table, and a whole pass of a Llama-like decoder."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from shoptalk.nn.native.handle import Library, in_use

LARGEST_HEAD = 256
PER_LAYER = 9
"""Tables of a layer."""


def few_rows(x: Float32[Tensor, "m K"], table: Float[Tensor, "N K"]) -> Float32[Tensor, "m N"]:
    """x table^T: each weight is read once, whatever the number of rows.

    With a table of bfloat16, where the processor multiplies those, x is rounded to bfloat16; sums are float32.

    Raises:
        ValueError: K is no multiple of two vectors.
    """
    _check(x, table)
    out = torch.empty(len(x), len(table))
    addresses = (tensor.data_ptr() for tensor in (x, table, out))
    half = int(table.dtype == torch.bfloat16)
    wanted = _kernels().call("few_rows", half, *addresses, *x.shape, len(table), torch.get_num_threads())
    if wanted:
        raise ValueError(f"native few_rows was given rows of {x.shape[1]}, and takes multiples of {wanted}")
    return out


@dataclass(frozen=True)
class StepShape:
    """Sizes of a decoder, in the order in which the kernel takes them, and of what is kept of its texts."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    hidden: int
    vocabulary: int
    slots: int
    capacity: int


@dataclass(frozen=True)
class LlamaStep:
    """A decoder's weights, where the kernel finds them. It holds on to the tensors, which must not move."""

    shape: StepShape
    tables: Sequence[Tensor]
    """Of each layer: first norm, queries, keys, values, output, second norm, gate, up, down; then the last norm, the
    table that tokens are read by, and the one that scores them. Norms are float32, the others all of one type."""
    states: Sequence[Tensor]
    """Of each layer keys and values, [slots, capacity, kv_heads, head], in the tables' type."""
    cosines: Float32[Tensor, "C head"]
    sines: Float32[Tensor, "C head"]
    eps: float

    def __post_init__(self) -> None:
        _check(self.cosines, self.sines, *self.tables, *self.states)
        if len(self.tables) != PER_LAYER * self.shape.layers + 3 or len(self.states) != 2 * self.shape.layers:
            raise ValueError(f"native llama_step was given {len(self.tables)} tables, {len(self.states)} states")

    def __call__(self, cells: Int64[Tensor, "m three"], wanted: Int64[Tensor, " w"]) -> Float32[Tensor, "w V"]:
        """Logits of the wanted cells, by their number; the states of all cells are kept.

        Args:
            cells: token, slot and position of each; those of one slot follow each other, and what comes before them
                there is kept already.
            wanted: numbers of cells.

        Raises:
            IndexError: a cell lies outside.
            ValueError: a width is no multiple of a vector.
        """
        _check(cells, wanted)
        logits = torch.empty(len(wanted), self.shape.vocabulary)
        half = int(self.states[0].dtype == torch.bfloat16)
        shape = torch.tensor(astuple(self.shape), dtype=torch.int64)
        tables, states = _addresses(self.tables), _addresses(self.states)
        where = (tensor.data_ptr() for tensor in (shape, tables, states, self.cosines, self.sines))
        wrong = _kernels().call(
            "llama_step", half, *where, self.eps, cells.data_ptr(), len(cells), wanted.data_ptr(), len(wanted),
            logits.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        if wrong == -2:
            raise ValueError(f"native llama_step cannot take a decoder of these sizes: {self.shape}")
        if wrong is not None and wrong >= 0:
            cell = tuple(cells[wrong].tolist()) if wrong < len(cells) else ()
            raise IndexError(f"cell {wrong} {cell} lies outside {self.shape}")
        return logits


def _addresses(tensors: Sequence[Tensor]) -> Int64[Tensor, " n"]:
    return torch.tensor([tensor.data_ptr() for tensor in tensors], dtype=torch.int64)


def _kernels() -> Library:
    kernels = in_use()
    if kernels is None:
        raise RuntimeError("native kernels were called where there are none: ask library() first (a bug in Shoptalk)")
    return kernels


def _check(*tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise ValueError(
                f"native kernels take contiguous tensors on the CPU, not {tensor.dtype} {tuple(tensor.shape)} on "
                f"{tensor.device}, strides {tensor.stride()} (a bug in Shoptalk)"
            )
