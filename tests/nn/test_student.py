from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from transformers import AutoModel, BertConfig, BertModel, DistilBertConfig, DistilBertModel

from shoptalk.errors import ConfigError
from shoptalk.nn import attention
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Encoder, TextEncoder, embed
from shoptalk.nn.student import kept_layers, layer_count, with_layers, with_vocabulary
from shoptalk.text.vocabulary import prune
from tests.tiny import tiny_product, tiny_tokenizer

TEXTS = ["my card", "thanks", "please track my order"]


def deep_product(kind: str, layers: int) -> TextEncoder:
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "bert":
            backbone: torch.nn.Module = BertModel(
                BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2,
                           intermediate_size=64, max_position_embeddings=64, attn_implementation=attention.NAME)
            )  # fmt: skip
        else:
            backbone = DistilBertModel(
                DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=layers, n_heads=2, hidden_dim=64,
                                 max_position_embeddings=64, attn_implementation=attention.NAME)
            )  # fmt: skip
    return TextEncoder(network=Encoder(backbone).eval(), tokenizer=tokenizer, max_length=64, name=kind)


@given(st.integers(1, 48), st.data())
def test_the_kept_layers_are_spread_over_all(there: int, data: st.DataObject):
    kept = data.draw(st.integers(1, there))
    found = kept_layers(there, kept)
    assert len(found) == kept and found[0] == 0 and (kept == 1 or found[-1] == there - 1)
    gaps = np.diff(found)
    assert kept == 1 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_of_twelve_layers_six_are_those_of_distilbert():
    assert kept_layers(12, 6) == [0, 2, 4, 7, 9, 11]


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_student_is_the_teachers_layers_without_the_others(kind: str, tmp_path: Path):
    teacher = deep_product(kind, 6)
    before = embed(teacher, TEXTS)
    student = with_layers(teacher, 3)
    assert (layer_count(teacher), layer_count(student)) == (6, 3)
    backbones = [product.network.backbone for product in (teacher, student)]
    stacks = [b.encoder.layer if kind == "bert" else b.transformer.layer for b in backbones]
    for own, place in zip(stacks[1], kept_layers(6, 3), strict=True):
        for one, other in zip(own.parameters(), stacks[0][place].parameters(), strict=True):
            assert torch.equal(one, other) and one.data_ptr() != other.data_ptr()
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.add_(1e-3)
    assert np.array_equal(embed(teacher, TEXTS), before)
    student.save(tmp_path, card="# x\n")
    assert AutoModel.from_pretrained(tmp_path).config.num_hidden_layers == 3
    assert_allclose(embed(open_base(str(tmp_path)), TEXTS), embed(student, TEXTS), atol=1e-6)


@pytest.mark.parametrize("layers", [0, 3])
def test_more_layers_than_there_are_are_refused(layers: int):
    with pytest.raises(ConfigError, match=rf"layers = {layers}: 'tiny' has 2 layers\. Give a number from 1 to 2"):
        with_layers(tiny_product(), layers)


def test_a_model_whose_layers_are_not_one_stack_is_refused():
    product = deep_product("bert", 2)
    product.network.backbone.other = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    with pytest.raises(ConfigError, match="not one stack"):
        with_layers(product, 1)


def test_a_pruned_encoder_gives_texts_of_kept_pieces_the_same_vectors(tmp_path: Path):
    product = tiny_product()
    counts = np.zeros(len(product.tokenizer), dtype=np.int64)
    for text in TEXTS:
        counts[product.tokenizer(text)["input_ids"]] += 1
    tokenizer, rows = prune(product.tokenizer, counts, most=110)
    pruned = with_vocabulary(product, tokenizer, rows)
    assert len(pruned.tokenizer) == len(rows) < len(product.tokenizer)
    assert_allclose(embed(pruned, TEXTS), embed(product, TEXTS), atol=1e-6)
    pruned.save(tmp_path, card="# x\n")
    opened = open_base(str(tmp_path))
    assert opened.network.backbone.config.vocab_size == len(rows) == len(opened.tokenizer)
    assert_allclose(embed(opened, TEXTS), embed(product, TEXTS), atol=1e-6)


def test_the_special_ids_of_the_config_follow_the_vocabulary():
    product = tiny_product()
    config = product.network.backbone.config
    config.bos_token_id, config.eos_token_id = product.tokenizer.cls_token_id, 200  # of which the second goes
    counts = np.zeros(len(product.tokenizer), dtype=np.int64)
    tokenizer, rows = prune(product.tokenizer, counts, most=100)
    pruned = with_vocabulary(product, tokenizer, rows).network.backbone.config
    assert pruned.pad_token_id == tokenizer.pad_token_id
    assert pruned.bos_token_id == tokenizer.cls_token_id
    assert pruned.eos_token_id is None
    assert config.eos_token_id == 200
