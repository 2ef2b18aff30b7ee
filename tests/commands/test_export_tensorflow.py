"""An encoder as a SavedModel, made and opened in an environment that has TensorFlow and no torch.

The environment is made once, in $XDG_CACHE_HOME/shoptalk-benchmarks (some 1.5 GB), and used again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import MPNetConfig, MPNetModel, RobertaConfig, RobertaModel

from shoptalk.commands.export import LEAST_COSINE, export
from shoptalk.commands.export_tensorflow import VARIABLE, tensorflow_python, weights_of
from shoptalk.errors import ArtifactError, InputError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from tests.tiny import tiny_product

REQUIREMENTS = ("tensorflow-cpu==2.21.0", "tokenizers==0.23.3")
TEXTS = ["my card", "thanks", "please track my order and tell me when it will arrive at my address " * 3, "no", "1 2 3"]
READ = """
import json, sys
import numpy as np, tensorflow as tf
from tokenizers import Tokenizer
assert not {"torch", "transformers", "shoptalk"} & set(sys.modules)
folder, texts = sys.argv[1], json.loads(sys.argv[2])
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
tokenizer.enable_truncation(int(sys.argv[3]))
tokenizer.enable_padding(pad_id=int(sys.argv[4]), pad_token=sys.argv[5])
loaded = tf.saved_model.load(folder + "/saved_model")
rows = tokenizer.encode_batch(texts)
vectors = loaded.signatures["serving_default"](
    input_ids=tf.constant([row.ids for row in rows], tf.int64),
    attention_mask=tf.constant([row.attention_mask for row in rows], tf.int64),
)["vectors"].numpy()
np.save(sys.argv[6], vectors)
"""


@pytest.fixture(scope="session")
def tensorflow() -> str:
    """A Python with TensorFlow and without torch; the tests are skipped where the registry cannot be reached."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shoptalk-benchmarks"
    name = hashlib.sha256(f"{sys.version_info[:2]}{REQUIREMENTS}".encode()).hexdigest()[:12]
    folder = cache / f"tensorflow-{name}"
    interpreter, finished = folder / "bin" / "python", folder / "installed"
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        words = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(
                f"TensorFlow cannot be installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
            )
        finished.touch()
    return str(interpreter)


def vectors_of(interpreter: str, folder: Path, tmp_path: Path, *, max_length: int, pad: tuple[int, str]) -> np.ndarray:
    """As the written README does it, without Shoptalk."""
    out = tmp_path / "vectors.npy"
    words = [interpreter, "-c", READ, str(folder), json.dumps(TEXTS), str(max_length), str(pad[0]), pad[1], str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return np.load(out)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_saved_model_gives_the_encoders_vectors_where_there_is_no_torch(
    tiny_base: Path, tmp_path: Path, tensorflow: str, monkeypatch: pytest.MonkeyPatch, pooling: str
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    if pooling == "cls":
        (base / "1_Pooling").mkdir(exist_ok=True)
        (base / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    monkeypatch.setenv(VARIABLE, tensorflow)
    artifact = export(str(base), tmp_path / "out", form="tensorflow")
    assert artifact.readings["least_cosine"] >= LEAST_COSINE
    product = open_base(str(base))
    vectors = vectors_of(tensorflow, tmp_path / "out", tmp_path, max_length=product.max_length, pad=(0, "[PAD]"))
    wanted = embed(product, TEXTS)
    np.testing.assert_allclose(vectors, wanted, atol=1e-4)
    assert (vectors * wanted).sum(axis=1).min() >= LEAST_COSINE
    card = (tmp_path / "out" / "README.md").read_text()
    assert "tf.saved_model.load" in card and f"{pooling} pooling" in card


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_models_that_count_positions_and_distances_in_another_way_are_exported_too(
    tmp_path: Path, tensorflow: str, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    base, product = tmp_path / "base", tiny_product()
    sizes = {
        "vocab_size": len(product.tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
        "pad_token_id": 1,
    }
    model = RobertaModel(RobertaConfig(**sizes)) if family == "roberta" else MPNetModel(MPNetConfig(**sizes))
    product.save(base, card="")
    model.save_pretrained(base)
    pad_comes_second(base)
    monkeypatch.setenv(VARIABLE, tensorflow)
    assert export(str(base), tmp_path / "out", form="tensorflow").readings["least_cosine"] >= LEAST_COSINE


def pad_comes_second(base: Path) -> None:
    """Ids 0 and 1 change places in the tokenizer: padding is 1 in these families, which count positions from it."""
    path = base / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    turned = {0: 1, 1: 0}
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {token: turned.get(id, id) for token, id in vocabulary.items()}
    for token in tokenizer["added_tokens"]:
        token["id"] = turned.get(token["id"], token["id"])
    path.write_text(json.dumps(tokenizer))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_python_without_tensorflow_is_told_as_such(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)
    with pytest.raises(InputError, match="has no TensorFlow"):
        export(str(tiny_base), tmp_path / "out", form="tensorflow")
    assert not (tmp_path / "out").exists()


def test_the_weights_that_are_handed_over_are_those_of_the_encoder(tiny_base: Path) -> None:
    product = open_base(str(tiny_base))
    weights, spec = weights_of(product)
    backbone = product.network.backbone
    layer = backbone.encoder.layer[0]
    np.testing.assert_array_equal(weights["layer0_query_weight"].T, layer.attention.self.query.weight.detach().numpy())
    np.testing.assert_array_equal(weights["words"], backbone.embeddings.word_embeddings.weight.detach().numpy())
    assert weights["positions"].shape == (product.max_length, product.dim)
    assert spec == {
        "layers": len(backbone.encoder.layer),
        "heads": backbone.config.num_attention_heads,
        "eps": backbone.config.layer_norm_eps,
        "pooling": "mean",
    }


def test_what_tensorflow_says_last_is_told_and_nothing_is_written(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho 'out of disk' >&2\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(failing))
    with pytest.raises(ArtifactError, match=r"TensorFlow did not write the model: out of disk\. Nothing was written"):
        export(str(tiny_base), tmp_path / "out", form="tensorflow")
    assert not (tmp_path / "out").exists()


def test_without_tensorflow_it_is_said_how_to_install_it_or_to_name_another_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(InputError, match=r"pip install 'shoptalk\[tensorflow\]'.*SHOPTALK_TENSORFLOW="):
        tensorflow_python()
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    with pytest.raises(InputError, match="names '/nowhere/python', which cannot be run"):
        tensorflow_python()


def test_an_encoder_that_tensorflow_does_not_know_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)
    with pytest.raises(InputError, match=r"knows encoders of texts of the kinds bert, .*--format onnx"):
        export("scratch:vit-nano", tmp_path / "out", form="tensorflow")
    with pytest.raises(InputError, match="writes float32 weights"):
        export("minilm", tmp_path / "out", form="tensorflow", quantize="int8")
