"""Which kind answers whom: what a choice is judged on must not have had a say in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from shoptalk.nn.heads.kinds import (
    FEWEST_IN_POOL,
    INVERSE_PENALTY,
    KINDS,
    Kind,
    chosen_kinds,
    fit_kind,
    usable,
    views_of,
)
from shoptalk.nn.heads.logistic import fit_soft, one_hot
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.heads.selftrain import self_train

NAMES = ("b", "a", "c")


def vectors_of(n: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, 6))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


# --- the kinds


def test_without_neighbourhoods_there_is_plain_regression_alone_and_it_comes_first() -> None:
    assert next(iter(KINDS)) == "linear" and KINDS["linear"] == Kind(0, 0)
    assert usable(None) == usable(Pool.of(vectors_of(FEWEST_IN_POOL - 1))) == ("linear",)
    assert usable(Pool.of(vectors_of(FEWEST_IN_POOL))) == tuple(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_sees_texts_as_it_should_and_goes_its_rounds(name: str) -> None:
    kind, pool, labels = KINDS[name], Pool.of(vectors_of(60, seed=1)), np.array(["x", "y"])
    own = vectors_of(12)
    codes = np.arange(12) % 2
    seen = views_of(own, pool)[kind.smoothed]
    np.testing.assert_array_equal(seen, own if name == "linear" else pool.smooth(own))
    head = fit_kind(kind, seen, codes, labels, pool)
    expected = fit_soft(seen, one_hot(codes, 2), labels, penalty=1 / (INVERSE_PENALTY * 12))
    if kind.rounds:
        plain = expected
        expected = self_train(plain, seen, codes, pool.smoothed, rounds=kind.rounds)
        assert np.abs(expected.weights - plain.weights).max() > 0.1
    assert_allclose(head.weights, expected.weights, atol=1e-5)
    assert head.labels is labels


# --- the choice


def who(correct: np.ndarray, tested: np.ndarray, cluster: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """The outcomes chosen, which of NAMES answers each text, and the best on all; `correct` is [kinds, draws, texts].

    A last draw of which nothing is tested, and so nothing may be read, tells the kinds apart: of each text only one
    kind's outcome is true there, first of kind 0, and in two more draws of kinds 1 and 2.
    """
    kinds, _, n = correct.shape
    marks = np.repeat(np.eye(kinds, dtype=bool)[:, :, None], n, axis=2)
    rows = np.concatenate([correct, marks], axis=1)
    shown = np.concatenate([tested, np.zeros((kinds, n), dtype=bool)])
    by_name = dict(zip(NAMES, rows, strict=True))
    kinds_of = chosen_kinds(by_name, shown, cluster, seed=seed)
    chosen, best = kinds_of.outcomes(by_name), kinds_of.best
    assert (chosen[-kinds:].sum(axis=0) == 1).all()
    return chosen[:-kinds], chosen[-kinds:].argmax(axis=0), best


def side_of(cluster: np.ndarray, seed: int) -> np.ndarray:
    """Which texts are in the first text's half: its half alone prefers the last kind, so the others get it."""
    n = len(cluster)
    correct = np.zeros((3, 1, n), dtype=bool)
    correct[2, 0, cluster == cluster[0]] = True
    return who(correct, np.ones((1, n), dtype=bool), cluster, seed)[1] != 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(6, 30), st.integers(1, 3))
def test_what_a_half_scores_has_no_say_in_who_answers_it(seed: int, n: int, per_cluster: int) -> None:
    rng = np.random.default_rng(seed)
    cluster = rng.permutation(n) // per_cluster * 7
    correct, tested = rng.random((3, 4, n)) < 0.6, rng.random((4, n)) < 0.7
    here = side_of(cluster, seed)
    chosen, answering, _ = who(correct, tested, cluster, seed)
    changed = np.where(here, rng.random((3, 4, n)) < 0.5, correct)
    np.testing.assert_array_equal(who(changed, tested, cluster, seed)[1][here], answering[here])
    unread = np.where(tested, correct, rng.random((3, 4, n)) < 0.5)
    np.testing.assert_array_equal(who(unread, tested, cluster, seed)[1], answering)
    # One kind answers all of a half, and what is given are that kind's outcomes.
    assert len(set(answering[here])) == 1 and len(set(answering[~here])) <= 1
    np.testing.assert_array_equal(chosen, np.take_along_axis(correct, answering[None, None], axis=0)[0])


def test_halves_are_equally_many_clusters_and_the_seed_draws_them() -> None:
    cluster = np.repeat(np.arange(20), 3)
    first, second = side_of(cluster, 0), side_of(cluster, 1)
    assert first.sum() == second.sum() == 30
    assert all(len(set(first[cluster == number])) == 1 for number in range(20))
    assert not np.array_equal(first, second)


def test_each_half_is_answered_by_the_kind_that_did_best_on_the_other() -> None:
    cluster, tested = np.arange(40), np.ones((3, 40), dtype=bool)
    here = side_of(cluster, 5)
    correct = np.zeros((3, 3, 40), dtype=bool)
    correct[1] = here  # kind 1 is right on this half, kind 2 on the other
    correct[2] = ~here
    correct[2, :, np.flatnonzero(~here)[0]] = False
    chosen, answering, best = who(correct, tested, cluster, 5)
    assert set(answering[here]) == {2} and set(answering[~here]) == {1}
    assert not chosen.any()  # the choice that looked best would have scored 50 %
    assert best == "a"


def test_equally_good_kinds_leave_the_first_and_nothing_tested_does_too() -> None:
    same = np.broadcast_to(np.random.default_rng(0).random((2, 30)) < 0.5, (3, 2, 30))
    assert set(who(same, np.ones((2, 30), dtype=bool), np.arange(30), 0)[1]) == {0}
    _, answering, best = who(same, np.zeros((2, 30), dtype=bool), np.arange(30), 0)
    assert set(answering) == {0} and best == "b"


def test_one_cluster_cannot_be_split_and_is_answered_by_the_first_kind() -> None:
    correct = np.zeros((3, 2, 4), dtype=bool)
    correct[2] = True
    assert set(who(correct, np.ones((2, 4), dtype=bool), np.zeros(4, dtype=int), 0)[1]) == {0}


def test_where_all_kinds_are_equally_good_the_score_of_the_choice_is_not_flattered() -> None:
    honest, naive = [], []
    for seed in range(400):
        rng = np.random.default_rng([seed, 1])
        correct, tested, cluster = rng.random((3, 2, 40)) < 0.7, rng.random((2, 40)) < 0.8, np.arange(40)
        chosen, _, _ = who(correct, tested, cluster, seed)
        honest.append(100 * chosen[tested].mean() - 70)
        naive.append(100 * max(rows[tested].mean() for rows in correct) - 70)
    assert abs(np.mean(honest)) < 1.0  # its standard error is 0.3 points
    assert np.mean(naive) > 3.0
