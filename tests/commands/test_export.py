import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")

from shoptalk.cli import app
from shoptalk.commands import export as stage
from shoptalk.commands.export import LEAST_COSINE, export
from shoptalk.errors import ArtifactError, BaseModelError, InputError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed

# What torch warns of inside while it exports; a user sees it neither.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TEXTS = ("my card", "thanks", "please track my order and tell me when it will arrive at my address " * 3, "no", "1 2 3")


@pytest.fixture(scope="module")
def exported(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "tiny"
    export(str(tiny_base), out)
    return out


def vectors_of(folder: Path, texts: tuple[str, ...], *, max_length: int = 64) -> np.ndarray:
    """As the written README does it, without Shoptalk."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    rows = tokenizer.encode_batch(list(texts))
    inputs = {
        "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
        "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
    }
    return np.asarray(session.run(["vectors"], inputs)[0])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_graph_gives_the_encoders_vectors_for_any_batch_and_length(tiny_base: Path, exported: Path, n: int) -> None:
    wanted = embed(open_base(str(tiny_base)), TEXTS[:n])
    np.testing.assert_allclose(vectors_of(exported, TEXTS[:n]), wanted, atol=1e-5)


def test_first_token_pooling_is_exported_too(tiny_base: Path, tmp_path: Path) -> None:
    base = tmp_path / "cls"
    base.mkdir()
    for file in tiny_base.iterdir():
        if file.is_file():
            (base / file.name).write_bytes(file.read_bytes())
    (base / "1_Pooling").mkdir()
    (base / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    export(str(base), tmp_path / "out")
    wanted = embed(open_base(str(base)), TEXTS)
    np.testing.assert_allclose(vectors_of(tmp_path / "out", TEXTS), wanted, atol=1e-5)


def test_eight_bit_weights_keep_the_vectors_and_the_command_says_how_well(tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    words = ["export", str(tiny_base), "--format", "onnx", "--quantize", "int8", "--out", str(out), "--json"]
    result = CliRunner().invoke(app.app, words)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["least_cosine"] >= LEAST_COSINE and said["bytes"] == (out / "model.onnx").stat().st_size
    found, wanted = vectors_of(out, TEXTS), embed(open_base(str(tiny_base)), TEXTS)
    assert (found * wanted).sum(axis=1).min() >= LEAST_COSINE
    assert not np.allclose(found, wanted, atol=1e-7)  # something was rounded


def test_the_folder_says_how_to_use_it_and_how_well_it_agrees(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "vectors" in card and "mean pooling" in card and "lowest cosine" in card
    assert json.loads((exported / "manifest.json").read_text())["readings"]["least_cosine"] >= LEAST_COSINE
    assert (exported / "tokenizer.json").is_file()


def test_a_graph_that_differs_from_the_model_is_refused_and_not_written(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage.Graph.forward

    def wrong(self: stage.Graph, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        vectors = real(self, input_ids, attention_mask)
        return torch.nn.functional.normalize(vectors + 0.1 * vectors.roll(1, dims=-1), dim=-1)

    monkeypatch.setattr(stage.Graph, "forward", wrong)
    with pytest.raises(ArtifactError, match=r"lowest cosine .* is 0\.9\d+ .*expected 0.999.*report this"):
        export(str(tiny_base), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cosine", [0.9, np.nan])
def test_rounding_that_costs_too_much_is_refused_with_advice(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cosine: float
) -> None:
    monkeypatch.setattr(stage, "_write_graph", lambda *_: None)
    monkeypatch.setattr(stage, "_round_weights", lambda *_: None)
    monkeypatch.setattr(stage, "_agreement", lambda *_: np.array([1, cosine, 0.9995], dtype=np.float32))
    with pytest.raises(ArtifactError, match=r"Nothing was written\. Export it with --quantize none"):
        export(str(tiny_base), tmp_path / "out", quantize="int8")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"form": "gguf"}, "--format 'gguf' is not known. Give one of: onnx"),
     ({"quantize": "int4"}, "--quantize 'int4' is not known. Give one of: none, int8")],
)  # fmt: skip
def test_unknown_formats_say_what_there_is(
    tiny_base: Path, tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        export(str(tiny_base), tmp_path / "out", **settings)


def test_a_missing_extra_says_how_to_install_it(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "onnxruntime" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(InputError, match=r"needs the package onnxruntime.*pip install 'shoptalk\[onnx\]'"):
        export(str(tiny_base), tmp_path / "out")


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BaseModelError, match="holds no model"):
        export(str(tmp_path / "empty"), tmp_path / "out")
