"""Pictures as sources and as labelled examples: folders, zips, tables; what is left out has its reason."""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from shoptalk.config import CurateConfig
from shoptalk.curate import picture_looks
from shoptalk.curate.against_test import without_tests
from shoptalk.curate.curation import curate
from shoptalk.curate.labels import labels_digest, read_labels, refuse_missing
from shoptalk.curate.picture_looks import LookTable, PictureLook, alike, look_at, look_clusters
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import SourceError
from shoptalk.image import decode
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
        for name in ("cat/1.png", "../escape.png", "/etc/2.png", "a\\..\\..\\3.png", "__MACOSX/1.png", "notes.txt"):
            archive.writestr(name, data_of(photograph(len(name))))
        archive.writestr("cat\\of windows.png", data_of(photograph(99)))
    documents, drops = read(path)
    assert [document.id for document in documents] == ["photos.zip/cat/1.png", "photos.zip/cat\\of windows.png"]
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
    nameless, cat, dog = documents
    assert nameless.picture is None and nameless.text == "x"
    assert [turn.text for turn in cat.turns] == ["A cat", "A sleeping cat"] and [turn.text for turn in dog.turns] == [
        "A dog"
    ]
    assert [document.id for document in documents] == ["captions.csv#6", "captions.csv#2", "captions.csv#3"]
    assert {turn.role for turn in (*cat.turns, *dog.turns)} == {"caption"}
    assert dict(cat.metadata) == {"place": "north"}
    assert [(drop.id, drop.reason) for drop in drops] == [("captions.csv#5", "missing")]
    (tmp_path / "captions.jsonl").write_text('{"image": "a.png", "text": ["A cat", "A grey cat"]}\n{"text": "Words"}\n')
    documents, _ = read(tmp_path / "captions.jsonl")
    assert [document.text for document in documents] == ["Words", ""]
    assert [turn.text for turn in documents[1].turns] == ["A cat", "A grey cat"]


