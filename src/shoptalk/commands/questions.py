"""`shoptalk questions SOURCE... --model REF`: a language model writes questions to the documents' own passages.

    result = write_questions(world, "smollm2", [Path("documents/")])

Nobody labels anything: the model reads a passage and writes a question to one of its sentences (`question_prompts.py`),
and what does not survive the round trip (`round_trip.py`) is dropped with its reason. `DIR/questions` holds

| file                  | holds                                                                                 |
|-----------------------|---------------------------------------------------------------------------------------|
| `pairs.jsonl`         | `question`, `passage`, `document`, `answer` a line: for `adapt --task answer --pairs`   |
| `conversations.jsonl` | one for each passage: the passage, then its questions and answers, with their roles   |
| `drops.jsonl`         | what of the sources was left out, passages that were not asked about, questions       |
| `result.json`         | what survived, and the counts by reason                                               |

`DIR/work` holds what is judged already, a line a question: the same call goes on there. Where another version of
Shoptalk asks or judges in another way, unfinished work begins anew, and finished work is refused without `force`.
"""

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from shoptalk.artifact import create, key_of, open_artifact, sound, write_text
from shoptalk.assistant.sections import Passage
from shoptalk.assistant.shelf import Embeds, Shelf, write_shelf
from shoptalk.commands.batch_journal import BatchJournal
from shoptalk.commands.question_prompts import (
    MOST_EXAMPLES,
    STOP,
    answers_of,
    messages,
    prompt,
    prompts_digest,
    read_question,
)
from shoptalk.commands.question_result import QuestionSettings, QuestionsResult
from shoptalk.commands.round_trip import RULES, JudgedQuestion, RoundTrip, WrittenQuestion
from shoptalk.config import Config
from shoptalk.curate.clean import sample
from shoptalk.curate.curation import by_reason, curate, read_drops, write_drops
from shoptalk.curate.dedup import clusters
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import InputError, SourceError
from shoptalk.nn.bases import open_text
from shoptalk.nn.decoding.generation import Converses, Generated, GenerationRequest
from shoptalk.nn.decoding.writer import open_writer
from shoptalk.nn.digests import base_digest
from shoptalk.quantities import span
from shoptalk.question import Question, claim
from shoptalk.readback import read_record, read_text
from shoptalk.records import Document, Drop
from shoptalk.stages.world import World
from shoptalk.text.order import permuted
from shoptalk.training.reporter import Reporter

FOLDER = "questions"
PAIRS, CONVERSATIONS, RESULT = "pairs.jsonl", "conversations.jsonl", "result.json"
MOST_TOKENS = 60
"""Of a question."""
BATCH = 16
"""Questions that are written and judged at once: at most so many are lost to Ctrl-C."""
FEWEST_WORDS = 8
"""Of a passage: less says too little to ask about."""
SHOWN = 3
"""Questions that are told of with the result."""
SAY_EVERY = 15.0
"""Seconds between two lines of progress."""


