"""Summaries of conversations: `python -m benchmarks.summaries [--steps 80] [--most 100] [--quick]`

Two sets: MTS-Dialog (a doctor and a patient; the section of the visit note that the conversation gave) and DialogSum
(everyday conversations). Beside each other: the first three turns, the longest turn, what the assistant notes for a
person who takes over (the other side's sentences that say most), SmolLM2 asked for a summary, and SmolLM2 after --steps
of `sft` on MTS-Dialog's training conversations, each with the same words that ask for it.

Told are ROUGE-1, ROUGE-2 and ROUGE-L against the reference, and support: of the numbers and names that a summary
states, the share that the conversation states too; with 95 % intervals over conversations. Greedy decoding, one seed,
the last step, the first --most conversations of each test set. Needs SHOPTALK_DATA.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import data, table
from benchmarks.language_chat import tuned
from benchmarks.language_models import row
from benchmarks.timing import Row, say
from shoptalk.assistant.note import note_of
from shoptalk.evaluate.text_scores import TextScore, scores
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.writer import Writer, open_writer
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.precision import choose_precision
from shoptalk.stages.world import best_device
from shoptalk.text.chat import Message

ASKED = "Summarise this conversation in one or two sentences:\n\n"
MOST_TOKENS = 80
DRAWS = 1_000
SETS = {
    "mts": ("dialogues/mts_dialog/test1.jsonl.gz", "patient"),
    "dialogsum": ("dialogues/dialogsum/dev.jsonl.gz", ""),
}
Turns = list[tuple[str, str]]


def conversations(path: str, most: int | None) -> tuple[list[Turns], list[str]]:
    """Turns of role and text, and the reference summaries."""
    rows = [row for row in data.rows(path) if row["turns"] and row["summary"].strip()][:most]
    return [[(turn["role"], turn["text"]) for turn in row["turns"]] for row in rows], [row["summary"] for row in rows]


def asked(turns: Turns) -> Message:
    """What a model is asked."""
    return Message("user", ASKED + "\n".join(f"{role}: {text}" for role, text in turns))


def written(writer: Writer, chats: Sequence[Turns]) -> list[str]:
    """A summary of each, eight at a time."""
    requests = []
    for turns in chats:
        prompts = (writer.chat([asked(turns[begin:])]) for begin in range(len(turns)))
        ids = next(ids for ids in prompts if len(ids) < writer.context - MOST_TOKENS)
        requests.append(GenerationRequest(ids, max_tokens=MOST_TOKENS))
    return [generated.text.strip() or "-" for generated in writer.write(requests)]


def learned(steps: int) -> LanguageModel:
    """SmolLM2 after `sft` on MTS-Dialog's training conversations and their summaries."""
    chats, summaries = conversations("dialogues/mts_dialog/train.jsonl.gz", None)
    pairs = [[asked(turns), Message("assistant", summary)] for turns, summary in zip(chats, summaries, strict=True)]
    return tuned(pairs, steps=steps, precision=choose_precision(best_device())[0])


def measure(name: str, writers: dict[str, Writer], most: int) -> Iterator[Row]:
    """Every way on one set."""
    path, visitor = SETS[name]
    chats, references = conversations(path, most)
    sources = [["\n".join(text for _, text in turns)] for turns in chats]
    said = {
        "first three turns": [" ".join(text for _, text in turns[:3]) for turns in chats],
        "longest turn": [max((text for _, text in turns), key=len) for turns in chats],
        "note for a person": [
            " ".join(messages[place] for place in note_of(messages))
            for messages in ([text for role, text in turns if role == visitor or not visitor] for turns in chats)
        ],
    }
    for title, writer in writers.items():
        say(f"{name}: {title}")
        said[title] = written(writer, chats)
    for title, texts in said.items():
        for score in scores(texts, references, sources):
            if score.key in ("rouge1", "rouge2", "rougeL", "support"):
                yield told(f"{name}, {title}: {score.name}", score)


def told(what: str, score: TextScore) -> Row:
    """A score with its interval."""
    n = len(score.statistics)
    chosen = np.random.default_rng(0).integers(n, size=(DRAWS, n))
    low, high = np.nanpercentile(score.of(score.statistics[chosen].sum(axis=1)), [2.5, 97.5])
    value = float(score.of(score.statistics.sum(axis=0, keepdims=True))[0])
    return row(what, value, "", note=f"{low:.1f} to {high:.1f}, {n} conversations")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--steps", type=int, default=80, help="of `sft`; 0 for what needs no model alone")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="does it run?")
    given = parser.parse_args()
    steps, most = (2, 4) if given.quick else (given.steps, given.most)
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.summaries {' '.join(sys.argv[1:])}`\n")
    writers = {}
    if steps:
        tuned_model = learned(steps)
        writers = {"SmolLM2": open_writer("smollm2"), f"SmolLM2 after sft, {steps} steps": Writer(tuned_model)}
    table.printed(measured for name in given.sets.split(",") for measured in measure(name, writers, most))


if __name__ == "__main__":
    main()
