"""`embed` and `predict` of pictures: each model reads what it can, and what it cannot is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from shoptalk.artifact import create, open_artifact
from shoptalk.cli import app
from shoptalk.nn.bases import open_base
from shoptalk.nn.heads import classifier, head_files
from shoptalk.records import Picture


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Three pictures, two of them equal, and a text."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "note.txt").write_text("A note about the ferries of the harbour, which is no picture.\n")
    return folder


def embedded(model: str, sources: Path, out: Path) -> tuple[np.ndarray, list[dict[str, object]], str]:
    result = CliRunner().invoke(app.app, ["embed", model, str(sources), "--out", str(out), "--precision", "float32"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    return np.load(out), rows, result.output


@pytest.mark.parametrize("model", ["scratch:resnet-mini", "hog"])
def test_an_image_encoder_embeds_the_pictures_and_tells_of_the_texts(model: str, sources: Path, tmp_path: Path) -> None:
    vectors, rows, said = embedded(model, sources, tmp_path / "out.npy")
    assert [Path(str(row["picture"])).name for row in rows] == ["a.png", "b.png", "c.png"]
    assert "texts, which an image encoder does not read" in said
    pictures = [Picture(path=str(row["picture"]), sha256=str(row["sha256"])) for row in rows]
    np.testing.assert_allclose(vectors, open_base(model).embed(pictures), atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_a_text_encoder_embeds_the_texts_and_tells_of_the_pictures(
    tiny_base: Path, sources: Path, tmp_path: Path
) -> None:
    vectors, rows, said = embedded(str(tiny_base), sources, tmp_path / "out.npy")
    assert len(vectors) == len(rows) == 1 and "pictures, which a text encoder does not read" in said


def test_a_pair_embeds_both_in_their_order(tiny_base: Path, sources: Path, tmp_path: Path) -> None:
    vectors, rows, _ = embedded(f"scratch:resnet-mini+{tiny_base}", sources, tmp_path / "out.npy")
    assert ["picture" in row for row in rows] == [False, True, True, True]  # tables and texts are read first
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_sources_without_a_picture_are_refused_by_an_image_encoder(sources: Path, tmp_path: Path) -> None:
    words = ["embed", "scratch:resnet-mini", str(sources / "note.txt"), "--out", str(tmp_path / "out.npy")]
    result = CliRunner().invoke(app.app, words)
    assert result.exit_code != 0 and "There is no picture in" in str(result.exception)


def test_predict_reads_pictures_where_the_runs_encoder_does(sources: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    product = open_base("hog")
    with create(run / "encoder", kind="encoder", config={}, parents={}) as inside:
        product.save(inside, card="# Features\n")
    encoder = open_artifact(run / "encoder")
    assert encoder is not None
    vectors = np.random.default_rng(0).normal(size=(20, product.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    head = classifier.train(vectors, ["cat", "dog"] * 10, np.arange(20), seed=0)
    with create(run / "head", kind="head", config={}, parents={"encoder": encoder.content}) as inside:
        head_files.save(head, inside)
    result = CliRunner().invoke(app.app, ["predict", str(run), str(sources), "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [Path(row["picture"]).name for row in rows] == ["a.png", "b.png", "c.png"]
    assert {row["label"] for row in rows} <= {"cat", "dog"} and "left out, a text" in result.stderr
    plain = CliRunner().invoke(app.app, ["predict", str(run), str(sources / "a.png")])
    assert plain.exit_code == 0 and plain.stdout.strip().endswith("a.png")
    (tmp_path / "d.heic").write_bytes(b"none that is read")
    both = CliRunner().invoke(app.app, ["predict", str(run), str(tmp_path / "d.heic"), str(sources / "a.png")])
    assert both.exit_code == 0 and both.stdout == plain.stdout
    assert "d.heic: left out, a picture in a format that is not read" in both.stderr
    alone = CliRunner().invoke(app.app, ["predict", str(run), str(tmp_path / "d.heic")])
    assert "No picture is left to classify" in str(alone.exception)
    refused = CliRunner().invoke(app.app, ["predict", str(run)])
    assert "This model classifies pictures" in str(refused.exception)
