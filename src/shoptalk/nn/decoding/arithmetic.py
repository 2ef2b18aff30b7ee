"""The type of weights that decoding is faster with on this machine: timed, never assumed.

A token is read by multiplying one row with every table of the model, so what takes the time is to read the weights
from memory: bfloat16 has half as many bytes. Where a processor cannot multiply it, that gains nothing.
"""

import functools
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.native import library
from shoptalk.nn.native.step import few_rows
from shoptalk.nn.precision import Precision

_ROWS, _WIDTH, _REPEATS = 16_384, 1_024, 4
"""A table of 64 MB in float32, which no processor keeps to itself."""
_WORTHWHILE = 1.2


@functools.cache
def faster_weights() -> Precision:
    """float32, or bfloat16 where that is clearly faster."""
    seconds = {dtype: _seconds(torch.ones(_ROWS, _WIDTH, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16)}
    return "bfloat16" if seconds[torch.float32] >= _WORTHWHILE * seconds[torch.bfloat16] else "float32"


def _seconds(table: Tensor) -> float:
    """The shortest of a few products with one row."""
    row = torch.ones(1, table.shape[1], dtype=torch.float32 if library() else table.dtype)
    product: Callable[[], Tensor] = (
        (lambda: few_rows(row, table)) if library() else (lambda: nn.functional.linear(row, table))
    )
    taken = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        product()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def store_weights(product: LanguageModel, precision: Precision) -> None:
    """Give a model weights of that type, in place. Buffers, such as the angles of rotary positions, stay as they are:
    transformers keeps these in float32, too.
    """
    for parameter in product.network.parameters():
        parameter.data = parameter.data.to(getattr(torch, precision))
