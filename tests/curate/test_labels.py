import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from shoptalk.config import CurateConfig
from shoptalk.curate.labels import read_label_sets, read_labels
from shoptalk.errors import SourceError


def jsonl(path: Path, *values: Any) -> Path:
    text = "".join(json.dumps(value) + "\n" for value in values)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def csv_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_gives_examples_in_file_order(tmp_path: Path) -> None:
    examples, drops = read_labels(csv_file(tmp_path, "text,label\nwhere is it,track\ntoo dear,price\n"), CurateConfig())
    assert [(e.id, e.text, e.label, e.cluster) for e in examples] == [
        ("labels.csv#2", "where is it", "track", 0),
        ("labels.csv#3", "too dear", "price", 1),
    ]
    assert not drops


def test_labels_in_json_may_be_strings_integers_or_booleans(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl.gz",
        {"text": "one", "label": "x"},
        {"text": "two", "label": 3},
        {"text": "three", "label": True},
        {"text": "four", "label": 0},
    )
    assert [e.label for e in read_labels(path, CurateConfig())[0]] == ["x", "3", "true", "0"]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "utterance,intent\na,x\nb,y\n")
    examples, _ = read_labels(path, CurateConfig(text_column="utterance", label_column="intent"))
    assert [(e.text, e.label) for e in examples] == [("a", "x"), ("b", "y")]


def test_a_repeated_text_with_its_label_is_a_drop_and_with_another_label_is_kept_if_asked_for(tmp_path: Path) -> None:
    text = "my parcel arrived broken"
    path = csv_file(tmp_path, f"text,label\n{text},damaged\n{text},damaged\n{text},late\nhello,greet\n")
    examples, drops = read_labels(path, CurateConfig(label_conflicts="keep"))
    assert [(e.label, e.cluster) for e in examples] == [("damaged", 0), ("late", 0), ("greet", 1)]
    assert [(d.id, d.reason, d.detail) for d in drops] == [
        ("labels.csv#3", "duplicate", "same text and label as labels.csv#2")
    ]


def test_near_duplicates_share_a_cluster(tmp_path: Path) -> None:
    texts = [
        "What can I do if my card hasn't arrived after 2 weeks?",
        "what can I do if my card hasnt arrived after 3 weeks",
    ]
    path = jsonl(tmp_path / "a.jsonl", *({"text": t, "label": i} for i, t in enumerate([*texts, "exchange rates"])))
    assert [e.cluster for e in read_labels(path, CurateConfig())[0]] == [0, 0, 1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"label": "x"}, "no-text"),
        ({"text": None, "label": "x"}, "no-text"),
        ({"text": 4, "label": "x"}, "wrong-type"),
        ({"text": " ", "label": "x"}, "empty"),
        ({"text": "c"}, "no-label"),
        ({"text": "c", "label": "  "}, "no-label"),
        ({"text": "c", "label": [1]}, "wrong-type"),
        ({"text": "c", "label": 1.5}, "wrong-type"),
    ],
)
def test_a_row_that_cannot_be_used_becomes_a_drop(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"}, row, {"text": "b", "label": "y"})
    examples, drops = read_labels(path, CurateConfig())
    assert [e.text for e in examples] == ["a", "b"]
    assert [(d.id, d.reason) for d in drops] == [("a.jsonl#2", reason)]


def test_one_class_only_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"one class only, 'x'; .* needs at least two"):
        read_labels(csv_file(tmp_path, "text,label\na,x\nb,x\n"), CurateConfig())


@pytest.mark.parametrize(
    ("found", "setting"), [("text,tag", "curate.label_column"), ("body,label", "curate.text_column")]
)
def test_a_wrong_column_is_an_error_that_lists_the_columns(tmp_path: Path, found: str, setting: str) -> None:
    listed = found.replace(",", ", ")
    with pytest.raises(SourceError, match=rf"has no column '\w+'. Its columns: {listed}\. .*--set {setting}=NAME"):
        read_labels(csv_file(tmp_path, f"{found}\na,x\nb,y\n"), CurateConfig())


def test_a_wrong_key_in_jsonl_is_an_error_that_lists_the_keys(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "intent": "x"}, {"text": "b", "score": 1})
    with pytest.raises(SourceError, match=r"has no column 'label'. Its columns: text, intent, score"):
        read_labels(path, CurateConfig())


@pytest.mark.parametrize("content", ["text,label\n", "text,label\n,x\n"])
def test_no_usable_rows_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(SourceError, match="no usable labelled rows"):
        read_labels(csv_file(tmp_path, content), CurateConfig())


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"The labels file .* does not exist"):
        read_labels(tmp_path / "none.csv", CurateConfig())


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"Labels are \.csv or \.jsonl"):
        read_labels(path, CurateConfig())


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl.gz"])
def test_an_unreadable_labels_file_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x00\x01\x02")
    with pytest.raises(SourceError, match="Cannot read the labels"):
        read_labels(path, CurateConfig())


# --- any number of labels


def test_several_labels_are_a_list_or_parted_by_bars_and_none_is_an_answer_too(tmp_path: Path) -> None:
    rows = [
        {"text": "where is it and what is it worth", "labels": ["track", "price", "track"]},
        {"text": "cancel this now", "labels": "cancel | urgent"},
        {"text": "good morning to you", "labels": []},
        {"text": "my card", "labels": "card"},
        {"text": "seven times", "labels": [7, True]},
        {"text": "only one", "labels": 3},
    ]
    found, drops = read_label_sets(jsonl(tmp_path / "a.jsonl", *rows), CurateConfig())
    assert [row.labels for row in found] == [
        ("track", "price"), ("cancel", "urgent"), (), ("card",), ("7", "true"), ("3",),
    ]  # fmt: skip
    assert [row.id for row in found] == [f"a.jsonl#{number}" for number in range(1, 7)]
    assert not drops


