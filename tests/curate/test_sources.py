import codecs
import csv
import gzip
import json
import random
import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.config import CurateConfig
from shoptalk.curate import clean
from shoptalk.curate.clean import repair
from shoptalk.curate.readers import shared
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop

Write = Callable[[str, str | bytes], Path]
CONFIG = CurateConfig()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def rows(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def read(*paths: Path, **settings: Any) -> tuple[list[Document], list[Drop]]:
    items = list(stream_sources(paths, CurateConfig(**settings)))
    documents = [item for item in items if not isinstance(item, Drop)]
    return documents, [item for item in items if isinstance(item, Drop)]


def reasons(drops: list[Drop]) -> list[str]:
    return [drop.reason for drop in drops]


# What becomes a document


def test_a_txt_with_blank_lines_is_one_document(write: Write) -> None:
    documents, drops = read(write("a.txt", "First paragraph.\r\nStill first.\r\n\r\nSecond one.\n"))
    assert [(d.id, d.text) for d in documents] == [("a.txt", "First paragraph.\nStill first.\n\nSecond one.")]
    assert not drops


def test_a_txt_without_blank_lines_is_a_document_a_line(write: Write) -> None:
    documents, _ = read(write("a.txt", "\n\nwhere is my card\nmy card is lost\n\n"))
    assert [(d.id, d.text) for d in documents] == [("a.txt#3", "where is my card"), ("a.txt#4", "my card is lost")]


def test_a_txt_of_one_line_is_one_document(write: Write) -> None:
    assert [d.id for d in read(write("a.txt", "only this\n"))[0]] == ["a.txt"]


def test_a_markdown_file_is_one_document(write: Write) -> None:
    documents, _ = read(write("a.md", "# Title\nline\nline\n"))
    assert [d.text for d in documents] == ["# Title\nline\nline"]


def test_jsonl_rows_have_text_or_turns_or_messages(write: Write) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image_url", "url": "x"}, {"type": "text", "text": "two"}]
    path = write(
        "a.jsonl",
        rows(
            {"text": "plain", "label": "secret", "id": "r1"},
            {"turns": [{"role": "user", "text": "hi", "mood": 1}, {"role": "agent", "text": "hello"}], "id": 7},
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": parts}]},
        ),
    )
    documents, drops = read(path)
    assert [d.id for d in documents] == ["a.jsonl#r1", "a.jsonl#7", "a.jsonl#3"]
    assert documents[0].text == "plain"
    assert [(t.role, t.text) for t in documents[1].turns] == [("user", "hi"), ("agent", "hello")]
    assert [t.text for t in documents[2].turns] == ["q", "one\ntwo"]
    assert not drops
    assert "secret" not in "".join(d.model_dump_json() for d in documents)


def test_a_message_without_text_keeps_its_place_in_the_conversation(write: Write) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "tool", "content": None}, {"role": "user", "content": "r"}]
    documents, _ = read(write("a.jsonl", rows({"messages": turns})))
    assert [turn.text for turn in documents[0].turns] == ["q", "", "r"]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.md.gz", "a.csv.gz", "a.jsonl.gz"])
def test_every_format_may_be_compressed(write: Write, name: str) -> None:
    content = {"csv": "text\nhello there\n", "jsonl": rows({"text": "hello there"})}.get(
        name.split(".")[1], "hello there"
    )
    assert [d.text for d in read(write(name, content))[0]] == ["hello there"]


def test_a_csv_is_read_by_its_text_column(write: Write) -> None:
    path = write("a.csv", '\ufeffutterance,label\n"one, with\na break",x\ntwo,y\n')
    documents, _ = read(path, text_column="utterance")
    assert [d.text for d in documents] == ["one, with\na break", "two"]


def test_a_csv_may_be_parted_by_semicolons(write: Write) -> None:
    assert [d.text for d in read(write("a.csv", "label;text\nx;hello, you\n"))[0]] == ["hello, you"]


