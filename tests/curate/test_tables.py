"""CSV files as people export them, and the rule that nothing is lost: in = kept + dropped, in texts."""

import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.config import CurateConfig
from shoptalk.curate.labels import read_label_sets, read_labels
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop

Written = Callable[[str, str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode())
        return path

    return write


def read(*paths: Path) -> tuple[list[str], list[Drop]]:
    items = list(stream_sources(paths, CurateConfig()))
    return [i.text for i in items if isinstance(i, Document)], [i for i in items if isinstance(i, Drop)]


def labels(path: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    examples, drops = read_labels(path, CurateConfig())
    return [(e.text, e.label) for e in examples], [(d.id, d.reason) for d in drops]


# Cells


def test_a_row_with_more_cells_than_the_header_is_a_drop_with_its_line(written: Written) -> None:
    path = written("a.csv", "text,label\nis it late, or not,delay\nhello,greet\nwhere is it,track\n")
    examples, drops = read_labels(path, CurateConfig())
    assert [(e.text, e.label) for e in examples] == [("hello", "greet"), ("where is it", "track")]
    assert [(d.id, d.reason) for d in drops] == [("a.csv#2", "too-many-cells")]
    assert (
        "line 2 has 3 cells and the header 2; put double quotes around a text that contains a comma" in drops[0].detail
    )
    texts, drops = read(path)
    assert texts == ["hello", "where is it"]
    assert [(d.id, d.reason) for d in drops] == [("a.csv#2", "too-many-cells")]


@pytest.mark.parametrize(("wide", "rows", "refused"), [(3, 10, False), (4, 10, True), (4, 200, False), (5, 200, True)])
def test_a_file_with_more_than_a_few_such_rows_is_refused_with_the_cure(
    written: Written, wide: int, rows: int, refused: bool
) -> None:
    lines = [f"row {n}, or not,{'ab'[n % 2]}" if n < wide else f"row {n},{'ab'[n % 2]}" for n in range(rows)]
    path = written("a.csv", "text,label\n" + "\n".join(lines))
    message = rf"more cells than columns \(2\) in {wide} of {rows} rows, .* line 2.*Put double quotes around each text"
    if refused:
        for reader in (read, labels):
            with pytest.raises(SourceError, match=message):
                reader(path)
    else:
        assert len(labels(path)[0]) == len(read(path)[0]) == rows - wide


def test_label_sets_refuse_such_a_file_too(written: Written) -> None:
    path = written("a.csv", "text,labels\n" + "late, or not,x|y\n" * 5 + "hello,x\n")
    with pytest.raises(SourceError, match="Put double quotes around each text that contains a comma"):
        read_label_sets(path, CurateConfig())


def test_a_refused_file_of_a_folder_counts_its_texts(written: Written) -> None:
    written("in/a.csv", "text,label\n" + "late, or not,x\n" * 60)
    written("in/b.csv", "utterance,label\n" + "hello,x\n" * 60)
    path = written("in/good.txt", "hello").parent
    texts, drops = read(path)
    assert texts == ["hello"]
    for name, reason, why in (
        ("in/a.csv", "too-many-cells", "Put double quotes"),
        ("in/b.csv", "no-text", "has no column 'text'. Its columns: utterance, label."),
    ):
        of_file = [drop for drop in drops if drop.source == name]
        assert [drop.id for drop in of_file] == [f"{name}#{line}" for line in range(2, 62)]
        assert {drop.reason for drop in of_file} == {reason}
        assert why in of_file[0].detail


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("named", [False, True])
def test_the_delimiter_is_told_from_the_file(written: Written, delimiter: str, named: bool) -> None:
    head = f"sep={delimiter}\r\n" if named else ""
    rows = [("Text", "Label"), (f"hello{' ' if delimiter == ',' else ', you'}", "greet"), ("where", "track")]
    path = written("a.csv", head + "".join(f"{text}{delimiter}{label}\r\n" for text, label in rows))
    assert [label for _, label in labels(path)[0]] == ["greet", "track"]


def test_a_header_that_holds_another_delimiter_does_not_decide_alone(written: Written) -> None:
    path = written("a.csv", "text;label;note, if any\nhello;greet;x\nwhere;track;y\n")
    assert labels(path)[0] == [("hello", "greet"), ("where", "track")]


@pytest.mark.parametrize("header", ["Text,Label", "TEXT,LABEL", " text , Label"])
def test_headers_are_read_whatever_their_case(written: Written, header: str) -> None:
    path = written("a.csv", f"{header}\nhello,greet\nwhere,track\n")
    assert labels(path)[0] == [("hello", "greet"), ("where", "track")]
    assert read(path)[0] == ["hello", "where"]


def test_keys_of_json_are_read_whatever_their_case(written: Written) -> None:
    path = written("a.jsonl", '{"Text": "hello", "LABEL": "greet"}\n{"text": "where", "Label": "track"}\n')
    assert labels(path)[0] == [("hello", "greet"), ("where", "track")]
    assert read(path)[0] == ["hello", "where"]


def test_the_exact_column_comes_before_one_in_another_case(written: Written) -> None:
    assert read(written("a.csv", "Text,text\nno,yes\n"))[0] == ["yes"]


@pytest.mark.parametrize("header", ["text,text,label", "Text,TEXT,label"])
def test_two_columns_of_one_name_are_refused(written: Written, header: str) -> None:
    path = written("a.csv", f"{header}\na,b,x\nc,d,y\n")
    for reader in (read, labels):
        with pytest.raises(SourceError, match=r"has 2 columns named 'text'. Its columns: .* Rename all but one"):
            reader(path)


# Quotes


def test_a_quote_that_is_never_closed_costs_its_row_alone(written: Written) -> None:
    path = written("a.csv", 'text,label\none,a\n"never closed,a\ntwo,b\n"three, quoted",a\nfour,b\n')
    assert labels(path) == (
        [("one", "a"), ("two", "b"), ("three, quoted", "a"), ("four", "b")],
        [("a.csv#3", "bad-csv")],
    )


def test_the_lines_of_a_broken_row_do_not_become_rows(written: Written) -> None:
    path = written("a.csv", 'text,label\none,a\n"first line\nthe "second" line\nthe third",b\ntwo,b\n')
    kept, drops = labels(path)
    assert kept == [("one", "a"), ("two", "b")]
    assert drops == [("a.csv#3", "bad-csv"), ("a.csv#4", "bad-csv"), ("a.csv#5", "bad-csv")]


def test_quotes_within_unquoted_texts_and_quoted_line_breaks_are_sound(written: Written) -> None:
    path = written("a.csv", 'text,label\nhe said "hi",a\na 5" screen,b\n"two\nlines, ""quoted""",a\n')
    assert labels(path) == ([('he said "hi"', "a"), ('a 5" screen', "b"), ('two\nlines, "quoted"', "a")], [])


def test_a_line_that_cannot_be_decoded_costs_the_whole_row_that_it_is_in(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + "früh,a\nspät,b\n".encode() * 20 + b'"one\ntw\xffo\nthree",a\n')
    examples, drops = read_labels(path, CurateConfig())
    assert [e.text for e in examples] == ["früh", "spät"]
    assert [(d.id, d.reason) for d in drops if d.reason != "duplicate"] == [("a.csv#42", "not-utf8")]
    assert "line 43" in next(d.detail for d in drops if d.reason == "not-utf8")


def test_a_file_full_of_open_quotes_is_read_in_seconds(written: Written) -> None:
    path = written("a.csv", "text,label\n" + ('x,"open\n' + "y,sound\n" * 100) * 200)
    begun = time.process_time()
    texts, drops = read(path)
    assert time.process_time() - begun < 10
    assert (len(texts), len(drops)) == (20_000, 200)


def test_quotes_that_swallow_everything_refuse_the_file_in_seconds(written: Written) -> None:
    path = written("a.csv", "text,label\n" + 'a","x\n' * 300_000)
    begun = time.process_time()
    with pytest.raises(SourceError, match="its quotes open and close in the wrong places; export it again"):
        read(path)
    assert time.process_time() - begun < 30


def test_a_compressed_csv_that_is_cut_off_keeps_its_whole_rows(tmp_path: Path) -> None:
    whole = gzip.compress(b"text\n" + b"".join(b"row %d %d\n" % (n, n**7 % 99991) for n in range(20_000)))
    path = tmp_path / "a.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    texts, drops = read(path)
    assert len(texts) > 100
    assert [(d.id, d.reason) for d in drops] == [("a.csv.gz", "unreadable")]


# in = kept + dropped

_LINE = st.text(st.sampled_from("ab é€日,;\t|"), min_size=1, max_size=12).filter(str.strip)
_BYTES = st.sampled_from([b"", b"", b"", b"\xff", b"\xe9", b"\0", b"\x81"])


def counted(path: Path) -> tuple[int, int]:
    """Documents and drops; what is refused as a whole because nothing is left counts by its message."""
    items = []
    try:
        for item in stream_sources([path.parent], CurateConfig()):
            items.append(item)
    except SourceError as error:
        assert "No usable text in" in str(error)
    documents = sum(isinstance(item, Document) for item in items)
    return documents, len(items) - documents


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from([".txt", ".csv", ".jsonl", ".txt.gz", ".csv.gz", ".jsonl.gz"]),
    lines=st.lists(st.tuples(_LINE, _BYTES), min_size=2, max_size=30),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    column=st.sampled_from(["text", "Text", "body"]),
)
def test_every_text_is_kept_or_dropped_once_in_every_reader(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    lines: list[tuple[str, bytes]],
    encoding: str,
    ending: str,
    column: str,
) -> None:
    rows = []
    for text, extra in lines:
        line = text.encode(encoding.replace("-sig", "").replace("utf-16", "utf-16-le"), "replace")
        if kind.startswith(".jsonl"):
            line = json.dumps({column: text}, ensure_ascii=False).encode(
                encoding.replace("-sig", "").replace("utf-16", "utf-16-le"), "replace"
            )
        rows.append(line if encoding == "utf-16" else line + extra)
    if kind.startswith(".csv"):
        rows.insert(0, column.encode("utf-16-le" if encoding == "utf-16" else "utf-8"))
    mark = {"utf-16": b"\xff\xfe", "utf-8-sig": b"\xef\xbb\xbf"}.get(encoding, b"")
    newline = ending.encode("utf-16-le" if encoding == "utf-16" else "ascii")
    data = mark + newline.join(rows) + newline
    path = tmp_path_factory.mktemp("in") / f"a{kind}"
    path.write_bytes(gzip.compress(data) if kind.endswith(".gz") else data)
    documents, drops = counted(path)
    whole_file = (documents, drops) == (0, 1)  # refused as no text at all
    assert whole_file or documents + drops == len(lines)


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.text(st.sampled_from('ab",\n'), max_size=10), min_size=1, max_size=12), break_at=st.integers(0))
def test_an_open_quote_anywhere_loses_no_row_outside_the_broken_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], break_at: int
) -> None:
    """Sound rows with one broken row among them: those before and long after it are all kept."""
    file = io.StringIO()
    sound = [f"sound {number}" for number in range(30)]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([["text", "n"], *([text + " x", "1"] for text in rows)])
    file.write('"never closed,1\n')
    writer.writerows([text, "1"] for text in sound)
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    texts, drops = read(path)
    assert texts[-30:] == sound
    assert len(texts) == len(rows) + 30
    assert [drop.reason for drop in drops] == ["bad-csv"]


