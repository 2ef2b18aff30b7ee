"""Pairs of question and answer: read with reasons for what is left out, and placed among the sources' passages."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.config import CurateConfig
from shoptalk.curate.answers import NOWHERE, Passages, placed
from shoptalk.curate.curation import to_corpus
from shoptalk.curate.questions import GivenPair, read_pairs
from shoptalk.curate.quotes import mined_pairs
from shoptalk.errors import SourceError
from shoptalk.records import Document, Metadata, Turn

CONFIG = CurateConfig()
LUGGAGE = (
    "# Luggage and bicycles\n\nEach passenger may bring two bags of up to twenty kilograms and one bag on the lap.\n\n"
    "A bicycle costs four crowns and stands on the lower deck, tied to the rail by its owner."
)
REFUNDS = (
    "# Refunds\n\nWe pay back half of the fare if a ship is more than two hours late at its last quay.\n\n"
    "| 2 hours to under 3 | half | half | a quarter |\n\nLate."
)


def write(path: Path, rows: Sequence[Any]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def documents(*more: Document) -> list[Document]:
    return [
        Document(id="help/luggage.md", source="help/luggage.md", text=LUGGAGE),
        Document(id="help/refunds.md", source="help/refunds.md", text=REFUNDS),
        Document(
            id="faq.jsonl#17",
            source="faq.jsonl",
            text="Dogs travel free on a lead, except guide dogs, who need none.",
            metadata=Metadata({"title": "Dogs aboard", "url": "https://ferry.example/help/dogs-aboard?lang=en"}),
        ),
        *more,
    ]


def where(*more: Document, repeats: dict[str, str] | None = None) -> Passages:
    corpus = to_corpus(documents(*more), digest="", passage_characters=CONFIG.passage_characters)
    return Passages(corpus, repeats or {}, CONFIG)


def passages_of(*more: Document) -> list[str]:
    corpus = to_corpus(documents(*more), digest="", passage_characters=CONFIG.passage_characters)
    return [str(corpus.items[i]) for i in corpus.passages()]


def test_pairs_are_read_from_plain_and_packed_files_in_whatever_case(tmp_path: Path) -> None:
    rows = [
        {"Question": "Can I bring my bike?", "passage": "A bicycle costs four crowns", "who": 3},
        {"question": "And my dog?", "document": 17},
    ]
    for name in ("pairs.jsonl", "pairs.jsonl.gz"):
        pairs, drops = read_pairs(write(tmp_path / name, rows), CONFIG, say=print)
        assert [(pair.question, pair.passage, pair.document) for pair in pairs] == [
            ("Can I bring my bike?", "A bicycle costs four crowns", ""),
            ("And my dog?", "", "17"),
        ]
        assert drops == [] and pairs[1].id == f"{name}#2"


def test_each_row_that_cannot_be_used_is_left_out_with_its_reason(tmp_path: Path) -> None:
    rows = [
        {"question": "good one", "document": "a"},
        {"question": "good one", "document": "a"},
        {"question": " ", "document": "a"},
        {"question": "what?"},
        {"question": ["what?"], "document": "a"},
        {"question": "what?", "passage": {"text": 1}},
        "{broken",
        "[1, 2]",
    ]
    pairs, drops = read_pairs(write(tmp_path / "p.jsonl", rows), CONFIG, say=print)
    assert [drop.reason for drop in drops] == [
        "duplicate", "no-question", "no-answer", "wrong-type", "wrong-type", "bad-json", "wrong-type",
    ]  # fmt: skip
    assert len(pairs) + len(drops) == len(rows)


@given(st.lists(st.one_of(
    st.fixed_dictionaries({}, optional={key: st.one_of(st.text(max_size=5), st.integers(0, 3), st.none())
                                        for key in ("question", "passage", "document")}),
    st.sampled_from(["{", "7", '"x"', "null"]),
), max_size=12))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_what_goes_in_is_kept_or_dropped(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = write(tmp_path_factory.mktemp("p") / "p.jsonl", [{"question": "q", "document": "d"}, *rows])
    pairs, drops = read_pairs(path, CONFIG, say=print)
    assert len(pairs) + len(drops) == 1 + len(rows)
    questions, nowhere = placed(pairs, where(), CONFIG)
    assert sum(len(question.rows) for question in questions) + len(nowhere) == len(pairs)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "question,passage\n", r"no \.jsonl file"),
        ("p.jsonl", "", "no usable pairs: it is empty"),
        ("p.jsonl", '{"text": "hello"}\n', r"no usable pairs: 1 left out \(1 no-question\)"),
        ("p.jsonl", "PK\x03\x04xx", "binary"),
    ],
)
def test_files_without_pairs_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=message):
        read_pairs(tmp_path / name, CONFIG, say=print)


def test_missing_files_folders_and_files_that_are_too_large_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read_pairs(tmp_path / "none.jsonl", CONFIG, say=print)
    with pytest.raises(SourceError, match="is a folder"):
        read_pairs(tmp_path, CONFIG, say=print)
    path = write(tmp_path / "p.jsonl", [{"question": "q", "document": "d"}] * 99)
    with pytest.raises(SourceError, match="too-large"):
        read_pairs(path, CurateConfig(label_megabytes=0.001), say=print)


def test_another_encoding_is_told(tmp_path: Path) -> None:
    path, said = tmp_path / "p.jsonl", list[str]()
    path.write_bytes('{"question": "Zurück?", "document": "d"}\n'.encode("cp1252"))
    pairs, _ = read_pairs(path, CONFIG, say=said.append)
    assert pairs[0].question == "Zurück?" and "not UTF-8" in said[0]


def place_of(passage: str = "", document: str = "", *, at: Passages | None = None) -> list[int] | None:
    pairs, _ = placed([GivenPair("p.jsonl#1", "q?", passage, document)], at or where(), CONFIG)
    return [number for place in pairs[0].places for number in place] if pairs else None


def test_a_passage_is_found_where_it_stands_whole_in_part_or_nearly() -> None:
    texts = passages_of()
    bicycle = next(i for i, text in enumerate(texts) if text.startswith("A bicycle"))
    assert place_of(texts[bicycle]) == [bicycle]
    assert place_of("a bicycle costs FOUR crowns") == [bicycle]
    assert place_of(texts[bicycle].replace("tied to", "fixed to")) == [bicycle]
    assert place_of("| 2 hours to under 3 | half | half | a quarter |") == [texts.index(
        "| 2 hours to under 3 | half | half | a quarter |")]  # fmt: skip
    assert place_of("Late.") == [texts.index("Late.")]
    assert place_of("half") is None  # too short to be part of a passage
    assert place_of("A bicycle costs nine shillings and travels in the hold of the other ship") is None


def test_a_whole_article_given_as_a_passage_is_found_in_its_parts() -> None:
    texts = passages_of()
    place = place_of(REFUNDS)
    assert place is not None and [texts[i][:4] for i in place] == ["# Re", "| 2 ", "Late"]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("help/luggage.md", "# Lu"),
        ("luggage.md", "# Lu"),
        ("Luggage", "# Lu"),
        ("luggage and bicycles", "# Lu"),
        ("refunds", "# Re"),
        ("17", "Dogs"),
        ("faq.jsonl#17", "Dogs"),
        ("Dogs  aboard", "Dogs"),
        ("old.jsonl#4", "Dogs"),
    ],
)
def test_a_document_is_found_by_id_file_and_title_and_by_what_was_left_out_as_its_repeat(
    name: str, begins: str
) -> None:
    filler = Document(id="rest.md", source="rest.md", text="\n\n".join(f"filler number {i}" for i in range(9)))
    place = place_of(document=name, at=where(filler, repeats={"old.jsonl#4": "faq.jsonl#17"}))
    assert place is not None and passages_of(filler)[place[0]].startswith(begins)


def test_a_document_narrows_a_passage_and_stands_in_for_one_that_is_nowhere() -> None:
    again = Document(id="again.md", source="again.md", text="A bicycle costs four crowns and no more.")
    both, texts = where(again), passages_of(again)
    bicycles = [i for i, text in enumerate(texts) if text.startswith("A bicycle")]
    assert place_of("A bicycle costs four crowns", at=both) == bicycles
    assert place_of("A bicycle costs four crowns", "again.md", at=both) == bicycles[1:]
    assert place_of("A unicycle costs nothing at all", "again.md", at=both) == bicycles[1:]


def test_a_passage_that_stands_or_nearly_stands_in_another_document_is_not_that_of_the_one_given() -> None:
    bicycle = "A bicycle costs four crowns and stands on the lower deck, tied to the rail by its owner"
    refunds = where().of_document("refunds")
    for passage in (bicycle, f"{bicycle}s"):
        assert place_of(passage, "refunds") == list(refunds)
    assert place_of(f"{bicycle}s", "luggage") == place_of(bicycle)


def test_an_answer_that_stands_nearly_everywhere_points_nowhere() -> None:
    corpus = to_corpus(documents()[:1], digest="", passage_characters=600)
    pairs, drops = placed([GivenPair("p#1", "q?", "", "luggage.md")], Passages(corpus, {}, CONFIG), CONFIG)
    assert pairs == [] and drops[0].reason == NOWHERE and "which tells nothing" in drops[0].detail


def test_clusters_are_documents_and_near_duplicates_of_questions() -> None:
    given_pairs = [
        GivenPair("p#1", "may I take my bicycle on the ship?", "A bicycle costs four crowns", ""),
        GivenPair("p#2", "how many bags may I bring along?", "Each passenger may bring two bags", ""),
        GivenPair("p#3", "may I take my bicycle on the ship", "", "refunds"),
        GivenPair("p#4", "what about dogs?", "", "17"),
        GivenPair("p#5", "what about dogs?", "", "luggage"),
    ]
    pairs, _ = placed(given_pairs, where(), CONFIG)
    assert [pair.rows for pair in pairs] == [("p#1",), ("p#2",), ("p#3",), ("p#4", "p#5")]
    assert [pair.cluster for pair in pairs] == [0, 0, 0, 0]
    pairs, _ = placed(given_pairs[:2] + given_pairs[3:4], where(), CONFIG)
    assert [pair.cluster for pair in pairs] == [0, 0, 1]


# Mined


def conversation(id: str, *texts: str, roles: tuple[str, str] = ("user", "assistant")) -> Document:
    turns = tuple(Turn(role=roles[i % 2], text=text) for i, text in enumerate(texts))
    return Document(id=id, source="chats.jsonl", turns=turns)


QUOTE = "Hi! A bicycle costs four crowns and stands on the lower deck, tied to the rail. Anything else?"


def mine(*conversations: Document, also: Sequence[Document] = ()) -> list[tuple[str, str]]:
    every = [*documents(*also), *conversations]
    return [(one.conversation, one.pair.document) for one in mined_pairs(lambda: iter(every), CONFIG)]


def test_a_question_is_mined_where_an_agent_quotes_a_passage() -> None:
    assert mine(conversation("c1", "what does my bike cost?", QUOTE)) == [("c1", "help/luggage.md")]


@pytest.mark.parametrize(
    "turn",
    [
        "See https://ferry.example/help/dogs-aboard, it is all there.",
        "Have a look at www.ferry.example/help/dogs-aboard/?from=chat.",
        "Please read “Dogs aboard” in our help.",
        "It is in [Dogs aboard](/x/1).",
    ],
)
def test_a_question_is_mined_where_an_agent_links_a_document(turn: str) -> None:
    assert mine(conversation("c1", "and my two dogs?", turn)) == [("c1", "faq.jsonl#17")]


@pytest.mark.parametrize(
    ("question", "turn"),
    [
        ("what does my bike cost?", "A bicycle costs four crowns and stands somewhere."),  # too short a quote
        ("ok then", QUOTE),  # asks nothing
        ("and my two dogs?", "See https://ferry.example/help/cats-aboard"),
        ("and my two dogs?", "Dogs aboard are welcome, I think."),  # words of a title that nobody quotes
        ("and my two dogs?", "Both “Dogs aboard” and “Luggage and bicycles” say so."),  # which of them?
    ],
)
def test_what_is_not_certain_is_not_mined(question: str, turn: str) -> None:
    assert mine(conversation("c1", question, turn)) == []


def test_only_agents_answer_and_only_visitors_ask() -> None:
    assert mine(conversation("c1", "what does my bike cost?", QUOTE, roles=("user", "customer"))) == []
    assert mine(conversation("c1", "what does my bike cost?", QUOTE, roles=("assistant", "assistant"))) == []
    assert mine(conversation("c1", "what does my bike cost?", QUOTE, roles=("Customer", "Agent"))) != []


def test_what_agents_say_again_and_again_is_no_answer() -> None:
    often = [conversation(f"c{i}", f"my question of number {i}?", QUOTE) for i in range(4)]
    assert mine(*often) == [] and len(mine(*often[:3])) == 3


def test_a_passage_that_two_documents_have_is_not_mined() -> None:
    again = Document(id="again.md", source="again.md", text=LUGGAGE.split("\n\n")[2])
    assert mine(conversation("c1", "what does my bike cost?", QUOTE), also=[again]) == []