def test_the_text_column_of_a_csv_does_not_hide_the_text_of_a_jsonl(write: Write) -> None:
    paths = write("a.csv", "utterance\none\n"), write("b.jsonl", rows({"text": "two"}, {"utterance": "three"}))
    assert [d.text for d in read(*paths, text_column="utterance")[0]] == ["one", "two", "three"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_understood(write: Write, encoding: str) -> None:
    documents, _ = read(write("a.txt", "früh\nspät\n".encode(encoding)))
    assert [d.text for d in documents] == ["früh", "spät"]


def test_folders_are_read_in_sorted_order_without_hidden_files(write: Write, tmp_path: Path) -> None:
    for name in ("in/z.txt", "in/b/a.txt", "in/.hidden.txt", "in/.git/x.txt", "in/a.md"):
        write(name, name)
    documents, drops = read(tmp_path / "in")
    assert [d.source for d in documents] == ["in/a.md", "in/z.txt", "in/b/a.txt"]
    assert [(d.id, d.reason) for d in drops] == [("in/.git", "hidden"), ("in/.hidden.txt", "hidden")]


def test_a_file_given_twice_is_read_once(write: Write, tmp_path: Path) -> None:
    path = write("in/a.txt", "hello")
    assert len(read(tmp_path / "in", path, path)[0]) == 1


def test_files_of_one_name_are_told_apart_by_their_folder(write: Write) -> None:
    paths = write("x/a.txt", "one"), write("y/a.txt", "two")
    assert [d.id for d in read(*paths)[0]] == ["x/a.txt", "y/a.txt"]
    assert sorted(source_fingerprint(paths)) == ["x/a.txt", "y/a.txt"]


def test_ids_are_unique_even_where_a_file_repeats_them(write: Write) -> None:
    path = write("a.jsonl", rows(*({"id": id, "text": "t"} for id in ("c", "c", "c~2", "c", 5)), {"text": "sixth"}))
    ids = [d.id for d in read(path)[0]]
    assert len(set(ids)) == 6
    assert ids[0] == "a.jsonl#c"


@pytest.mark.parametrize("name", ["a.txt", "a.md.gz"])
def test_a_long_file_becomes_documents_parted_at_blank_lines(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(shared, "PART_CHARACTERS", 20)
    documents, drops = read(write(name, "one one one\none\n\ntwo two\n\n\nthree\n\n" + "four four\n" * 6 + "\n\n"))
    assert [(d.id, d.text) for d in documents] == [
        (f"{name}#1", "one one one\none\n\ntwo two"),
        (f"{name}#7", "three\n\n" + "four four\n" * 3 + "four four"),  # no blank line for twice the length
        (f"{name}#13", "four four\nfour four"),
    ]
    assert {d.source for d in documents} == {name} and not drops


@pytest.mark.parametrize("ending", ["", "\n\n\n"])
def test_a_file_just_longer_than_a_part_stays_one_document(
    write: Write, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(shared, "PART_CHARACTERS", 20)
    documents, _ = read(write("a.md", "one one one\n\ntwo two two" + ending))
    assert [d.id for d in documents] == ["a.md"]


def test_documents_come_while_the_file_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(rows(*({"text": f"row {number}"} for number in range(20_000))))
    stream = stream_sources([path], CONFIG)
    tracemalloc.start()
    for _ in zip(range(10_000), stream, strict=False):
        pass
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    stream.close()
    assert held < 31 * 2**14 + 200_000


# What becomes a drop


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{broken", "bad-json"),
        ("[" * 100_000, "bad-json"),
        ('["a list"]', "wrong-type"),
        ('{"text": 5}', "wrong-type"),
        ('{"turns": "hi"}', "wrong-type"),
        ('{"turns": ["hi"]}', "wrong-type"),
        ('{"turns": [{"text": "no role"}]}', "wrong-type"),
        ('{"messages": [{"role": "user"}]}', "wrong-type"),
        ('{"body": "x"}', "no-text"),
        ('{"text": " \\t "}', "empty"),
        ('{"turns": []}', "empty"),
        ('{"turns": [{"role": "user", "text": ""}]}', "empty"),
    ],
)
def test_a_row_that_cannot_be_used_becomes_a_drop_and_the_run_goes_on(write: Write, line: str, reason: str) -> None:
    documents, drops = read(write("a.jsonl", rows({"text": "before"}) + line + "\n" + rows({"text": "after"})))
    assert [d.text for d in documents] == ["before", "after"]
    assert [(d.id, d.reason) for d in drops] == [("a.jsonl#2", reason)]


def test_a_row_that_is_not_utf8_among_many_that_are_becomes_a_drop(write: Write) -> None:
    rows = [f'{{"text": "früh {number}"}}\n'.encode() for number in range(20)]
    documents, drops = read(write("a.jsonl", b"".join([b'{"text": "caf\xe9"}\n', *rows])))
    assert len(documents) == 20
    assert [(d.reason, d.detail) for d in drops] == [
        (
            "not-utf8",
            "line 1 holds bytes that are not UTF-8, the encoding of the rest; correct it and save as UTF-8",
        )
    ]


def test_lone_surrogates_do_not_crash(write: Write) -> None:
    documents, _ = read(write("a.jsonl", '{"id": "\\ud800", "text": "a \\udc00 b"}\n'))
    assert documents[0].text == "a \ufffd b"
    documents[0].model_dump_json().encode()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.txt", b"\x7fELF\x02\x00\x00\x01", "binary"),
        ("bad.txt", b"", "empty"),
        ("bad.md", b" \n\n ", "empty"),
        ("bad.csv", b"", "empty"),
        ("bad.csv", b"text\n", "empty"),
        ("bad.jsonl", b"\n\n", "empty"),
        ("bad.pdf", b"%PDF", "unknown-format"),
        ("bad.csv", b"utterance\n", "no-text"),
    ],
)
def test_a_file_that_cannot_be_used_becomes_a_drop(
    write: Write, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    write("in/good.txt", "hello")
    write(f"in/{name}", content)
    documents, drops = read(tmp_path / "in")
    assert [d.text for d in documents] == ["hello"]
    assert [(d.id, d.reason) for d in drops] == [(f"in/{name}", reason)]


def test_a_file_that_cannot_be_opened_becomes_a_drop(write: Write, tmp_path: Path) -> None:
    write("in/good.txt", "hello")
    (tmp_path / "in" / "gone.txt").symlink_to(tmp_path / "nowhere")
    documents, drops = read(tmp_path / "in")
    assert len(documents) == 1
    assert [(d.id, d.reason, d.detail) for d in drops] == [("in/gone.txt", "unreadable", "No such file or directory")]
    assert source_fingerprint([tmp_path / "in"])["in/gone.txt"] == "unreadable"


def test_a_file_without_permission_becomes_a_drop(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    good, locked = write("good.txt", "hello"), write("locked.txt", "secret")
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    assert [(d.id, d.reason) for d in read(good, locked)[1]] == [("locked.txt", "unreadable")]


def test_a_link_to_a_folder_is_reported(write: Write, tmp_path: Path) -> None:
    write("in/good.txt", "hello")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert reasons(read(tmp_path / "in")[1]) == ["linked-folder"]


def test_a_compressed_file_that_is_cut_off_keeps_its_whole_rows(tmp_path: Path, write: Write) -> None:
    # Random rows hardly compress, so that some come out before the cut.
    rng = random.Random(0)
    whole = gzip.compress(b"".join(b'{"text": "%064x"}\n' % rng.getrandbits(256) for _ in range(3_000)))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    documents, drops = read(path)
    assert documents
    assert [(d.id, d.reason) for d in drops] == [("a.jsonl.gz", "unreadable")]
    assert "cut off" in drops[0].detail


def test_what_is_not_gzip_becomes_a_drop(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(b"plain text")
    assert reasons(read(write("good.txt", "hello"), path)[1]) == ["unreadable"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_line_of_50_megabytes_becomes_a_drop_within_seconds(write: Write, name: str) -> None:
    first = {"a.txt": "before", "a.csv": "text\nbefore", "a.jsonl": '{"text": "before"}'}[name]
    last = '{"text": "after"}' if name == "a.jsonl" else "after"
    path = write(name, b"\n".join([first.encode(), b"x" * 50_000_000, last.encode()]))
    begun = time.process_time()
    documents, drops = read(path)
    assert time.process_time() - begun < 3
    assert [d.text for d in documents] == ["before", "after"]
    assert reasons(drops) == ["line-too-long"]
    assert len(drops[0].sample) <= 80


def test_an_open_quote_costs_a_csv_its_own_row_and_says_which(write: Write) -> None:
    documents, drops = read(write("a.csv", 'text\ngood\n"never closed\nkept\nkept too\n'))
    assert [d.text for d in documents] == ["good", "kept", "kept too"]
    assert [(d.id, d.reason) for d in drops] == [("a.csv#3", "bad-csv")]
    assert "line 3 opens a quote that is not closed" in drops[0].detail


def test_a_short_csv_row_becomes_a_drop(write: Write) -> None:
    documents, drops = read(write("a.csv", "label,text\nx,hello\ny\n\nz,bye\n"))
    assert [d.text for d in documents] == ["hello", "bye"]
    assert [(d.id, d.reason) for d in drops] == [("a.csv#3", "no-text")]


# What stops the run


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.txt does not exist"):
        read(tmp_path / "nowhere.txt")


def test_no_path_at_all_is_an_error() -> None:
    with pytest.raises(SourceError, match="No source was given"):
        read()


def test_a_given_file_of_unknown_format_is_an_error(write: Write) -> None:
    with pytest.raises(SourceError, match=r"a\.pdf has an unknown extension. Expected one of \.txt, \.md"):
        read(write("a.pdf", "x"))


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is an empty folder"):
        read(tmp_path)


def test_a_given_csv_without_the_text_column_is_an_error_that_lists_the_columns(write: Write) -> None:
    with pytest.raises(
        SourceError, match=r"no column 'text'. Its columns: id, body\. .*--set curate\.text_column=NAME"
    ):
        read(write("a.csv", "id,body\n1,hello\n"))


def test_nothing_usable_is_an_error_that_counts_the_reasons(write: Write) -> None:
    path = write("a.jsonl", "{bad\n{bad\n" + rows({"text": ""}))
    with pytest.raises(SourceError, match=r"3 left out \(2 bad-json, 1 empty\)"):
        read(path)


# Repair and fingerprints


def test_text_is_repaired(write: Write) -> None:
    raw = "  cafÃ© \x07bell e\u0301\x00tude  "
    assert read(write("a.jsonl", rows({"text": raw})))[0][0].text == "café bell étude"


@given(st.text(st.characters(codec="ascii")))
def test_the_short_way_of_repairing_ascii_changes_nothing(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clean, "_SOUND", re.compile(r"(?!)"))
        long_way = repair(text)
    assert repair(text) == long_way


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_repair_accepts_any_string(text: str) -> None:
    repaired = repair(text)
    repaired.encode("utf-8")
    assert repaired == repaired.strip()
    assert not any(ord(character) < 32 and character not in "\n\t" for character in repaired)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), min_size=1))
def test_every_csv_row_is_a_document_or_a_drop(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["n", "text"], *([i, text] for i, text in enumerate(texts))])
    try:
        documents, drops = read(path)
    except SourceError as error:
        assert f"{len(texts):,} left out ({len(texts):,} empty)" in str(error)
        return
    assert len(documents) + len(drops) == len(texts)
    assert [d.text for d in documents] == [repaired for text in texts if (repaired := repair(text))]


def test_the_fingerprint_follows_the_bytes(write: Write, tmp_path: Path) -> None:
    write("in/a.txt", "one")
    before = source_fingerprint([tmp_path / "in"])
    assert before == {"in/a.txt": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}
    write("in/a.txt", "two")
    assert source_fingerprint([tmp_path / "in"]) != before


def test_utf16_without_a_mark_is_told_by_its_nuls(write: Write) -> None:
    bare = write("bare.txt", "hello\nfrüh".encode("utf-16-le"))
    assert not bare.read_bytes().startswith(codecs.BOM_UTF16_LE)
    assert [d.text for d in read(bare)[0]] == ["hello", "früh"]
