"""Pictures as sources and as labelled examples: folders, zips, tables; what is left out has its reason."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from shoptalk.config import CurateConfig
from shoptalk.curate.against_test import without_tests
from shoptalk.curate.curation import curate
from shoptalk.curate.labels import read_labels
from shoptalk.curate.picture_looks import alike, look_at
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop, Item

CONFIG = CurateConfig()


def photograph(seed: int, side: int = 48) -> Image.Image:
    """A smooth picture unlike the others."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def data_of(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def read(*paths: Path, config: CurateConfig = CONFIG) -> tuple[list[Document], list[Drop]]:
    items = list(stream_sources(paths, config))
    return [item for item in items if isinstance(item, Document)], [item for item in items if isinstance(item, Drop)]


def kept(
    *paths: Path, reserved: list[Item] | None = None, config: CurateConfig = CONFIG
) -> tuple[list[str], list[Drop]]:
    items = list(curate(stream_sources(paths, config), reserved=reserved or [], config=config))
    return [item.id for item in items if isinstance(item, Document)], [item for item in items if isinstance(item, Drop)]


def test_a_folder_of_pictures_is_a_document_each_and_what_is_none_a_drop(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "cat").mkdir(parents=True)
    photograph(0).save(folder / "cat" / "1.png")
    photograph(1).convert("RGB").save(folder / "cat" / "2.jpg")
    (folder / "cat" / "3.png").write_text("name,label\n")
    (folder / "cat" / "4.png").write_bytes(b"")
    documents, drops = read(folder)
    assert [document.id for document in documents] == ["photos/cat/1.png", "photos/cat/2.jpg"]
    assert all(document.picture is not None and not document.turns for document in documents)
    assert {drop.id: drop.reason for drop in drops} == {
        "photos/cat/3.png": "not-a-picture",
        "photos/cat/4.png": "empty",
    }


def test_a_zip_is_read_as_a_folder_and_names_that_lead_out_of_it_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("cat/1.png", "../escape.png", "/etc/2.png", "cat\\3.png", "__MACOSX/cat/1.png", "notes.txt"):
            archive.writestr(name, data_of(photograph(len(name))))
    documents, drops = read(path)
    assert [document.id for document in documents] == ["photos.zip/cat/1.png"]
    assert documents[0].picture is not None and documents[0].picture.path == f"{path}/cat/1.png"
    assert sorted(drop.reason for drop in drops) == ["hidden", "unknown-format", *["unsafe-name"] * 3]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="no zip that can be read"):
        read(path)


def test_rows_that_name_one_picture_are_its_captions(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "a.png")
    photograph(1).save(tmp_path / "b.png")
    (tmp_path / "captions.csv").write_text(
        "image,text,place\na.png,A cat,north\nb.png,A dog,south\na.png,A sleeping cat,north\nc.png,Nothing,\n,x,\n"
    )
    documents, drops = read(tmp_path / "captions.csv")
    assert [[turn.text for turn in document.turns] for document in documents] == [
        ["A cat", "A sleeping cat"],
        ["A dog"],
    ]
    assert [document.id for document in documents] == ["captions.csv#2", "captions.csv#3"]
    assert {turn.role for document in documents for turn in document.turns} == {"caption"}
    assert dict(documents[0].metadata) == {"place": "north"}
    assert sorted(drop.reason for drop in drops) == ["missing", "no-picture"]
    (tmp_path / "captions.jsonl").write_text('{"image": "a.png", "text": ["A cat", "A grey cat"]}\n{"text": "Words"}\n')
    documents, _ = read(tmp_path / "captions.jsonl")
    assert [document.text for document in documents] == ["Words", ""]
    assert [turn.text for turn in documents[1].turns] == ["A cat", "A grey cat"]


