"""The type of weights that decoding is faster with on this machine: timed, never assumed.

A token is read by multiplying one row with every table of the model, so what takes the time is to read the weights
from memory: bfloat16 has half as many bytes. Where a processor cannot multiply it, that gains nothing.
"""

import functools
import time

import torch
from torch import Tensor, nn

from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.native import library
from shoptalk.nn.native.step import few_rows
from shoptalk.nn.precision import Precision

_ROWS, _WIDTH, _ROUNDS = 16_384, 1_024, 20
"""A table of 64 MB in float32, which no processor keeps to itself; and enough rounds for clocks of 4 ms."""
_WORTHWHILE = 1.2


@functools.cache
def faster_weights() -> Precision:
    """float32, or bfloat16 where that is clearly faster. One thread's own time counts, and the types take turns: others
    may be computing on this machine.
    """
    library()
    exact, half = (torch.ones(_ROWS, _WIDTH, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rounds = [(_seconds(exact), _seconds(half)) for _ in range(_ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    of_exact, of_half = (sum(taken) for taken in zip(*rounds, strict=True))
    return "bfloat16" if of_exact >= _WORTHWHILE * of_half else "float32"


def _seconds(table: Tensor) -> float:
    """Of a product with one row, in the way that decoding will do it."""
    begun = time.thread_time()
    if library() is not None:
        few_rows(torch.ones(1, table.shape[1]), table)
    else:
        nn.functional.linear(torch.ones(1, table.shape[1], dtype=table.dtype), table)
    return time.thread_time() - begun


def store_weights(product: LanguageModel, precision: Precision) -> None:
    """Give a model weights of that type, in place. Buffers, such as the angles of rotary positions, stay as they are:
    transformers keeps these in float32, too.
    """
    for parameter in product.network.parameters():
        parameter.data = parameter.data.to(getattr(torch, precision))
