"""The likeliest token, or one drawn: with the shares that temperature and top-p say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.decoding.token_choice import TokenChoice, nucleus


def test_temperature_0_takes_the_first_of_the_likeliest() -> None:
    choose = TokenChoice(temperature=0.0, top_p=1.0, seed=0)
    assert choose(np.array([0.0, 3.0, 1.0, 3.0], dtype=np.float32)) == 1


def test_draws_have_the_shares_of_softmax_at_that_temperature() -> None:
    logits = np.array([0.0, 1.0, 2.0, -1.0], dtype=np.float32)
    choose = TokenChoice(temperature=0.7, top_p=1.0, seed=1)
    counts = np.bincount([choose(logits) for _ in range(20_000)], minlength=4)
    shares = np.exp(logits.astype(np.float64) / 0.7)
    np.testing.assert_allclose(counts / 20_000, shares / shares.sum(), atol=0.012)


def test_top_p_draws_from_the_fewest_likeliest_tokens_alone() -> None:
    logits = np.log(np.array([0.05, 0.5, 0.15, 0.3], dtype=np.float32))
    choose = TokenChoice(temperature=1.0, top_p=0.75, seed=2)
    counts = np.bincount([choose(logits) for _ in range(20_000)], minlength=4)
    np.testing.assert_allclose(counts / 20_000, [0, 0.625, 0, 0.375], atol=0.012)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=600), st.floats(0.01, 1.0))
def test_the_nucleus_is_the_fewest_tokens_that_reach_their_share(values: list[float], top_p: float) -> None:
    weights = np.array(values)
    tokens = nucleus(weights, top_p)
    order = np.argsort(-weights, kind="stable")
    reached = np.cumsum(weights[order]) >= top_p * weights.sum() * (1 + 1e-12)
    fewest = int(np.argmax(reached)) + 1 if reached.any() else len(weights)
    assert abs(len(tokens) - fewest) <= 1  # a sum in another order may end a rounding earlier
    np.testing.assert_array_equal(weights[tokens], weights[order[: len(tokens)]])


@pytest.mark.parametrize("top_p", [1.0, 0.9])
@pytest.mark.parametrize("temperature", [1e-3, 1e-308, 5e-324])
def test_a_temperature_near_nothing_takes_the_likeliest(temperature: float, top_p: float) -> None:
    choose = TokenChoice(temperature=temperature, top_p=top_p, seed=0)
    assert {choose(np.array([5.0, 20.0, -np.inf, 0.0], dtype=np.float32)) for _ in range(5)} == {1}
