import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny import WORDS
from shoptalk.text.corpus import Corpus
from shoptalk.text.extension import FEWEST_DOCUMENTS, find_words, with_words
from tests.text.plain_tokenizer import PlainTokenizer
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
JARGON = ["chargeback", "overdraft"]
EXTENDED = with_words(TOKENIZER, JARGON)


def corpus_of(documents: list[list[str]]) -> Corpus:
    texts = [text for document in documents for text in document]
    numbers = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    return Corpus(tuple(texts), conversation=numbers, turn=np.full(len(texts), -1), digest="x")


def found(*documents: str, most: int = 10) -> dict[str, int]:
    return find_words(corpus_of([[text] for text in documents]), TOKENIZER, most=most)


def test_words_come_in_the_order_of_the_tokens_that_they_save():
    texts = ["a Chargeback please"] * 6 + ["an iban, a chargeback"] * 5
    assert found(*texts) == {"chargeback": 11, "iban": 5}  # letters are the tiny tokenizer's only other pieces
    assert list(found(*texts)) == ["chargeback", "iban"]
    assert found(*texts, most=1) == {"chargeback": 11}


def test_words_that_are_pieces_already_and_numbers_and_names_of_few_documents_are_left():
    assert found(*["card account balance"] * 20) == {}
    assert found(*["order a1b2c3 2024 x-y"] * 20) == {}
    assert found(*["mrs oswalda"] * (FEWEST_DOCUMENTS - 1)) == {}


def test_a_word_counts_once_a_document():
    often = corpus_of([["chargeback chargeback", "chargeback"]] * 4)
    assert find_words(often, TOKENIZER, most=10) == {}
    assert find_words(corpus_of([["chargeback", "chargeback"]] * 6), TOKENIZER, most=10) == {"chargeback": 6}


def test_a_tokenizer_of_another_kind_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match=r"vocabulary = 5: words can be added to WordPiece.*Set vocabulary = 0"):
        find_words(corpus_of([["x"]]), PlainTokenizer(), most=5)


def test_new_words_are_whole_tokens_with_the_next_ids_in_any_case_and_beside_punctuation():
    assert EXTENDED.convert_tokens_to_ids(JARGON) == [len(TOKENIZER), len(TOKENIZER) + 1]
    assert EXTENDED.tokenize("My Chargeback, or CHARGEBACK's") == [
        "my", "chargeback", ",", "or", "chargeback", "'", "s",
    ]  # fmt: skip
    assert EXTENDED.all_special_ids == TOKENIZER.all_special_ids


def test_the_tokenizer_that_was_given_stays_as_it_was():
    before = len(TOKENIZER)
    with_words(TOKENIZER, ["zzyzx"])
    assert len(TOKENIZER) == before


@settings(deadline=None)
@given(st.lists(st.sampled_from([*WORDS, "chargebacks", "nochargeback", "over", "draft", "?", "É", "我"]), max_size=12))
def test_a_text_without_the_new_words_has_the_ids_that_it_had(words: list[str]):
    text = " ".join(words)
    assert EXTENDED(text)["input_ids"] == TOKENIZER(text)["input_ids"]
