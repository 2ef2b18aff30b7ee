"""Our side of what language models are compared in, in a process of its own: `python -m benchmarks.language_training`.

Trains `clm` by the repository's loop, for so many steps or minutes, on documents that are given as lists of passages or
turns, whole or by low-rank adaptation, with general text replayed or without; its last line is the result as JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import peak_mib
from shoptalk.config import load
from shoptalk.nn.bases import open_model
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.scratch_lm import lm_size_of, young_language_model
from shoptalk.objective import Key, Material
from shoptalk.objectives import make_spec
from shoptalk.probes.bits_per_byte import general_bits
from shoptalk.stages.own_base import YOUNG_LR
from shoptalk.stages.world import best_device
from shoptalk.text.corpus import Corpus
from shoptalk.training.advance import Training
from shoptalk.training.loop import batch_positions, loop_config, train

_PASSES = 5
_FORECAST = 6
"""Steps from which the length of a training is forecast; the first two are warm-up."""


def opened(base: str, texts: list[str], *, seed: int) -> LanguageModel:
    """The base; one with random weights gets a tokenizer that is trained on the texts."""
    size = lm_size_of(base)
    product: Any = open_model(base) if size is None else young_language_model(size, texts, seed=seed)
    product.network.to(best_device())
    return product


def corpus_of(documents: list[list[str]], *, turns: bool) -> Corpus:
    """The documents as curation leaves them."""
    numbers = [number for number, parts in enumerate(documents) for _ in parts]
    places = [place if turns else -1 for parts in documents for place in range(len(parts))]
    items = tuple(part for parts in documents for part in parts)
    return Corpus(items=items, conversation=np.array(numbers), turn=np.array(places), digest="benchmark")


def passes_rate(training: Training, precision: Precision) -> float:
    """Real tokens a second of forward and backward passes alone, without batches and the optimizer: the median of
    five.
    """
    rates = []
    for number in range(_PASSES + 1):
        key = Key(training.config.seed, number)
        chosen = batch_positions(len(training.data), training.config.batch, key)
        batch = training.collate([int(training.data[place]) for place in chosen], key)
        training.objective.zero_grad(set_to_none=True)
        begun = time.perf_counter()
        with autocast(precision, best_device()):
            loss = training.objective(batch)
        loss.total.backward()
        loss.total.item()  # on a GPU this waits for the end
        rates.append(batch.tokens / (time.perf_counter() - begun))
    return float(np.median(rates[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--documents", type=Path, required=True, help="a JSON list of lists of texts")
    parser.add_argument("--turns", action="store_true", help="the texts are turns of conversations")
    parser.add_argument("--tests", type=Path, help="a JSON list of texts: their bits are told")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float, help="instead of steps, by a forecast of a few steps")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--lora-rank", type=int, default=0, help="0 trains the whole model")
    parser.add_argument("--general", type=Path, help="documents to replay, given as the others")
    parser.add_argument("--replay-percent", type=float, default=0.0, help="of rows, those of --general")
    parser.add_argument("--warmup", type=int, default=2, help="steps that are not timed")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    documents = json.loads(given.documents.read_text("utf-8"))
    corpus = corpus_of(documents, turns=given.turns)
    product = opened(given.base, list(corpus.texts), seed=given.seed)
    inputs = product.inputs(corpus)
    young = lm_size_of(given.base) is not None
    plain = make_spec("clm", {"lora": {"rank": given.lora_rank}, "replay_percent": given.replay_percent})
    own = {"batch": given.batch, "lr": given.lr or (YOUNG_LR * plain.lr if young else None)}
    spec: Any = plain.model_copy(update={name: value for name, value in own.items() if value is not None})
    general = None
    if given.general is not None:
        other = corpus_of(json.loads(given.general.read_text("utf-8")), turns=True)
        general = Material(other, product, product.inputs(other), None)

    def training(model: LanguageModel, steps: int, folder: str) -> Training:
        return Training.build(
            spec,
            corpus=corpus,
            inputs=inputs,
            product=model,
            targets=None,
            config=loop_config(spec, load(seed=given.seed), name="clm", steps=steps, precision=given.precision),
            folder=Path(folder),
            snapshot_seconds=float("inf"),
            general=general,
        )

    with tempfile.TemporaryDirectory() as folder:
        steps = given.steps
        if steps is None:
            trial = training(product.copy(), _FORECAST, folder)
            pace = [step.seconds for step in train(trial.objective, trial.data, trial.collate, trial.config)]
            steps = max(given.warmup + 1, round(60 * given.minutes / float(np.median(pace[2:]))))
        real = training(product, steps, folder)
        taken, losses = [], []
        for step in train(real.objective, real.data, real.collate, real.config):
            taken.append((step.tokens, step.cells, step.seconds))
            losses.append(step.loss)
        passes = passes_rate(real, given.precision)
    trained = real.objective.product.merged()
    timed = taken[given.warmup :]
    tokens, cells, seconds = (sum(step[part] for step in timed) for part in range(3))
    bits, everyday = None, None
    if given.tests is not None:
        tests = json.loads(given.tests.read_text("utf-8"))
        fresh = opened(given.base, list(corpus.texts), seed=given.seed)
        bits = {
            name: model.score(tests, precision=given.precision).tolist()
            for name, model in (("before", fresh), ("after", trained))
        }
        everyday = {name: general_bits()(model).value for name, model in (("before", fresh), ("after", trained))}
    result = {
        "real_tokens": tokens,
        "cells": cells,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "passes_tokens_per_second": passes,
        "steps": steps,
        "trained_seconds": sum(step[2] for step in taken),
        "parameters": sum(weight.numel() for weight in trained.network.parameters()),
        "trained_parameters": sum(w.numel() for w in real.objective.parameters() if w.requires_grad),
        "losses": losses,
        "bits": bits,
        "general_bits": everyday,
        "peak_rss_mib": round(peak_mib()),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
