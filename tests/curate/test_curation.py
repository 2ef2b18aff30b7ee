import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.config import CurateConfig
from shoptalk.curate import curation, rules
from shoptalk.curate.curation import (
    HELD_OUT,
    TRAIN,
    Written,
    curate,
    read_documents,
    read_drops,
    to_corpus,
    write_corpus,
)
from shoptalk.curate.dedup import matches, normalise
from shoptalk.errors import ArtifactError, StorageError
from shoptalk.records import Document, Drop, Turn
from shoptalk.text.corpus import open_corpus

CONFIG = CurateConfig(passage_characters=80)
RESERVED = ["My parcel number 4711 has arrived broken, what now?", "ok thanks"]


def text(id: str, content: str, source: str = "a.txt") -> Document:
    return Document(id=id, source=source, text=content)


def chat(id: str, *turns: str) -> Document:
    roles = ("user", "agent")
    return Document(id=id, source="c.jsonl", turns=tuple(Turn(role=roles[i % 2], text=t) for i, t in enumerate(turns)))


@dataclass
class Curated:
    documents: list[Document]
    drops: list[Drop]


def run(*items: Document | Drop, reserved: list[str] = RESERVED) -> Curated:
    found = list(curate(items, reserved=reserved, config=CONFIG))
    return Curated(
        documents=[item for item in found if isinstance(item, Document)],
        drops=[item for item in found if isinstance(item, Drop)],
    )


def write(folder: Path, *items: Document | Drop, held_out: str = "") -> Written:
    return write_corpus(
        folder, items, passage_characters=CONFIG.passage_characters, held_out=lambda document: document.id == held_out
    )


def left_out(curated: Curated) -> list[tuple[str, str]]:
    return [(drop.id, drop.reason) for drop in curated.drops]


def corpus_texts(curated: Curated) -> tuple[str, ...]:
    return tuple(to_corpus(curated.documents, digest="d", passage_characters=CONFIG.passage_characters).texts)


def test_what_matches_nothing_is_kept_as_it_is() -> None:
    documents = [text("1", "One.\n\nTwo."), chat("2", "hi", "hello there")]
    assert run(*documents) == Curated(documents=documents, drops=[])


def test_earlier_drops_are_passed_on() -> None:
    drop = Drop(id="x", source="x", reason="bad-json")
    assert run(drop, text("1", "hi"), reserved=[]).drops == [drop]


def test_empty_documents_and_repeats_become_drops() -> None:
    curated = run(
        text("1", "Hello, you!"), text("2", " "), text("3", "hello you"), chat("4", "", ""), chat("5", "hello you")
    )
    assert [d.id for d in curated.documents] == ["1"]
    assert left_out(curated) == [("2", "empty"), ("3", "duplicate"), ("4", "empty"), ("5", "duplicate")]
    assert curated.drops[1].detail == "same as 1"


@pytest.mark.parametrize(
    ("reason", "detail", "original"),
    [
        ("duplicate", "same as a.txt#1", "a.txt#1"),
        ("duplicate", "same text as a.txt#1", "a.txt#1"),  # as earlier versions wrote it
        ("duplicate", "the same picture, and no caption as in line 2", None),
        ("empty", "same as a.txt#1", None),
    ],
)
def test_what_a_dropped_text_repeats_is_read_from_its_detail(reason: str, detail: str, original: str | None) -> None:
    assert rules.repeated(Drop(id="b", source="b", reason=reason, detail=detail)) == original


def test_a_plain_text_like_a_labelled_one_is_dropped() -> None:
    curated = run(text("1", "my parcel number 4711 has arrived broken - what now"), text("2", "something else"))
    assert [d.id for d in curated.documents] == ["2"]
    assert left_out(curated) == [("1", "in-labelled-cluster")]


def test_a_conversation_with_an_identifying_labelled_turn_is_dropped_as_a_whole() -> None:
    curated = run(chat("1", "hello", "yes?", RESERVED[0], "I am sorry."))
    assert curated.documents == []
    assert left_out(curated) == [("1", "in-labelled-cluster")]


