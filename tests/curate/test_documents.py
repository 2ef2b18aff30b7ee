"""Roles, ids and metadata go with a document from its file to the corpus that training reads, and back from disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shoptalk.artifact import file_digest
from shoptalk.commands.distill import split
from shoptalk.config import CurateConfig
from shoptalk.curate.curation import curate, open_corpora, read_documents, to_corpus, write_corpus
from shoptalk.curate.readers.shared import metadata_of
from shoptalk.curate.sources import stream_sources
from shoptalk.records import Document, Drop, Metadata, Picture, Turn
from shoptalk.text.corpus import Corpus

CONFIG = CurateConfig(passage_characters=80)
READ = {"id", "turns", "messages", "text", "label", "labels", "image"}
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda n: n.strip().casefold() not in READ)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.text(st.characters(codec="utf-8"), max_size=8), st.integers(), FINITE, st.booleans())
NESTED = st.one_of(VALUES, st.none(), st.lists(VALUES, max_size=2), st.dictionaries(NAMES, VALUES, max_size=2))
ROLES = st.sampled_from(["user", "assistant", "agent", "system", "Agent", " customer ", "", "顧客"])


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of JSONL, no two of them alike: texts, chats, and chats in the form of `messages`."""
    drawn = []
    for number in range(draw(st.integers(1, 8))):
        row: dict[str, Any] = draw(st.dictionaries(NAMES, NESTED, max_size=3))
        if draw(st.booleans()):
            row["id"] = f"row {number}"
        texts = [f"text {number} {place}" if draw(st.booleans()) else "" for place in range(draw(st.integers(0, 4)))]
        roles = [draw(ROLES) for _ in texts]
        key, content = draw(st.sampled_from([("turns", "text"), ("messages", "content")]))
        if any(texts):
            row[key] = [{"role": role, content: text} for role, text in zip(roles, texts, strict=True)]
        else:
            row["text"] = f"paragraph one of {number}\n\nparagraph two of {number}"
        drawn.append(row)
    return drawn


def said(row: dict[str, Any]) -> dict[str, Any]:
    """What a document of this row should know of it."""
    beside = {name: value for name, value in row.items() if name not in READ and value is not None and value != ""}
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        for name, value in beside.items()
    }