def write_questions(
    world: World,
    model: str,
    sources: Sequence[Path],
    settings: QuestionSettings | None = None,
    *,
    force: bool = False,
) -> QuestionsResult:
    """Write and judge; leaves `DIR/questions`, and returns what its `result.json` holds.

    The same call again goes on, or returns at once. It writes what one run without a stop would have written, wherever
    the best two tokens are further apart than rounding.

    Raises:
        SourceError: the sources cannot be read, or hold no document with a passage to ask about.
        InputError: a setting is out of range, or the model is no decoder.
        BaseModelError: the model or the encoder cannot be opened.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    settings = settings or QuestionSettings()
    _refuse(settings)
    config = world.config
    files = source_fingerprint(sources, config.curate, out=world.run)
    asked = {"seed": config.seed, "curate": config.curate.model_dump(), **settings.model_dump()}
    asked |= {"prompts": prompts_digest(), "rules": RULES}
    parents = files | {"model": base_digest(model), "encoder": base_digest(settings.encoder)}
    question = Question.of(
        "questions", asked, sources=files, model=parents["model"], encoder_weights=parents["encoder"]
    )
    claim(world.run, question, force=force)
    folder = world.run / FOLDER
    key = key_of(kind="questions", config=asked, parents=parents)
    if sound(folder, key=key) is None:
        work = world.run / "work" / key[:16]
        written = _written(world, model, sources, settings, work)
        with create(folder, kind="questions", config=asked, parents=parents) as inside:
            _leave(inside, written, model, settings, config)
        shutil.rmtree(work, ignore_errors=True)  # and not the journals of other settings beside it
        with suppress(OSError):
            work.parent.rmdir()  # where it is empty
    return read_record(folder / RESULT, QuestionsResult)


def _refuse(settings: QuestionSettings) -> None:
    for name, value in (("rank", settings.rank), ("each", settings.each), ("most", settings.most)):
        if value is not None and value < 1:
            raise InputError(f"--{name} is {value}; give 1 or more.")
    GenerationRequest((0,), temperature=settings.temperature)  # refuses what is out of range


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """One question that is to be written: to which passage, and behind how many worked examples."""

    passage: Passage
    number: int
    draw: int
    answer: str
    examples: int


@dataclass(frozen=True)
class _AllWritten:
    """Every question that was written, with the shelf that they were judged by, and what else was left out."""

    shelf: Shelf
    judged: Sequence[JudgedQuestion]
    drops: Sequence[Drop]
    day: date


def _written(world: World, model: str, sources: Sequence[Path], settings: QuestionSettings, work: Path) -> _AllWritten:
    """What is on disk already, and the rest: written in batches, each of them judged before the next begins."""
    writer, encoder = open_writer(model), open_text(settings.encoder)
    shelf = _shelf(work / "shelf", sources, encoder, encoder.dim, world)
    day = _day(work / "day")
    asked, drops = _asked(writer, shelf, settings, day, seed=world.config.seed)
    if not asked:
        raise SourceError(
            f"The sources hold {len(shelf):,} passages, and none can be asked about: {_counted(drops)}. Give documents "
            "of whole sentences."
        )
    journal = BatchJournal(work / "judged.jsonl", JudgedQuestion, total=len(asked), batch=BATCH)
    trip = RoundTrip(shelf, encoder, rank=settings.rank, day=day)
    progress = _Progress(len(asked), journal.rows, world.report)
    while len(journal.rows) < len(asked):
        batch = asked[len(journal.rows) : len(journal.rows) + BATCH]
        texts = writer.write([_request(writer, each, settings, seed=world.config.seed) for each in batch])
        journal.append(trip.judged([_read(each, text) for each, text in zip(batch, texts, strict=True)]))
        progress.moved(journal.rows)
    return _AllWritten(shelf, journal.rows, [*read_drops(work / "shelf"), *drops], day)


def _shelf(folder: Path, sources: Sequence[Path], encoder: Embeds, dim: int, world: World) -> Shelf:
    """The passages of the sources' documents, as the assistant has them; what is left out stands beside them."""
    if open_artifact(folder) is None:
        world.report.say("questions: reading the sources")
        documents: list[Document] = []
        drops: list[Drop] = []
        config = world.config.curate
        items = stream_sources(sources, config, out=world.run, say=world.report.say, pictures=False)
        for item in curate(items, reserved=(), config=config):
            if isinstance(item, Drop):
                drops.append(item)
            elif item.turns:
                detail = "questions are written to documents"
                drops.append(Drop(id=item.id, source=item.source, reason="conversation", detail=detail))
            else:
                documents.append(item)
        if not documents:
            raise SourceError(
                f"The sources hold no document to ask about: {_counted(drops)}. Give documents, such as .md or .txt."
            )
        with create(folder, kind="shelf", config={}, parents={}) as inside:
            shelved = write_shelf(inside, documents, encoder, dim=dim)
            write_drops(inside, drops)
        world.report.say(f"questions: {shelved.documents:,} documents, {shelved.passages:,} passages")
    return Shelf(folder)


