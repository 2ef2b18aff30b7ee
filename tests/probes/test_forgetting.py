import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import spearmanr

from shoptalk.nn.encoder import embed
from shoptalk.probes.forgetting import ScoredPair, general_pairs, general_similarity, spearman_terms
from tests.tiny import tiny_product

values = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 5)), min_size=2, max_size=40)


@given(values=values)
@settings(max_examples=60, deadline=None)
def test_the_mean_of_the_terms_is_spearmans_correlation(values: list[tuple[int, int]]) -> None:
    x, y = np.array(values, dtype=float).T
    terms = spearman_terms(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert (terms == 0.0).all()
    else:
        assert terms.mean() == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)


@given(seed=st.integers(0, 999), n=st.integers(3, 30))
@settings(max_examples=30, deadline=None)
def test_without_ties_it_is_the_textbook_formula(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(n).astype(float), rng.permutation(n).astype(float)
    expected = 1.0 - 6.0 * ((x - y) ** 2).sum() / (n * (n**2 - 1))
    assert spearman_terms(x, y).mean() == pytest.approx(expected, abs=1e-9)


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_any_rising_function_of_the_cosines_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=30), rng.integers(0, 6, 30).astype(float)
    np.testing.assert_allclose(spearman_terms(np.exp(3.0 * x) - 7.0, y), spearman_terms(x, y))


def test_the_probe_reads_the_correlation_of_cosines_and_scores() -> None:
    product = tiny_product()
    pairs = general_pairs()[:50]
    reading = general_similarity(pairs)(product)
    left, right = embed(product, [pair.a for pair in pairs]), embed(product, [pair.b for pair in pairs])
    expected = spearmanr(np.einsum("ij,ij->i", left, right), [pair.score for pair in pairs]).statistic
    assert reading.value == pytest.approx(100.0 * expected, abs=0.05)
    assert reading.value == pytest.approx(100.0 * np.mean(reading.outcomes))
    assert (reading.key, reading.unit, reading.n) == ("general_similarity", "points", 50)
    assert len(reading.outcomes) == 50


def test_the_same_product_reads_the_same_twice() -> None:
    probe = general_similarity()
    assert probe(tiny_product()) == probe(tiny_product())


def test_an_encoder_that_puts_all_in_one_place_has_forgotten_everything() -> None:
    same = [ScoredPair(a="hello", b="hello", score=score) for score in (0, 1, 2, 3)]
    assert general_similarity(same)(tiny_product()).value == 0.0


def test_the_shipped_pairs_cover_the_scale_and_repeat_nothing() -> None:
    pairs = general_pairs()
    assert len(pairs) == 240
    assert {round(pair.score) for pair in pairs} == {0, 1, 2, 3, 4, 5}
    assert len({frozenset((pair.a, pair.b)) for pair in pairs}) == 240
    assert all(pair.a.strip() and pair.b.strip() and pair.a != pair.b for pair in pairs)


def test_a_score_off_the_scale_and_a_single_pair_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 5"):
        ScoredPair(a="a", b="b", score=6)
    with pytest.raises(ValueError, match="rank correlation of 1 pairs"):
        general_similarity([ScoredPair(a="a", b="b", score=1)])