# Above and between the rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("title", ["Report of May\n", "Report of May{0}{0}\n\n{0}{0}\n", "Report\nof May\n"])
def test_title_rows_above_the_header_are_drops_and_the_table_is_read(
    written: Written, delimiter: str, title: str
) -> None:
    rows = [("Text", "Label", "when"), ("hello", "greet", "1"), ("where", "track", "2")]
    table = title.format(delimiter) + "".join(delimiter.join(row) + "\n" for row in rows)
    path = written("a.csv", table)
    kept, drops = labels(path)
    assert kept == [("hello", "greet"), ("where", "track")]
    assert next(id for id, reason in drops if reason == "above-header") == "a.csv#1"
    assert {reason for _, reason in drops} <= {"above-header", "empty"}
    texts, of_source = read(path)
    assert texts == ["hello", "where"]
    assert [(drop.id, drop.reason) for drop in of_source] == drops
    assert "it stands above the names of the columns in line" in of_source[0].detail


def test_a_quoted_row_below_a_title_has_the_width_of_the_header(written: Written) -> None:
    path = written("a.csv", 'Report\ntext,label\n"never closed,a\ntwo,b\n"three, quoted",a\n')
    assert labels(path) == (
        [("two", "b"), ("three, quoted", "a")],
        [("a.csv#1", "above-header"), ("a.csv#3", "bad-csv")],
    )


