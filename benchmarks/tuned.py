"""What tuning the encoder itself brings with few labels: SetFit, and full fine-tuning, beside the frozen heads.

    SHOPTALK_DATA=... python -m benchmarks.tuned minilm ENCODER... --sets snips,sst2 --shots 1,5,10 --method classify

The draws of labels and the unlabelled text are those of `benchmarks.heads`, so its rows and these compare draw by draw.
It is what `shoptalk finetune --method METHOD --unlabelled TEXT --accept-unproven` ships, but that a number of steps
fixed beforehand takes the place of a trial on four fifths of the labels (at one label a class there is none). Accuracy
on the official test set, mean over draws and the half-width of its 95 % interval over draws.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.data import rows
from benchmarks.heads import SETS, draw, say
from shoptalk.commands.lesson import Lesson, headed, learn
from shoptalk.commands.tune import Method
from shoptalk.config import load
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import TextEncoder, embed
from shoptalk.nn.heads.pool import MOST
from shoptalk.records import Example
from shoptalk.stages.world import Silent, World

UNLIMITED = "1Mtok"
"""No limit of time: a budget of tokens does not limit tuning."""


def measure(
    product: TextEncoder,
    name: str,
    shots: Sequence[int | None],
    *,
    method: Method,
    draws: Sequence[int],
    most_steps: int | None,
    settings: Sequence[str],
) -> None:
    """One line for each number of labels a class."""
    train, test = (rows(f"{SETS[name]}/{part}.jsonl.gz") for part in ("train", "test"))
    names, codes = np.unique([row["label"] for row in train], return_inverse=True)
    tests, truth = [row["text"] for row in test], np.array([row["label"] for row in test])
    sample = np.random.default_rng(0).permutation(len(train))[:MOST]
    pool = tuple(train[i]["text"] for i in sample)
    for k in shots:
        frozen, found, steps, begun = [], [], 0, time.perf_counter()
        for r in draws:
            chosen = draw(codes, k, np.random.default_rng([7, r])) if k else np.arange(len(train))
            examples = [
                Example(id=str(i), text=train[i]["text"], label=str(names[codes[i]]), cluster=n)
                for n, i in enumerate(chosen.tolist())
            ]
            lesson = Lesson.of(examples, pool if k else ())
            before, everything = lesson.seen_by(product), np.ones(len(chosen), dtype=bool)
            plain = lesson.classifier(before, seed=r)
            with tempfile.TemporaryDirectory() as folder:
                world = World(
                    run=Path(folder), config=load(overrides=list(settings), budget=UNLIMITED, seed=r), report=Silent()
                )
                tuned = learn(world, product, lesson, before, plain, everything, method, most_steps=most_steps)
            seen = plain.see(embed(product, tests))
            frozen.append(100 * float((plain.head.predict(seen) == truth).mean()))
            head, vectors = headed(lesson, tuned, plain.kind, everything), embed(tuned.product, tests)
            found.append(100 * float((head.head.predict(head.see(vectors)) == truth).mean()))
            own = 100 * float((lesson.labels[tuned.head.predict(vectors)] == truth).mean())
            sys.stderr.write(f"draw {r}: {plain.kind} {frozen[-1]:.2f}, {method} {found[-1]:.2f}, own head {own:.2f}\n")
            steps = tuned.steps
        seconds = (time.perf_counter() - begun) / len(draws)
        which = "full" if k is None else str(k)
        say(product, name, which, "frozen, as chosen", frozen, 0.0)
        say(product, name, which, f"{method}, {steps} steps", found, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--sets", default="snips,tweeteval_emotion,sst2")
    parser.add_argument("--shots", default="1,5,10")
    parser.add_argument("--method", choices=("setfit", "classify"), default="classify")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first-draw", type=int, default=0, help="to share the draws between processes")
    parser.add_argument("--most-steps", type=int)
    parser.add_argument("--set", action="append", default=[], help="a setting, as `shoptalk --set`")
    asked = parser.parse_args()
    for ref in asked.encoders:
        product = open_base(ref)
        for name in asked.sets.split(","):
            measure(
                product,
                name,
                [None if part == "full" else int(part) for part in asked.shots.split(",")],
                method=asked.method,
                draws=range(asked.first_draw, asked.first_draw + asked.draws),
                most_steps=asked.most_steps,
                settings=asked.set,
            )


if __name__ == "__main__":
    main()
