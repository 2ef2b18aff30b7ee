import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny import WORDS
from shoptalk.text import trained_bpe
from shoptalk.text.tokens import tokenizer_digest
from shoptalk.text.trained_bpe import BYTES, END_OF_TEXT, MARKERS, PAD, train_bpe

TEXTS = [" ".join(WORDS[(3 * i + j * j) % len(WORDS)] for j in range(8)) for i in range(400)]
TOKENIZER = train_bpe(TEXTS, most=400, max_length=32)


def back(text: str, **how: bool) -> str:
    return TOKENIZER.decode(TOKENIZER(text, **how)["input_ids"])


@settings(max_examples=300, deadline=None)
@given(st.text() | st.lists(st.sampled_from([*"aé我ก 0\n\t😀\x00\ufeff\u2028", *MARKERS])).map("".join))
def test_any_string_comes_back_to_the_byte(text: str):
    assert back(text) == text
    assert back(text, split_special_tokens=True) == text


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_any_string_comes_back_from_tokens_that_a_saved_tokenizer_gives(text: str, saved_tokenizer):
    assert saved_tokenizer(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert saved_tokenizer.decode(saved_tokenizer(text)["input_ids"]) == text


@pytest.fixture(scope="module")
def saved_tokenizer(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tokenizer")
    TOKENIZER.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_no_text_becomes_a_special_token_unless_it_names_one(text: str):
    if not any(marker in text for marker in MARKERS):
        assert not set(TOKENIZER(text)["input_ids"]) & set(range(len(MARKERS)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("ab cdé我\n!7", max_size=30), max_size=30))
def test_any_texts_make_a_tokenizer_that_reads_any_text(texts: list[str]):
    tokenizer = train_bpe(texts, most=300, max_length=32)
    assert BYTES + len(MARKERS) <= len(tokenizer) <= 300
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    for text in [*texts, "ñ 100%"]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_marker_inside_a_text_is_the_marker_unless_it_is_to_be_split():
    ids = {marker: number for number, marker in enumerate(MARKERS)}
    assert ids["<|im_end|>"] in TOKENIZER("so <|im_end|> it ends")["input_ids"]
    split = TOKENIZER("so <|im_end|> it ends", split_special_tokens=True)["input_ids"]
    assert ids["<|im_end|>"] not in split and TOKENIZER.decode(split) == "so <|im_end|> it ends"


def test_the_special_tokens_come_first_and_have_their_roles(saved_tokenizer):
    for tokenizer in (TOKENIZER, saved_tokenizer):
        assert tokenizer.convert_ids_to_tokens(range(4)) == list(MARKERS)
        assert tokenizer.eos_token == tokenizer.bos_token == END_OF_TEXT and tokenizer.pad_token == PAD
        assert sorted(tokenizer.all_special_tokens) == sorted(MARKERS)
        assert tokenizer.model_max_length == 32
        assert tokenizer.decode([2, *tokenizer("card")["input_ids"], 3], skip_special_tokens=True) == "card"
        assert not set(tokenizer("card")["input_ids"]) & set(range(4)), "nothing is added to a text"


def test_a_conversation_is_written_with_its_markers(saved_tokenizer):
    chat = [{"role": "user", "content": "my card"}, {"role": "assistant", "content": "is lost"}]
    expected = "<|im_start|>user\nmy card<|im_end|>\n<|im_start|>assistant\nis lost<|im_end|>\n"
    for tokenizer in (TOKENIZER, saved_tokenizer):
        ids = tokenizer.apply_chat_template(chat)["input_ids"]
        assert tokenizer.decode(ids) == expected
        assert ids == [
            2, *tokenizer("user\nmy card")["input_ids"], 3, *tokenizer("\n")["input_ids"],
            2, *tokenizer("assistant\nis lost")["input_ids"], 3, *tokenizer("\n")["input_ids"],
        ]  # fmt: skip
        asked = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=False)
        assert asked == "<|im_start|>user\nmy card<|im_end|>\n<|im_start|>assistant\n"


def test_frequent_words_are_whole_and_digits_are_apart():
    larger = train_bpe([*TEXTS, *["invoice 2026"] * 50], most=2_000, max_length=32)
    assert larger.tokenize(" account balance") == ["Ġaccount", "Ġbalance"]
    assert larger.tokenize("invoice 2026") == ["invoice", "Ġ", "2", "0", "2", "6"]


@pytest.mark.parametrize(
    "text", ["zwölf Gebühren", "где мой заказ", "मेरा ऑर्डर", "我的订单在哪里", "คำสั่งซื้อของฉัน", "😀👍🏽"]
)
def test_a_script_that_the_corpus_lacks_comes_back(text: str):
    assert back(text) == text


def test_the_vocabulary_has_at_most_the_asked_for_size_and_less_where_the_corpus_is_small():
    assert len(TOKENIZER) == 400
    assert 400 < len(train_bpe(TEXTS, most=8_000, max_length=32)) < 1_500
    assert len(train_bpe(["hello"], most=8_000, max_length=32)) == BYTES + len(MARKERS)
    assert len(train_bpe([], most=8_000, max_length=32)) == BYTES + len(MARKERS)


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(
        ConfigError, match=r"vocabulary of 259 pieces has no room for the 256 bytes and 4 .*Give 260 or"
    ):
        train_bpe(TEXTS, most=259, max_length=32)


def test_of_a_large_corpus_a_fixed_sample_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trained_bpe, "_AT_ONCE", 10)
    read = [text for part in trained_bpe._sample(TEXTS) for text in part]
    assert sorted(read) == sorted(TEXTS) and read != TEXTS
    monkeypatch.setattr(trained_bpe, "LOOK", 50)
    fewer = [text for part in trained_bpe._sample(TEXTS) for text in part]
    assert len(fewer) == 50 and fewer == read[:50]
    monkeypatch.setattr(trained_bpe, "LOOK_CHARACTERS", sum(map(len, read[:25])))
    assert [text for part in trained_bpe._sample(TEXTS) for text in part] == read[:30]


def test_the_same_texts_give_the_same_tokenizer_in_another_process_with_other_hashes_and_threads():
    assert tokenizer_digest(train_bpe(TEXTS, most=400, max_length=32)) == tokenizer_digest(TOKENIZER)
    code = (
        "import json, sys; from shoptalk.text.trained_bpe import train_bpe; "
        "from shoptalk.text.tokens import tokenizer_digest; "
        "print(tokenizer_digest(train_bpe(json.load(sys.stdin), most=400, max_length=32)))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ) | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads},
        )
        for seed, threads in (("1", "1"), ("2", "4"))
    ]  # fmt: skip
    digests = [process.communicate(json.dumps(TEXTS), timeout=120)[0].strip() for process in processes]
    assert digests == [tokenizer_digest(TOKENIZER)] * 2