def test_a_picture_has_the_captions_of_every_spelling_of_its_path(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    photograph(0).save(tmp_path / "a.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "a.png")
    spellings = ["a.png", "more/../a.png", f"{tmp_path}/a.png", "./a.png", "linked.png"]
    rows = [f"{name},caption {number}" for number, name in enumerate(spellings)]
    (tmp_path / "captions.csv").write_text("\n".join(["image,text", *rows]) + "\n")
    (document,), drops = read(tmp_path / "captions.csv")
    assert [turn.text for turn in document.turns] == [f"caption {number}" for number in range(5)] and not drops


def test_copies_of_a_picture_are_one_with_the_captions_of_all(tmp_path: Path) -> None:
    for name, seed in (("a.png", 0), ("b.png", 1), ("a copy.png", 0)):
        photograph(seed).save(tmp_path / name)
    rows = ["a.png,A cat", "b.png,A dog", "a copy.png,A sleeping cat", "a copy.png,A cat"]
    (tmp_path / "captions.csv").write_text("\n".join(["image,text", *rows]) + "\n")
    (cat, dog), drops = read(tmp_path / "captions.csv")
    assert [turn.text for turn in cat.turns] == ["A cat", "A sleeping cat"] and len(dog.turns) == 1
    assert cat.picture is not None and cat.picture.path.endswith("/a.png")
    assert [(drop.id, drop.reason) for drop in drops] == [("captions.csv#5", "duplicate")]
    rows = ["a.png,A cat,7", "a copy.png,A sleeping cat,8"]
    (tmp_path / "captions.csv").write_text("\n".join(["image,text,customer", *rows]) + "\n")
    documents, _ = read(tmp_path / "captions.csv")
    assert [[turn.text for turn in document.turns] for document in documents] == [["A cat"], ["A sleeping cat"]]


def test_pictures_of_a_phone_are_told_what_to_do_with_and_so_are_files_without_an_ending(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    photograph(0).save(folder / "1.png")
    for name in ("2.HEIC", "3", "4.xyz"):
        (folder / name).write_bytes(data_of(photograph(1)))
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("5.heic", b"ftypheic")
    documents, drops = read(folder)
    assert len(documents) == 1
    told = {drop.id.rpartition("/")[2]: drop.detail for drop in drops if drop.reason == "unknown-format"}
    assert set(told) == {"2.HEIC", "3", "4.xyz", "5.heic"}
    assert all(told[name].endswith("save it as JPEG or PNG") for name in ("2.HEIC", "5.heic"))
    assert told["3"].startswith("its name has no ending") and told["4.xyz"].startswith("not one of ")


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
    assert all(alike(look, other, most_bits=12) for other in (smaller, saved, brighter))
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


def test_labelled_pictures_of_which_none_is_usable_are_not_said_to_lack_texts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for name in ("cat/1.png", "dog/1.png"):
            archive.writestr(name, data_of(photograph(0)))
    with pytest.raises(SourceError, match=r"Give pictures in folders that are called as their labels\.$"):
        read_labels(tmp_path / "train.zip", CONFIG)


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


def test_each_row_of_a_table_is_a_caption_or_a_drop(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "pairs.jsonl").write_text(
        '{"image": "a.png", "text": "A cat"}\n{"image": "a.png", "text": "A cat"}\n{"image": "a.png"}\n'
        '{"image": "bad.png", "text": "One"}\n{"image": "bad.png", "text": "Two"}\n'
        '{"image": "https://example.org/b.png", "text": "Far away"}\n{"image": null}\n{"image": {"bytes": "x"}}\n'
        '{"image": "a.png", "turns": [{"role": "user", "text": "Look at this"}]}\n{"image": "a\\u0000.png"}\n'
    )
    documents, drops = read(tmp_path / "pairs.jsonl")
    assert [document.id.rsplit("#", 1)[1] for document in documents] == ["6", "9", "1"]
    far, talk, cat = documents
    assert far.text == "Far away" and far.metadata["image"] == "https://example.org/b.png"
    assert talk.turns[0].role == "user" and talk.picture is None
    assert [turn.text for turn in cat.turns] == ["A cat"]
    assert {drop.id.rsplit("#", 1)[1]: drop.reason for drop in drops} == {
        "7": "no-picture", "8": "wrong-type", "2": "duplicate", "3": "duplicate", "4": "not-a-picture",
        "5": "not-a-picture", "10": "missing",
    }  # fmt: skip


def test_a_picture_that_a_table_names_is_not_read_once_more_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    (folder / "a").mkdir(parents=True)
    for number in range(3):
        photograph(number).save(folder / "a" / f"{number}.png")
    with zipfile.ZipFile(folder / "b.zip", "w") as archive:
        for number in range(3, 5):
            archive.writestr(f"{number}.png", data_of(photograph(number)))
    (folder / "z.csv").write_text("image,text\na/0.png,nought\na/../a/1.png,one\nb.zip/3.png,three\n")
    documents, drops = read(folder)
    assert [document.id for document in documents] == [
        "pairs/z.csv#2", "pairs/z.csv#3", "pairs/z.csv#4", "pairs/b.zip/4.png", "pairs/a/2.png",
    ]  # fmt: skip
    assert drops == []


def test_where_texts_are_read_a_table_stays_a_table_of_texts_and_pictures_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "goods.csv").write_text("text,image\nA red scarf,scarf.png\nA hat,\n")
    (tmp_path / "goods.jsonl").write_text('{"text": "A green scarf", "image": "scarf.png"}\n')
    (tmp_path / "scarf.png").write_bytes(b"never looked at")
    items = list(stream_sources([tmp_path], CONFIG, pictures=False))
    documents = [item for item in items if isinstance(item, Document)]
    assert [document.text for document in documents] == ["A red scarf", "A hat", "A green scarf"]
    assert dict(documents[0].metadata) == {"image": "scarf.png"}
    (drop,) = [item for item in items if isinstance(item, Drop)]
    assert (drop.id.rsplit("/", 1)[1], drop.reason) == ("scarf.png", "not-read")


def test_labels_with_texts_beside_pictures_are_of_pictures_where_these_are_asked_for(tmp_path: Path) -> None:
    rows = ["text,image,label"]
    for seed in range(4):
        photograph(seed).save(tmp_path / f"{seed}.png")
        rows.append(f"our best,{seed}.png,{'ab'[seed % 2]}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    examples, drops = read_labels(path, CONFIG, pictures=True)
    assert [Path(example.picture.path).name for example in examples if example.picture] == [
        f"{seed}.png" for seed in range(4)
    ]
    assert not drops
    path.write_text("\n".join(row.replace("our best", f"text {at}") for at, row in enumerate(rows)), encoding="utf-8")
    texts, _ = read_labels(path, CONFIG)
    assert len(texts) == 4 and all(example.picture is None for example in texts)


def test_messages_about_labelled_pictures_name_the_column_of_pictures(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("Filename,Category\n1.png,a\n2.png,b\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"--set curate.image_column=NAME --set curate.label_column=NAME"):
        read_labels(path, CONFIG, pictures=True)
    path.write_text("image,label\n1.png,a\n2.png,b\n", encoding="utf-8")
    with pytest.raises(
        SourceError, match=r"no file .*1.png. Give rows with an 'image' \(a picture's file, by its path"
    ):
        read_labels(path, CONFIG, pictures=True)


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("img/1.png", "photos/1.png"),
        ("photos/1.JPG", "photos/1.png"),
        ("PHOTOS/1.PNG", "photos/1.png"),
        ("9.png", None),
    ],
)
@pytest.mark.parametrize("column", ["text", "label"])
def test_a_path_that_leads_nowhere_is_told_with_the_file_that_may_be_meant(
    tmp_path: Path, named: str, meant: str | None, column: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "1.txt").write_text("0 0.5 0.5")
    photograph(0).save(tmp_path / "photos" / "0.png")
    photograph(1).save(tmp_path / "photos" / "1.png")
    photograph(2).save(tmp_path / "photos" / "2.png")
    path = tmp_path / "table.csv"
    path.write_text(f"image,{column}\nphotos/0.png,a\nphotos/2.png,c\n{named},b\n", encoding="utf-8")
    drop, *_ = read(path)[1] if column == "text" else read_labels(path, CONFIG)[1]
    assert drop.reason == "missing" and drop.detail.startswith("there is no file ")
    assert drop.detail.endswith(f"{named}" if meant is None else f"; {meant} may be meant")


def test_one_picture_with_two_labels_is_told_as_a_picture(tmp_path: Path) -> None:
    rows = ["image,label", "0.png,a", "0.png,b"]
    for seed in range(3):
        photograph(seed).save(tmp_path / f"{seed}.png")
        rows.append(f"{seed}.png,{'abc'[seed]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    said: list[str] = []
    read_labels(tmp_path / "labels.csv", CONFIG, say=said.append)
    assert "1 picture is labelled in several ways" in said[0] and "no picture is left of 'a'" in said[0]


def test_a_table_from_windows_names_pictures_with_backslashes(tmp_path: Path) -> None:
    (tmp_path / "shop photos").mkdir()
    photograph(0).save(tmp_path / "shop photos" / "1.PNG", "PNG")
    photograph(1).save(tmp_path / "a\\b.png")  # where a backslash is a letter of the name, it stays one
    photograph(3).save(tmp_path / "b.png")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("cat/2.png", data_of(photograph(2)))
        archive.writestr("dog\\3.png", data_of(photograph(4)))
    path = tmp_path / "captions.csv"
    names = ["shop photos\\1.PNG", "a\\b.png", "photos.zip\\cat\\2.png", "photos.zip/dog\\3.png"]
    path.write_text("image,text\n" + "".join(f"{name},words\n" for name in names), encoding="utf-8")
    documents, drops = read(path)
    assert not drops
    assert [document.picture.path for document in documents if document.picture is not None] == [
        f"{tmp_path}/{name}"
        for name in ("shop photos/1.PNG", "a\\b.png", "photos.zip/cat/2.png", "photos.zip/dog\\3.png")
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_names_of_a_table_may_lie_in_a_folder_or_zip_elsewhere(packed: bool, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    photograph(2).save(tmp_path / "tables" / "3.png")  # what is not there is looked for beside the table
    if packed:
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            for number in (1, 2):
                archive.writestr(f"{number}.png", data_of(photograph(number - 1)))
    else:
        (tmp_path / "photos").mkdir()
        for number in (1, 2):
            photograph(number - 1).save(tmp_path / "photos" / f"{number}.png")
    labels = tmp_path / "tables" / "labels.csv"
    labels.write_text("image,label\n1.png,cat\n2.png,dog\n" + ("" if packed else "3.png,cat\n"), encoding="utf-8")
    place = tmp_path / ("photos.zip" if packed else "photos")
    config = CurateConfig(picture_folder=str(place))
    examples, drops = read_labels(labels, config)
    assert not drops and len(examples) == (2 if packed else 3)
    assert [example.item.path for example in examples][:2] == [f"{place}/1.png", f"{place}/2.png"]
    assert labels_digest(labels, config) != labels_digest(labels, CONFIG), "what it names counts"
    if packed:  # nothing lies beside the table then
        (tmp_path / "tables" / "3.png").unlink()
        with pytest.raises(SourceError, match=r"no file .*nowhere/1.png.*or from curate.picture_folder"):
            read_labels(labels, CurateConfig(picture_folder=str(tmp_path / "nowhere")), pictures=True)


def test_a_zip_that_lacks_a_picture_does_not_hide_the_one_beside_the_table(tmp_path: Path) -> None:
    for folder, name in (("elsewhere", "old.png"), ("tables", "1.png")):
        (tmp_path / folder).mkdir()
        with zipfile.ZipFile(tmp_path / folder / "photos.zip", "w") as archive:
            archive.writestr(name, data_of(photograph(1)))
    table = tmp_path / "tables" / "captions.csv"
    table.write_text("image,text\nphotos.zip/1.png,words\n", encoding="utf-8")
    documents, drops = read(table, config=CurateConfig(picture_folder=str(tmp_path / "elsewhere")))
    assert not drops and documents[0].picture is not None
    assert documents[0].picture.path == f"{tmp_path}/tables/photos.zip/1.png"


def test_a_table_without_texts_and_pictures_names_both_settings(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text("Image Path,Caption\n1.png,a shirt\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"curate.text_column=NAME.*pictures.*--set curate.image_column=NAME"):
        read(path)


def test_what_is_too_large_names_the_setting(tmp_path: Path) -> None:
    photograph(0, 200).save(tmp_path / "a.png")
    _, drops = read_anyway(tmp_path, CurateConfig(picture_megapixels=0.03))
    assert [drop.reason for drop in drops] == ["too-many-pixels"]
    assert "raise curate.picture_megapixels" in drops[0].detail and "40,000" not in drops[0].detail
    _, drops = read_anyway(tmp_path, CurateConfig(picture_megabytes=0.001))
    assert [drop.reason for drop in drops] == ["too-large"] and "raise curate.picture_megabytes" in drops[0].detail


def read_anyway(folder: Path, config: CurateConfig) -> tuple[list[Document], list[Drop]]:
    """With a text beside the pictures, for where nothing is left there is an error."""
    (folder / "note.txt").write_text("a text")
    return read(folder, config=config)


def test_a_name_that_is_not_utf8_is_a_drop(tmp_path: Path) -> None:
    (tmp_path / "\udcff.png").write_bytes(data_of(photograph(0)))
    documents, drops = read_anyway(tmp_path, CONFIG)
    assert [drop.reason for drop in drops] == ["unreadable"] and "rename" in drops[0].detail and len(documents) == 1


def test_a_zip_holds_links_zips_repeated_names_and_bombs_and_each_is_a_drop(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "cat.png")
        archive.writestr("inner.zip", b"PK")
        for number in range(2):
            archive.writestr("same.png", data_of(photograph(number)))
        archive.writestr("bomb.png", bytes(60_000_000))
        archive.writestr("nul@.png", data_of(photograph(5)))
        archive.writestr("cat.png", data_of(photograph(6)))
    path.write_bytes(path.read_bytes().replace(b"nul@", b"nul\0"))
    documents, drops = read(path)
    assert [document.id for document in documents] == ["photos.zip/cat.png"]
    assert sorted((drop.id.partition("/")[2], drop.reason) for drop in drops) == [
        ("bomb.png", "too-large"), ("inner.zip", "nested-zip"), ("link.png", "link"), ("nul", "unsafe-name"),
        ("same.png", "repeated-name"), ("same.png~2", "repeated-name"),
    ]  # fmt: skip


def zip_of_many(folder: Path) -> Path:
    """A zip with a directory of 200 names."""
    path = folder / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"{number}.png", b"")
    return path


def test_a_zip_of_millions_of_names_is_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zip_of_many(tmp_path)
    monkeypatch.setattr(decode, "MOST_DIRECTORY", 5_000)
    with pytest.raises(SourceError, match=r"1 too-large.*its zip's directory has 0 MB.*split the zip"):
        read(path)


@pytest.mark.parametrize("around", ["", "data/train/"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_or_a_zip_has_the_first_folders_that_differ_as_labels(
    tmp_path: Path, around: str, packed: bool
) -> None:
    files = {f"{around}cat/1.png": 0, f"{around}cat/old/2.png": 1, f"{around}dog/1.png": 2, "read me.txt": 3}
    path = tmp_path / ("train.zip" if packed else "train")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            for name, seed in files.items():
                archive.writestr(name, data_of(photograph(seed)))
    for name, seed in files.items() if not packed else ():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data_of(photograph(seed)))
    (tmp_path / "train" / ".cache").mkdir(parents=True, exist_ok=True)
    refuse_missing(path)
    examples, drops = read_labels(path, CONFIG)
    assert [(example.text, example.label) for example in examples] == [
        ("cat/1.png", "cat"), ("old/2.png", "cat"), ("dog/1.png", "dog"),
    ]  # fmt: skip
    assert [drop.reason for drop in drops] == ["unknown-format"]


def test_the_hash_of_labels_changes_with_a_picture_that_they_name(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    for number, kind in enumerate(("cat", "dog")):
        photograph(number).save(tmp_path / kind / "1.png")
    (tmp_path / "labels.csv").write_text("image,label\ncat/1.png,cat\ndog/1.png,dog\n")
    paths = (tmp_path, tmp_path / "labels.csv")
    before = [labels_digest(path, CONFIG) for path in paths]
    sources = source_fingerprint([paths[1]], CONFIG)
    assert list(sources) == ["labels.csv", "labels.csv: cat/1.png", "labels.csv: dog/1.png"]
    assert before == [labels_digest(path, CONFIG) for path in paths]
    photograph(9).save(tmp_path / "dog" / "1.png")
    assert all(old != labels_digest(path, CONFIG) for old, path in zip(before, paths, strict=True))
    assert sources != source_fingerprint([paths[1]], CONFIG)


def test_equal_pixels_in_two_formats_are_one_picture_even_where_near_duplicates_are_kept(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "1.png")
    photograph(0).save(tmp_path / "2.bmp")
    ids, drops = kept(tmp_path, config=CurateConfig(near_pictures=0))
    assert [id.rsplit("/", 1)[1] for id in ids] == ["1.png"] and [drop.reason for drop in drops] == ["duplicate"]
    (tmp_path / "labels.csv").write_text("image,label\n1.png,x\n2.bmp,y\n3.png,y\n4.png,x\n")
    photograph(3).save(tmp_path / "3.png")
    photograph(4).save(tmp_path / "4.png")
    examples, drops = read_labels(tmp_path / "labels.csv", CONFIG)
    assert [example.text.rpartition("/")[2] for example in examples] == ["3.png", "4.png"]
    assert [drop.reason for drop in drops] == ["contradiction"] * 2
    ids, drops = kept(tmp_path / "1.png", tmp_path / "4.png", reserved=[examples[1].item])
    assert ids == ["1.png"] and [drop.reason for drop in drops] == ["in-labelled-cluster"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=14), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_a_table_of_looks_finds_what_comparing_each_with_all_finds(kinds: list[int], most_bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    looks = []
    for kind in kinds:
        picture = np.asarray(photograph(kind % 3), dtype=np.int16)
        noise = rng.integers(-kind - 1, kind + 2, picture.shape)
        looks.append(look_at(Image.fromarray(np.clip(picture + (noise if kind else 0), 0, 255).astype(np.uint8))))
    table, expected = LookTable(most_bits=most_bits), []
    for number, look in enumerate(looks):
        near = [other for other in range(number) if alike(look, looks[other], most_bits=most_bits)]
        assert table.all_near(look) == near
        assert table.near(look) in (near or [None])
        assert all(alike(looks[other], look, most_bits=most_bits) for other in near) and alike(
            look, look, most_bits=most_bits
        )
        expected.append(near)
        table.add(look)
    clusters = look_clusters(looks, most_bits=most_bits).tolist()
    graph = {(a, b) for a, near in enumerate(expected) for b in near}
    reach = [{i} for i in range(len(looks))]
    for _ in looks:
        for a, b in graph:
            reach[a] = reach[b] = reach[a] | reach[b]
    for i in range(len(looks)):
        assert {j for j in range(len(looks)) if clusters[j] == clusters[i]} >= reach[i]
        assert clusters[i] == min(clusters[j] for j in reach[i])


def looks_of(bits: np.ndarray, thumbnails: np.ndarray) -> list[PictureLook]:
    """Each with pixels of its own."""
    rows = zip(np.packbits(bits, axis=1).view(np.uint64), thumbnails, strict=True)
    return [PictureLook(row, thumbnail, str(i).encode()) for i, (row, thumbnail) in enumerate(rows)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 15), st.floats(0.0, 0.5), st.integers(0, 2**32 - 1))
def test_no_near_duplicate_is_missed_however_many_looks_there_are_and_wherever_the_bits_differ(
    most_bits: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Few originals, from drawings with hardly a bit set to photographs; copies differ in up to two bits too many.
    originals = rng.random((5, 256)) < share
    bits, thumbnails = (
        originals[rng.integers(5, size=90)],
        rng.integers(100, 109, (90, 1)) + rng.integers(4, size=(90, 192)),
    )
    for row in bits:
        row[rng.permutation(256)[: rng.integers(most_bits + 3)]] ^= True
    looks = looks_of(bits, thumbnails.astype(np.uint8))
    differing = (bits[:, None] != bits).sum(2)
    apart = np.abs(thumbnails[:, None].astype(float) - thumbnails)
    expected = (differing <= most_bits) & (apart.mean(2) <= 6) & (apart.max(2) <= 10)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(picture_looks, "_BLOCK", 4)
        table = LookTable(most_bits=most_bits)
        for number, look in enumerate(looks):
            assert table.all_near(look) == np.flatnonzero(expected[number, :number]).tolist()
            table.add(look)


def test_a_look_is_compared_with_few_of_many_that_are_as_bright(monkeypatch: pytest.MonkeyPatch) -> None:
    n, compared, count = 6_000, [], np.bitwise_count
    rng = np.random.default_rng(0)
    looks = looks_of(rng.random((n, 256)) < 0.5, np.full((n, 192), 100, dtype=np.uint8))
    monkeypatch.setattr(np, "bitwise_count", lambda bits: compared.append(len(bits)) or count(bits))
    table = LookTable(most_bits=6)
    for look in looks:
        assert table.near(look) is None
        table.add(look)
    assert sum(compared) / n < 1_024  # each with all would be 3,000 on average


def test_of_equal_pictures_one_is_compared_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    originals = looks_of(rng.random((40, 256)) < 0.5, np.full((40, 192), 100, dtype=np.uint8))
    looks = [originals[i] for i in rng.integers(40, size=4_000)]
    asked, all_near = list[int](), LookTable.all_near
    monkeypatch.setattr(LookTable, "all_near", lambda table, look: asked.append(len(table)) or all_near(table, look))
    found = look_clusters(looks, most_bits=12)
    assert len(asked) == 40 == len(set(found.tolist()))
    same = {look.pixels: number for look, number in zip(looks, found.tolist(), strict=True)}
    assert all(same[look.pixels] == number for look, number in zip(looks, found.tolist(), strict=True))


def test_a_table_that_names_a_zip_of_millions_of_names_does_not_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        archive.writestr("1.png", data_of(photograph(0)))
        for number in range(200):
            archive.writestr(f"{number}.txt", b"")
    (tmp_path / "captions.csv").write_text("image,text\nmany.zip/1.png,words\n,a text\n")
    monkeypatch.setattr(decode, "MOST_DIRECTORY", 5_000)
    documents, drops = read(tmp_path / "captions.csv")
    assert [drop.reason for drop in drops] == ["too-large"] and "split the zip" in drops[0].detail
    assert [document.text for document in documents] == ["a text"]


def test_a_forged_signature_does_not_hide_how_large_a_zips_directory_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zip_of_many(tmp_path)
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    # In the place of the disks' numbers, which nobody reads: a record from there on has the size elsewhere.
    path.write_bytes(data[: end + 4] + b"PK\x05\x06" + data[end + 8 :])
    monkeypatch.setattr(decode, "MOST_DIRECTORY", 9_000)
    with pytest.raises(SourceError, match=r"1 too-large.*split the zip"):
        read(path)


@pytest.mark.parametrize("packed", [True, False])
def test_a_stray_picture_in_the_shared_folder_is_left_out_and_the_labels_stay(tmp_path: Path, packed: bool) -> None:
    names = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "train/overview.png")
    path = tmp_path / ("set.zip" if packed else "set")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            for seed, name in enumerate(names):
                archive.writestr(name, data_of(photograph(seed)))
    for seed, name in enumerate(names) if not packed else ():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        photograph(seed).save(path / name)
    examples, drops = read_labels(path, CONFIG)
    assert [example.label for example in examples] == ["cat", "cat", "dog"]
    assert [drop.reason for drop in drops] == ["no-label"]


@pytest.mark.parametrize("packed", [True, False])
def test_folders_of_one_class_are_not_told_to_name_another_column(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("set.zip" if packed else "set")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("cat/1.png", data_of(photograph(0)))
    else:
        (path / "cat").mkdir(parents=True)
        photograph(0).save(path / "cat" / "1.png")
    with pytest.raises(SourceError, match=r"one class only, 'cat'.*in a folder beside it\.$") as refused:
        read_labels(path, CONFIG)
    assert "label_column" not in str(refused.value)


def test_what_the_system_adds_to_a_labelled_folder_is_skipped_and_the_rest_is_told_as_of_a_folder(
    tmp_path: Path,
) -> None:
    for seed, kind in enumerate(("cat", "dog")):
        (tmp_path / kind).mkdir()
        photograph(seed).save(tmp_path / kind / "1.png")
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (tmp_path / kind / name).write_bytes(b"\0")
    assert not read_labels(tmp_path, CONFIG)[1]
    (tmp_path / "cat" / "notes.txt").write_text("words")
    (drop,) = read_labels(tmp_path, CONFIG)[1]
    assert drop.reason == "unknown-format" and drop.detail.startswith("of a folder only") and "zip" not in drop.detail


def test_a_picture_that_a_late_row_of_json_lines_names_counts_for_the_hash(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "a.png")
    rows = ['{"text": "words"}'] * 150 + ['{"image": "a.png", "text": "A cat"}']
    (tmp_path / "captions.jsonl").write_text("\n".join(rows))
    before = source_fingerprint([tmp_path / "captions.jsonl"], CONFIG)
    photograph(1).save(tmp_path / "a.png")
    assert before != source_fingerprint([tmp_path / "captions.jsonl"], CONFIG)
