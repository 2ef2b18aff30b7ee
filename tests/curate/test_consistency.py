import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.config import CurateConfig
from shoptalk.curate.consistency import spelling
from shoptalk.curate.labels import read_label_sets, read_labels
from shoptalk.errors import SourceError

Rows = list[tuple[str, Any]]


def labelled(tmp_path: Path, rows: Rows, name: str = "l.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


def read(path: Path, *, like: tuple[str, ...] = (), **settings: Any) -> tuple[list[str], dict[str, str], list[str]]:
    """The labels, the reason of each drop by its id, and what was said."""
    said: list[str] = []
    examples, drops = read_labels(path, CurateConfig(**settings), like=like, say=said.append)
    return [example.label for example in examples], {drop.id: drop.reason for drop in drops}, said


# Spelling

SPELT: Rows = [
    ("a one", "Refund"), ("b two", "refund"), ("c three", "refund "), ("d four", "REFUND"), ("e five", "delay"),
]  # fmt: skip


def test_labels_in_other_case_or_spacing_become_the_most_frequent_spelling_and_this_is_told(tmp_path: Path) -> None:
    labels, drops, said = read(labelled(tmp_path, SPELT))
    assert labels == ["refund"] * 4 + ["delay"]
    assert not drops
    (sentence,) = said
    assert sentence.startswith("l.jsonl: 1 label is spelled in several ways")
    assert "'refund' (2 rows) also as 'Refund' (1), 'REFUND' (1)" in sentence
    assert "--set curate.label_spelling=keep" in sentence


def test_of_equally_frequent_spellings_the_first_stands(tmp_path: Path) -> None:
    assert read(labelled(tmp_path, [("a", "Late"), ("b", "LATE"), ("c", "x")]))[0] == ["Late", "Late", "x"]


def test_spellings_are_kept_apart_or_refused_where_the_settings_say_so(tmp_path: Path) -> None:
    path = labelled(tmp_path, SPELT)
    labels, _, said = read(path, label_spelling="keep")
    assert labels == ["Refund", "refund", "refund", "REFUND", "delay"]
    assert "kept apart as curate.label_spelling = 'keep' asks for" in said[0]
    with pytest.raises(SourceError, match=r"'refund' \(2 rows\) also as .*Correct the file, or merge"):
        read(path, label_spelling="refuse")


def test_a_file_with_one_spelling_a_label_says_nothing(tmp_path: Path) -> None:
    for choice in ("merge", "keep", "refuse"):
        rows = [("a", "x"), ("b", "y")]
        assert read(labelled(tmp_path, rows), label_spelling=choice) == (["x", "y"], {}, [])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Refund", "REFUND"), ("card_arrival", "Card arrival"), ("card-arrival", "cardArrival"), ("refund", "Refund."),
        ("refund", '"refund"'), ("- refund", "refund"), ("don't know", "dont_know"), ("ＲＥＦＵＮＤ", "refund"),
        ("straße", "STRASSE"), ("covid-19", "Covid 19"), ("billing/refund", "billing_refund"), ("_oos", "OOS"),
    ],
)  # fmt: skip
def test_spellings_of_one_label(left: str, right: str) -> None:
    assert spelling(left) == spelling(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("c++", "c#"), ("c", "c#"), ("-1", "1"), ("+1", "-1"), ("1.5", "15"), ("1-2", "12"), (":)", ":("), ("+", "-"),
        ("refund", "refunds"), ("level -1", "level 1"), ("?", "!"), ("r&d", "rd"), ("50%", "50"), ("10:30", "1030"),
    ],
)  # fmt: skip
def test_labels_that_signs_tell_apart(left: str, right: str) -> None:
    assert spelling(left) != spelling(right)


@given(st.text(min_size=1))
def test_a_label_of_any_signs_has_a_spelling_that_is_its_own(label: str) -> None:
    assert spelling(label) or not label.strip()
    assert spelling(f" {label} ") == spelling(label)


def test_a_test_file_is_spelled_as_the_labels_are(tmp_path: Path) -> None:
    path = labelled(tmp_path, [("a", "REFUND"), ("b", "REFUND"), ("c", "delay")])
    labels, _, said = read(path, like=("refund", "delay"))
    assert labels == ["refund", "refund", "delay"]
    assert "now one each, as the labels file has it: 'refund' also as 'REFUND' (2)" in said[0]
    assert read(path, like=("Refund", "refund"))[0][0] == "REFUND"  # which of the two is meant, nobody can say


