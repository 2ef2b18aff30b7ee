from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn import losses
from shoptalk.nn.losses import (
    info_nce,
    info_nce_of_queue,
    linear_cross_entropy,
    nt_xent,
    similarity_distribution,
    squared_distance,
)
from shoptalk.nn.native import library


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


# Both ways through a chunk of logits; the kernel where there is a library.
both_ways = pytest.mark.parametrize(
    "way",
    [
        pytest.param("kernel", marks=pytest.mark.skipif(library() is None, reason="no compiler, or SHOPTALK_NATIVE=0")),
        "torch",
    ],
)


@contextmanager
def going(way: str) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        if way == "torch":
            patch.setattr(losses, "library", lambda: None)
        yield patch


@both_ways
@given(m=st.integers(0, 9), v=st.integers(2, 40), chunk=st.integers(1, 4), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_linear_cross_entropy_and_its_gradients_are_those_of_the_whole_matrix(
    way: str, m: int, v: int, chunk: int, seed: int
):
    rng = np.random.default_rng(seed)
    hidden, table, bias = rng.normal(size=(m, 3)), rng.normal(size=(v, 3)), rng.normal(size=v)
    labels, weight = rng.integers(0, v, size=m), 0.7
    # Bishop 2006, equations 4.104 to 4.109, in double precision: the loss, and (softmax - one-hot) as its gradient.
    scores = hidden @ table.T + bias
    softmax = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    error = weight * (softmax - np.eye(v)[labels])
    parts = [torch.tensor(part, dtype=torch.float32, requires_grad=True) for part in (hidden, table, bias)]
    with going(way) as patch:
        patch.setattr(losses, "CHUNK", chunk)
        loss = linear_cross_entropy(*parts, torch.from_numpy(labels), weight=weight)
        (2 * loss).backward()
    expected = -weight * np.log(softmax[np.arange(m), labels]).sum()
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for part, gradient in zip(parts, (error @ table, error.T @ hidden, error.sum(0)), strict=True):
        assert part.grad is not None
        np.testing.assert_allclose(part.grad.numpy(), 2 * gradient, rtol=1e-3, atol=1e-5)


@both_ways
def test_linear_cross_entropy_without_gradients_keeps_nothing(way: str):
    with going(way), torch.no_grad():
        loss = linear_cross_entropy(torch.eye(2), torch.eye(2), torch.zeros(2), torch.tensor([0, 1]), weight=0.5)
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-6)


@both_ways
@pytest.mark.parametrize("upstream", [1.0, 2.0])
def test_a_frozen_table_gets_no_gradient_and_the_states_get_theirs(way: str, upstream: float):
    rng = torch.Generator().manual_seed(0)
    hidden, table = torch.randn(5, 3, generator=rng), torch.randn(7, 3, generator=rng)
    bias, labels, gradients = torch.zeros(7), torch.tensor([0, 6, 2, 2, 4]), []
    for frozen in (False, True):
        states, weights = hidden.clone().requires_grad_(), table.clone().requires_grad_(not frozen)
        with going(way):
            loss = linear_cross_entropy(states, weights, bias, labels, weight=0.2)
        (upstream * loss).backward()
        assert (weights.grad is None) == frozen
        gradients.append(states.grad)
    assert torch.equal(*gradients)


@both_ways
def test_linear_cross_entropy_under_autocast_rounds_its_products_only(way: str):
    rng = np.random.default_rng(0)
    hidden, table = (torch.tensor(rng.normal(size=(n, 8)), dtype=torch.float32, requires_grad=True) for n in (6, 20))
    bias, labels = torch.zeros(20, requires_grad=True), torch.arange(6)
    exact = linear_cross_entropy(hidden, table, bias, labels, weight=1.0)
    with going(way), torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = linear_cross_entropy(hidden, table, bias, labels, weight=1.0)
    rounded.backward()
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=2e-2)
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32


@both_ways
@pytest.mark.parametrize("label", [-1, 20])
def test_a_label_outside_the_vocabulary_is_refused(way: str, label: int):
    with going(way), pytest.raises((IndexError, RuntimeError), match=f"label {label} |index {label} |out of bounds"):
        linear_cross_entropy(
            torch.zeros(3, 8), torch.zeros(20, 8), torch.zeros(20), torch.tensor([0, label, 1]), weight=1.0
        )


