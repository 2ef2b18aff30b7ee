"""Tables of labels and captions in a folder of pictures: each picture is read once, and each row accounted for."""

from pathlib import Path

import pytest
from tests.curate.test_pictures import photograph

from shoptalk.config import CurateConfig
from shoptalk.curate.readable import readable
from shoptalk.curate.sources import stream_sources
from shoptalk.records import Document, Drop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, of which captions name two and labels all; then a list of words."""
    inside = tmp_path / "pictures"
    inside.mkdir()
    for number in range(3):
        photograph(number).save(inside / f"{number}.png")
    (inside / "captions.csv").write_text("image,text\n0.png,a cat\n1.png,a dog\n", encoding="utf-8")
    (inside / "labels.csv").write_text("image,label\n0.png,cat\n1.png,dog\n2.png,cat\n", encoding="utf-8")
    (inside / "names.txt").write_text("cat\ndog\n", encoding="utf-8")
    return inside


def read(folder: Path, kind: str) -> tuple[list[Document], list[Drop]]:
    items = list(readable(stream_sources([folder], CurateConfig(), captions=kind != "image"), kind))
    return [item for item in items if isinstance(item, Document)], [item for item in items if isinstance(item, Drop)]


def shown(documents: list[Document]) -> list[str]:
    return sorted(Path(item.picture.path).name for item in documents if item.picture is not None)


def test_a_picture_that_two_tables_name_is_read_once_and_the_second_row_says_why_not(folder: Path):
    documents, drops = read(folder, "image")
    assert shown(documents) == ["0.png", "1.png", "2.png"]
    again = [(drop.id, drop.detail) for drop in drops if drop.reason == "duplicate"]
    assert again == [
        ("pictures/labels.csv#2", "the same picture as pictures/captions.csv#2"),
        ("pictures/labels.csv#3", "the same picture as pictures/captions.csv#3"),
    ]
    assert [drop.id for drop in drops if drop.reason == "not-read"] == [
        *("pictures/captions.csv#2#captions", "pictures/captions.csv#3#captions"),
        *("pictures/names.txt#1", "pictures/names.txt#2"),
    ]


@pytest.mark.parametrize(("kind", "pictures"), [("image", ["0.png", "1.png", "2.png"]), ("pair", ["0.png", "1.png"])])
def test_the_order_of_the_tables_changes_no_picture_and_loses_no_caption(folder: Path, kind: str, pictures: list[str]):
    (folder / "captions.csv").rename(folder / "words.csv")
    documents, _ = read(folder, kind)
    assert shown(documents) == pictures
    captions = [turn.text for document in documents for turn in document.turns]
    assert captions == ([] if kind == "image" else ["a cat", "a dog"])


def test_a_picture_of_two_customers_stays_a_document_of_each(folder: Path):
    for name, customer in (("captions", 1), ("labels", 2)):
        rows = f"image,customer\n0.png,{customer}\n"
        (folder / f"{name}.csv").write_text(rows, encoding="utf-8")
    documents, _ = read(folder, "image")
    assert shown(documents) == ["0.png", "0.png", "1.png", "2.png"]


def test_a_link_to_a_picture_that_a_table_names_is_that_picture(folder: Path):
    (folder / "labels.csv").write_text("image,label\nlink.png,cat\n", encoding="utf-8")
    (folder / "link.png").symlink_to(folder / "0.png")
    documents, drops = read(folder, "image")
    assert shown(documents) == ["0.png", "1.png", "2.png"]
    assert [drop.reason for drop in drops if drop.source.endswith("labels.csv")] == ["duplicate"]
