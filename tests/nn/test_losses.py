import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.losses import info_nce, similarity_distribution


def unit(n: int, d: int, seed: int) -> torch.Tensor:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return torch.tensor(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=torch.float32)


def info_nce_by_hand(queries: np.ndarray, keys: np.ndarray, temperature: float, excluded: np.ndarray | None) -> float:
    """van den Oord et al. 2018, equation 4, one query at a time in double precision."""
    losses = []
    for i, query in enumerate(queries.astype(np.float64)):
        scores = [
            np.exp(query @ key / temperature)
            for j, key in enumerate(keys.astype(np.float64))
            if j == i or excluded is None or not excluded[i, j]
        ]
        own = np.exp(query @ keys[i].astype(np.float64) / temperature)
        losses.append(-np.log(own / sum(scores)))
    return float(np.mean(losses))


@given(st.integers(1, 9), st.integers(1, 6), st.floats(0.05, 2.0), st.integers(0, 99), st.booleans())
@settings(deadline=None, max_examples=40)
def test_info_nce_is_the_papers_equation(n: int, d: int, temperature: float, seed: int, exclude: bool):
    queries, keys = unit(n, d, seed), unit(n, d, seed + 1000)
    excluded = np.random.default_rng(seed).random((n, n)) < 0.4 if exclude else None
    found = info_nce(
        queries, keys, temperature=temperature, excluded=None if excluded is None else torch.from_numpy(excluded)
    )
    assert found.item() == pytest.approx(
        info_nce_by_hand(queries.numpy(), keys.numpy(), temperature, excluded), rel=1e-4, abs=1e-5
    )


def test_an_excluded_key_gets_no_gradient_and_the_own_key_is_never_excluded():
    queries, keys = unit(3, 4, 0), unit(3, 4, 1).requires_grad_()
    loss = info_nce(queries, keys, temperature=0.1, excluded=torch.ones(3, 3, dtype=torch.bool))
    assert loss.item() == 0.0  # nothing left but the own key
    only_last = torch.tensor([[False, False, True]] * 3)
    info_nce(queries, keys, temperature=0.1, excluded=only_last).backward()
    assert keys.grad is not None
    alone = keys.detach().clone().requires_grad_()
    # Key 2 is a negative of nobody: only the query that owns it moves it.
    logits = queries[2] @ alone.T / 0.1
    (-logits.log_softmax(0)[2] / 3).backward()
    assert alone.grad is not None
    torch.testing.assert_close(keys.grad[2], alone.grad[2])


@given(st.integers(2, 9), st.integers(2, 6), st.floats(0.05, 2.0), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_a_similarity_distribution_is_a_softmax_over_the_others(n: int, d: int, temperature: float, seed: int):
    vectors = unit(n, d, seed)
    found = similarity_distribution(vectors, temperature=temperature).exp().numpy()
    rows = vectors.numpy().astype(np.float64)
    for i in range(n):
        scores = np.array([np.exp(rows[i] @ rows[j] / temperature) if j != i else 0.0 for j in range(n)])
        np.testing.assert_allclose(found[i], scores / scores.sum(), rtol=1e-3, atol=1e-6)


def test_similarities_are_float32_under_autocast_too():
    # A cosine of 0.9 has steps of 0.004 in bfloat16, and a step of the logit is twenty times that.
    queries = unit(64, 16, 0)
    keys = torch.nn.functional.normalize(queries + 0.3 * unit(64, 16, 1), dim=-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, log = info_nce(queries, keys, temperature=0.05), similarity_distribution(keys, temperature=0.05)
    torch.testing.assert_close(loss, info_nce(queries, keys, temperature=0.05), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log, similarity_distribution(keys, temperature=0.05), rtol=1e-6, atol=1e-6)
    assert log.dtype == torch.float32
