import zipfile
from pathlib import Path

import numpy as np
import pytest
from benchmarks.picture_sets import Emoji
from benchmarks.pictures import write_labels
from PIL import Image

from benchmarks import emoji, picture_sets
from shoptalk.records import Picture


@pytest.fixture
def archive(tmp_path) -> Path:
    """Two classes with three pictures each, stored in no order."""
    path = tmp_path / "train.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in (2, 0, 1):
            for name, colour in (("dog", 200), ("cat", 30)):
                source = tmp_path / "one.png"
                Image.new("RGB", (8, 8), (colour + number, 0, 0)).save(source)
                file.write(source, f"{name}/{number}.png")
    return path


def test_a_zip_of_classes_is_read_in_the_order_of_names(archive, monkeypatch):
    monkeypatch.setattr(picture_sets, "pack", lambda: archive.parent)
    read = picture_sets.labelled("train.zip")
    assert read.names == ("cat", "dog")
    assert read.classes.tolist() == [0, 0, 0, 1, 1, 1]
    assert [Path(picture.path).name for picture in read.pictures] == ["0.png", "1.png", "2.png"] * 2
    few = picture_sets.first_of_each(read, 2)
    assert few.classes.tolist() == [0, 0, 1, 1]
    assert few.pictures == (*read.pictures[:2], *read.pictures[3:5])


def test_a_corpus_holds_every_picture_once_in_an_order_that_does_not_tell_classes(archive, monkeypatch):
    monkeypatch.setattr(picture_sets, "pack", lambda: archive.parent)
    pictures = picture_sets.labelled("train.zip").pictures
    corpus = picture_sets.corpus_of(pictures)
    assert sorted(picture.path for picture in corpus.items) == [picture.path for picture in pictures]
    assert corpus.items != pictures
    assert list(corpus.pictures) == list(range(6))


def test_labels_are_a_table_of_paths_through_the_zip(archive, monkeypatch, tmp_path):
    monkeypatch.setattr(picture_sets, "pack", lambda: archive.parent)
    path = write_labels(tmp_path / "labels.csv", [picture_sets.labelled("train.zip")] * 2)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "image,label" and len(lines) == 13
    assert lines[1] == f"{archive}/cat/0.png,cat"


def drawn(name: str, *, keywords: tuple[str, ...] = (), vendors: tuple[str, ...] = ("noto", "fluent_3d")) -> Emoji:
    return Emoji(name, keywords, "train", {vendor: Picture(path=f"{vendor}/{name}", sha256=name) for vendor in vendors})


def test_captions_of_an_emoji_are_its_name_and_its_keywords_beside_each_of_its_pictures():
    corpus = picture_sets.captioned(
        [drawn("cat", keywords=("pet", "face")), drawn("dog", vendors=("fluent_3d",))], ("noto", "fluent_3d")
    )
    paths = [item.path if isinstance(item, Picture) else item for item in corpus.items]
    assert paths == ["noto/cat", "cat", "pet, face", "fluent_3d/cat", "cat", "pet, face", "fluent_3d/dog", "dog"]
    assert corpus.conversation.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert list(corpus.pictures) == [0, 3, 6]


class Planted:
    """Names and pictures have the vectors that were given to them."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self.vectors = vectors

    def embed(self, items) -> np.ndarray:
        return np.array([self.vectors[item.path if isinstance(item, Picture) else item] for item in items])


def test_a_picture_is_named_rightly_where_its_own_name_is_nearest():
    concepts = [drawn("cat"), drawn("dog"), drawn("owl", vendors=("noto",))]
    similarities = emoji.against_names(
        Planted({"cat": [1, 0], "dog": [0, 1], "fluent_3d/cat": [0.9, 0.1], "fluent_3d/dog": [0.8, 0.2]}), concepts
    )  # the owl has no picture of that vendor
    assert [emoji.recall(rank, similarities, concepts) for rank in (1, 2)] == [50.0, 100.0]


def test_a_product_whose_vectors_have_collapsed_names_nothing():
    concepts = [drawn("cat"), drawn("dog"), drawn("owl")]
    same = {f"{before}{concept.name}": [1.0, 0.0] for concept in concepts for before in ("", "noto/", "fluent_3d/")}
    for similarities in (emoji.against_names, emoji.against_glyphs):
        assert emoji.recall(2, similarities(Planted(same), concepts), concepts) == 0.0


def test_the_nearest_of_a_names_training_pictures_speaks_for_it():
    concepts = [drawn("cat", vendors=("noto", "twemoji", "fluent_3d")), drawn("dog")]
    vectors = {
        "noto/cat": [1, 0], "twemoji/cat": [0.6, 0.8], "noto/dog": [0, 1],
        "fluent_3d/cat": [0.6, 0.8], "fluent_3d/dog": [0.8, 0.6],
    }  # fmt: skip
    similarities = emoji.against_glyphs(Planted(vectors), concepts)
    np.testing.assert_allclose(similarities, [[1.0, 0.8], [0.96, 0.6]])
    assert emoji.recall(1, similarities, concepts) == 50.0


def test_the_table_of_the_documentation_names_every_part():
    from benchmarks import pictures

    for part in pictures.PARTS:
        assert f"`{part}`" in (pictures.__doc__ or "")
