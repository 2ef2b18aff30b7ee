import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.text.deletion import survivors


@given(
    st.lists(st.lists(st.booleans(), max_size=12), min_size=1, max_size=6), st.floats(0.05, 0.95), st.integers(0, 99)
)
def test_of_every_text_special_tokens_and_at_least_one_other_stay(texts: list[list[bool]], deletion: float, seed: int):
    ordinary = np.array([one for text in texts for one in text], dtype=bool)
    text = np.repeat(np.arange(len(texts)), [len(one) for one in texts])
    luck = np.random.default_rng(seed).random(len(text))
    stays = survivors(text, luck, ordinary, deletion)
    assert stays[~ordinary].all()
    for number, inside in enumerate(texts):
        mine = (text == number) & ordinary
        expected = luck[mine] >= deletion
        if any(inside) and not expected.any():
            expected[luck[mine].argmax()] = True
        assert np.array_equal(stays[mine], expected)


def test_the_share_of_deleted_tokens_is_the_setting():
    rng = np.random.default_rng(0)
    stays = survivors(np.repeat(np.arange(200), 50), rng.random(10_000), np.ones(10_000, dtype=bool), 0.6)
    assert 1 - stays.mean() == pytest.approx(0.6, abs=0.02)  # the standard error is 0.005