@pytest.mark.parametrize("column", ["label", "labels"])
def test_in_a_csv_an_empty_cell_means_none_of_them(tmp_path: Path, column: str) -> None:
    found, _ = read_label_sets(csv_file(tmp_path, f"text,{column}\na,x|y\nb,\nc,x\n"), CurateConfig())
    assert [(row.text, row.labels) for row in found] == [("a", ("x", "y")), ("b", ()), ("c", ("x",))]


def test_the_label_column_of_the_settings_may_have_an_s_too(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "text,intents\na,x|y\nb,x\n")
    assert len(read_label_sets(path, CurateConfig(label_column="intent"))[0]) == 2


def test_near_duplicates_share_a_cluster_and_repeated_texts_are_drops(tmp_path: Path) -> None:
    texts = [
        "What can I do if my card hasn't arrived after 2 weeks?",
        "what can I do if my card hasnt arrived after 3 weeks",
    ]
    rows = [
        {"text": text, "labels": ["card"]} for text in (*texts, "exchange rates", "exchange  rates", "exchange rates")
    ]
    found, drops = read_label_sets(jsonl(tmp_path / "a.jsonl", *rows), CurateConfig())
    assert [row.cluster for row in found][:3] == [0, 0, 1]
    assert [(drop.id, drop.reason) for drop in drops][-1] == ("a.jsonl#5", "duplicate")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"labels": ["x"]}, "no-text"),
        ({"text": 4, "labels": ["x"]}, "no-text"),
        ({"text": "c"}, "no-label"),
        ({"text": "c", "labels": None}, "no-label"),
        ({"text": "c", "labels": 1.5}, "wrong-type"),
        ({"text": "c", "labels": ["x", {"y": 1}]}, "wrong-type"),
        ({"text": "c", "labels": {"x": 1}}, "wrong-type"),
    ],
)
def test_a_row_whose_labels_cannot_be_used_becomes_a_drop(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "labels": ["x"]}, row, {"text": "b", "labels": []})
    found, drops = read_label_sets(path, CurateConfig())
    assert [item.text for item in found] == ["a", "b"]
    assert [(drop.id, drop.reason) for drop in drops] == [("a.jsonl#2", reason)]


def test_a_file_of_texts_without_any_label_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "labels": []}, {"text": "b", "labels": ""})
    with pytest.raises(SourceError, match=r"no usable labelled rows.*'label' or 'labels': a list of labels"):
        read_label_sets(path, CurateConfig())


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("none.csv", None, "The labels file .* does not exist"),
        ("a.xlsx", b"PK", r"Labels are \.csv or \.jsonl"),
        ("a.csv", b"\x00\x01", "Cannot read the labels"),
        ("a.csv", b"text,tag\na,x\n", r"has no column 'label'. Its columns: text, tag"),
        ("a.csv", b"body,labels\na,x\n", r"has no column 'text'. Its columns: body, labels"),
    ],
)
def test_a_file_that_cannot_hold_label_sets_is_an_error(
    tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=complaint):
        read_label_sets(tmp_path / name, CurateConfig())


# --- another file in its place


@pytest.mark.parametrize("reader", [read_labels, read_label_sets])
@pytest.mark.parametrize("key", ["turns", "messages"])
def test_conversations_in_the_place_of_labels_are_recognised_and_the_right_command_is_given(
    tmp_path: Path, reader: Any, key: str
) -> None:
    path = jsonl(tmp_path / "c.jsonl", {"id": "1", key: [{"role": "user", "text": "hello"}]})
    with pytest.raises(SourceError) as refused:
        reader(path, CurateConfig())
    said = str(refused.value)
    assert f"c.jsonl looks like text to learn from and not like labels: its rows have {key!r}" in said
    assert f"`shoptalk adapt {path} --labels FILE --out RUN`" in said and "columns text,label" in said


def test_plain_text_and_a_folder_in_the_place_of_labels_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "chats.txt"
    path.write_text("hello\n")
    with pytest.raises(SourceError, match=r"chats.txt looks like text to learn from and not like labels: it is plain"):
        read_labels(path, CurateConfig())
    with pytest.raises(SourceError, match=r"The labels file .* is a folder; expected one \.csv or \.jsonl file"):
        read_labels(tmp_path, CurateConfig())


def test_labels_whose_texts_are_conversations_under_another_name_only_lack_a_column(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "messages": 3, "intent": "x"})
    with pytest.raises(SourceError, match=r"has no column 'label'. Its columns: text, messages, intent"):
        read_labels(path, CurateConfig())


@pytest.mark.parametrize("reader", [read_labels, read_label_sets])
def test_all_missing_columns_are_named_at_once_with_those_that_are_there(tmp_path: Path, reader: Any) -> None:
    expected = (
        "has no column 'text' and no column 'label'. Its columns: body, tag. Name the right ones with "
        "--set curate.text_column=NAME --set curate.label_column=NAME."
    )
    for path in (csv_file(tmp_path, "body,tag\na,x\nb,y\n"), jsonl(tmp_path / "a.jsonl", {"body": "a", "tag": "x"})):
        with pytest.raises(SourceError) as refused:
            reader(path, CurateConfig())
        assert expected in str(refused.value)
