"""What tuning the encoder itself brings with few labels: SetFit, and full fine-tuning, beside the frozen heads.

    SHOPTALK_DATA=... python -m benchmarks.tuned minilm ENCODER... --sets snips,sst2 --shots 1,5,10 --method setfit

The draws of labels are those of `benchmarks.heads`, so its rows and these compare draw by draw. With so few labels none
are left for a dev set: a method takes its usual number of steps, at most `--most-steps`, and the last weights count.
Accuracy on the official test set, mean over draws and the half-width of its 95 % interval over draws.
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks.data import rows
from benchmarks.heads import SETS, draw, say
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Product, embed
from shoptalk.stages.tuning import Method, tune


def measure(
    product: Product, name: str, shots: Sequence[int], *, method: Method, draws: int, most_steps: int | None
) -> None:
    """One line for each number of labels a class."""
    train, test = (rows(f"{SETS[name]}/{part}.jsonl.gz") for part in ("train", "test"))
    names, codes = np.unique([row["label"] for row in train], return_inverse=True)
    truth = np.searchsorted(names, [row["label"] for row in test])
    tests = [row["text"] for row in test]
    learn = partial(tune, method=method, dev=None, multi_label=False, seconds=None, most_steps=most_steps)
    for k in shots:
        found, steps, begun = [], 0, time.perf_counter()
        for r in range(draws):
            chosen = draw(codes, k, np.random.default_rng([7, r]))
            targets = np.eye(len(names), dtype=np.float32)[codes[chosen]]
            tuned = learn(product, [train[i]["text"] for i in chosen], targets, seed=r)
            found.append(100 * float((tuned.head.predict(embed(tuned.product, tests)) == truth).mean()))
            steps = tuned.steps
        say(product, name, str(k), f"{method}, {steps} steps", found, (time.perf_counter() - begun) / draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--sets", default="snips,tweeteval_emotion,sst2")
    parser.add_argument("--shots", default="1,5,10")
    parser.add_argument("--method", choices=("setfit", "classify"), default="setfit")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--most-steps", type=int)
    asked = parser.parse_args()
    for ref in asked.encoders:
        product = open_base(ref)
        for name in asked.sets.split(","):
            measure(
                product,
                name,
                [int(k) for k in asked.shots.split(",")],
                method=asked.method,
                draws=asked.draws,
                most_steps=asked.most_steps,
            )


if __name__ == "__main__":
    main()
