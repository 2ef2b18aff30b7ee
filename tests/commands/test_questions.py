"""Questions by a model itself: what survives, what does not and why, and that nothing is lost on the way."""

import json
import zlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from shoptalk.assistant.fulltext import stems
from shoptalk.assistant.sections import Passage, Span, passages_of
from shoptalk.assistant.shelf import Shelf, write_shelf
from shoptalk.commands import question_prompts, questions
from shoptalk.commands.batch_journal import BatchJournal
from shoptalk.commands.question_prompts import (
    MOST_EXAMPLES,
    WORKED,
    answers_of,
    messages,
    prompt,
    prompts_digest,
    read_question,
)
from shoptalk.commands.question_result import QuestionSettings
from shoptalk.commands.questions import PAIRS, write_questions
from shoptalk.commands.round_trip import RULES, JudgedQuestion, RoundTrip, WrittenQuestion
from shoptalk.config import CurateConfig, load
from shoptalk.curate.answers import Passages, placed
from shoptalk.curate.curation import curate, read_drops, to_corpus
from shoptalk.curate.questions import read_pairs
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import ArtifactError, InputError, SourceError, StorageError
from shoptalk.nn.decoding.generation import Generated, GenerationRequest
from shoptalk.nn.tiny import tiny_product
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.objective import Key, Material
from shoptalk.objectives.autoregressive.sft import SftSpec
from shoptalk.question import FILE
from shoptalk.records import Document
from shoptalk.stages.world import World
from shoptalk.text.chat import Message
from tests.command_line import call
from tests.conftest import Listener

TEXTS = {
    "garden.md": "# The garden\n\nThe garden opens at 9 in the morning. Dogs stay on a lead near the Rose Pond.\n",
    "tower.md": "# The tower\n\nThe tower has 212 steps and no lift. A ticket for the tower costs 5 marks a head.\n",
    "boats.md": "# Boats\n\nA boat is rented for 12 marks an hour. Children under ten need a vest, which is free.\n",
    "tiny.md": "# Notes\n\nWork in progress.\n",
}
ANSWERS = {
    "The garden": "The garden opens at 9 in the morning.",
    "The tower": "A ticket for the tower costs 5 marks a head.",
    "Boats": "A boat is rented for 12 marks an hour.",
}
GOOD = {
    "The garden": "When does the garden open in the morning?",
    "The tower": "How much is a ticket for the tower?",
    "Boats": "What do I pay for a boat?",
}


class WordVectors:
    """An encoder that has learned nothing: each word's stem is a direction."""

    dim = 512

    def embed(self, items: Sequence[str]) -> np.ndarray:
        vectors = np.full((len(items), self.dim), 1e-6, dtype=np.float32)
        for row, item in enumerate(items):
            for stem in stems(item):
                vectors[row, zlib.crc32(stem.encode()) % self.dim] += 1.0
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class Scribe:
    """Writes what it is told to about each passage, by its title; it stops before a pass that is to fail."""

    context = 4_000

    def __init__(self, says: dict[str, str] = GOOD, *, stops_at: int | None = None, converses: bool = False) -> None:
        self.says, self.stops_at, self.converses = says, stops_at, converses
        self.asked: list[str] = []
        self.requests: list[GenerationRequest] = []
        self._texts: dict[int, str] = {}

    def prompt(self, text: str) -> tuple[int, ...]:
        self._texts[zlib.crc32(text.encode())] = text
        return (zlib.crc32(text.encode()), *([1] * len(text.split())))

    def chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        assert [message.role for message in messages] == [("user", "assistant")[n % 2] for n in range(len(messages))]
        return self.prompt("\n".join(message.text for message in messages))

    def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
        if self.stops_at is not None and len(self.asked) >= self.stops_at:
            raise KeyboardInterrupt
        self.requests += requests
        written = []
        for request in requests:
            last = self._texts[request.ids[0]].rpartition("Passage (")[2]
            title = last.partition(")")[0].partition(" – ")[0]
            self.asked.append(title)
            question = self.says.get(title, "")
            reason: Any = "length" if question.endswith("…") else "stop"
            written.append(Generated(f" {question}", (), reason, len(request.ids), 0, 1, 0, 0))
        return written


