"""The bank of a run: what is held out to ask a person about, and that nothing else has seen it."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from shoptalk.config import Config
from shoptalk.curate.bank import FEWEST_TEXTS, apart_from, bank_line, messages_of, one_of_each
from shoptalk.curate.curation import IS_HELD_OUT, to_corpus
from shoptalk.curate.dedup import Reference
from shoptalk.records import Document, Turn
from shoptalk.stages.bank import bank_stage, known_texts
from shoptalk.stages.curate import Curated, curate_stage
from shoptalk.stages.world import World
from shoptalk.text.dialogue import Replies
from tests.conftest import Listener

WORDS = [f"w{a}{b}" for a in "abcdefghijklmnop" for b in "qrstuvwxyz"]


def sentence(rng: random.Random) -> str:
    return " ".join(rng.sample(WORDS, 12))


def conversations(path: Path, n: int, *, seed: int = 0) -> Path:
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        turns = [{"role": ("user", "assistant")[i % 2], "text": sentence(rng)} for i in range(6)]
        rows.append(json.dumps({"id": f"c{number}", "turns": turns}))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def held(folder: Path, *sources: Path, bank: float = 0.1, labels: Path | None = None) -> tuple[Curated, Listener]:
    listener = Listener()
    if labels is None:
        labels = folder.parent / "two.csv"
        texts = {
            "price": ("what does it cost", "how much is the ticket"),
            "place": ("where are you", "who can guide us"),
        }
        rows = [f"{text},{label}" for label, both in texts.items() for text in both]
        labels.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    world = World(run=folder, config=Config(), report=listener)
    curated = curate_stage(world, sources, labels, None, bank=bank)
    bank_stage(world, curated)
    return curated, listener


def messages_in(folder: Path) -> list[str]:
    rows = (folder / "bank" / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(row)["text"] for row in rows]


def test_a_tenth_of_the_conversations_is_held_out_whole_and_training_sees_none_of_it(tmp_path: Path) -> None:
    source = conversations(tmp_path / "c.jsonl", 400)
    curated, listener = held(tmp_path / "run", source)
    assert curated.bank is not None
    kept, banked = ({corpus.document_of(i).id for i in range(len(corpus))} for corpus in (curated.train, curated.bank))
    assert not kept & banked
    assert 15 <= len(banked) <= 70
    assert len(curated.bank) == 6 * len(banked)
    messages = messages_in(tmp_path / "run")
    near = Reference(messages, 0.8)
    assert not any(near.near(list(texts)).any() for texts in known_texts(curated))
    assert any(f"bank: {len(messages)} messages are held out" in said for said in listener.said)


def test_only_what_visitors_say_is_asked_about(tmp_path: Path) -> None:
    source = conversations(tmp_path / "c.jsonl", 300)
    curated, _ = held(tmp_path / "run", source)
    assert curated.bank is not None
    said = {curated.bank.texts[i] for i in range(len(curated.bank)) if curated.bank.role_of(i) == "user"}
    assert set(messages_in(tmp_path / "run")) == said


def test_sources_too_small_to_spare_any_are_trained_on_whole_and_that_is_said(tmp_path: Path) -> None:
    source = conversations(tmp_path / "c.jsonl", FEWEST_TEXTS // 6)
    curated, listener = held(tmp_path / "run", source)
    plain, _ = held(tmp_path / "other", source, bank=0.0)
    assert curated.bank is None
    assert list(curated.train.texts) == list(plain.train.texts)
    assert curated.artifact.content == plain.artifact.content
    assert bank_line(0) in listener.said


def test_conversations_that_come_later_move_no_earlier_one(tmp_path: Path) -> None:
    first, second = conversations(tmp_path / "a.jsonl", 300), conversations(tmp_path / "b.jsonl", 100, seed=1)
    alone, _ = held(tmp_path / "one", first)
    both, _ = held(tmp_path / "two", first, second)
    marks = [np.load(curated.folder / IS_HELD_OUT) for curated in (alone, both)]
    assert np.array_equal(marks[0], marks[1][: len(marks[0])])


def test_near_duplicates_of_a_plain_text_in_the_bank_go_with_it(tmp_path: Path) -> None:
    rng = random.Random(0)
    originals = [sentence(rng) for _ in range(1_000)]
    texts = originals + [f"{text} please" for text in originals]
    curated, _ = held(tmp_path / "run", lines(tmp_path / "t.jsonl", texts))
    assert curated.bank is not None
    banked, kept = set(curated.bank.texts), set(curated.train.texts)
    assert len(banked) + len(kept) == len(texts)
    pairs = [(text, f"{text} please") for text in originals]
    assert all((one in banked) == (other in banked) for one, other in pairs)
    messages = messages_in(tmp_path / "run")
    assert len(messages) == len(banked) / 2
    assert 120 <= len(messages) <= 280


def test_manuals_and_texts_beside_labels_are_no_messages(tmp_path: Path) -> None:
    rng = random.Random(0)
    texts = [sentence(rng) for _ in range(1_200)]
    manual = tmp_path / "manual.md"
    manual.write_text("\n\n".join(sentence(rng) for _ in range(300)), encoding="utf-8")
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\n" + "".join(f"{text},{i % 2}\n" for i, text in enumerate(texts[:40])))
    curated, _ = held(tmp_path / "run", lines(tmp_path / "t.jsonl", texts), manual, labels=labels)
    messages = set(messages_in(tmp_path / "run"))
    assert messages <= set(texts[40:])
    assert curated.bank is not None
    assert not any(curated.bank.document_of(i).source.endswith(".md") for i in range(len(curated.bank)))


def test_the_greeting_of_an_agent_is_no_message_and_strangers_are_all_asked_about() -> None:
    def document(id: str, *turns: tuple[str, str]) -> Document:
        return Document(id=id, source="s", turns=tuple(Turn(role=role, text=text) for role, text in turns))

    talk = document("a", ("assistant", "hello"), ("user", "where is it"), ("assistant", "here"), ("tool", "lookup 7"))
    corpus = to_corpus([talk], digest="", passage_characters=600)
    assert messages_of(corpus) == ["where is it"]
    strangers = document("b", ("ann", "hi there"), ("bob", "hello you"), ("ann", "how are you"))
    corpus = to_corpus([strangers], digest="", passage_characters=600)
    assert len(Replies.of(corpus)) == 2
    assert messages_of(corpus)


def test_of_near_duplicates_one_is_a_message_and_what_others_hold_is_none() -> None:
    texts = ["where is my parcel today", "Where is my parcel, today?", "please cancel the whole order now"]
    assert one_of_each(texts, 0.8) == [texts[0], texts[2]]
    assert apart_from(texts, [["PLEASE cancel the whole order now!"], []], 0.8).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [(0, "nothing is held out"), (40, "fewer than 100"), (500, "with 3,000 or more"), (5_000, "5,000 messages")],
)
def test_how_large_a_bank_is_and_when_a_larger_one_would_help_is_said(messages: int, expected: str) -> None:
    assert expected in bank_line(messages)
