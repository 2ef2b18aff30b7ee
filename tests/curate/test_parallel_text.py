"""Parallel text from tables and JSON Lines: nothing is lost in silence."""

import gzip
from pathlib import Path

import pytest

from shoptalk.config import CurateConfig
from shoptalk.curate.parallel_text import ParallelPair, read_parallel
from shoptalk.errors import SourceError

CONFIG = CurateConfig()


def read(path: Path, columns: tuple[str, str] = ("source", "target")) -> tuple[list[tuple[str, str]], list[str]]:
    pairs, drops = read_parallel(path, columns, CONFIG, say=lambda sentence: None)
    return [(pair.source, pair.target) for pair in pairs], [f"{drop.id} {drop.reason}" for drop in drops]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.tsv", "source\ttarget\na dog, two cats\tein Hund\n"),
        ("pairs.csv", 'Source,Target\n"a dog, two cats",ein Hund\n'),
        ("pairs.jsonl", '{"source": "a dog, two cats", "target": "ein Hund"}\n'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_pair_is_read_from_every_format(tmp_path: Path, name: str, text: str, packed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert read(path) == ([("a dog, two cats", "ein Hund")], [])


def test_columns_may_have_any_names(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text("fr\ten\tde\nun\tone\teins\n")
    assert read(path, ("en", "DE")) == ([("one", "eins")], [])
    with pytest.raises(SourceError, match=r"has no column 'source' and no column 'target'.*fr, en, de.*--columns NAME"):
        read(path)


def test_rows_without_a_side_and_repeated_rows_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"source": "a", "target": "b"}\n{"source": "a", "target": " "}\n{"source": "a", "target": "b"}\n'
        '{"source": "a", "target": 3}\nnot json\n{"source": "a", "target": "c"}\n'
    )
    pairs, drops = read(path)
    assert pairs == [("a", "b"), ("a", "c")]
    assert drops == ["p.jsonl#2 no-pair", "p.jsonl#3 duplicate", "p.jsonl#4 wrong-type", "p.jsonl#5 bad-json"]


def test_what_holds_no_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read(tmp_path / "nowhere.tsv")
    with pytest.raises(SourceError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "p.txt").write_text("a\tb\n")
    with pytest.raises(SourceError, match="unknown extension"):
        read(tmp_path / "p.txt")
    (tmp_path / "p.tsv").write_text("source\ttarget\n\t\n")
    with pytest.raises(SourceError, match="has no usable pairs"):
        read(tmp_path / "p.tsv")


def test_a_pair_knows_its_line(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("source,target\na,b\n")
    pairs, _ = read_parallel(tmp_path / "p.csv", ("source", "target"), CONFIG, say=print)
    assert pairs == [ParallelPair(id="p.csv#2", source="a", target="b")]


def test_quotes_of_a_tsv_are_characters_where_they_enclose_no_cells(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text('source\ttarget\n"A man ...," he said.\t"Ein Mann", sagte er.\n"Stop\tHalt"\na dog\tein Hund\n')
    pairs, drops = read(path)
    assert pairs == [
        ('"A man ...," he said.', '"Ein Mann", sagte er.'),
        ('"Stop', 'Halt"'),
        ("a dog", "ein Hund"),
    ]
    assert drops == []


def test_a_tsv_that_a_spreadsheet_has_quoted_is_read_as_it_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text('source\ttarget\n"He said ""no"".\nTwice."\tNein\na\t"b\tc"\n')
    assert read(path) == ([('He said "no".\nTwice.', "Nein"), ("a", "b\tc")], [])
