import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.errors import ConfigError
from shoptalk.text import evidence_rows
from shoptalk.text.evidence_rows import FEATURES, OF_TOKENS, EvidenceForm, labels_of, pieces_of, shared_with, spans_of
from tests.tiny import tiny_tokenizer

CLS, SEP = 2, 3
TOKENIZER = tiny_tokenizer()
WORDS = st.lists(st.sampled_from(["card", "order", "refund", "ticket", "9"]), max_size=40).map(" ".join)


def shared_by_hand(evidence: list[int], reply: list[int]) -> list[list[float]]:
    runs = {n: {tuple(evidence[i : i + n]) for i in range(len(evidence) - n + 1)} for n in (1, 2, 3)}
    outer = [-1, *reply, -1]
    return [
        [
            float((b,) in runs[1]), float((a, b) in runs[2]), float((b, c) in runs[2]), float((a, b, c) in runs[3]),
        ]
        for a, b, c in zip(outer[:-2], outer[1:-1], outer[2:], strict=True)
    ]  # fmt: skip


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=8))
def test_features_are_the_runs_that_both_have(evidence: list[int], reply: list[int]):
    features = shared_with(np.array(evidence, dtype=np.int64), np.array(reply, dtype=np.int64))
    assert features.shape == (len(reply), 4)
    assert features.tolist() == shared_by_hand(evidence, reply)


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS)
def test_a_row_fits_and_ends_with_the_reply(passages: list[str], reply: str):
    form = EvidenceForm.of(TOKENIZER, max_length=32)
    said = pieces_of(TOKENIZER, reply)
    row = form.row([pieces_of(TOKENIZER, passage) for passage in passages], said)
    assert len(row.ids) <= 32 and row.ids[0] == CLS and row.ids[-1] == SEP
    kept = row.ids[row.reply]
    assert row.reply.stop == len(row.ids) - 1 and len(kept) == min(len(said.ids), 16) == len(row.shared)
    assert kept.tolist() == said.ids[: len(kept)].tolist() and row.shared.shape == (len(kept), FEATURES)
    assert row.ids[row.reply.start - 1] == SEP


def test_passages_that_find_room_stand_whole_one_after_the_other():
    form = EvidenceForm.of(TOKENIZER, max_length=64)
    row = form.row([pieces_of(TOKENIZER, text) for text in ("card order", "refund")], pieces_of(TOKENIZER, "fee"))
    assert TOKENIZER.convert_ids_to_tokens(row.ids.tolist()) == [
        "[CLS]", "card", "order", "[SEP]", "refund", "[SEP]", "fee", "[SEP]",
    ]  # fmt: skip


def test_the_tokens_of_a_word_have_its_features_beside_their_own():
    form = EvidenceForm.of(TOKENIZER, max_length=64)
    said = pieces_of(TOKENIZER, "the fee is 1817 cash")
    row = form.row([pieces_of(TOKENIZER, "the fee is 1877 cash")], said)
    own, word = row.shared[:, :OF_TOKENS], row.shared[:, OF_TOKENS:].reshape(len(said.ids), -1, 10)[:, 2]
    number = np.flatnonzero((said.spans[:, 0] >= 11) & (said.spans[:, 1] <= 15))
    assert len(number) > 1 and own[number[0], 0] == 1
    assert (word[number, 0] == 0).all() and (word[number, 5] == 1).all()
    assert (word[[0, 1, 2, -1], 4] == 1).all()


def test_words_are_compared_with_what_the_row_shows_and_a_long_reply_as_a_whole():
    form = EvidenceForm.of(TOKENIZER, max_length=16)
    passage = pieces_of(TOKENIZER, " ".join(["card"] * 20 + ["refund"]))
    present = form.row([passage], pieces_of(TOKENIZER, "card refund")).shared[:, OF_TOKENS:].reshape(2, -1, 10)[:, 2, 0]
    assert present.tolist() == [1, 0]
    passage, reply = pieces_of(TOKENIZER, "card order"), pieces_of(TOKENIZER, " ".join(["card", "fee"] * 6))
    rows = form.rows([passage], reply)
    assert [len(row.shared) for row in rows] == [8, 4]
    (whole,) = EvidenceForm.of(TOKENIZER, max_length=64).rows([passage], reply)
    assert np.array_equal(np.concatenate([row.shared[:, OF_TOKENS:] for row in rows]), whole.shared[:, OF_TOKENS:])


@pytest.mark.parametrize(
    ("passage", "tokens", "shown"),
    [
        ("the fee is 1817 cash", 5, "the fee is"),
        ("the fee is 1,000 cash", 5, "the fee is"),
        ("the fee is 1817", 7, "the fee is 1817"),
        ("the fee is 1817 cash", 3, "the fee is"),
        ("1817 cash", 1, ""),
    ],
)
def test_a_passage_that_is_cut_is_compared_up_to_its_last_whole_word(passage: str, tokens: int, shown: str):
    assert evidence_rows._shown([pieces_of(TOKENIZER, passage)], tokens, 1) == [shown]


def test_without_the_features_of_words_no_word_is_compared(monkeypatch: pytest.MonkeyPatch):
    form = EvidenceForm.of(TOKENIZER, max_length=64)
    passages, reply = [pieces_of(TOKENIZER, "the fee is 2")], pieces_of(TOKENIZER, "the fee is 9")
    (whole,) = form.rows(passages, reply)
    monkeypatch.setattr(evidence_rows, "words_beside", None)
    (row,) = form.rows(passages, reply, of_words=False)
    assert np.array_equal(row.shared, whole.shared[:, :OF_TOKENS])


def test_tokens_are_labelled_by_their_characters_and_marks_told_in_words():
    text = "It costs 9 crowns."
    pieces = pieces_of(TOKENIZER, text)
    labels = labels_of(pieces.spans, [(9, 17)])
    assert "".join(text[a:b] for (a, b), hit in zip(pieces.spans, labels, strict=True) if hit) == "9crowns"
    assert spans_of(pieces.spans, labels, text) == ((9, 17),)
    assert spans_of(pieces.spans, np.zeros(len(labels), dtype=bool), text) == ()


def test_a_tokenizer_that_does_not_tell_places_is_refused():
    with pytest.raises(ConfigError, match="does not tell where its tokens stand"):
        pieces_of(object(), "text")
