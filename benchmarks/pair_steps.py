"""What does our kernel for dropout bring a small T5? `python -m benchmarks.pair_steps [--pairs 64] [--repeats 5]`

Training steps of `scratch:t5-nano` on Multi30k (needs SHOPTALK_DATA): batches of so many pairs, forward, backward and
AdamW, with torch's dropout and with ours (`nn/fast_dropout.py`), in turn on the same weights, so many rounds of six
steps of which two are warm-up. Progress goes to standard error, the table to standard output.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks import table
from benchmarks.timing import Row, in_turn, ratios, spread
from benchmarks.translation import BASE, multi30k, young
from shoptalk.commands.translate import corpus_of
from shoptalk.config import load
from shoptalk.nn.bases import hush
from shoptalk.nn.machine import prepare
from shoptalk.nn.precision import autocast
from shoptalk.nn.scratch_lm import LM_SIZES, young_language_model
from shoptalk.objective import Key, Material
from shoptalk.stages.world import best_device, usual_precision
from shoptalk.training.optim import make_optimizer

STEPS, WARM_UP = 6, 2
READ = 6_000
"""Pairs that batches are drawn from, and that the tokenizer is trained on."""


def step_on(n_pairs: int) -> tuple[Callable[[int], None], str]:
    """A training step, by its number, and the precision that it computes in."""
    config = load()
    pairs = multi30k("train", READ)
    prepare(best_device())
    hush()
    texts = [text for pair in pairs for text in (pair.source, pair.target)]
    product: Any = young_language_model(LM_SIZES[BASE], texts, seed=0).in_precision(usual_precision(config))
    corpus, spec = corpus_of(pairs, digest="pairs"), young("translate", config)
    collate = spec.collate(Material(corpus, product, product.inputs(corpus), spec.prepare(corpus, product)))
    objective, examples = spec.build(product), np.asarray(spec.examples(corpus))
    objective.train()
    optimizer = make_optimizer(objective, product.network, lr=spec.lr, weight_decay=0.01)
    rng = np.random.default_rng(0)

    def step(number: int) -> None:
        batch = collate(rng.choice(examples, n_pairs, replace=False).tolist(), Key(0, number))
        with autocast(product.precision, product.network.device):
            loss = objective(batch)
        loss.total.backward()
        optimizer.clip(1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, product.precision


def timed(step: Callable[[int], None], way: AbstractContextManager[Any]) -> dict[str, float]:
    """Milliseconds of a step: the median of those that are no warm-up."""
    taken = []
    with way:
        for number in range(STEPS):
            begun = time.perf_counter()
            step(number)
            taken.append(1000 * (time.perf_counter() - begun))
    return {"ms": statistics.median(taken[WARM_UP:])}


def measure(n_pairs: int, repeats: int) -> Iterator[Row]:
    """Both ways, in turn."""
    step, precision = step_on(n_pairs)
    ways: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "torch's dropout": lambda: mock.patch("shoptalk.nn.fast_dropout.library", return_value=None),
        "our kernel": nullcontext,
    }
    runs = {name: (lambda number, way=way: timed(step, way())) for name, way in ways.items()}
    results = {name: [result["ms"] for result in found] for name, found in in_turn(runs, repeats).items()}
    peer = results["torch's dropout"]
    for name, ms in results.items():
        ratio, between = ratios(ms, peer) if ms is not peer else (None, None)
        note = f"{precision}, {torch.get_num_threads()} threads"
        what = f"a step on {n_pairs} pairs, {name}"
        yield Row(
            "pairs", what, statistics.median(ms), "ms", spread=spread(ms), ratio=ratio, ratio_range=between, note=note
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.pair_steps {' '.join(sys.argv[1:])}`\n")
    table.printed(measure(given.pairs, given.repeats))


if __name__ == "__main__":
    main()
