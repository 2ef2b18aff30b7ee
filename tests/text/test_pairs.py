from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from shoptalk.errors import ConfigError
from shoptalk.text.pairs import PairForm, longest_first
from tests.tiny import tiny_tokenizer

CLS, SEP = 2, 3


def row(*words: int) -> np.ndarray:
    return np.array([CLS, *words, SEP])


def truncated(first: int, second: int, room: int) -> tuple[int, int]:
    """BERT's published rule: while there are too many tokens, the longer text loses one; of equals the second."""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@given(st.integers(0, 70), st.integers(0, 70), st.integers(0, 60))
def test_the_longer_text_gives_tokens_until_both_fit(first: int, second: int, room: int):
    assert longest_first(first, second, room) == truncated(first, second, room)


def test_a_pair_is_written_as_bert_writes_it():
    form = PairForm.of(tiny_tokenizer(), max_length=64)
    assert form.join(row(10, 11), row(12)).tolist() == [CLS, 10, 11, SEP, 12, SEP]
    expected = tiny_tokenizer()("hello my card", "thank you")["input_ids"]
    rows = [np.array(tiny_tokenizer()(text)["input_ids"]) for text in ("hello my card", "thank you")]
    assert form.join(*rows).tolist() == expected


@given(st.lists(st.integers(5, 90), max_size=30), st.lists(st.integers(5, 90), max_size=30), st.integers(7, 40))
def test_a_pair_keeps_the_beginnings_and_fits(first: list[int], second: list[int], longest: int):
    found = PairForm.of(tiny_tokenizer(), max_length=longest).join(row(*first), row(*second)).tolist()
    kept, other = truncated(len(first), len(second), longest - 3)
    assert found == [CLS, *first[:kept], SEP, *second[:other], SEP]
    assert len(found) <= longest


def with_template(single: str) -> Any:
    tokenizer = tiny_tokenizer()
    specials = [(token, number) for token, number in (("[CLS]", CLS), ("[SEP]", SEP)) if token in single]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    return tokenizer


@pytest.mark.parametrize(
    ("single", "written"),
    [("$A [SEP]", [10, SEP, 11, SEP]), ("[CLS] $A", [CLS, 10, CLS, 11]), ("[CLS] $A [SEP]", [CLS, 10, SEP, 11, SEP])],
)
def test_the_tokens_that_a_tokenizer_puts_around_a_text_divide_a_pair(single: str, written: list[int]):
    form = PairForm.of(with_template(single), max_length=64)
    rows = [np.array([*form.before, word, *form.after]) for word in (10, 11)]
    assert form.join(*rows).tolist() == written


def test_a_tokenizer_that_puts_nothing_around_a_text_is_refused_with_advice():
    with pytest.raises(ConfigError, match=r"no special token before or after a text.*\[CLS\] and \[SEP\].*`turns`"):
        PairForm.of(with_template("$A"), max_length=64)