def test_a_short_labelled_turn_goes_alone_and_leaves_a_gap() -> None:
    curated = run(chat("1", "when does it sail", "at eight", "OK, thanks!", "have a good trip"))
    assert left_out(curated) == [("1#turn2", "in-labelled-cluster")]
    corpus = to_corpus(curated.documents, digest="d", passage_characters=80)
    assert corpus.texts == ("when does it sail", "at eight", "have a good trip")
    assert corpus.turn.tolist() == [0, 1, 3]
    assert corpus.pairs().tolist() == [[0, 1]]


def test_a_conversation_of_short_labelled_turns_only_is_dropped() -> None:
    assert left_out(run(chat("1", "ok thanks", "Ok, thanks"))) == [("1", "in-labelled-cluster")]


def test_a_sentence_written_without_spaces_identifies_a_conversation() -> None:
    labelled = "荷物が壊れて届きましたがどうすればいいですか"
    assert left_out(run(chat("1", "こんにちは", labelled), reserved=[labelled])) == [("1", "in-labelled-cluster")]


def test_only_the_matching_passages_of_a_document_are_dropped() -> None:
    curated = run(text("1", f"Opening words.\n\n{RESERVED[0]}\n\nClosing words."))
    assert left_out(curated) == [("1#passage1", "in-labelled-cluster")]
    assert curated.documents[0].text == "Opening words.\n\nClosing words."
    assert corpus_texts(curated) == ("Opening words.", "Closing words.")


def test_a_labelled_text_of_several_paragraphs_is_found_in_pieces() -> None:
    letter = "I sent a parcel on Monday morning.\n\nIt has not arrived until today.\n\nBest wishes"
    curated = run(text("1", f"{letter}\n\nAn answer that nobody labelled."), reserved=[letter])
    assert corpus_texts(curated) == ("Best wishes", "An answer that nobody labelled.")


def test_passages_are_cut_by_the_kind_of_the_source() -> None:
    documents = [text("1", "# Dogs\n\nA dog pays six.", "a.md"), text("2", "# Cats\n\nA cat pays four.")]
    corpus = to_corpus(documents, digest="d", passage_characters=80)
    assert corpus.texts == ("# Dogs\nA dog pays six.", "# Cats", "A cat pays four.")
    assert corpus.conversation.tolist() == [0, 1, 1]
    assert corpus.turn.tolist() == [-1, -1, -1]
    assert corpus.digest == "d"


def test_the_rules_run_in_the_order_in_which_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop_short(document: Document) -> Document | Drop:
        left = len(document.text.split()) > 2
        return document if left else Drop(id=document.id, source=document.source, reason="short")

    documents = [text("1", "two words"), text("2", "two words"), text("3", "there are three words")]
    before, after = (rules.each(drop_short), *rules.RULES), (*rules.RULES, rules.each(drop_short))
    monkeypatch.setattr(curation, "RULES", before)
    assert left_out(run(*documents)) == [("1", "short"), ("2", "short")]
    monkeypatch.setattr(curation, "RULES", after)
    assert left_out(run(*documents)) == [("1", "short"), ("2", "duplicate")]


PHRASES = st.sampled_from(
    [
        *RESERVED,
        RESERVED[0].upper(),
        "",
        "hello",
        "where is my card",
        "the ferry sails at eight from the quay",
        "# Fares",
        "a dog pays six crowns and a cat pays four. " * 3,
    ]
)
DOCUMENTS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.lists(PHRASES, min_size=1, max_size=5)), max_size=8
).map(
    lambda drawn: [
        chat(str(i), *phrases) if is_chat else text(str(i), "\n\n".join(phrases), "a.md" if markdown else "a.txt")
        for i, (is_chat, markdown, phrases) in enumerate(drawn)
    ]
)


