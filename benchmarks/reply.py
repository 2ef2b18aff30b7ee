"""Does training on one's own conversations find the right reply? `python -m benchmarks.reply PART [--budget 10m]`

    home      adapt --task reply on SGD's training dialogues, read on its test dialogues
    abroad    the encoder of `home` on STAR: read there, and judged there as a verdict would
    halves    adapt on half of --collection, read on its other half
    shuffled  the control: every reply moved to another conversation; nothing may be adopted

What is read is written here once more, without the task's own code: the last turns before an agent's turn, newest
first, against 1,000 replies that differ, over several draws of both. An encoder reads the turns and the prompts that
its own folder names; the base reads as many turns as serve it best on these very test dialogues, which flatters it.
Needs SHOPTALK_DATA. Prints Markdown.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import rows
from benchmarks.public_sets import shoptalk
from shoptalk import decide
from shoptalk.curate.curation import to_corpus
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import TextEncoder
from shoptalk.records import Document, Turn
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.reply import reply

COLLECTIONS = {
    "sgd": ("dialogues/sgd/train.jsonl.gz",),
    "star": ("dialogues/star/all.jsonl.gz",),
    "multiwoz": ("dialogues/multiwoz21/val.jsonl.gz", "dialogues/multiwoz21/test.jsonl.gz"),
    "taskmaster": ("dialogues/taskmaster4/all.jsonl.gz",),
}
SGD_TEST = ("dialogues/sgd/test.jsonl.gz",)
CANDIDATES, CONTEXTS, DRAWS = 1_000, (1, 2, 3, 5, 8), 5
AGENTS = ("assistant", "system", "agent")

Chat = list[tuple[str, str]]


def chats(paths: Sequence[str]) -> list[Chat]:
    """The spoken turns of each dialogue, with their roles."""
    return [
        [(turn["role"], turn["text"]) for turn in row["turns"] if turn["role"] != "action" and turn["text"].strip()]
        for path in paths
        for row in rows(path)
    ]


def shuffled(dialogues: Sequence[Chat], *, seed: int) -> list[Chat]:
    """Every agent's turn in the place of another one."""
    replies = [text for chat in dialogues for role, text in chat if role in AGENTS]
    random.Random(seed).shuffle(replies)
    left = iter(replies)
    return [[(role, next(left) if role in AGENTS else text) for role, text in chat] for chat in dialogues]


