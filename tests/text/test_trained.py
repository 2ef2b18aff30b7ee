import json
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.tiny import WORDS
from shoptalk.text import trained
from shoptalk.text.tokens import tokenizer_digest
from shoptalk.text.trained import SPECIAL, sampled, train_tokenizer

TEXTS = [" ".join(WORDS[(3 * i + j * j) % len(WORDS)] for j in range(8)) for i in range(400)]
TOKENIZER = train_tokenizer(TEXTS, most=400, max_length=32)


def pieces(text: str) -> list[str]:
    return TOKENIZER.tokenize(text)


def test_the_special_tokens_come_first_and_have_their_roles():
    assert TOKENIZER.convert_ids_to_tokens(range(5)) == list(SPECIAL)
    assert (TOKENIZER.pad_token, TOKENIZER.mask_token, TOKENIZER.model_max_length) == ("[PAD]", "[MASK]", 32)
    assert sorted(TOKENIZER.all_special_tokens) == sorted(SPECIAL)
    ids = TOKENIZER("card")["input_ids"]
    assert (ids[0], ids[-1]) == (TOKENIZER.cls_token_id, TOKENIZER.sep_token_id)


def test_frequent_words_are_whole_and_others_fall_into_letters_that_are_known():
    larger = train_tokenizer(TEXTS, most=2_000, max_length=32)
    assert larger.tokenize("Account BALANCE") == ["account", "balance"]
    assert "[UNK]" not in pieces("zyxw-0987 ~unheard~ jkv@q.org")
    assert "##y" in pieces("zy")


def test_the_vocabulary_has_at_most_the_asked_for_size_and_less_where_the_corpus_is_small():
    assert len(TOKENIZER) <= 400
    larger = train_tokenizer(TEXTS, most=8_000, max_length=32)
    assert 300 < len(larger) < 1_500
    assert len(train_tokenizer(["hello"], most=8_000, max_length=32)) < 120


def test_letters_are_no_special_tokens():
    # The trainer knows letters as special tokens, which would be cut out of every word.
    assert "".join(pieces("delivery")).replace("##", "") == "delivery"
    assert len(TOKENIZER.backend_tokenizer.get_added_tokens_decoder()) == len(SPECIAL)


LANGUAGES = {
    "German": "die Überweisung kostet zwölf Gebühren",
    "Vietnamese": "tôi muốn trả lại đôi giày này",
    "Russian": "где мой заказ сегодня",
    "Hindi": "मेरा ऑर्डर कहाँ है",
    "Arabic": "أين طلبي الآن",
    "Chinese": "我的订单在哪里",
    "Japanese": "わたしのカードはどこですか",
    "Thai": "คำสั่งซื้อของฉันอยู่ที่ไหน",
    "Korean": "내 주문은 어디에 있나요",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_of_any_language_is_read_without_unknowns_and_keeps_its_accents(language: str):
    text = LANGUAGES[language]
    tokenizer = train_tokenizer([text] * 20, most=1_000, max_length=128)
    found = tokenizer.tokenize(text)
    assert "[UNK]" not in found
    joined = "".join(piece.removeprefix("##") for piece in found)
    assert joined == unicodedata.normalize("NFKC", text).lower().replace(" ", "")


def test_composed_decomposed_and_full_width_forms_are_one():
    tokenizer = train_tokenizer(["café menü"] * 20, most=500, max_length=32)
    assert tokenizer.tokenize("café") == tokenizer.tokenize("café") == tokenizer.tokenize("ＣＡＦé") == ["café"]


def test_chinese_characters_are_words_of_their_own_and_have_no_continuing_form():
    tokenizer = train_tokenizer(["我的订单"] * 20, most=500, max_length=32)
    assert tokenizer.tokenize("我的订单") == ["我", "的", "订", "单"]
    assert "##的" not in tokenizer.get_vocab()


def test_a_sentence_without_spaces_may_be_longer_than_a_word():
    text = "คำสั่งซื้อของฉันอยู่ที่ไหน" * 10
    assert len(text) > 100
    tokenizer = train_tokenizer([text] * 20, most=500, max_length=128)
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_of_a_large_corpus_a_fixed_sample_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trained, "LOOK", 50)
    assert len(sampled(400)) == len(set(sampled(400))) == 50
    assert sampled(400) == sorted(sampled(400)) != list(range(50))
    assert sampled(30) == list(range(30))


def test_the_same_texts_give_the_same_tokenizer_in_another_process():
    # Within a process too; but the library's hash tables have their own order in each.
    assert tokenizer_digest(train_tokenizer(TEXTS, most=400, max_length=32)) == tokenizer_digest(TOKENIZER)
    code = (
        "import json, sys; from shoptalk.text.trained import train_tokenizer; "
        "from shoptalk.text.tokens import tokenizer_digest; "
        "print(tokenizer_digest(train_tokenizer(json.load(sys.stdin), most=400, max_length=32)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(TEXTS), env=dict(os.environ), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == tokenizer_digest(TOKENIZER)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("ab cdé我\n!", max_size=30), max_size=30))
def test_any_texts_make_a_tokenizer_that_reads_them(texts: list[str]):
    tokenizer = train_tokenizer(texts, most=300, max_length=32)
    assert len(tokenizer) <= 300
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    for text in texts:
        assert tokenizer(text)["input_ids"]
