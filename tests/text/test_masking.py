from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.errors import BaseModelError
from shoptalk.text.masking import Masker, choose, corrupt
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
SPECIAL = np.array(TOKENIZER.all_special_ids)
ORDINARY = ~np.isin(np.arange(len(TOKENIZER)), SPECIAL)
CONTINUES = np.array([piece.startswith("##") for piece in TOKENIZER.convert_ids_to_tokens(list(range(len(TOKENIZER))))])
IDS = st.lists(st.integers(0, len(TOKENIZER) - 1), min_size=1, max_size=60).map(np.array)
RATES = st.floats(0.15, 0.4)


def choose_alone(ids: np.ndarray, whole: bool, rate: float, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).random(len(ids))
    return choose(ids, np.zeros(len(ids), dtype=int), order, ORDINARY, CONTINUES if whole else None, rate)


@given(st.lists(IDS, min_size=1, max_size=6), RATES, st.booleans(), st.integers(0, 99))
def test_each_text_has_the_choice_that_it_has_alone(texts: list[np.ndarray], rate: float, whole: bool, seed: int):
    ids, text = np.concatenate(texts), np.repeat(np.arange(len(texts)), [len(part) for part in texts])
    order = np.random.default_rng(seed).random(len(ids))
    together = choose(ids, text, order, ORDINARY, CONTINUES if whole else None, rate)
    for i, part in enumerate(texts):
        alone = choose(
            part, np.zeros(len(part), dtype=int), order[text == i], ORDINARY, CONTINUES if whole else None, rate
        )
        assert np.array_equal(together[text == i], alone)


@given(IDS, RATES, st.booleans(), st.integers(0, 99))
def test_special_tokens_are_never_chosen(ids: np.ndarray, rate: float, whole: bool, seed: int):
    picks = choose_alone(ids, whole, rate, seed)
    assert not np.isin(ids[picks], SPECIAL).any()
    assert picks.any() == (~np.isin(ids, SPECIAL)).any()


@given(IDS, RATES, st.integers(0, 99))
def test_the_share_of_ordinary_tokens_is_the_mask_rate(ids: np.ndarray, rate: float, seed: int):
    ordinary = int((~np.isin(ids, SPECIAL)).sum())
    picks = choose_alone(ids, False, rate, seed)
    assert picks.sum() == (max(1, round(rate * ordinary)) if ordinary else 0)


@given(st.text("abcz !day", min_size=1, max_size=80), RATES, st.integers(0, 99))
def test_a_word_is_chosen_whole_or_not_at_all(text: str, rate: float, seed: int):
    encoding = TOKENIZER(text)
    ids, words = np.array(encoding["input_ids"]), encoding.word_ids()
    picks = choose_alone(ids, True, rate, seed)
    for word in {word for word in words if word is not None}:
        members = [picks[i] for i, other in enumerate(words) if other == word and ids[i] not in SPECIAL]
        assert len(set(members)) <= 1
    ordinary = int((~np.isin(ids, SPECIAL)).sum())
    longest = max(Counter(word for word in words if word is not None).values(), default=0)
    if ordinary:
        wanted = max(1, round(rate * ordinary))
        assert wanted <= picks.sum() < wanted + longest  # reached, and passed by less than one word


def test_every_token_is_chosen_equally_often():
    ids = np.array([2, *range(20, 40), 3])
    times = sum(choose_alone(ids, False, 0.15, seed).astype(int) for seed in range(1500))
    assert times[0] == times[-1] == 0
    # 1500 draws at 3/20: 225 expected, standard deviation 13.8.
    assert np.abs(times[1:-1] - 225).max() < 4.5 * 13.8


def test_of_the_chosen_80_percent_are_masked_10_random_10_kept():
    rng, mask, vocabulary = np.random.default_rng(0), TOKENIZER.mask_token_id, len(TOKENIZER)
    ids = np.full(100_000, 50)
    picks = np.arange(len(ids)) % 2 == 0
    fate, other = rng.random((2, len(ids)))
    seen = corrupt(ids, picks, fate, other, mask_id=mask, vocabulary=vocabulary)
    assert (seen[~picks] == 50).all()
    masked, kept = (seen[picks] == mask).mean(), (seen[picks] == 50).mean()
    other = seen[picks][(seen[picks] != mask) & (seen[picks] != 50)]
    # A random token is the mask or the same token once in `vocabulary` times; the standard error is 0.0013.
    assert masked == pytest.approx(0.8 + 0.1 / vocabulary, abs=0.006)
    assert kept == pytest.approx(0.1 + 0.1 / vocabulary, abs=0.006)
    assert len(set(other.tolist())) == vocabulary - 2
    assert other.min() >= 0


def test_a_tokenizer_without_a_mask_token_is_told_what_is_needed():
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(BaseModelError, match=r"no mask token.*Choose another objective"):
        Masker(tokenizer, rate=0.15)