def _day(path: Path) -> date:
    """The day on which documents must hold: that of the first call, whenever later ones go on."""
    if not path.is_file():
        write_text(path, date.today().isoformat())
    return date.fromisoformat(read_text(path).strip())


def _asked(
    writer: Converses, shelf: Shelf, settings: QuestionSettings, day: date, *, seed: int
) -> tuple[list[_Asked], list[Drop]]:
    """What the model is asked, in order, and the passages that it is not asked about."""
    numbers: Sequence[int] = range(len(shelf))
    if settings.most is not None and settings.most < len(shelf):
        numbers = np.sort(permuted(len(shelf), numbers, seed=seed, epoch=0)[: settings.most]).tolist()
    asked: list[_Asked] = []
    drops: list[Drop] = []
    for number in numbers:
        passage = shelf.passage(number)
        words = sum(len(line.text.split()) for line in passage.lines)
        answers = answers_of(passage, each=settings.each, seed=seed)
        if words < FEWEST_WORDS or not answers:
            drops.append(_left(passage, "too-short", f"{words} words; at least {FEWEST_WORDS} are asked about"))
        elif not passage.facts.holds(day):
            drops.append(_left(passage, "not-valid", f"its document does not hold on {day.isoformat()}"))
        elif (examples := _fitting(writer, passage, answers)) is None:
            drops.append(_left(passage, "too-long", f"the model reads {writer.context:,} tokens at once"))
        else:
            asked += [_Asked(passage, number, draw, answer, examples) for draw, answer in enumerate(answers)]
    return asked, drops


def _fitting(writer: Converses, passage: Passage, answers: Sequence[str]) -> int | None:
    """How many worked examples there is room for beside each of the answers, of which the one with the most characters
    need not have the most tokens; None where there is no room for the passage.
    """
    for examples in range(MOST_EXAMPLES, -1, -1):
        sizes = (len(_ids(writer, passage, answer, examples)) for answer in answers)
        if all(size + MOST_TOKENS <= writer.context for size in sizes):
            return examples
    return None


def _ids(writer: Converses, passage: Passage, answer: str, examples: int) -> tuple[int, ...]:
    """The tokens of a prompt: turns where the model converses."""
    if writer.converses:
        return writer.chat(messages(passage, answer, examples=examples))
    return writer.prompt(prompt(passage, answer, examples=examples))


def _request(writer: Converses, asked: _Asked, settings: QuestionSettings, *, seed: int) -> GenerationRequest:
    """What is drawn depends on the seed, the passage and the sentence alone."""
    key = hashlib.sha256(f"{seed}:{asked.passage.id}:{asked.answer}".encode("utf-8", "replace")).digest()
    return GenerationRequest(
        _ids(writer, asked.passage, asked.answer, asked.examples),
        max_tokens=MOST_TOKENS,
        temperature=settings.temperature,
        seed=int.from_bytes(key[:4], "big"),
        stop=STOP,
        continues=not writer.converses,
    )


def _read(asked: _Asked, generated: Generated) -> WrittenQuestion:
    cut = generated.reason in ("length", "context")
    return WrittenQuestion(asked.number, asked.draw, read_question(generated.text), asked.answer, cut=cut)


def _left(passage: Passage, reason: str, detail: str) -> Drop:
    return Drop(id=passage.id, source=passage.document, reason=reason, detail=detail, sample=sample(passage.text))


class _Progress:
    """How much is written, how much of it survives, and how long the rest takes."""

    def __init__(self, total: int, rows: Sequence[JudgedQuestion], report: Reporter) -> None:
        self._total, self._report, self._before = total, report, len(rows)
        self._begun = time.monotonic()
        self._said = self._begun - SAY_EVERY  # the first batch tells how long it takes
        if rows:
            report.say(f"questions: {len(rows):,} of {total:,} are there already")

    def moved(self, rows: Sequence[JudgedQuestion]) -> None:
        """Say where it stands, now and then and at the end."""
        now, done = time.monotonic(), len(rows)
        if now - self._said < SAY_EVERY and done < self._total:
            return
        kept = sum(row.reason is None for row in rows)
        seconds = now - self._begun
        left = seconds / (done - self._before) * (self._total - done)
        rest = f"about {span(left)} left" if done < self._total else f"done in {span(seconds)}"
        self._report.say(f"questions: {done:,} of {self._total:,} written, {kept:,} of them survive, {rest}")
        self._said = now


