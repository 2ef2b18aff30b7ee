"""One reader a format, all of one kind: a file in, documents and drops out."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.config import CurateConfig
from shoptalk.curate.files import RefusedFile, SourceFile, lines
from shoptalk.curate.readers import READERS, format_of
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop

CONFIG = CurateConfig()
LINES = st.lists(st.text(st.sampled_from('ab é日,;\t|"{}'), max_size=12), min_size=2, max_size=12)


def as_file(kind: str, texts: list[str]) -> tuple[str, int]:
    """The content of a file of that format with these texts, and how many texts it is."""
    if kind == ".csv":
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([["text", "n"], *([text, "1"] for text in texts)])
        return file.getvalue(), len(texts)
    if kind == ".jsonl":
        rows = [{"text": text} if number % 2 else {"turns": [{"role": "user", "text": text}]}
                for number, text in enumerate(texts)]  # fmt: skip
        return "".join(json.dumps(row) + "\n" for row in rows), len(texts)
    if kind == ".txt":
        filled = [text for text in texts if text.strip()]
        return "\n".join(filled), max(1, len(filled))
    return "\n\n".join(texts), 1


@settings(deadline=None, max_examples=80)
@given(kind=st.sampled_from(list(READERS)), texts=LINES)
def test_every_reader_gives_a_document_or_a_drop_for_each_text(
    tmp_path_factory: pytest.TempPathFactory, kind: str, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("in") / f"a{kind}"
    content, count = as_file(kind, texts)
    path.write_text(content, encoding="utf-8", newline="")
    file = SourceFile(path, path.name, given=False)
    try:
        items = list(READERS[kind](file, "utf-8", CONFIG))
    except RefusedFile as refused:
        assert refused.reason == "empty" and not "".join(texts).strip()
        return
    assert len(items) == count
    assert all(isinstance(item, Document | Drop) and item.source == path.name for item in items)
    assert len({item.id for item in items}) == count


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", ".csv"), ("a.b.JSONL.GZ", ".jsonl"), ("a.txt.gz", ".txt"), ("a.pdf", None), ("a", None), (".gz", None)],
)
def test_a_files_format_is_the_end_of_its_name(name: str, kind: str | None) -> None:
    assert format_of(Path(name)) == kind


def test_a_new_format_is_one_function_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_log(file: SourceFile, encoding: str, config: CurateConfig) -> Iterator[Document | Drop]:
        for line in lines(file.path, encoding):
            yield Document(id=f"{file.name}#{line.number}", source=file.name, text=line.text.partition(" ")[2])

    path = tmp_path / "a.log"
    path.write_text("08:00 the ferry has left\n08:05 it is back\n", encoding="utf-8")
    with pytest.raises(SourceError, match="unknown extension"):
        list(stream_sources([path], CONFIG))
    monkeypatch.setitem(READERS, ".log", read_log)
    for source in (path, tmp_path):
        texts = [item.text for item in stream_sources([source], CONFIG) if isinstance(item, Document)]
        assert texts == ["the ferry has left", "it is back"]


def test_a_text_beside_null_turns_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_text('{"text": "where is it", "turns": null, "messages": null}\n{"turns": null}\n')
    documents = list(stream_sources([path], CurateConfig()))
    assert [one.text for one in documents if isinstance(one, Document)] == ["where is it"]
    assert [one.reason for one in documents if isinstance(one, Drop)] == ["no-text"]
