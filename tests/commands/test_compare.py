"""`probe` and `compare` on labelled pictures: what a picture shows is embedded, and not what its file is called."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from shoptalk.cli import app
from shoptalk.errors import InputError, ShoptalkError

COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders of reddish and bluish noise, whose files are called alike."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / "train", tmp_path / "test"]
    for path in paths:
        for name, colour in COLOURS.items():
            (path / name).mkdir(parents=True)
            for number in range(6):
                pixels = np.clip(rng.normal(colour, 60, (4, 4, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).resize((40, 40)).save(path / name / f"{number}.png")
    return paths


def told(*words: object) -> Result:
    more = ["--shots", "full", "--draws", "2", "--json"]
    return CliRunner().invoke(app.app, [*map(str, words), *more])


def test_probe_reads_the_pictures_of_two_folders(folders: list[Path]) -> None:
    result = told("probe", "scratch:resnet-mini", "--labels", folders[0], "--test", folders[1])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["shots"]["full"]["accuracy"] > 80
    assert "stand in" not in result.stderr, "equal names are no leak"


def test_compare_reads_pictures_and_tells_of_copies_under_another_name(folders: list[Path]) -> None:
    copy = (folders[0] / "red" / "0.png").read_bytes()
    (folders[1] / "red" / "copy.png").write_bytes(copy)
    result = told("compare", "pixels", "scratch:resnet-mini", "--labels", folders[0], "--test", folders[1])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["shots"]["full"]["draws"] == 1, "there is one full set"
    assert "1 of 13 pictures stand in train too" in result.stderr


def test_a_pair_encoder_reads_the_pictures_of_a_table_that_has_texts_too(folders: list[Path], tiny_base: Path) -> None:
    tables = []
    for folder in folders:
        rows = [f"{path.parent.name}/{path.name},words,{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
        (folder / "labels.csv").write_text("\n".join(["image,text,label", *rows]))
        tables.append(folder / "labels.csv")
    result = told("probe", f"scratch:resnet-mini+{tiny_base}", "--labels", tables[0], "--test", tables[1])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["shots"]["full"]["n"] == 12


def test_examples_that_a_model_does_not_read_are_refused(folders: list[Path], tiny_base: Path, tmp_path: Path) -> None:
    result = told("probe", tiny_base, "--labels", folders[0], "--test", folders[1])
    assert isinstance(result.exception, InputError)
    assert f"holds pictures, which {tiny_base} does not read. Give an image encoder" in str(result.exception)
    (tmp_path / "texts.csv").write_text("text,label\na red door,red\na blue sea,blue\n")
    table = tmp_path / "texts.csv"
    result = told("probe", "scratch:resnet-mini", "--labels", table, "--test", table)
    assert isinstance(result.exception, ShoptalkError), "a table without pictures, where pictures are asked for"
    assert "image" in str(result.exception)
