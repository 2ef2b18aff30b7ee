"""When to abstain: features by hand, the promised loss, planted outsiders."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from shoptalk.index import build
from shoptalk.nn.heads.scope import Gate, energy_of, features_of, fit_gate, nearest


def test_the_energy_is_the_logarithm_of_summed_exponentials_and_does_not_overflow() -> None:
    scores = np.array([[1.0, 2.0, 0.5], [1000.0, 0.0, 0.0]])
    expected = [[math.log(math.exp(1) + math.exp(2) + math.exp(0.5))], [1000.0]]
    assert_allclose(energy_of(scores), expected)


def test_the_six_features_by_hand() -> None:
    scores, similarities = [2.0, 0.5, 1.0, 1.7], [0.9, 0.7, 0.2]  # the last score is that of none of them
    found = features_of(np.array([scores]), np.array([similarities]))
    energy = math.log(sum(math.exp(score) for score in scores[:3]))
    expected = [2.0 - energy, energy, (2.0 - energy) - (1.0 - energy), 0.9, 0.6, 2.0 - 1.7]
    assert_allclose(found, [expected], atol=1e-12)


def test_the_nearest_are_cosines_nearest_first_and_as_many_as_there_are() -> None:
    known = np.eye(3, 4, dtype=np.float32)
    query = np.array([[0.6, 0.8, 0.0, 0.0]], dtype=np.float32)
    assert_allclose(nearest(build(known), query), [[0.8, 0.6, 0.0]], atol=1e-6)
    many = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert nearest(build(many), query).shape == (1, 5)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 120), st.floats(0, 100), st.booleans())
def test_abstaining_costs_at_most_the_loss_that_was_allowed_and_one_text_more_would_not(
    seed: int, n: int, loss: float, negatives: bool
) -> None:
    rng = np.random.default_rng(seed)
    features = np.round(rng.normal(size=(n, 3 if negatives else 1)), 1)  # ties
    right = rng.random(n) < 0.8
    right[rng.integers(n)] = True
    outside = rng.normal(size=(30, 3)) - 0.5 if negatives else None
    gate = fit_gate(features, right, outside, loss=loss)
    admitted = gate.admits(features)
    assert 100 * (right & ~admitted).sum() / n <= loss + 1e-9
    assert (right & admitted).any()
    # The strictest: the next threshold up would turn away more right answers than that, or all of them.
    scores = gate.scores(features)
    above = scores[scores > gate.threshold]
    if len(above):
        stricter = scores >= above.min()
        lost = 100 * (right & ~stricter).sum() / n
        assert lost > loss - 1e-9 or not (right & stricter).any()


def test_without_outsiders_the_energy_turns_away_texts_that_no_class_wants() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(4, 1, size=(300, 1)), rng.normal(0, 1, size=(300, 1))
    gate = fit_gate(inside, np.ones(300, dtype=bool), None, loss=2.0)
    assert gate.weights.tolist() == [1.0] and gate.bias == 0.0
    assert (~gate.admits(outside)).mean() > 0.9
    assert gate.admits(inside).mean() >= 0.98


def test_with_outsiders_the_features_that_tell_them_apart_decide() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(size=(400, 4)), rng.normal(size=(60, 4))
    inside[:, 2] += 4  # the others say nothing; and scales differ by a thousand
    inside, outside = inside * [1000, 1, 0.01, 1], outside * [1000, 1, 0.01, 1]
    right = rng.random(400) < 0.9
    gate = fit_gate(inside[:200], right[:200], outside[:30], loss=2.0)
    assert (~gate.admits(outside[30:])).mean() > 0.85
    assert gate.admits(inside[200:]).mean() > 0.93
    assert abs(gate.weights[2] * 0.01) > 3 * abs(gate.weights[[0, 1, 3]] * [1000, 1, 1]).max()


def test_texts_that_are_answered_wrongly_anyway_cost_nothing() -> None:
    scores = np.arange(10.0)[:, None]
    right = np.arange(10) >= 6
    assert fit_gate(scores, right, None, loss=0.0).threshold == 6.0
    assert fit_gate(scores, right, None, loss=10.0).threshold == 7.0  # one text of ten
    assert fit_gate(scores, right, None, loss=100.0).threshold == 9.0


def test_a_gate_needs_a_right_answer_to_keep() -> None:
    with pytest.raises(ValueError, match="No text in scope was answered rightly"):
        fit_gate(np.zeros((3, 1)), np.zeros(3, dtype=bool), None, loss=1.0)


def test_a_text_on_the_threshold_is_in_scope() -> None:
    gate = Gate(np.array([2.0]), 1.0, 5.0)
    assert gate.admits(np.array([[2.0], [1.9]])).tolist() == [True, False]