@settings(deadline=None, max_examples=40)
@given(DOCUMENTS)
def test_every_unit_is_either_kept_or_in_a_drop(documents: list[Document]) -> None:
    curated = run(*documents)
    gone = {drop.id for drop in curated.drops}
    assert len(gone) == len(curated.drops)
    kept = {document.id: document for document in curated.documents}
    for document in documents:
        assert (document.id in kept) != (document.id in gone)
        if document.id in gone:
            continue
        units, rest = (corpus_texts(Curated(documents=[d], drops=[])) for d in (document, kept[document.id]))
        n_dropped = sum(id.startswith(f"{document.id}#") for id in gone)
        missing = Counter(units) - Counter(rest)
        assert not Counter(rest) - Counter(units)
        assert sum(missing.values()) == n_dropped


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(rules.RULES), DOCUMENTS)
def test_every_rule_keeps_or_drops_each_document_and_gives_the_same_again(
    rule: rules.CurationRule, documents: list[Document]
) -> None:
    earlier = Drop(id="x", source="x", reason="bad-json")
    items = [earlier, *documents, earlier]
    left = list(rule(items, reserved=RESERVED, config=CONFIG))
    assert left == list(rule(items, reserved=RESERVED, config=CONFIG))
    assert left[0] == left[-1] == earlier
    parts = [item for item in left[1:-1] if isinstance(item, Drop) and "#" in item.id]
    assert [item.id for item in left[1:-1] if item not in parts] == [document.id for document in documents]


@settings(deadline=None, max_examples=40)
@given(DOCUMENTS)
def test_nothing_like_a_reserved_text_is_left(documents: list[Document]) -> None:
    texts = corpus_texts(run(*documents))
    assert not matches(texts, RESERVED, CONFIG.near_duplicate).any()
    assert not {normalise(t) for t in texts} & {normalise(t) for t in RESERVED}


@settings(deadline=None, max_examples=25)
@given(DOCUMENTS, st.integers(1, 12))
def test_what_is_kept_does_not_depend_on_how_the_stream_is_cut(documents: list[Document], size: int) -> None:
    whole = run(*documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "BATCH", size)
        assert run(*documents) == whole


def test_documents_pass_while_others_are_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "BATCH", 10)
    asked = []

    def endless() -> Iterator[Document]:
        for number in itertools.count():
            asked.append(number)
            yield text(str(number), f"text number {number}")

    found = list(itertools.islice(curate(endless(), reserved=RESERVED, config=CONFIG), 25))
    assert [item.id for item in found] == [str(number) for number in range(25)]
    assert len(asked) == 30


def test_a_corpus_on_disk_reads_back(tmp_path: Path) -> None:
    curated = run(chat("1", "line\u2028break", "ok thanks", "émile 👍"), text("2", " "), text("3", "tab\tand\nnewline"))
    written = write(tmp_path, *curated.documents, *curated.drops)
    assert list(read_documents(tmp_path)) == curated.documents
    assert list(read_drops(tmp_path)) == curated.drops
    assert written == Written(documents=2, dropped=Counter({"empty": 1, "in-labelled-cluster": 1}))


def test_a_corpus_on_disk_is_the_one_in_memory(tmp_path: Path) -> None:
    documents = [chat("1", "hello", "", "hi"), text("2", "One.\n\nTwo.", "a.md"), chat("3", "bye", "good bye")]
    write(tmp_path, *documents, held_out="1")
    for folder, part in ((TRAIN, documents[1:]), (HELD_OUT, documents[:1])):
        kept = open_corpus(tmp_path / folder, digest="d")
        plain = to_corpus(part, digest="d", passage_characters=CONFIG.passage_characters)
        assert tuple(kept.texts) == plain.texts
        for name in ("conversation", "turn", "wording"):
            assert getattr(kept, name).tolist() == getattr(plain, name).tolist()


def test_a_missing_or_damaged_corpus_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        list(read_documents(tmp_path))
    (tmp_path / "documents.jsonl").write_text('{"id": "1", "source": "a"}\n{"id"', encoding="utf-8")
    with pytest.raises(ArtifactError, match="line 2 is damaged"):
        list(read_documents(tmp_path))


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="give another --out"):
        write(tmp_path / "file")


def test_curating_needs_neither_torch_nor_transformers() -> None:
    script = (
        "import sys, shoptalk.curate.curation, shoptalk.curate.labels, shoptalk.curate.sources, shoptalk.index;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