def test_rows_that_are_the_same_once_their_labels_are_spelled_alike_are_duplicates(tmp_path: Path) -> None:
    labels, drops, _ = read(labelled(tmp_path, [("a", "Late"), ("a", "late"), ("b", "x")]))
    assert labels == ["Late", "x"]
    assert drops == {"l.jsonl#2": "duplicate"}


# Contradictions

CONTRARY: Rows = [
    ("where is it", "track"), ("Where  is it", "late"), ("too dear", "price"), ("hello", "greet"),
    ("where is it", "track"),
]  # fmt: skip


def test_equal_texts_with_different_labels_are_drops_with_their_lines_and_told_with_examples(tmp_path: Path) -> None:
    examples, drops = read_labels(labelled(tmp_path, CONTRARY), CurateConfig())
    assert [example.label for example in examples] == ["price", "greet"]
    assert [(drop.id, drop.reason) for drop in drops] == [
        ("l.jsonl#1", "contradiction"), ("l.jsonl#2", "contradiction"), ("l.jsonl#5", "duplicate"),
    ]  # fmt: skip
    assert drops[0].detail == "labelled 'track' here and 'late' in l.jsonl#2"
    (sentence,) = read(labelled(tmp_path, CONTRARY))[2]
    assert "1 text is labelled in several ways, so 2 rows are left out" in sentence
    assert "“where is it” is 'track' (line 1) and 'late' (line 2)" in sentence
    assert "no text is left of 'late', 'track'" in sentence
    assert "--set curate.label_conflicts=keep" in sentence


def test_contradictions_are_kept_or_refused_where_the_settings_say_so(tmp_path: Path) -> None:
    path = labelled(tmp_path, CONTRARY)
    labels, drops, said = read(path, label_conflicts="keep")
    assert labels == ["track", "late", "price", "greet"]
    assert drops == {"l.jsonl#5": "duplicate"}
    assert "kept as curate.label_conflicts = 'keep' asks for" in said[0]
    with pytest.raises(SourceError, match=r"'track' \(line 1\) and 'late' \(line 2\)\. Correct the file"):
        read(path, label_conflicts="refuse")


def test_a_file_that_is_all_contradictions_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no usable labelled rows: 2 left out \(2 contradiction\)"):
        read(labelled(tmp_path, [("a", "x"), ("a", "y")]))
    with pytest.raises(SourceError, match=r"one class only, 'z'.*'x', 'y' are other spellings .*2 contradiction"):
        read(labelled(tmp_path, [("a", "x"), ("a", "y"), ("b", "z")]))


@given(st.lists(st.tuples(st.sampled_from(["a", "A", "b", "c", " "]), st.sampled_from(["x", "X ", "y", ""]))))
def test_every_row_is_an_example_or_a_drop(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    path = labelled(tmp_path_factory.mktemp("labels"), [*rows, ("p", "x"), ("q", "y")])
    for choice in ("drop", "keep"):
        labels, drops, _ = read(path, label_conflicts=choice)
        assert len(labels) + len(drops) == len(rows) + 2


# Any number of labels


def test_of_label_sets_several_rows_of_a_text_add_up_and_this_is_told(tmp_path: Path) -> None:
    rows: Rows = [("a", ["x"]), ("b", ["X", "y"]), ("a", ["y"]), ("c", []), ("b", ["y", "x"]), ("a", ["z"])]
    said: list[str] = []
    found, drops = read_label_sets(labelled(tmp_path, rows), CurateConfig(), say=said.append)
    assert [row.labels for row in found] == [("x", "y", "z"), ("x", "y"), ()]
    assert [(drop.id, drop.reason) for drop in drops] == [(f"l.jsonl#{n}", "duplicate") for n in (3, 5, 6)]
    assert "'x' (2 rows) also as 'X' (1)" in said[0]
    assert "1 text is given in several rows with different labels, which were added up: “a” (3 rows)" in said[1]
    with pytest.raises(SourceError, match=r"curate\.label_conflicts = 'refuse' forbids"):
        read_label_sets(labelled(tmp_path, rows), CurateConfig(label_conflicts="refuse"))
