"""A labels file beside its test file: what does not fit together is told, or refused before anything is trained."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoptalk.config import CurateConfig
from shoptalk.curate.against_test import COUNTED_WRONG, labels_left, labels_unknown, texts_shared, without_tests
from shoptalk.curate.consistency import one_spelling
from shoptalk.errors import SourceError
from shoptalk.records import Example, Picture

NAMES = {"test_name": "test.csv", "labels_name": "labels.csv"}


def examples(*rows: tuple[str, str]) -> list[Example]:
    return [Example(id=f"x#{i}", text=text, label=label, cluster=i) for i, (text, label) in enumerate(rows)]


LABELS = examples(("where is my parcel", "parcel"), ("i want my money back", "refund"), ("sing me a song", "chat"))


def test_labels_that_only_the_test_has_are_told_with_their_number_and_what_becomes_of_them() -> None:
    tests = examples(("no scan yet", "parcel"), ("cancel it", "cancel"), ("please cancel", "cancel"))
    (sentence,) = labels_unknown(tests, {"parcel", "refund"}, **NAMES, instead=COUNTED_WRONG)
    assert sentence == (
        "test.csv: 2 of 3 texts have labels that labels.csv does not have ('cancel'); no head can answer with them, so "
        "these texts count as wrong"
    )


def test_a_test_of_known_labels_is_not_remarked_on() -> None:
    assert labels_unknown(LABELS, {"parcel", "refund", "chat"}, **NAMES, instead=COUNTED_WRONG) == []


def test_a_test_without_one_known_label_is_refused_and_both_files_labels_are_shown() -> None:
    tests = examples(("no scan yet", "1"), ("cancel it", "2"))
    with pytest.raises(SourceError, match=r"'1', '2', and none of them is in labels.csv, which has 'parcel', 'refund'"):
        labels_unknown(tests, {"parcel", "refund"}, **NAMES, instead=COUNTED_WRONG)


def test_test_texts_that_heads_learn_from_are_counted() -> None:
    tests = examples(("Where is my parcel", "parcel"), ("a text of its own", "refund"))
    (sentence,) = texts_shared(tests, LABELS, CurateConfig(), **NAMES)
    assert sentence.startswith("test.csv: 1 of 2 texts stand in labels.csv too, or nearly so")
    assert texts_shared(tests[1:], LABELS, CurateConfig(), **NAMES) == []


def test_pictures_are_compared_by_what_they_show_and_not_by_their_names(tmp_path: Path) -> None:
    def shown(folder: str, name: str, seed: int) -> Example:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / name
        coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((48, 48), Image.Resampling.BICUBIC).save(path)
        picture = Picture(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        return Example(id=f"{folder}#{name}", text=f"cat/{name}", label="cat", picture=picture)

    labels = [shown("train", "0.png", 0), shown("train", "1.png", 1)]
    same_name, copy = shown("test", "0.png", 5), shown("test", "9.png", 1)
    assert texts_shared([same_name], labels, CurateConfig(), **NAMES) == []
    (sentence,) = texts_shared([same_name, copy], labels, CurateConfig(), **NAMES)
    assert sentence.startswith("test.csv: 1 of 2 pictures stand in labels.csv too") and "texts" not in sentence


def test_labelled_texts_that_the_test_repeats_are_counted_with_what_is_left_and_the_labels_that_are_lost() -> None:
    kept, dropped = without_tests(LABELS, LABELS[:1], CurateConfig())
    assert [drop.reason for drop in dropped] == ["in-test-cluster"]
    assert dropped[0].source == "x"  # the labels file, to whose count in the dataset card it belongs
    assert labels_left(LABELS, kept, **NAMES) == [
        "labels.csv: 1 of 3 labelled texts stand in test.csv too, or nearly so, and are left out of the labels; 2 are "
        "left, and none of 'parcel'"
    ]


def test_labels_of_which_the_test_leaves_none_are_refused() -> None:
    kept, _ = without_tests(LABELS, LABELS, CurateConfig())
    with pytest.raises(SourceError, match=r"3 of 3 labelled texts stand in test.csv too.* Take the texts of test.csv"):
        labels_left(LABELS, kept, **NAMES)


def test_a_spelling_that_the_labels_file_decides_is_said_to_be_its_and_not_the_most_frequent_of_0_rows() -> None:
    names, (sentence,) = one_spelling(["Refund", "Refund"], "test.csv", CurateConfig(), like=["REFUND"])
    assert names == {"Refund": "REFUND"}
    assert "0 rows" not in sentence
    assert "as the labels file has it: 'REFUND' also as 'Refund' (2)" in sentence
