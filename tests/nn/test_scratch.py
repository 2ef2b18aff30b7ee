import numpy as np
import pytest
import torch

from shoptalk.errors import BaseModelError
from shoptalk.nn.bases import began_as, open_base, resolve
from shoptalk.nn.encoder import embed
from shoptalk.nn.extend import extend
from shoptalk.nn.scratch import SIZES, scratch_product, size_of
from tests.tiny import tiny_product, tiny_tokenizer

TEXTS = ["my card is lost", "a refund please", "CHARGEBACKS?", ""]
MINI = SIZES["scratch:mini"]


def weights_of(seed: int) -> dict[str, torch.Tensor]:
    return scratch_product(MINI, tiny_tokenizer(), seed=seed, max_length=64).network.state_dict()


def test_random_weights_are_those_of_their_seed_and_draw_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    one, same, other = weights_of(0), weights_of(0), weights_of(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    table = "backbone.embeddings.word_embeddings.weight"
    assert not torch.equal(one[table], other[table])


@pytest.mark.parametrize("name", SIZES)
def test_a_base_with_random_weights_reads_packed_rows(name: str):
    product = scratch_product(SIZES[name], tiny_tokenizer(), seed=0, max_length=64)
    assert product.network.packed
    assert embed(product, TEXTS).shape == (4, SIZES[name].width)
    layers = sum(p.numel() for n, p in product.network.named_parameters() if ".layer." in n and p.ndim > 1)
    assert layers == 12 * SIZES[name].layers * SIZES[name].width ** 2


def test_an_encoder_says_what_it_began_as_wherever_it_is_saved(tmp_path):
    product = scratch_product(MINI, tiny_tokenizer(), seed=0, max_length=64)
    product.save(tmp_path / "one", card="")
    open_base(str(tmp_path / "one")).save(tmp_path / "two", card="")
    tiny_product().save(tmp_path / "other", card="")
    assert [began_as(str(tmp_path / name)) for name in ("one", "two", "other")] == [
        "scratch:mini",
        "scratch:mini",
        None,
    ]
    assert began_as("scratch:small") == "scratch:small"
    assert began_as("minilm") is None


def test_outside_a_run_a_base_with_random_weights_says_where_it_can_be_had():
    with pytest.raises(BaseModelError, match=r"'scratch:mini' is .*only inside a run.*shoptalk pretrain.*DIR/encoder"):
        resolve("scratch:mini")


def test_an_unknown_size_is_told_the_sizes():
    assert size_of("minilm") is None
    for call in (size_of, resolve, began_as):
        with pytest.raises(BaseModelError, match=r"no base 'scratch:huge'.*: scratch:mini, scratch:small, scratch:vit"):
            call("scratch:huge")


# ---------------------------------------------------------------------------------------------- new words


def test_a_new_row_is_the_mean_of_the_rows_of_its_pieces_and_the_others_stay():
    before = tiny_product()
    old = before.network.state_dict()["backbone.embeddings.word_embeddings.weight"].double().numpy()
    product = extend(tiny_product(), ["chargeback", "iban"])
    rows = product.network.state_dict()["backbone.embeddings.word_embeddings.weight"].numpy()
    assert rows.shape == (len(old) + 2, old.shape[1]) and len(product.tokenizer) == len(rows)
    np.testing.assert_array_equal(rows[:-2], old.astype(np.float32))
    for number, pieces in enumerate((["charge", "##b", "##a", "##c", "##k"], ["i", "##b", "##a", "##n"])):
        total = np.zeros(old.shape[1])
        for piece in pieces:
            total += old[before.tokenizer.convert_tokens_to_ids(piece)]
        np.testing.assert_allclose(rows[len(old) + number], total / len(pieces), rtol=1e-5, atol=1e-7)


def test_texts_without_the_new_words_embed_exactly_as_before_and_others_in_fewer_tokens():
    before, after = tiny_product(), extend(tiny_product(), ["chargeback"])
    np.testing.assert_array_equal(embed(after, TEXTS), embed(before, TEXTS))
    assert after.units(["a chargeback"]) == 4 < before.units(["a chargeback"])
    assert not np.array_equal(embed(after, ["a chargeback"]), embed(before, ["a chargeback"]))


def test_extending_draws_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    extend(tiny_product(), ["chargeback"])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("made", ["scratch", "extended"])
def test_a_saved_base_opens_in_other_libraries_with_equal_vectors(made: str, tmp_path, monkeypatch):
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    product = (
        scratch_product(MINI, tiny_tokenizer(), seed=0, max_length=64)
        if made == "scratch"
        else extend(tiny_product(), ["chargeback", "iban"])
    )
    product.save(tmp_path / "base", card="")
    texts = [*TEXTS[:3], "a chargeback, an IBAN"]
    ours = embed(product, texts)
    np.testing.assert_array_equal(embed(open_base(str(tmp_path / "base")), texts), ours)
    theirs = SentenceTransformer(str(tmp_path / "base"), device="cpu").encode(texts)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    tokenizer, model = (kind.from_pretrained(tmp_path / "base") for kind in (AutoTokenizer, AutoModel))
    for text, vector in zip(texts, ours, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(torch.nn.functional.normalize(states.mean(1), dim=-1)[0], vector, atol=1e-5)