# --- what is left -----------------------------------------------------------------------------------------------------


def _leave(inside: Path, written: _AllWritten, model: str, settings: QuestionSettings, config: Config) -> None:
    """Write the artifact's files."""
    judged = _without_repeats(written.judged, config.curate.near_duplicate)
    kept = [row for row in judged if row.reason is None]
    passages = {row.passage: written.shelf.passage(row.passage) for row in judged}
    pairs = [
        {
            "question": row.question,
            "passage": passages[row.passage].text,
            "document": passages[row.passage].document,
            "answer": row.answer,
        }
        for row in kept
    ]
    _write_lines(inside / PAIRS, pairs)
    _write_lines(inside / CONVERSATIONS, _conversations(kept, passages))
    drops = [*written.drops, *(_dropped(row, passages[row.passage]) for row in judged if row.reason is not None)]
    write_drops(inside, drops)
    reasons = by_reason(_dropped(row, passages[row.passage]) for row in judged if row.reason is not None)
    result = QuestionsResult(
        sentence=_sentence(model, len(judged), len(passages), len(kept), settings),
        model=model,
        settings=settings,
        day=written.day,
        passages=len(written.shelf),
        asked=len(passages),
        written=len(judged),
        kept=len(kept),
        dropped=reasons,
        left_out=by_reason(written.drops),
        examples=tuple(pairs[:SHOWN]),
    )
    write_text(inside / RESULT, result.model_dump_json(indent=1))


def _sentence(model: str, written: int, passages: int, kept: int, settings: QuestionSettings) -> str:
    share = f"{100 * kept / written:.0f} %"
    place = "first" if settings.rank == 1 else f"among the first {settings.rank}"
    return (
        f"Of {written:,} questions that {model} wrote to {passages:,} passages, {kept:,} survive ({share}): an "
        f"assistant that has learned nothing of them finds their passage {place}, and quotes from it what they ask for."
    )


def _without_repeats(rows: Sequence[JudgedQuestion], threshold: float) -> list[JudgedQuestion]:
    """The same rows, in which a question that is a near duplicate of one before it survives no more."""
    kept = [number for number, row in enumerate(rows) if row.reason is None]
    first: dict[int, int] = {}
    judged = list(rows)
    for number, cluster in zip(kept, clusters([rows[n].question for n in kept], threshold).tolist(), strict=True):
        earlier = first.setdefault(cluster, number)
        if earlier != number:
            update = {"reason": "near-duplicate", "detail": f"of “{sample(rows[earlier].question)}”"}
            judged[number] = rows[number].model_copy(update=update)
    return judged


def _conversations(kept: Sequence[JudgedQuestion], passages: dict[int, Passage]) -> list[dict[str, Any]]:
    """A conversation for each passage, so that none is in training and held out, too."""
    turns: dict[int, list[dict[str, str]]] = {}
    for row in kept:
        opening = [{"role": "passage", "text": passages[row.passage].sought}]
        turns.setdefault(row.passage, opening).extend(
            [{"role": "user", "text": row.question}, {"role": "assistant", "text": row.answer}]
        )
    return [{"id": passages[number].id, "turns": spoken} for number, spoken in turns.items()]


def _dropped(row: JudgedQuestion, passage: Passage) -> Drop:
    assert row.reason is not None
    return Drop(
        id=f"{passage.id}#question{row.draw}",
        source=passage.document,
        reason=row.reason,
        detail=row.detail,
        sample=f"{sample(row.question)} -> {sample(row.answer)}",
    )


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _counted(drops: Sequence[Drop]) -> str:
    counts = Counter(drop.reason for drop in drops)
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common()) or "nothing was read"
