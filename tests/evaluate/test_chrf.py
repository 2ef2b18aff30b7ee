"""chrF2 is sacrebleu's, and its interval is the bootstrap's."""

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.evaluate.chrf import chrf, chrf_interval, chrf_statistics

words = st.text(st.sampled_from("abcdeü ."), max_size=30)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_it_is_the_chrf_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    written, references = map(list, zip(*pairs, strict=True))
    expected = sacrebleu.CHRF().corpus_score(written, [references]).score
    assert chrf(chrf_statistics(written, references)) == pytest.approx(expected, abs=1e-9)


def test_equal_texts_have_100_and_different_letters_0() -> None:
    assert chrf(chrf_statistics(["ein Hund"], ["ein Hund"])) == pytest.approx(100)
    assert chrf(chrf_statistics(["xyz"], ["ein Hund"])) == 0
    assert chrf(chrf_statistics([""], [""])) == 0


def test_the_interval_is_that_of_resampled_texts() -> None:
    rng = np.random.default_rng(0)
    references = ["".join(rng.choice(list("abcd "), 30)) for _ in range(60)]
    written = [text if rng.random() < 0.5 else text[::-1] for text in references]
    statistics = chrf_statistics(written, references)
    low, high = chrf_interval(statistics, seed=1)
    assert low < chrf(statistics) < high and chrf_interval(statistics, seed=1) == (low, high)
    rng = np.random.default_rng(2)
    by_hand = [chrf(statistics[rng.integers(60, size=60)]) for _ in range(2_000)]
    np.testing.assert_allclose([low, high], np.quantile(by_hand, [0.025, 0.975]), atol=1.0)
    assert chrf_interval(chrf_statistics(["ab"] * 3, ["ab"] * 3)) == pytest.approx((100, 100))
