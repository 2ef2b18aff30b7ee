"""Encoders of pictures, and of pictures and texts, as ONNX graphs: what a reader of the folder gets."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")

from shoptalk.commands.export import LEAST_COSINE, export
from shoptalk.errors import InputError
from shoptalk.nn.bases import open_base
from shoptalk.records import Picture

# What torch warns of inside while it exports; a user sees it neither.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def by_the_readme(folder: Path, picture: Path, block: int = 0) -> np.ndarray:
    """What the code in the folder's README computes, run there; of a pair, `block` 0 is of pictures and 1 of texts."""
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.S)[block]
    code = code.replace('"picture.jpg"', repr(str(picture)))
    for name in ("model.onnx", "pictures.onnx", "texts.onnx", "tokenizer.json"):
        code = code.replace(f'"{name}"', repr(str(folder / name)))
    names: dict[str, Any] = {}
    exec(code, names)  # the README is what is under test
    return np.asarray(names["vectors"])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "shown.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("ref", ["scratch:resnet-mini", "scratch:vit-nano@64", "pixels@16"])
def test_the_readmes_code_gives_the_encoders_vector_of_a_picture(ref: str, picture: Path, tmp_path: Path) -> None:
    artifact = export(ref, tmp_path / "out")
    assert artifact.readings["least_cosine"] >= LEAST_COSINE
    wanted = open_base(ref).embed([Picture(path=str(picture), sha256="")])
    np.testing.assert_allclose(by_the_readme(tmp_path / "out", picture), wanted, atol=1e-4)


@pytest.mark.slow
def test_gradients_and_colours_are_a_graph_too(picture: Path, tmp_path: Path) -> None:
    # In a process of its own: checks of shapes, which tests switch on, make constants of a graph's sizes there.
    command = [sys.executable, "-W", "ignore", "-m", "shoptalk", "export", "hog", "--out", str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    wanted = open_base("hog").embed([Picture(path=str(picture), sha256="")])
    np.testing.assert_allclose(by_the_readme(tmp_path / "out", picture), wanted, atol=1e-4)


@pytest.mark.slow
def test_a_pair_is_two_graphs_of_one_space(tiny_base: Path, picture: Path, tmp_path: Path) -> None:
    ref = f"scratch:resnet-mini+{tiny_base}"
    export(ref, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.onnx")} == {"pictures.onnx", "texts.onnx"}
    assert (tmp_path / "out" / "preprocessor_config.json").is_file()
    wanted = open_base(ref).embed([Picture(path=str(picture), sha256=""), "When does the ferry leave?"])
    np.testing.assert_allclose(by_the_readme(tmp_path / "out", picture), wanted[:1], atol=1e-4)
    np.testing.assert_allclose(by_the_readme(tmp_path / "out", picture, block=1), wanted[1:], atol=1e-4)


@pytest.mark.slow
def test_convolutions_are_not_rounded_and_a_vits_matrices_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its layers are convolutions. Export it with --quantize none"):
        export("scratch:resnet-mini", tmp_path / "out", quantize="int8")
    assert not (tmp_path / "out").exists()
    artifact = export("scratch:vit-nano", tmp_path / "out", quantize="int8")
    assert LEAST_COSINE <= artifact.readings["least_cosine"] < 1