def write(path: Path, dialogues: Sequence[Chat]) -> Path:
    """The dialogues as a source."""
    lines = [
        json.dumps({"id": f"chat-{number}", "turns": [{"role": role, "text": text} for role, text in chat]}) + "\n"
        for number, chat in enumerate(dialogues)
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def drawn(dialogues: Sequence[Chat], *, seed: int) -> list[tuple[Chat, int]]:
    """1,000 agents' turns whose words differ, at random; each answers somebody else."""
    places = [
        (chat, at)
        for chat in dialogues
        for at in range(1, len(chat))
        if chat[at][0] in AGENTS and chat[at - 1][0] not in AGENTS
    ]
    random.Random(seed).shuffle(places)
    distinct: dict[str, tuple[Chat, int]] = {}
    for chat, at in places:
        distinct.setdefault(
            " ".join("".join(c if c.isalnum() else " " for c in chat[at][1].lower()).split()), (chat, at)
        )
        if len(distinct) == CANDIDATES:
            break
    return list(distinct.values())


def mrr(product: TextEncoder, asked: Sequence[tuple[Chat, int]], turns: int) -> tuple[float, float]:
    """100 times the mean reciprocal rank, and how many replies come first, in per cent."""
    contexts = [" ".join(text for _, text in chat[max(0, at - turns) : at][::-1]) for chat, at in asked]
    before, after = product.prompts.get("query", ""), product.prompts.get("reply", "")
    questions = product.embed([before + text for text in contexts])
    cosines = questions @ product.embed([after + chat[at][1] for chat, at in asked]).T
    ranks = (cosines >= np.diagonal(cosines)[:, None]).sum(axis=1)
    return 100 * float((1 / ranks).mean()), 100 * float((ranks == 1).mean())


def read(model: str, dialogues: Sequence[Chat], contexts: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Both, by the number of turns that make a context: means over the draws."""
    product = open_base(model)
    asked = [drawn(dialogues, seed=seed) for seed in range(DRAWS)]
    wanted = contexts if product.context_turns is None else (product.context_turns,)
    values = {turns: np.mean([mrr(product, one, turns) for one in asked], axis=0) for turns in wanted}
    return {turns: (float(both[0]), float(both[1])) for turns, both in values.items()}


def table(dialogues: Sequence[Chat], encoder: Path, name: str) -> str:
    """The base with its last turn and with its best context, and the adapted encoder, on these dialogues."""
    base, adapted = read("minilm", dialogues, CONTEXTS), read(str(encoder), dialogues, CONTEXTS)
    best, tuned = max(base, key=lambda turns: base[turns]), max(adapted, key=lambda turns: adapted[turns])
    lines = ["", f"{name}: {len(dialogues):,} dialogues, {CANDIDATES:,} replies, {DRAWS} draws", ""]
    lines += ["| | turns of context | MRR x 100 | R@1 |", "|---|---|---|---|"]
    for model, turns, (rank, first) in (
        ("minilm", 1, base[1]),
        ("minilm", best, base[best]),
        ("adapted", tuned, adapted[tuned]),
    ):
        lines.append(f"| {model} | {turns} | {rank:.1f} | {first:.1f} |")
    gains = [adapted[tuned][0] - base[turns][0] for turns in (1, best)]
    return "\n".join([*lines, "", f"gain {gains[0]:+.1f} over the last turn, {gains[1]:+.1f} over the best context"])


def judged(dialogues: Sequence[Chat], encoder: Path) -> str:
    """What a verdict about these dialogues says of an encoder that was trained elsewhere; its guards are not asked."""
    documents = [
        Document(id=f"chat-{i}", source="made", turns=tuple(Turn(role=role, text=text) for role, text in chat))
        for i, chat in enumerate(dialogues)
    ]
    half = to_corpus(documents[::2], digest="half", passage_characters=600)
    other = to_corpus(documents[1::2], digest="other", passage_characters=600)
    judge = reply(Ground("text", (), (), half, other, (), n_draws=1, seed=0))
    assert judge is not None
    values = np.stack([judge.look(open_base(model)) for model in ("minilm", str(encoder))])
    scores = decide.Scores(("adapted elsewhere",), values, judge.tested, judge.cluster, judge.measure)
    estimate = decide.estimate(scores, seed=0)
    ruling = decide.verdict(estimate, guarded={}, smallest_gain=0.5, settle_gain=2.0, n_clusters=estimate.n_clusters)
    return ruling.decision.sentence


def adapt(source: Path, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The verdict of a run."""
    verdict: dict[str, Any] = shoptalk(
        "adapt", source, "--task", "reply", "--budget", options.budget, "--out", run, *options.extra
    )
    sys.stdout.write(f"\nverdict: {verdict['choice']}. {verdict['sentence']}\n")
    return verdict


def main() -> None:
    """Run one part and print what it shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("home", "abroad", "halves", "shuffled"))
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--collection", default="star", choices=list(COLLECTIONS))
    parser.add_argument("--encoder", type=Path, help="of `abroad`: one that `home` has left; trained anew without it")
    parser.add_argument("--work", type=Path, help="where runs are kept; a temporary folder without it")
    options, options.extra = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        run, encoder = work / f"run-{options.part}", options.encoder
        if options.part == "halves":
            order = chats(COLLECTIONS[options.collection])
            random.Random(0).shuffle(order)
            half = len(order) // 2
            adapt(write(work / "half.jsonl", order[:half]), run, options)
            sys.stdout.write(table(order[half:], run / "candidate" / "encoder", f"{options.collection}, other half"))
            return
        train = chats(COLLECTIONS["sgd"])
        if options.part == "shuffled":
            adapt(write(work / "shuffled.jsonl", shuffled(train, seed=0)), run, options)
            return
        if encoder is None:
            adapt(write(work / "sgd.jsonl", train), run, options)
            encoder = run / "candidate" / "encoder"
        if options.part == "home":
            sys.stdout.write(table(chats(SGD_TEST), encoder, "SGD test"))
            return
        star = chats(COLLECTIONS["star"])
        sys.stdout.write(table(star, encoder, "STAR") + f"\n\njudged there: {judged(star, encoder)}\n")


if __name__ == "__main__":
    main()
