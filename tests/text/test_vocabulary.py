import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from shoptalk.errors import ConfigError
from shoptalk.text.tokens import tokenise
from shoptalk.text.vocabulary import piece_counts, prune
from tests.text.plain_tokenizer import PlainTokenizer
from tests.tiny import SPECIAL, WORDS, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
TEXT = st.lists(st.sampled_from(WORDS) | st.text(string.ascii_lowercase, min_size=1, max_size=6), max_size=8).map(
    " ".join
)


def counts_of(texts: list[str]) -> np.ndarray:
    return piece_counts(tokenise(TOKENIZER, texts, max_length=64), len(TOKENIZER))


def letters_of(tokenizer: Any, ids: list[int]) -> str:
    return "".join(piece.removeprefix("##") for piece in tokenizer.convert_ids_to_tokens(ids))


def must_stay() -> int:
    pieces = TOKENIZER.get_vocab()
    return len(SPECIAL) + sum(len(piece.removeprefix("##")) == 1 for piece in pieces)


@given(st.lists(TEXT, max_size=5), TEXT, st.integers(0, 120))
@settings(max_examples=40, deadline=None)
def test_a_text_whose_pieces_are_kept_has_the_same_ids_up_to_renumbering(corpus: list[str], text: str, more: int):
    pruned, rows = prune(TOKENIZER, counts_of(corpus), most=must_stay() + more)
    before = np.array(TOKENIZER(text)["input_ids"])
    after = rows[pruned(text)["input_ids"]]
    if np.isin(before, rows).all():
        assert np.array_equal(after, before)
    assert pruned.unk_token_id not in pruned(text)["input_ids"]  # any text still falls apart into pieces
    assert letters_of(pruned, pruned(text)["input_ids"]) == letters_of(TOKENIZER, before.tolist())


@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(0, 250))
@settings(max_examples=40, deadline=None)
def test_the_most_frequent_pieces_stay_and_special_ones_and_characters_always(corpus: list[str], more: int):
    counts = counts_of(corpus)
    pruned, rows = prune(TOKENIZER, counts, most=must_stay() + more)
    assert len(pruned) == len(rows) == min(must_stay() + more, len(TOKENIZER))
    assert (np.diff(rows) > 0).all()
    pieces = TOKENIZER.convert_ids_to_tokens(list(range(len(TOKENIZER))))
    assert pruned.convert_ids_to_tokens(list(range(len(rows)))) == [pieces[row] for row in rows]
    assert {*TOKENIZER.all_special_ids} <= {*rows.tolist()}
    free = [i for i, piece in enumerate(pieces) if i not in TOKENIZER.all_special_ids and len(piece.strip("#")) > 1]
    inside, outside = [[i for i in free if (i in set(rows.tolist())) == kept] for kept in (True, False)]
    for i in inside:
        assert all((counts[i], -i) > (counts[j], -j) for j in outside)


def test_special_tokens_keep_their_work_in_the_pruned_tokenizer():
    pruned, rows = prune(TOKENIZER, counts_of(["my card"]), most=must_stay() + 2)
    ids = pruned("my card")["input_ids"]
    assert pruned.convert_ids_to_tokens(ids) == ["[CLS]", "my", "card", "[SEP]"]
    assert pruned("card", padding="max_length", max_length=5)["input_ids"][-2:] == [pruned.pad_token_id] * 2
    for name in ("pad", "unk", "cls", "sep", "mask"):
        assert rows[getattr(pruned, f"{name}_token_id")] == getattr(TOKENIZER, f"{name}_token_id")
    assert pruned.model_max_length == TOKENIZER.model_max_length
    assert TOKENIZER("my card")["input_ids"] != ids  # the given one is left as it was


def test_a_post_processor_of_berts_own_kind_is_renumbered_too():
    tokenizer = tiny_tokenizer()
    pair = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[SEP]", "[CLS]")]
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([processors.BertProcessing(*pair)])
    tokenizer.add_tokens(["shoptalk"])
    pruned, rows = prune(tokenizer, np.zeros(len(tokenizer), dtype=np.int64), most=must_stay() + 1)
    found = pruned.convert_ids_to_tokens(pruned("a shoptalk")["input_ids"])
    assert found == ["[CLS]", "a", "shoptalk", "[SEP]"]
    assert rows[-1] == len(tokenizer) - 1


def test_pieces_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch):
    texts = ["my card", "card card please"]
    whole = counts_of(texts)
    assert whole[TOKENIZER.convert_tokens_to_ids("card")] == 3
    monkeypatch.setattr("shoptalk.text.vocabulary._AT_ONCE", 2)
    assert np.array_equal(counts_of(texts), whole)


def test_too_small_a_vocabulary_is_refused_with_the_least_that_works():
    with pytest.raises(ConfigError, match=rf"of 20 pieces.*--vocabulary {must_stay()} or more, or full"):
        prune(TOKENIZER, counts_of([]), most=20)


def _bpe() -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))


@pytest.mark.parametrize(("tokenizer", "kind"), [(_bpe(), "BPE"), (PlainTokenizer(), "PlainTokenizer")])
def test_other_kinds_of_tokenizers_are_refused_by_name(tokenizer: Any, kind: str):
    with pytest.raises(ConfigError, match=rf"tokenizer is {kind}.*--vocabulary full"):
        prune(tokenizer, np.zeros(100, dtype=np.int64), most=50)