def as_they_stand(row: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Turn, role and text of each item of this row."""
    if "text" in row:
        return [(-1, "", text) for text in row["text"].split("\n\n")]
    turns = row.get("turns", row.get("messages"))
    texts = [(turn["role"].strip(), turn.get("text", turn.get("content"))) for turn in turns]
    return [(place, role, text) for place, (role, text) in enumerate(texts) if text]


def in_corpus(corpus: Corpus) -> dict[str, list[tuple[int, str, str]]]:
    """The same, of each document of a corpus by its id."""
    items: dict[str, list[tuple[int, str, str]]] = {}
    for i, text in enumerate(corpus.texts):
        items.setdefault(corpus.document_of(i).id, []).append((int(corpus.turn[i]), corpus.role_of(i), text))
    return items


@settings(deadline=None, max_examples=60)
@given(rows(), st.sets(st.integers(0, 7)), st.integers(1, 9))
def test_roles_ids_and_metadata_survive_from_the_source_to_the_corpus_on_disk_and_back(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[dict[str, Any]], held_out: set[int], most: int
) -> None:
    folder = tmp_path_factory.mktemp("world")
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given_rows), encoding="utf-8")
    ids = [f"a.jsonl#{row.get('id', number)}" for number, row in enumerate(given_rows, start=1)]
    apart = {ids[number] for number in held_out if number < len(ids)}
    kept = curate(stream_sources([path], CONFIG), reserved=[], config=CONFIG)
    (folder / "corpus").mkdir()
    write_corpus(folder / "corpus", kept, passage_characters=80, held_out=lambda document: document.id in apart)

    documents = {document.id: document for document in read_documents(folder / "corpus")}
    assert {id: dict(document.metadata) for id, document in documents.items()} == {
        id: said(row) for id, row in zip(ids, given_rows, strict=True)
    }
    expected = {id: as_they_stand(row) for id, row in zip(ids, given_rows, strict=True)}
    for corpus, belongs in zip(open_corpora(folder / "corpus", digest="d"), (set(ids) - apart, apart), strict=True):
        assert in_corpus(corpus) == {id: items for id, items in expected.items() if id in belongs}
        assert all(corpus.document_of(i) == documents[corpus.document_of(i).id] for i in range(len(corpus)))
        in_memory = to_corpus([documents[id] for id in ids if id in belongs], digest="d", passage_characters=80)
        assert in_corpus(in_memory) == in_corpus(corpus) and in_memory.roles == corpus.roles
        for part in (corpus.sample(most, seed=most), *(split(corpus, seed=most) if len(corpus) else ())):
            for id, items in in_corpus(part).items():
                assert [item for item in expected[id] if item in items] == items


def test_every_value_is_kept_as_the_kind_that_it_was(tmp_path: Path) -> None:
    value = {"n": 7, "share": 0.5, "whole": 1.0, "done": True, "city": "Ålesund", "tags": ["a", 1], "far": float("inf")}
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "hi", **value, "empty": "", "none": None}) + "\n")
    (document,) = (item for item in stream_sources([tmp_path / "a.jsonl"], CONFIG) if isinstance(item, Document))
    again = Document.model_validate_json(document.model_dump_json(exclude_defaults=True))
    for metadata in (document.metadata, again.metadata):
        kept = value | {"tags": '["a", 1]', "far": "inf"}
        assert dict(metadata) == kept
        assert [type(item) for item in metadata.values()] == [type(item) for item in kept.values()]
    assert again == document and hash(again) == hash(document)


@pytest.mark.parametrize("column", ["label", "Label", " LABELS "])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_labels_do_not_come_along_as_metadata(tmp_path: Path, column: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    row = {"text": "hi", column: "secret", "city": "Bergen"}
    content = json.dumps(row) if kind == "jsonl" else f"{','.join(row)}\n{','.join(row.values())}"
    path.write_text(content + "\n", encoding="utf-8")
    (document,) = stream_sources([path], CONFIG)
    assert isinstance(document, Document) and dict(document.metadata) == {"city": "Bergen"}


def test_the_columns_of_a_table_are_metadata_but_for_the_text_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID,Text,Agent,Rating\n7,where is it,Ann,\n8,it is late\n", encoding="utf-8")
    documents = [item for item in stream_sources([tmp_path / "a.csv"], CONFIG) if isinstance(item, Document)]
    assert [dict(document.metadata) for document in documents] == [{"ID": "7", "Agent": "Ann"}, {"ID": "8"}]


def test_a_value_nested_without_end_costs_nothing_but_itself() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    metadata = metadata_of({"deep": deep, "n": 1}, read=(), config=CONFIG)
    assert dict(metadata) == {"deep": "(too deeply nested to be kept)", "n": 1}
    while deep:  # freeing it at once would overflow the stack
        deep = deep.pop()


def test_metadata_never_change() -> None:
    values = {"a": 1}
    metadata = Metadata(values)
    values["a"] = 2
    assert metadata == {"a": 1}
    with pytest.raises(TypeError):
        metadata["a"] = 3  # type: ignore[index]
    with pytest.raises(ValueError, match="finite number"):
        Document(id="1", source="a", metadata=Metadata({"a": float("nan")}))


def test_what_a_rule_leaves_of_a_document_keeps_its_metadata_and_roles() -> None:
    chat = Document(
        id="1",
        source="a.jsonl",
        turns=(
            Turn(role="user", text="where is it"),
            Turn(role="agent", text="ok thanks"),
            Turn(role="user", text="no"),
        ),
        metadata=Metadata({"city": "Bergen"}),
    )
    kept, drop = curate([chat], reserved=["ok thanks"], config=CONFIG)
    assert isinstance(kept, Document) and isinstance(drop, Drop)
    assert kept.metadata == {"city": "Bergen"} and [turn.role for turn in kept.turns] == ["user", "agent", "user"]
    corpus = to_corpus([kept], digest="d", passage_characters=80)
    assert corpus.in_role("user").tolist() == [True, True] and corpus.turn.tolist() == [0, 2]


# Pictures


def picture(name: str) -> Picture:
    return Picture(path=f"{name}.png", sha256=name * 32)


CAPTIONED = Document(
    id="1",
    source="p.csv",
    picture=picture("ab"),
    turns=(Turn(role="caption", text="a ferry at the quay"), Turn(role="caption", text="a white ship")),
)
ALONE = Document(id="2", source="p.csv", picture=picture("cd"))


def on_disk(folder: Path, documents: list[Document]) -> Corpus:
    write_corpus(folder, documents, passage_characters=80, held_out=lambda document: False)
    return open_corpora(folder, digest="d")[0]


def in_memory(folder: Path, documents: list[Document]) -> Corpus:
    return to_corpus(documents, digest="d", passage_characters=80)


@pytest.mark.parametrize("made", [on_disk, in_memory])
def test_a_picture_and_its_captions_are_the_turns_of_one_document(
    tmp_path: Path, made: Callable[[Path, list[Document]], Corpus]
) -> None:
    corpus = made(tmp_path, [CAPTIONED, ALONE, Document(id="3", source="a.txt", text="a text")])
    assert corpus.items[:] == (picture("ab"), "a ferry at the quay", "a white ship", picture("cd"), "a text")
    assert corpus.conversation.tolist() == [0, 0, 0, 1, 2]
    assert corpus.turn.tolist() == [0, 1, 2, -1, -1]
    assert list(corpus.pictures) == [0, 3]
    assert corpus.in_role("caption").tolist() == [False, True, True, False, False]
    assert [corpus.document_of(i).id for i in range(5)] == ["1", "1", "1", "2", "3"]
    part = corpus.part(np.array([1, 3]), digest="part")
    assert tuple(part.items) == ("a ferry at the quay", picture("cd")) and list(part.pictures) == [1]
    with pytest.raises(TypeError, match="2 of 5 items of this corpus are pictures; read its `items`"):
        corpus.texts  # noqa: B018


def test_a_picture_that_came_before_is_left_out_whatever_its_captions_which_may_come_again(
    tmp_path: Path,
) -> None:
    def drawn(colour: str) -> Picture:
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (8, 8), colour).save(path)
        return Picture(path=str(path), sha256=file_digest(path))

    captioned, alone = (
        one.model_copy(update={"picture": drawn(colour)}) for one, colour in ((CAPTIONED, "red"), (ALONE, "green"))
    )
    again = [
        alone.model_copy(update={"id": "3"}),
        captioned.model_copy(update={"id": "4", "picture": drawn("blue")}),
        captioned.model_copy(update={"id": "5", "turns": (Turn(role="caption", text="a ship at sea"),)}),
        alone.model_copy(update={"id": "6", "picture": Picture(path="gone.png", sha256="ef" * 32)}),
    ]
    items = list(curate([captioned, alone, *again], reserved=[], config=CONFIG))
    assert [item.id for item in items if isinstance(item, Document)] == ["1", "2", "4"]
    drops = [item for item in items if isinstance(item, Drop)]
    assert [(drop.id, drop.reason) for drop in drops] == [("3", "duplicate"), ("5", "duplicate"), ("6", "missing")]
    assert drops[1].detail == "has the pixels of 1" and drops[1].sample == "a ship at sea"


def test_equal_pictures_have_equal_wording_on_disk_and_in_memory(tmp_path: Path) -> None:
    documents = [CAPTIONED, ALONE, ALONE.model_copy(update={"id": "3"})]
    kept, plain = on_disk(tmp_path, documents), in_memory(tmp_path, documents)
    assert kept.wording.tolist() == plain.wording.tolist()
    assert kept.wording[3] == kept.wording[4] != kept.wording[0]