def test_a_header_that_is_not_certain_is_named_with_the_cure(written: Written) -> None:
    path = written("a.csv", "Report, all shops\ntext,label\nhello,greet\nwhere,track\n")
    with pytest.raises(SourceError, match=r"If line 2 is its header, delete what stands above it"):
        labels(path)
    with pytest.raises(SourceError, match=r"If line 2 is its header"):
        read(path)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_title_above_columns_of_other_names_is_told_with_the_cure(written: Written, delimiter: str) -> None:
    rows = [("message", "intent"), ("hello", "greet"), ("where", "track")]
    path = written("a.csv", "Report of 2026-11\n" + "".join(delimiter.join(row) + "\n" for row in rows))
    expected = r"Its first row has one cell, “Report of 2026-11”, and those below it have more: if that is a title"
    for reader in (labels, read):
        with pytest.raises(SourceError, match=expected):
            reader(path)
    examples, drops = read_labels(path, CurateConfig(text_column="message", label_column="intent"))
    assert [example.label for example in examples] == ["greet", "track"]
    assert [drop.id for drop in drops] == ["a.csv#1"]


def test_a_list_of_texts_with_semicolons_is_no_table_below_a_title(written: Written) -> None:
    path = written("a.csv", "text\nhello; you\nhello; me\nwhere; is it\n")
    assert read(path) == (["hello; you", "hello; me", "where; is it"], [])


def test_a_row_that_says_text_in_a_cell_is_no_header(written: Written) -> None:
    path = written("a.csv", "kind,body\ntext,hello\nimage,x\n")
    with pytest.raises(SourceError, match=r"has no column 'text'. Its columns: kind, body"):
        read(path)


@pytest.mark.parametrize("blank", [";;", ";", ";;;;", " ; ;"])
def test_rows_of_empty_cells_are_blank_and_refuse_no_file(written: Written, blank: str) -> None:
    path = written("a.csv", "text;label\nhello;greet\n" + f"{blank}\n" * 50 + "where;track\n")
    kept, drops = labels(path)
    assert kept == [("hello", "greet"), ("where", "track")]
    assert {reason for _, reason in drops} == {"empty"} and len(drops) == 50
    texts, of_source = read(path)
    assert texts == ["hello", "where"] and [(drop.id, drop.reason) for drop in of_source] == drops
    path = written("b.csv", "text;labels\nhello;greet\n" + f"{blank}\n" * 50)
    assert {drop.reason for drop in read_label_sets(path, CurateConfig())[1]} == {"empty"}
