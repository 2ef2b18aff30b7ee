"""How often does the assistant answer, and how often rightly? `python -m benchmarks.answering RUN [--dstc 600]`

RUN is the folder that `make demo` leaves. Harbour's questions: as visitors ask them, and asked in other words on
purpose; messages out of scope; messages that need a person. The default confidence was fitted to the first half of each
(every other question); the second half is what counts. With --dstc also DSTC11 track 5 (needs SHOPTALK_DATA): that many
questions in the middle of a conversation, half to calibrate at 10 % wrong, half to judge. Prints Markdown.
"""

import argparse
import csv
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.retrieval_serving import HARBOUR, rows_of
from shoptalk.artifact import open_artifact
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.assistant_settings import load_settings
from shoptalk.assistant.calibrate import AskedQuestion, QuestionTrial, calibrated, read_questions, try_questions
from shoptalk.assistant.knowledge import Knowledge
from shoptalk.assistant.shelf import Shelf, write_shelf
from shoptalk.decide.selective import upper_bound
from shoptalk.nn.lean import open_to_read
from shoptalk.records import Document, Metadata, Turn


def harbour(run: Path) -> None:
    assistant = Assistant.open(run, settings=load_settings(run, HARBOUR / "assistant.toml"))
    with (HARBOUR / "out_of_scope.csv").open(encoding="utf-8") as file:
        outside = [AskedQuestion(text=row["text"]) for row in csv.DictReader(file)]
    sets = {
        "as visitors ask": read_questions(HARBOUR / "visitor_questions.jsonl"),
        "in other words on purpose": read_questions(HARBOUR / "questions.jsonl"),
        "out of scope": outside,
    }
    print("| Harbour's questions | half | questions | answered | right among the answers |\n|---|---|---|---|---|")
    for name, questions in sets.items():
        trials = try_questions(assistant, questions)
        for half, title in ((0, "fitted"), (1, "judged")):
            print(f"| {name} | {title} | {_told(trials[half::2], assistant.threshold)} |")
    with (HARBOUR / "needs_person.csv").open(encoding="utf-8") as file:
        messages = [row["text"] for row in csv.DictReader(file)]
    replies = [assistant.reply([Turn(role="visitor", text=text)]) for text in messages]
    handed = [reply for reply in replies if reply.decision == "escalate"]
    print(
        f"\n{len(handed)} of {len(replies)} messages that need a person are handed over, each with words that say so."
    )


def _told(trials: Sequence[QuestionTrial], threshold: float) -> str:
    given = [trial for trial in trials if trial.confidence >= threshold]
    right = sum(trial.right for trial in given)
    share = f"{100 * right / len(given):.0f} % ({right} of {len(given)})" if given else "–"
    return f"{len(trials)} | {100 * len(given) / len(trials):.1f} % | {share}"


def dstc11(run: Path, count: int, most_documents: int | None) -> None:
    """An answer is right where its first sentence stands in one of the passages that the data names."""
    rows = rows_of("dialogues/dstc11_track5/knowledge")[:most_documents]
    there = {row["doc_id"] for row in rows}
    documents = [
        Document(
            id=row["doc_id"],
            source="dstc11",
            text=row["text"],
            metadata=Metadata({"title": f"{row['entity'] or row['domain']}: {row.get('title') or ''}".rstrip(": ")}),
        )
        for row in rows
    ]
    asked = [row for row in rows_of("dialogues/dstc11_track5/val") if row["labels"]["knowledge_seeking"]]
    asked = [row for row in asked if set(row["labels"]["knowledge"]) <= there]
    asked = random.Random(0).sample(asked, min(count, len(asked)))
    product = open_to_read(run / "encoder")
    plain = Assistant.open(run)
    with tempfile.TemporaryDirectory() as name:
        write_shelf(Path(name), documents, product, dim=product.dim)
        artifact = open_artifact(run / "knowledge")
        assert artifact is not None
        plain.knowledge = Knowledge(run, Shelf(Path(name), content="dstc11"), artifact)
        questions = [
            AskedQuestion(
                text=row["turns"][-1]["text"],
                document=row["labels"]["knowledge"][0],
                also=tuple(
                    AskedQuestion(text=row["turns"][-1]["text"], document=id) for id in row["labels"]["knowledge"][1:]
                ),
                before=tuple(Turn(role=turn["role"], text=turn["text"]) for turn in row["turns"][:-1]),
            )
            for row in asked
        ]
        trials = [_of_first(trial) for trial in try_questions(plain, questions)]
    fitted, judged = trials[0::2], trials[1::2]
    result = calibrated(fitted, max_wrong=0.10)
    right = np.array([trial.right for trial in judged])
    sure = np.array([result.weights(t.considered.features) if t.supported else -1.0 for t in judged])
    print(f"\nDSTC11 track 5, {len(rows):,} passages, {len(fitted)} questions to calibrate and {len(judged)} to judge:")
    print(f"{100 * right.mean():.1f} % of all would be answered rightly. {result.sentence}")
    order = np.argsort(-sure)
    wrong = np.cumsum(~right[order])
    counts = np.arange(1, len(order) + 1)
    within = np.flatnonzero(wrong / counts <= 0.10)
    best = int(within[-1]) + 1 if len(within) else 0
    print(f"With hindsight, at most 10 % wrong would be {100 * best / len(order):.1f} % of the questions.")
    if result.threshold is not None:
        given = sure >= result.threshold
        bad = int((given & ~right).sum())
        bound = upper_bound(bad, int(given.sum()))
        print(
            f"At the promised threshold {100 * given.mean():.1f} % are answered, {bad} of {given.sum()} wrong "
            f"(at most {bound:.3f})."
        )


def _of_first(trial: QuestionTrial) -> QuestionTrial:
    """The same judged by the first sentence alone: the best one."""
    named = {trial.question.document, *(other.document for other in trial.question.also)}
    best = trial.considered.picked[:1]
    right = any(trial.considered.hits[entry.rank - 1].passage.document in named for entry in best)
    return replace(trial, right=right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--dstc", type=int, default=0)
    parser.add_argument("--documents", type=int, default=None)
    options = parser.parse_args()
    harbour(options.run)
    if options.dstc:
        dstc11(options.run, options.dstc, options.documents)


if __name__ == "__main__":
    main()