@pytest.mark.skipif(library() is None, reason="no C++ compiler, or SHOPTALK_NATIVE=0")
def test_the_kernel_is_what_runs_on_a_cpu_and_nowhere_else(monkeypatch: pytest.MonkeyPatch):
    rows, bias = torch.zeros(2, 3), torch.zeros(4)
    assert losses._has_kernel(rows, bias)
    assert losses._has_kernel(rows.bfloat16(), bias)
    assert not losses._has_kernel(rows.double(), bias)
    assert not losses._has_kernel(rows.to("meta"), bias)
    monkeypatch.setenv("SHOPTALK_NATIVE", "0")
    assert not losses._has_kernel(rows, bias)


def nt_xent_by_hand(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """Chen et al. 2020, algorithm 1: its views 2k-1 and 2k are neighbours, its sum leaves out the view itself."""
    views = np.stack([first, second], axis=1).reshape(2 * len(first), -1).astype(np.float64)
    losses = []
    for i, view in enumerate(views):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = [np.exp(view @ other / temperature) for k, other in enumerate(views) if k != i]
        losses.append(-np.log(np.exp(view @ views[partner] / temperature) / sum(others)))
    return float(np.sum(losses) / len(views))


@given(st.integers(2, 8), st.integers(2, 6), st.floats(0.05, 2.0), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_nt_xent_is_the_papers_algorithm_and_knows_no_order(n: int, d: int, temperature: float, seed: int):
    first, second = unit(n, d, seed), unit(n, d, seed + 1000)
    loss = nt_xent(first, second, temperature=temperature).item()
    assert loss == pytest.approx(nt_xent_by_hand(first.numpy(), second.numpy(), temperature), rel=1e-4, abs=1e-5)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for one, other in ((second, first), (first[order], second[order])):
        assert nt_xent(one, other, temperature=temperature).item() == pytest.approx(loss, rel=1e-4, abs=1e-5)


@given(st.integers(1, 8), st.integers(2, 6), st.integers(1, 9), st.floats(0.05, 2.0), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_info_nce_of_a_queue_is_the_papers_equation(n: int, d: int, size: int, temperature: float, seed: int):
    queries, keys, queue = (unit(rows, d, seed + place) for place, rows in enumerate((n, n, size)))
    losses = []
    for query, key in zip(queries.double().numpy(), keys.double().numpy(), strict=True):
        # He et al. 2020, equation 1: the sum runs over one positive and K negatives.
        scores = [np.exp(query @ other / temperature) for other in (key, *queue.double().numpy())]
        losses.append(-np.log(scores[0] / sum(scores)))
    loss = info_nce_of_queue(queries, keys, queue, temperature=temperature).item()
    assert loss == pytest.approx(np.mean(losses), rel=1e-4, abs=1e-5)
    shuffled = queue[torch.randperm(size, generator=torch.Generator().manual_seed(seed))]
    assert info_nce_of_queue(queries, keys, shuffled, temperature=temperature).item() == pytest.approx(
        loss, rel=1e-4, abs=1e-5
    )


@given(st.integers(1, 8), st.integers(2, 6), st.floats(0.1, 10.0), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_the_squared_distance_is_of_directions_alone(n: int, d: int, length: float, seed: int):
    predicted, targets = unit(n, d, seed), unit(n, d, seed + 1000)
    # Grill et al. 2020, equation 2.
    wanted = np.mean(((predicted.double().numpy() - targets.double().numpy()) ** 2).sum(1))
    assert squared_distance(length * predicted, targets / length).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert squared_distance(targets, predicted).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_losses_of_views_are_float32_under_bfloat16():
    first, second, queue = unit(6, 8, 0), unit(6, 8, 1), unit(9, 8, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [
            nt_xent(first, second, temperature=0.1),
            info_nce_of_queue(first, second, queue, temperature=0.1),
            squared_distance(first, second),
        ]
    exact = [
        nt_xent(first, second, temperature=0.1),
        info_nce_of_queue(first, second, queue, temperature=0.1),
        squared_distance(first, second),
    ]
    assert found == exact
