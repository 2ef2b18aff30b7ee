"""Language models exported: opened without Shoptalk, and with weights of 8 bits that are measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from shoptalk.commands import export_language
from shoptalk.commands.export import export
from shoptalk.errors import ArtifactError, InputError
from shoptalk.nn.bases import open_model
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from shoptalk.probes.bits_per_byte import general_bits
from tests.command_line import call


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language") / "model"
    tiny_language_model().save(folder, card="")
    return folder


def test_plain_transformers_opens_an_export_with_equal_logits(model: Path, tmp_path: Path) -> None:
    artifact = export(str(model), tmp_path / "out", form="safetensors")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = AutoTokenizer.from_pretrained(tmp_path / "out")("Where is it?", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert torch.equal(opened(ids).logits, open_model(str(model)).network.backbone(ids).logits)
    assert list(artifact.readings) == ["bits_per_byte"]
    assert f"{artifact.readings['bits_per_byte']:.4f}" in (tmp_path / "out" / "README.md").read_text()


def test_sharded_weights_are_exported(model: Path, tmp_path: Path) -> None:
    product = tiny_language_model()
    product.save(tmp_path / "sharded", card="")
    (tmp_path / "sharded" / "model.safetensors").unlink()
    product.network.backbone.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")  # type: ignore[operator]
    sharded, whole = (
        export(str(folder), tmp_path / f"out-{folder.name}", form="safetensors")
        for folder in (tmp_path / "sharded", model)
    )
    assert sharded.files["model.safetensors"] == whole.files["model.safetensors"]


def test_what_eight_bits_cost_is_measured_and_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ["export", model, "--format", "safetensors", "--quantize", "int8", "--out", out]
    status, output, error = call(capsys, monkeypatch, *words, "--json")
    assert status == 0, error
    said = json.loads(output)
    assert said["rounded_layers"] == 14 and said["bytes"] == (out / "model.safetensors").stat().st_size
    assert said["bits_per_byte"] == pytest.approx(said["bits_per_byte_float32"], rel=0.02)
    card = (out / "README.md").read_text()
    assert f"{said['bits_per_byte']:.4f}" in card and f"{said['bits_per_byte_float32']:.4f}" in card
    texts = ["where is it?", "no"]
    np.testing.assert_allclose(open_model(str(out)).score(texts), open_model(str(model)).score(texts), rtol=0.02)
    status, output, error = call(capsys, monkeypatch, "generate", out, "where is it", "--raw", "--max-tokens", "5")
    assert status == 0, error
    status, output, _ = call(capsys, monkeypatch, *words)
    assert status == 0 and "bits per byte of general text" in output and "before rounding" in output


def test_the_bits_that_are_told_are_those_of_the_folder_that_is_opened(model: Path, tmp_path: Path) -> None:
    """Also where 16 bits hold the embeddings and norms less exactly than the model does."""
    product = open_model(str(model))
    with torch.no_grad():
        product.network.backbone.get_input_embeddings().weight.mul_(20 / 3)
    product.save(tmp_path / "model", card="")
    artifact = export(str(tmp_path / "model"), tmp_path / "out", form="safetensors", quantize="int8")
    opened = general_bits()(open_model(str(tmp_path / "out"))).value
    assert artifact.readings["bits_per_byte"] == pytest.approx(opened, rel=1e-6)
    assert artifact.readings["bits_per_byte_float32"] == general_bits()(open_model(str(tmp_path / "model"))).value


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_an_exported_model_ends_its_turns_with_the_same_tokens(model: Path, tmp_path: Path, quantize: str) -> None:
    """Of many models generation_config.json alone names the token that ends a turn."""
    product = open_model(str(model))
    ends = [product.tokenizer.eos_token_id, product.tokenizer.convert_tokens_to_ids("z")]
    product.network.backbone.generation_config.eos_token_id = ends
    product.save(tmp_path / "model", card="")
    export(str(tmp_path / "model"), tmp_path / "out", form="safetensors", quantize=quantize)
    assert open_model(str(tmp_path / "out")).network.backbone.generation_config.eos_token_id == ends


def test_rounding_that_costs_too_much_is_refused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_language, "MOST_LOST", -0.5)
    with pytest.raises(ArtifactError, match=r"bits per byte of general text .*Nothing was written. Export it with"):
        export(str(model), tmp_path / "out", form="safetensors", quantize="int8")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "form", "said"), [
    ("language", "onnx", r"is a language model; expected an encoder for --format onnx\. .*--format safetensors"),
    ("seq2seq", "onnx", "is an encoder–decoder, and --format onnx has no form for one.*use that"),
    ("seq2seq", "safetensors", "is an encoder–decoder, and --format safetensors has no form for one.*use that"),
    ("encoder", "safetensors", "is one of the .*, whose folder holds safetensors already"),
])  # fmt: skip
def test_a_format_of_another_kind_of_model_is_refused(
    model: Path, tiny_base: Path, tmp_path: Path, kind: str, form: str, said: str
) -> None:
    if kind == "seq2seq":
        tiny_encoder_decoder().save(tmp_path / "t5", card="")
    folder = {"language": model, "encoder": tiny_base, "seq2seq": tmp_path / "t5"}[kind]
    with pytest.raises(InputError, match=said):
        export(str(folder), tmp_path / "out", form=form)
