"""The kernels of decoding: products of a few rows, and a whole pass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shoptalk.nn.decoding.forward import Feed
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.native import library
from shoptalk.nn.native.step import few_rows
from tests.nn.decoding.models import compiled_size

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler, or SHOPTALK_NATIVE=0")
TYPES = [torch.float32, torch.bfloat16]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 13), st.integers(1, 5), st.integers(1, 70), st.sampled_from(TYPES))
def test_a_few_rows_times_a_table_is_the_product(count: int, steps: int, rows: int, dtype: torch.dtype) -> None:
    x, table = random(count, 32 * steps), random(rows, 32 * steps).to(dtype)
    expected = x.to(dtype).double() @ table.double().T
    torch.testing.assert_close(
        few_rows(x, table).double(), expected, rtol=1e-2, atol=1e-3 if dtype == TYPES[0] else 0.1
    )


def test_a_width_that_fills_no_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of 33, and takes multiples of"):
        few_rows(random(2, 33), random(5, 33))
    with pytest.raises(ValueError, match="contiguous tensors on the CPU"):
        few_rows(random(2, 64), random(64, 5).T)


def test_a_pass_gives_the_same_bits_with_any_number_of_threads() -> None:
    def logits(threads: int) -> Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            forward = Writer(compiled_size(), slots=2)._compiled
            assert forward is not None
            feeds = [Feed(0, 0, range(3, 20)), Feed(1, 0, range(40, 45))]
            return torch.cat([torch.from_numpy(part) for _ in range(3) for part in forward(feeds)])
        finally:
            torch.set_num_threads(before)

    one = logits(1)
    assert all(torch.equal(logits(threads), one) for threads in (2, 3, 5))


@pytest.mark.parametrize("feed", [Feed(0, 0, [999]), Feed(7, 0, [5]), Feed(0, 10_000, [5]), Feed(0, 0, [5, -1])])
def test_a_cell_that_lies_outside_is_refused_and_nothing_is_written(feed: Feed) -> None:
    forward = Writer(compiled_size(), slots=2)._compiled
    assert forward is not None
    with pytest.raises(IndexError, match="lies outside"):
        forward([feed])