def test_a_label_beside_a_picture_is_never_read_as_a_source(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("image,label\na.png,cat\n")
    documents, _ = read(tmp_path / "labels.csv")
    assert "cat" not in documents[0].model_dump_json()


def test_copies_of_a_picture_are_near_duplicates_and_other_pictures_are_not() -> None:
    image = photograph(0, 96)
    look = look_at(image)
    smaller = look_at(image.resize((40, 40)))
    saved = look_at(Image.open(io.BytesIO(data_of(image, "JPEG", quality=40))).convert("RGB"))
    brighter = look_at(ImageEnhance.Brightness(image).enhance(1.03))
    assert all(alike(look, other, most_bits=6) for other in (smaller, saved, brighter))
    assert not any(alike(look, look_at(photograph(seed)), most_bits=15) for seed in range(1, 60))


def test_drawings_on_white_that_differ_in_colour_are_told_apart() -> None:
    def drawing(colour: str) -> Image.Image:
        image = Image.new("RGB", (64, 64), "white")
        image.paste(colour, (20, 20, 44, 44))
        return image

    assert not alike(look_at(drawing("red")), look_at(drawing("green")), most_bits=15)


def test_repeats_and_near_duplicates_are_left_out_and_the_setting_turns_that_off(tmp_path: Path) -> None:
    photograph(0, 96).save(tmp_path / "1.png")
    photograph(0, 96).save(tmp_path / "2.png")
    photograph(0, 96).convert("RGB").save(tmp_path / "3.jpg", quality=80)
    photograph(5).save(tmp_path / "4.png")
    ids, drops = kept(tmp_path)
    assert [id.rsplit("/", 1)[1] for id in ids] == ["1.png", "4.png"]
    assert sorted(drop.reason for drop in drops) == ["duplicate", "near-duplicate"]
    ids, drops = kept(tmp_path, config=CurateConfig(near_pictures=0))
    assert len(ids) == 3 and [drop.reason for drop in drops] == ["duplicate"]


def test_labelled_pictures_and_their_near_duplicates_never_enter_training(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        photograph(number, 96).save(photos / f"{number}.png")
    photograph(2, 96).convert("RGB").save(tmp_path / "copy.jpg", quality=70)
    (tmp_path / "labels.csv").write_text("image,label\nphotos/0.png,x\ncopy.jpg,y\nphotos/0.png,x\nphotos/9.png,y\n")
    examples, drops = read_labels(tmp_path / "labels.csv", CONFIG)
    assert [(example.text, example.label) for example in examples] == [
        ("photos/0.png", "x"),
        (f"{tmp_path.name}/copy.jpg", "y"),
    ]
    assert all(example.item == example.picture for example in examples)
    assert sorted(drop.reason for drop in drops) == ["duplicate", "missing"]
    ids, left_out = kept(photos, reserved=[example.item for example in examples])
    assert ids == ["photos/1.png", "photos/3.png"]
    assert [drop.reason for drop in left_out] == ["in-labelled-cluster"] * 2


def test_a_zip_of_labelled_pictures_has_its_folders_as_labels_and_contradictions_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for seed, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
            archive.writestr(name, data_of(photograph(seed)))
        archive.writestr("dog/3.png", data_of(photograph(0)))
    examples, drops = read_labels(tmp_path / "train.zip", CONFIG)
    assert [(example.text, example.label) for example in examples] == [
        ("cat/2.png", "cat"),
        ("dog/1.png", "dog"),
        ("dog/2.png", "dog"),
    ]
    assert [drop.reason for drop in drops] == ["contradiction"] * 2


def test_near_duplicates_among_labelled_pictures_share_a_cluster_and_leave_with_a_test(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("cat/1.png", data_of(photograph(0, 96)))
        archive.writestr("cat/2.jpg", data_of(photograph(0, 96).convert("RGB"), "JPEG"))
        archive.writestr("dog/1.png", data_of(photograph(1)))
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        archive.writestr("cat/9.jpg", data_of(photograph(0, 96).convert("RGB"), "JPEG", quality=60))
        archive.writestr("dog/9.png", data_of(photograph(7)))
    examples, _ = read_labels(tmp_path / "train.zip", CONFIG)
    assert [example.cluster for example in examples] == [0, 0, 1]
    tests, _ = read_labels(tmp_path / "test.zip", CONFIG)
    left, drops = without_tests(examples, tests, CONFIG)
    assert [example.text for example in left] == ["dog/1.png"]
    assert [drop.reason for drop in drops] == ["in-test-cluster"] * 2
