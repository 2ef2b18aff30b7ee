import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from shoptalk.text import order
from shoptalk.text.order import permuted


@given(st.integers(1, 3_000), st.integers(0, 2**32), st.integers(0, 1_000))
@example(order.PLAIN - 1, 0, 0)
@example(order.PLAIN, 0, 0)
@example(1_024, 0, 0)
@example(1_025, 0, 0)
@example(2_026, 0, 0)
@settings(deadline=None, max_examples=60)
def test_all_positions_together_are_a_permutation(n: int, seed: int, epoch: int):
    assert sorted(permuted(n, range(n), seed=seed, epoch=epoch).tolist()) == list(range(n))


@given(st.integers(1, 2**62), st.data())
@settings(deadline=None, max_examples=60)
def test_any_n_is_served_without_listing_it(n: int, data: st.DataObject):
    positions = data.draw(st.lists(st.integers(0, n - 1), max_size=40, unique=True))
    n = max(n, order.PLAIN)
    found = permuted(n, positions, seed=1, epoch=2)
    assert len(set(found.tolist())) == len(positions)
    assert all(0 <= number < n for number in found.tolist())


@pytest.mark.parametrize("n", [40, 5_000])
def test_a_position_does_not_depend_on_what_else_is_asked(n: int):
    whole = permuted(n, range(n), seed=3, epoch=4)
    assert permuted(n, np.array([17, 3, 3], dtype=np.int32), seed=3, epoch=4).tolist() == whole[[17, 3, 3]].tolist()
    assert permuted(n, [], seed=3, epoch=4).shape == (0,)


@pytest.mark.parametrize("n", [40, 5_000])
def test_epochs_and_seeds_have_orders_of_their_own(n: int):
    orders = [permuted(n, range(n), seed=seed, epoch=epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert (one == other).sum() < 12  # one is expected


@pytest.mark.parametrize("positions", [[-1], [0, 300]])
def test_a_position_outside_is_an_error(positions: list[int]):
    with pytest.raises(IndexError, match="of an order of 300 things"):
        permuted(300, positions, seed=0, epoch=0)


# Fixed seeds, so each of these either always passes or never does; a right shuffle fails 1 in 1,000 choices of seeds.


@pytest.mark.parametrize("n", [7, 256, 1_000, 1_025])
def test_every_number_is_as_likely_at_a_position(n: int):
    bins = min(n, 32)
    found = np.array([permuted(n, [0, 5], seed=0, epoch=epoch) for epoch in range(500)]) * bins // n
    share = np.bincount(np.arange(n) * bins // n, minlength=bins) / n
    for column in found.T:
        assert stats.chisquare(np.bincount(column, minlength=bins), 500 * share).pvalue > 1e-3


def test_neighbours_in_the_order_are_strangers():
    n, bins = 1_000, 10
    counts = np.zeros((bins, bins))
    for epoch in range(20):
        found = permuted(n, range(n), seed=5, epoch=epoch) * bins // n
        np.add.at(counts, (found[::2], found[1::2]), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_an_order_leaves_on_average_one_thing_in_its_place():
    n, epochs = 1_000, 100
    fixed = sum(int((permuted(n, range(n), seed=6, epoch=epoch) == np.arange(n)).sum()) for epoch in range(epochs))
    assert abs(fixed - epochs) < 3.3 * np.sqrt(epochs)  # the number of fixed points has mean and variance 1


def test_a_sorted_half_is_spread_over_the_whole_order():
    """Sources often come sorted: the first half of the order must hold as much of the start as of the end."""
    n = 2**16 + 3
    first = permuted(n, range(n // 2), seed=7, epoch=0)
    low = int((first < n // 2).sum())
    assert abs(low - n / 4) < 3.3 * np.sqrt(n / 16)
