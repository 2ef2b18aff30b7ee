"""Text out of tokens: no character cut, no stop string shown, nothing lost."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.text_stream import TextStream
from shoptalk.nn.decoding.writing_row import WritingRow
from shoptalk.nn.tiny_lm import tiny_bytes

TOKENIZER = tiny_bytes()
TOKENS = st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40)


def streamed(ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    stream = TextStream(TOKENIZER, stop)
    pieces = []
    for token in ids:
        stream.add(token)
        pieces.append(stream.ready())
        if stream.stopped:
            break
    return [*pieces, stream.end()], stream


@given(TOKENS)
def test_pieces_of_any_tokens_are_the_text_of_all_of_them(ids: list[int]) -> None:
    pieces, stream = streamed(ids)
    assert "".join(pieces) == stream.text == TOKENIZER.decode(ids, skip_special_tokens=True)


@given(st.text(max_size=30), st.text(min_size=1, max_size=4))
def test_a_piece_is_whole_characters_and_shows_nothing_of_a_stop_string(text: str, stop: str) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8")
    ids = TOKENIZER(text, split_special_tokens=True)["input_ids"]
    pieces, stream = streamed(ids, (stop,))
    expected = text.split(stop)[0]
    assert "".join(pieces) == stream.text == expected
    assert stream.stopped == (stop in text)
    shown = ""
    for piece in pieces:
        shown += piece
        assert expected.startswith(shown)


def test_a_character_of_several_tokens_comes_when_it_is_whole() -> None:
    ids = TOKENIZER("aé€😀")["input_ids"]
    assert len(ids) == 10
    assert streamed(ids)[0] == ["a", "", "é", "", "", "€", "", "", "", "😀", ""]


@given(st.text(min_size=1, max_size=8), st.integers(0, 20))
def test_a_text_that_is_cut_ends_with_its_last_whole_character(text: str, count: int) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\ufffd", "?")
    ids = TOKENIZER(text, split_special_tokens=True)["input_ids"][:count]
    stream = TextStream(TOKENIZER)
    shown = ""
    for token in ids:
        stream.add(token)
        shown += stream.ready()
    shown += stream.end(cut=True)
    assert shown == stream.text == text.encode()[: len(ids)].decode("utf-8", "ignore")


def test_half_a_character_at_the_end_of_what_a_model_ended_is_shown_as_such() -> None:
    ids = TOKENIZER("ab😀")["input_ids"][:-1]
    pieces, stream = streamed(ids)
    assert stream.text == "ab\ufffd" and "".join(pieces) == stream.text


def test_the_first_of_several_stop_strings_ends_the_text() -> None:
    pieces, stream = streamed(TOKENIZER("one, two; three")["input_ids"], ("; ", ", t", "three"))
    assert stream.text == "one" and stream.stopped and "".join(pieces) == "one"


def of_sentence_pieces() -> Any:
    """A tokenizer that writes a space before every word, and none before a text's first one."""
    words = ["<s>", "</s>", "<unk>", "\u2581once", "\u2581upon", "\u2581a", "\u2581time", "\u2581"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_a_text_that_goes_on_from_words_begins_with_the_space_between_them() -> None:
    tokenizer = of_sentence_pieces()
    for before, expected in (((0, 3, 4), " a time"), ((), "a time"), ((0,), "a time")):
        stream = TextStream(tokenizer, before=before)
        for token in (5, 6):
            stream.add(token)
        assert stream.ready() == expected and stream.end() == "" and stream.text == expected


@pytest.mark.parametrize(("continues", "expected"), [(True, " a time"), (False, "a time")])
def test_a_reply_begins_anew_and_what_goes_on_from_a_prompt_does_not(continues: bool, expected: str) -> None:
    request = GenerationRequest((0, 3, 4), max_tokens=2, continues=continues)
    row = WritingRow(request, of_sentence_pieces(), ends=frozenset({1}), context=20, drafts=0)
    for token in (5, 6):
        row.take((), np.eye(8, dtype=np.float32)[[token]])
    assert row.generated().text == "".join(row.pieces) == expected


@given(st.text(max_size=12), TOKENS)
def test_what_a_text_goes_on_from_is_no_part_of_it(prompt: str, ids: list[int]) -> None:
    before = TOKENIZER(prompt.encode("utf-8", "replace").decode("utf-8"), split_special_tokens=True)["input_ids"]
    stream = TextStream(TOKENIZER, before=before)
    for token in ids:
        stream.add(token)
    stream.end()
    assert stream.text == TOKENIZER.decode(ids, skip_special_tokens=True)
