"""Does adapting find the passage that answers? `python -m benchmarks.answer [--sets harbour,dstc11] [--budget 10m]`

    harbour    the built-in example: its documents and conversations, and the questions that stand beside them
    dstc11     DSTC11 track 5: reviews and FAQs as documents, the dialogues that seek no knowledge as conversations; one
               pair for each piece of knowledge that a dialogue seeks, its question being the visitor's last turn
    faq_tech   answers of technical FAQs as documents, their questions as pairs

For each set, `adapt --task answer --pairs` and its verdict: nDCG@10 over all passages of the documents. The last two
need SHOPTALK_DATA. Prints Markdown.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.data import rows
from benchmarks.public_sets import shoptalk
from benchmarks.timing import ROOT

HARBOUR = ROOT / "examples" / "harbour"


def harbour(work: Path) -> tuple[list[Path], Path]:
    """The sources and the pairs of the example."""
    return [HARBOUR / "documents", HARBOUR / "conversations.jsonl"], HARBOUR / "questions.jsonl"


def dstc11(work: Path) -> tuple[list[Path], Path]:
    """Knowledge, dialogues that seek none, and what the others ask of it."""
    knowledge = rows("dialogues/dstc11_track5/knowledge.jsonl.gz")
    dialogues = rows("dialogues/dstc11_track5/val.jsonl.gz")
    documents = write(work / "knowledge.jsonl", ({"id": row["doc_id"], "text": row["text"]} for row in knowledge))
    seeking = [row for row in dialogues if row["labels"]["knowledge_seeking"]]
    others = (row for row in dialogues if not row["labels"]["knowledge_seeking"])
    chats = write(work / "chats.jsonl", ({"id": row["id"], "turns": row["turns"]} for row in others))
    return [documents, chats], write(work / "dstc11.jsonl", dstc11_pairs(seeking))


def dstc11_pairs(seeking: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, str]]:
    """One pair for each piece of knowledge that a dialogue seeks."""
    for row in seeking:
        question = [turn["text"] for turn in row["turns"] if turn["role"] == "user"][-1]
        yield from ({"question": question, "document": known} for known in row["labels"]["knowledge"])


def faq_tech(work: Path) -> tuple[list[Path], Path]:
    """Answers, and the questions that they answer."""
    folder = "retrieval/faq_tech"
    answers = ({"id": row["doc_id"], "text": row["text"]} for row in rows(f"{folder}/corpus.jsonl.gz"))
    question = {row["qid"]: row["text"] for row in rows(f"{folder}/queries.jsonl.gz")}
    judged = [row for row in rows(f"{folder}/qrels.jsonl.gz") if row["score"] > 0]
    pairs = ({"question": question[row["qid"]], "document": row["doc_id"]} for row in judged)
    return [write(work / "faq_tech_corpus.jsonl", answers)], write(work / "faq_tech.jsonl", pairs)


SETS = {"harbour": harbour, "dstc11": dstc11, "faq_tech": faq_tech}


def write(path: Path, values: Iterable[Mapping[str, Any]]) -> Path:
    """JSON Lines."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def row_of(name: str, verdict: Mapping[str, Any]) -> str:
    """A set's line of the table; without a challenger there is the base alone."""
    adapted = ("", "", "")
    if verdict["gain"] is not None:
        low, high = verdict["interval"]
        adapted = f"{verdict['adapted']:.1f}", f"{verdict['gain']:+.1f}", f"{low:+.1f} to {high:+.1f}"
    choice = f"{verdict['choice']} {verdict['entry'] or ''}".strip()
    cells = (
        name,
        f"{verdict['n_examples']:,}",
        choice,
        f"{verdict['base']:.1f}",
        *adapted,
        f"{verdict['spent']['seconds']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Adapt to each set and print its verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--work", type=Path, help="where runs are kept; a temporary folder without it")
    parser.add_argument("extra", nargs="*", help="further words for `shoptalk adapt`, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        print("| set | questions | verdict | base | adapted | gain | interval | seconds |")
        print("|---|---|---|---|---|---|---|---|")
        sentences = []
        for name in given.sets.split(","):
            sources, pairs = SETS[name](work)
            words = ("--task", "answer", "--pairs", pairs, "--budget", given.budget, "--out", work / f"run-{name}")
            verdict = shoptalk("adapt", *sources, *words, *given.extra)
            print(row_of(name, verdict), flush=True)
            sentences.append(f"{name}: {verdict['sentence']}")
        print("\n" + "\n\n".join(sentences))


if __name__ == "__main__":
    main()
