"""Our side of a comparison, in a process of its own: `python -m benchmarks.ours train|embed ...`.

Its last line is the result as JSON.
Only public functions: `Training.build` and `train`, which `shoptalk pretrain` runs, and `embed`.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import MAX_LENGTH, read_texts
from benchmarks.timing import Result, options_to_words, peak_mib, run_json
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from shoptalk.objectives import make_spec
from shoptalk.stages.world import best_device
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import tokenise
from shoptalk.training import loop, optim
from shoptalk.training.advance import Training

BASE = "minilm"


def run_ours(what: str, *, threads: int | None, **options: object) -> Result:
    """Run `python -m benchmarks.ours WHAT` with these options; its result."""
    return run_json(command(what, **options), threads=threads)


def command(what: str, **options: object) -> list[str]:
    """The words of that command."""
    return [sys.executable, "-m", "benchmarks.ours", what, *options_to_words(options)]


def train(given: argparse.Namespace) -> Result:
    """One pass over the texts, or training for some minutes; speed from the end of the warm-up to the end."""
    # The peers have one learning rate; ours gives new heads a higher one, with which losses could not be compared.
    optim.HEAD_LR = 1.0
    texts = read_texts(given.texts)
    corpus = Corpus(
        items=tuple(texts),
        conversation=np.arange(len(texts)),
        turn=np.full(len(texts), -1),
        digest="benchmark",
    )
    settings: dict[str, Any] = {"batch": given.batch, "lr": given.lr}
    if given.mask_rate is not None:
        settings["mask_rate"] = given.mask_rate
    spec = make_spec(given.objective, settings)
    product = open_base(BASE, max_length=MAX_LENGTH)
    product.network.to(best_device())
    steps = len(texts) // given.batch if given.minutes is None else 10**9
    with tempfile.TemporaryDirectory() as folder:
        training = Training.build(
            spec,
            corpus=corpus,
            inputs=tokenise(product.tokenizer, texts, max_length=product.max_length),
            product=product,
            targets=None,
            config=loop.LoopConfig(
                steps=steps,
                batch=given.batch,
                lr=given.lr,
                seed=given.seed,
                # As the peers: a constant learning rate, no weight decay.
                warmup=0.0,
                decay=0.0,
                weight_decay=0.0,
                precision=given.precision,
            ),
            folder=Path(folder),
            snapshot_seconds=float("inf"),
        )
        taken, ends, losses = [], [], []
        started, on_all_clocks = time.perf_counter(), time.monotonic()
        for step in loop.train(training.objective, training.data, training.collate, training.config):
            taken.append((step.tokens, step.cells))
            ends.append(time.perf_counter())
            losses.append(step.loss)
            enough = len(ends) > given.warmup and ends[-1] - started > 60 * (given.minutes or 0)
            if given.minutes is not None and enough:
                step.steer("stop")
    tokens, cells = (sum(step[part] for step in taken[given.warmup :]) for part in (0, 1))
    seconds = ends[-1] - ends[given.warmup - 1]
    return {
        "real_tokens": tokens,
        "cells": cells,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "losses": losses if given.minutes is None else [],
        "steps": len(ends),
        "started": on_all_clocks,
        "trained_seconds": ends[-1] - started,
        "precision": given.precision,
    }


def encode(given: argparse.Namespace) -> Result:
    """Vectors of all texts, after a few to warm up."""
    texts = read_texts(given.texts)
    product = open_base(BASE, max_length=MAX_LENGTH)
    product.network.to(best_device())
    embed(product, texts[:256], precision=given.precision)
    begun = time.perf_counter()
    vectors = embed(product, texts, precision=given.precision)
    seconds = time.perf_counter() - begun
    if given.vectors:
        np.save(given.vectors, vectors[:1000])
    tokens = product.units(texts)
    return {
        "real_tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "losses": [],
        "precision": given.precision,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "embed"])
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--objective", default="mlm")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--warmup", type=int, default=1, help="steps that are not timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--mask-rate", type=float)
    parser.add_argument("--minutes", type=float, help="train this long, pass after pass, instead of one pass")
    parser.add_argument("--vectors", help="where to leave the vectors of the first texts")
    given = parser.parse_args()
    result = train(given) if given.what == "train" else encode(given)
    print(json.dumps(result | {"peak_rss_mib": round(peak_mib())}), flush=True)


if __name__ == "__main__":
    main()
