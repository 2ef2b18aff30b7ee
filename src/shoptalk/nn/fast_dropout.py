"""Dropout by our kernel wherever a model of transformers' asks torch for it.

    with fast_dropout():
        states = backbone(...)

torch draws a mask on a CPU number by number on one thread: of a small T5's training step that is a fifth
(benchmarks/README.md). Here a mask is a function of a seed and the place, made in the pass that multiplies by it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout as torch_dropout
from torch.overrides import TorchFunctionMode

from shoptalk.nn.native import library
from shoptalk.nn.native import ops as native


class fast_dropout(TorchFunctionMode):  # noqa: N801 (a context manager, as torch.no_grad)
    """Inside, `torch.nn.functional.dropout`, which `torch.nn.Dropout` calls too, runs on our kernel.

    Where there are no kernels, on other devices, in other types than float32 and bfloat16 and in place, torch's own
    runs. Everything else is torch's. A backward pass that computes layers again does so outside, where masks are
    torch's: a model that saves memory so must not be called inside.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return (_dropout if func is torch_dropout else func)(*args, **(kwargs or {}))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """With the names of torch's arguments, by which callers give them."""
    ours = input.device.type == "cpu" and input.dtype in (torch.float32, torch.bfloat16) and not inplace
    if not training or not ours or not 0 < p < 1 or library() is None:
        return torch_dropout(input, p, training, inplace)
    return native.dropout(input.contiguous(), p, seed=native.new_seed())