class Titled(Scribe):
    """Tells the passages by their titles, wherever they stand in a prompt."""

    def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
        for request in requests:
            text = self._texts[request.ids[0]]
            self.asked.append(max(self.says, key=text.rfind))
        return [Generated(self.says[title], (), "stop", 1, 0, 1, 0, 0) for title in self.asked[-len(requests) :]]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "open_text", lambda ref: WordVectors())
    monkeypatch.setattr(questions, "base_digest", lambda ref: ref)
    # The sentence that is asked for: of each of the small documents the one that has an answer above.
    monkeypatch.setattr(
        questions,
        "answers_of",
        lambda passage, each, seed: (
            [a for a in ANSWERS.values() if a in passage.text] or answers_of(passage, each=1, seed=0)
        ),
    )


def asking(monkeypatch: pytest.MonkeyPatch, scribe: Scribe) -> Scribe:
    monkeypatch.setattr(questions, "open_writer", lambda ref: scribe)
    return scribe


def world_of(run: Path, *overrides: str, seed: int = 0) -> World:
    return World(run=run, config=load(overrides=list(overrides), seed=seed), report=Listener())


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_what_survives_is_counted_and_what_was_not_asked_about_has_its_reason(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scribe = asking(monkeypatch, Scribe())
    world = world_of(tmp_path / "run")
    result = write_questions(world, "scribe", [documents])
    assert sorted(scribe.asked) == sorted(GOOD)
    assert (result.written, result.kept, result.dropped) == (3, 3, {})
    assert result.left_out == {"too-short": 1} and "3 survive (100 %)" in result.sentence
    assert isinstance(world.report, Listener)
    assert any("3 of 3 written, 3 of them survive, done in" in line for line in world.report.said)
    rows = lines_of(tmp_path / "run" / "questions" / PAIRS)
    assert [(row["question"], row["answer"]) for row in rows] == [
        (GOOD[title], ANSWERS[title]) for title in ("Boats", "The garden", "The tower")
    ]
    assert not (tmp_path / "run" / "work").exists()


def test_every_pair_points_into_a_corpus_of_the_same_documents(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, Scribe())
    write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    config = CurateConfig()
    given_pairs, drops = read_pairs(tmp_path / "run" / "questions" / PAIRS, config, say=print)
    kept = list(curate(stream_sources([documents], config), reserved=(), config=config))
    corpus = to_corpus([item for item in kept if isinstance(item, Document)], digest="d", passage_characters=600)
    pairs, nowhere = placed(given_pairs, Passages(corpus, {}, config), config)
    assert (len(pairs), drops, nowhere) == (3, [], [])
    passages = corpus.passages().numbers
    for pair in pairs:
        answer = ANSWERS[next(title for title, question in GOOD.items() if question == pair.question)]
        assert any(answer in str(corpus.items[passages[number]]) for place in pair.places for number in place)


def test_the_conversations_teach_the_answers_and_nothing_else(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, Scribe())
    write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    read = list(stream_sources([tmp_path / "run" / "questions" / "conversations.jsonl"], CurateConfig()))
    talks = [item for item in read if isinstance(item, Document)]
    assert [[turn.role for turn in talk.turns] for talk in talks] == [["passage", "user", "assistant"]] * 3
    corpus, model = to_corpus(talks, digest="t", passage_characters=600), tiny_language_model(max_length=512)
    spec = SftSpec(batch=3, context=512)
    examples = np.asarray(spec.examples(corpus)).tolist()
    batch = spec.collate(Material(corpus, model, None, None))(examples, Key(0, 0))
    assert len(examples) == 3
    taught = model.tokenizer.decode(batch.rows.ids[batch.taught].tolist())
    assert set(filter(None, taught.split("<|endoftext|>"))) == set(ANSWERS.values())
    whole = model.tokenizer.decode(batch.rows.ids.flatten().tolist())
    assert "Dogs stay on a lead near the Rose Pond." in whole


def test_several_questions_to_a_passage_are_one_conversation(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(["When does the garden open?", "Where do dogs stay on a lead?"])
    asking(monkeypatch, Scribe())
    monkeypatch.setattr(questions, "read_question", lambda text: next(said))
    monkeypatch.setattr(questions, "answers_of", lambda passage, each, seed: [line.text for line in passage.lines])
    result = write_questions(world_of(tmp_path / "run"), "scribe", [documents / "garden.md"], QuestionSettings(each=2))
    assert (result.asked, result.written, result.kept) == (1, 2, 2)
    (talk,) = lines_of(tmp_path / "run" / "questions" / "conversations.jsonl")
    assert [turn["role"] for turn in talk["turns"]] == ["passage", "user", "assistant", "user", "assistant"]
    assert [turn["text"] for turn in talk["turns"][2::2]] == [
        ANSWERS["The garden"], "Dogs stay on a lead near the Rose Pond.",
    ]  # fmt: skip


# --- what does not survive --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "reason", "detail"),
    [
        ("The tower.", "no-question", "question mark"),
        ("And then?", "no-question", "3 words or more"),
        (WORKED["en"][0].question, "copied-example", "worked example"),
        ("What of it, a ticket for the tower costs 5 marks a head?", "holds-answer", "what it asks for"),
        ("What does the passage say of a ticket for the tower?", "about-the-prompt", "'passage'"),
        ("How much is a ticket for the tower and…", "unfinished", "tokens were used up"),
        ("How much are 7 tickets for the tower?", "question-unsupported", "number 7"),
        ("How much are nine tickets for the tower?", "question-unsupported", "'nine'"),
        ("What does the tower at Eastgate cost?", "question-unsupported", "'Eastgate'"),
        ("How much is it if I'm in the garden?", "not-found", "at place 2"),
        ("Who likes cheese best of all?", "not-found", "place"),
    ],
)
def test_a_question_that_does_not_survive_says_why(
    question: str, reason: str, detail: str, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, Scribe(GOOD | {"The tower": question}))
    result = write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    assert (result.kept, result.dropped) == (2, {reason: 1})
    drops = {drop.reason: drop for drop in read_drops(tmp_path / "run" / "questions")}
    assert detail in drops[reason].detail and drops[reason].source == "documents/tower.md"
    assert "too-short" in drops


def test_the_answer_that_the_assistant_would_quote_must_say_what_was_written(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, ("tower.md", TEXTS["tower.md"]))
    trip = RoundTrip(shelf, WordVectors(), rank=1, day=date(2026, 1, 1))
    question = "How much is a ticket for the tower?"
    right, wrong = trip.judged(
        [WrittenQuestion(0, 0, question, text) for text in ("5 marks a head.", "The tower has 212 steps and no lift.")]
    )
    assert right.reason is None
    assert wrong.reason == "other-answer" and "A ticket for the tower costs 5 marks" in wrong.detail


def test_a_question_is_kept_where_its_passage_is_among_the_first_k(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, *TEXTS.items())
    garden = next(n for n in range(len(shelf)) if shelf.passage(n).title == "The garden")
    asked = WrittenQuestion(garden, 0, "When does the garden by the tower open for a ticket?", "It opens at 9.")
    reasons = [
        trip.judged([asked])[0].reason
        for trip in (RoundTrip(shelf, WordVectors(), rank=rank, day=date(2026, 1, 1)) for rank in (1, 2))
    ]
    assert reasons == ["not-found", None]


def test_of_questions_that_are_nearly_the_same_the_first_stays(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (documents / "zoo.md").write_text("# Zoo\n\nA guide through the zoo costs 5 marks, and a plan of it is free.\n")
    asking(monkeypatch, Scribe(GOOD | {"Zoo": "What does a guide through the zoo cost?"}))
    monkeypatch.setattr(questions, "clusters", lambda texts, threshold: np.array([0, 1, 2, 0]))
    result = write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    assert (result.kept, result.dropped) == (3, {"near-duplicate": 1})
    drops = [drop for drop in read_drops(tmp_path / "run" / "questions") if drop.reason == "near-duplicate"]
    assert [drop.source for drop in drops] == ["documents/zoo.md"] and GOOD["Boats"] in drops[0].detail


def test_documents_that_do_not_hold_today_and_conversations_are_not_asked_about(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (documents / "old.md").write_text(f"---\nuntil: 2001-01-01\n---\n{TEXTS['garden.md'].replace('9', '10')}")
    turns = [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello."}]
    (documents / "chats.jsonl").write_text(json.dumps({"turns": turns}) + "\n")
    scribe = asking(monkeypatch, Scribe())
    result = write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    assert result.left_out == {"too-short": 1, "conversation": 1, "not-valid": 1}
    assert sorted(scribe.asked) == sorted(GOOD)


# --- stopped, asked again, refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_a_stopped_run_goes_on_and_writes_what_one_without_a_stop_writes(
    batch: int, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "BATCH", batch)
    asking(monkeypatch, Scribe())
    whole = write_questions(world_of(tmp_path / "whole"), "scribe", [documents])
    asking(monkeypatch, Scribe(stops_at=2))
    with pytest.raises(KeyboardInterrupt):
        write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    (judged,) = (tmp_path / "run" / "work").glob("*/judged.jsonl")
    assert len(lines_of(judged)) == 2
    judged.write_bytes(judged.read_bytes() + b'{"passage": 2, "dra')  # a kill in the middle of a line
    world, scribe = world_of(tmp_path / "run"), asking(monkeypatch, Scribe())
    assert write_questions(world, "scribe", [documents]) == whole
    assert scribe.asked == ["The tower"] and any("2 of 3 are there already" in line for line in world.report.said)  # type: ignore[attr-defined]
    for name in (PAIRS, "conversations.jsonl", "drops.jsonl"):
        files = [tmp_path / run / "questions" / name for run in ("whole", "run")]
        assert files[0].read_bytes() == files[1].read_bytes()
    asking(monkeypatch, Scribe(stops_at=0))
    assert write_questions(world_of(tmp_path / "run"), "scribe", [documents]) == whole


def test_a_run_that_goes_on_another_day_asks_about_the_documents_of_the_first(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "BATCH", 1)
    (documents / "old.md").write_text(f"---\nuntil: 2020-02-02\n---\n{TEXTS['garden.md'].replace('9', '10')}")
    asking(monkeypatch, Scribe(stops_at=0))
    with pytest.raises(KeyboardInterrupt):
        write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    (day,) = (tmp_path / "run" / "work").glob("*/day")
    assert day.read_text() == date.today().isoformat()
    day.write_text("2020-02-02")
    asking(monkeypatch, Scribe())
    result = write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    assert (result.day, result.asked) == (date(2020, 2, 2), 4) and "not-valid" not in result.left_out


def test_another_question_is_refused_where_it_would_replace_finished_work(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, Scribe())
    write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    for model, settings, said in (
        ("scribe", QuestionSettings(rank=2), "rank: 1 -> 2"),
        ("other", QuestionSettings(), "model: scribe -> other"),
    ):
        with pytest.raises(StorageError, match=rf"holds a finished set of questions for another question \({said}\)"):
            write_questions(world_of(tmp_path / "run"), model, [documents], settings)
    result = write_questions(world_of(tmp_path / "run"), "scribe", [documents], QuestionSettings(rank=2), force=True)
    assert result.settings.rank == 2


@pytest.mark.parametrize(
    ("module", "name", "value", "said"),
    [
        (question_prompts, "_INSTRUCTION", "Ask something.\n\n", "asks the model in other words"),
        (question_prompts, "WORKED", {"en": WORKED["en"][:1]}, "asks the model in other words"),
        (questions, "RULES", RULES - 1, "judges questions by other rules"),
    ],
    ids=["instruction", "worked examples", "rules"],
)
def test_with_other_prompts_or_rules_nothing_that_was_judged_is_used_again(
    module: Any, name: str, value: object, said: str, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "BATCH", 1)
    stopped, finished = tmp_path / "stopped", tmp_path / "finished"
    asking(monkeypatch, Scribe(stops_at=2))
    with pytest.raises(KeyboardInterrupt):
        write_questions(world_of(stopped), "scribe", [documents])
    asking(monkeypatch, Scribe())
    write_questions(world_of(finished), "scribe", [documents])
    monkeypatch.setattr(module, name, value)
    scribe = asking(monkeypatch, Titled())
    write_questions(world_of(stopped), "scribe", [documents])
    assert sorted(scribe.asked) == sorted(GOOD)  # all of them, also the two that were there
    with pytest.raises(StorageError, match=rf"another question \(this version of Shoptalk {said}\)") as refused:
        write_questions(world_of(finished), "scribe", [documents])
    assert "or --force to replace it; all of it is made again." in str(refused.value)


def test_what_an_earlier_version_finished_is_refused_too(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, Scribe())
    write_questions(world_of(tmp_path / "run"), "scribe", [documents])
    record = tmp_path / "run" / FILE
    written = json.loads(record.read_text("utf-8"))
    for name in ("prompts", "rules", "temperature"):  # a version before would have recorded none of them
        del written["asked"][name]
    record.write_text(json.dumps(written), "utf-8")
    words = "this version of Shoptalk asks the model in other words; this version of Shoptalk judges questions by other"
    with pytest.raises(StorageError, match=rf"another question \({words} rules\)"):
        write_questions(world_of(tmp_path / "run"), "scribe", [documents])


FORMS: dict[str, tuple[str, object]] = {
    "form": ("_given", lambda heading, text, answer: f"{heading}|{text}|{answer}"),
    "full stops": ("told", lambda passage: " ".join(line.text for line in passage.lines)),
    "one text": ("prompt", lambda passage, answer, *, examples: prompt(passage, answer, examples=examples) + " "),
    "one text's examples": (
        "prompt",
        lambda passage, answer, *, examples: prompt(passage, answer, examples=examples).replace("\n\n", "\n"),
    ),
    "turns": (
        "messages",
        lambda passage, answer, *, examples: [
            Message("system", ""),
            *messages(passage, answer, examples=examples),
        ],
    ),
    "the language of examples": ("_worked", lambda passage: WORKED["en"]),
}


@pytest.mark.parametrize(("name", "changed"), FORMS.values(), ids=FORMS)
def test_whatever_the_model_reads_otherwise_changes_the_prompts_digest(
    name: str, changed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prompts_digest()
    assert before == prompts_digest()
    monkeypatch.setattr(question_prompts, name, changed)
    assert prompts_digest() != before


def test_what_is_drawn_depends_on_the_seed_and_the_passage_alone(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seeds(name: str, seed: int, most: int | None) -> dict[str, int]:
        scribe = asking(monkeypatch, Scribe())
        settings = QuestionSettings(temperature=0.7, most=most)
        write_questions(world_of(tmp_path / name, seed=seed), "scribe", [documents], settings)
        return dict(zip(scribe.asked, (request.seed for request in scribe.requests), strict=True))

    every, some, other = seeds("every", 0, None), seeds("some", 0, 3), seeds("other", 1, None)
    assert 0 < len(some) <= 3 and some.items() <= every.items()
    assert not set(every.values()) & set(other.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (QuestionSettings(rank=0), "--rank is 0; give 1 or more"),
        (QuestionSettings(most=0), "--most is 0; give 1 or more"),
        (QuestionSettings(each=0), "--each is 0; give 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_read(
    settings: QuestionSettings, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        write_questions(world_of(tmp_path / "run"), "scribe", [tmp_path / "not-there"], settings)


def test_sources_without_anything_to_ask_about_are_told(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, Scribe())
    with pytest.raises(SourceError, match=r"hold 1 passages, and none can be asked about: 1 too-short"):
        write_questions(world_of(tmp_path / "run"), "scribe", [documents / "tiny.md"])
    chats = documents / "chats.jsonl"
    chats.write_text(json.dumps({"turns": [{"role": "user", "text": "Hi there"}]}) + "\n")
    with pytest.raises(SourceError, match=r"no document to ask about: 1 conversation"):
        write_questions(world_of(tmp_path / "chats"), "scribe", [chats])


@pytest.mark.parametrize("converses", [True, False])
def test_a_passage_gets_as_many_worked_examples_as_there_is_room_for(
    converses: bool, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for context, expected in ((4_000, 3), (180, 2), (125, 1)):
        scribe = asking(monkeypatch, Scribe(converses=converses))
        scribe.context = context
        write_questions(world_of(tmp_path / str(context)), "scribe", [documents])
        texts = [scribe._texts[request.ids[0]] for request in scribe.requests]
        assert {text.count("Answer:") for text in texts} == {expected}
        assert {text.startswith("Write the question") for text in texts} == {converses}
    scribe.context = 70
    with pytest.raises(SourceError, match=r"none can be asked about: 3 too-long"):
        write_questions(world_of(tmp_path / "none"), "scribe", [documents])


def test_what_fits_the_context_is_counted_in_tokens_for_every_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a tokenizer of bytes the sentence with the most characters has not the most tokens."""
    text = (
        "The ticket office is open every day from nine until five, and closes at noon on a Friday in winter. Касса "
        "открыта ежедневно с девяти утра до пяти вечера и закрыта по пятницам зимой совсем."
    )
    (passage,) = passages_of(Document(id="d.md", source="d.md", text=text))
    answers = answers_of(passage, each=3, seed=0)
    assert max(answers, key=len) != max(answers, key=lambda answer: len(answer.encode()))
    scribe = asking(monkeypatch, Scribe())
    monkeypatch.setattr(scribe, "prompt", lambda text: tuple(text.encode()))
    sizes = [
        [len(questions._ids(scribe, passage, answer, examples)) for answer in answers]
        for examples in range(MOST_EXAMPLES + 1)
    ]
    for scribe.context in range(min(sizes[0]), max(sizes[-1]) + questions.MOST_TOKENS + 2):
        fits = [number for number, each in enumerate(sizes) if max(each) + questions.MOST_TOKENS <= scribe.context]
        assert questions._fitting(scribe, passage, answers) == max(fits, default=None)


# --- by itself --------------------------------------------------------------------------------------------------------


def shelf_of(folder: Path, *texts: tuple[str, str]) -> Shelf:
    documents = [Document(id=name, source=name, text=text) for name, text in texts]
    (folder / "shelf").mkdir()
    write_shelf(folder / "shelf", documents, WordVectors(), dim=WordVectors.dim)
    return Shelf(folder / "shelf")


@pytest.mark.parametrize("example", [each for of in WORKED.values() for each in of], ids=lambda each: each.heading)
def test_a_worked_example_passes_the_checks_that_it_is_an_example_of(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert example.answer in example.passage
    shelf = shelf_of(tmp_path, ("w.md", f"# {example.heading}\n\n{example.passage}\n"))
    trip = RoundTrip(shelf, WordVectors(), rank=1, day=date(2026, 1, 1))
    written = WrittenQuestion(0, 0, example.question, example.answer)
    assert trip.judged([written])[0].reason == "copied-example"
    monkeypatch.setattr("shoptalk.commands.round_trip.COPIED", frozenset())
    (judged,) = trip.judged([written])
    assert judged.reason is None, judged.detail


def test_a_prompt_ends_where_the_question_is_to_come_and_has_examples_in_the_passages_language() -> None:
    german = "# Boote\n\nDas Boot kostet 12 Mark für eine Stunde, und eine Weste ist für die Kinder frei.\n"
    for text, begins in ((TEXTS["boats.md"], "Passage (Reading room"), (german, "Passage (Lesesaal")):
        (passage,) = passages_of(Document(id="b.md", source="b.md", text=text))
        (answer,) = answers_of(passage, each=1, seed=0)
        asked = prompt(passage, answer, examples=2)
        assert asked.startswith(begins) and asked.endswith(f"\nAnswer: {answer}\nQuestion:")
        assert [asked.count(part) for part in ("Answer:", "Question:", "Passage (")] == [3, 3, 3]
        turns = messages(passage, answer, examples=2)
        assert [turn.role for turn in turns] == ["user", "assistant"] * 2 + ["user"]
        assert begins in turns[0].text and turns[-1].text.endswith(f"\nAnswer: {answer}")
        assert turns[1].text.endswith("?") and len(messages(passage, answer, examples=0)) == 1


@given(
    st.lists(st.sampled_from(["It is 5 marks a head.", "Ask at the Rose Pond now.", "we are open all day.", "Yes."])),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_what_is_asked_for_are_sentences_of_the_passage_and_first_those_that_state_something(
    texts: list[str], each: int, seed: int
) -> None:
    lines = tuple(Span(0, 1, text, 0) for text in texts)
    passage = Passage("d", "", "", 0, 1, " ".join(texts), lines)
    answers = answers_of(passage, each=each, seed=seed)
    able = {text for text in texts if text != "Yes."}
    assert set(answers) <= able and len(answers) == len(set(answers)) == min(each, len(able))
    plain = [text.startswith("we") for text in answers]
    assert plain == sorted(plain) and answers == answers_of(passage, each=each, seed=seed)


@given(st.text(max_size=200))
def test_whatever_a_model_writes_is_read_as_one_line(written: str) -> None:
    question = read_question(written)
    assert "\n" not in question and question == question.strip()
    assert read_question(f" Question: {question}\nAnswer: no") in (question, read_question(question))


@trying(max_examples=40, deadline=None)
@given(rows=st.integers(0, 9), cut=st.integers(0, 400), batch=st.integers(1, 4))
def test_however_a_journal_is_cut_whole_batches_from_its_beginning_are_left(
    rows: int, cut: int, batch: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "judged.jsonl"
    written = [JudgedQuestion(passage=n, draw=0, question="Où?", answer="là") for n in range(rows)]
    BatchJournal(path, JudgedQuestion, total=9, batch=batch).append(written)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    lines = path.read_bytes().count(b"\n")
    left = BatchJournal(path, JudgedQuestion, total=9, batch=batch)
    assert left.rows == written[: 9 if lines == 9 else lines // batch * batch]
    left.append(written[len(left.rows) :])
    assert path.read_bytes() == whole


def test_a_line_of_the_journal_that_is_no_question_is_named(tmp_path: Path) -> None:
    (tmp_path / "judged.jsonl").write_text('{"passage": 1}\n')
    with pytest.raises(ArtifactError, match=r"judged.jsonl is damaged \(line 1: draw"):
        BatchJournal(tmp_path / "judged.jsonl", JudgedQuestion, total=3, batch=1)


def test_a_model_that_knows_nothing_has_its_questions_dropped_and_the_command_says_so(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    tiny_language_model(max_length=2_000).save(tmp_path / "model", card="# A model\n")
    tiny_product().save(tmp_path / "encoder", card="")
    words = ["questions", documents, "--model", tmp_path / "model", "--encoder", tmp_path / "encoder"]
    words += ["--temperature", 1, "--seed", 3]
    status, out, err = call(capsys, monkeypatch, *words, "--out", tmp_path / "one")
    assert status == 0, err
    assert "0 survive (0 %)" in out and "left out: 4 (" in out and "too few words to ask about" in out
    status, told, _ = call(capsys, monkeypatch, *words, "--out", tmp_path / "two", "--json")
    assert status == 0 and json.loads(told)["kept"] == 0
    drops = [(tmp_path / name / "questions" / "drops.jsonl").read_bytes() for name in ("one", "two")]
    assert drops[0] == drops[1]
