"""Language models: `python -m benchmarks.language_models [--only PARTS] [--minutes 2] [--quick]`

- `speed`: continued pre-training of SmolLM2 (135 M) on PostgreSQL's manual, tokens a second beside transformers'
  Trainer, whose settings are tried one by one before its best takes turns with ours; and the share of the machine's
  matmul peak that the model's own operations reach (6 per weight and token, attention left out): in forward and
  backward passes alone, and in whole steps.
- `repair`: is it the domain? SmolLM2's weights were quantised, so that any training may mend them. As many steps on
  PostgreSQL's manual and on conversations with a booking service; then both models' bits per byte of PostgreSQL's
  documents that neither has seen, and of the difference the interval over documents.
- `young`: `scratch:gpt-nano` on the Schema-Guided Dialogues beside a GPT-2-style decoder of plain PyTorch
  (`benchmarks/peers/gpt2_style.py`) of the same size, tokenizer and minutes: bits per byte of unseen dialogues.
- `forgetting`: SmolLM2 on the manual, whole, with shares of Topical-Chat's conversations replayed, and by low-rank
  adaptation, at as many steps each: bits per byte of the manual that are saved, those of everyday sentences, speed and
  memory.

Needs SHOPTALK_DATA. Every run is a process of its own. Progress goes to standard error, the table to standard output.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from benchmarks import data, table
from benchmarks.language_training import opened
from benchmarks.peak import SIZES
from benchmarks.peer import run_peer
from benchmarks.timing import Result, Row, in_turn, options_to_words, run_json, say, speed_row
from shoptalk.nn.precision import choose_precision, matmul_rate
from shoptalk.nn.smollm2 import smollm2_folder
from shoptalk.stages.world import best_device

CONTEXT = 512
DRAWS = 2_000
"""Of documents, for an interval."""
JUDGED = 1_600
"""Characters of a held-out document that are read."""


@dataclass(frozen=True)
class Options:
    """What every part is given."""

    minutes: float
    repeats: int
    quick: bool
    precision: str
    folder: Path
    steps: int


def row(what: str, value: float, unit: str, **more: Any) -> Row:
    """A row of the table."""
    return Row("language models", what, value, unit, **more)


def ours(**options: object) -> Result:
    """One run of ours."""
    return run_json([sys.executable, "-m", "benchmarks.language_training", *options_to_words(options)], threads=None)


def manual() -> tuple[list[list[str]], list[str]]:
    """PostgreSQL's manual: documents to learn from, as passages, and the beginnings of those that are held out."""
    rows = data.rows("docs/postgresql15.jsonl.gz")
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    texts = [rows[number]["text"] for number in order if rows[number]["text"].strip()]
    held_out = max(2, min(125, len(texts) // 5))
    learned = [[part for part in text.split("\n\n") if part.strip()] for text in texts[held_out:]]
    return learned, [text[:JUDGED] for text in texts[:held_out]]


def dialogues(split: str, most: int) -> list[list[str]]:
    """The turns of so many conversations of the Schema-Guided Dialogue set."""
    rows = data.rows(f"dialogues/sgd/{split}.jsonl.gz")
    return [[turn["text"] for turn in row["turns"] if turn["text"].strip()] for row in rows][:most]


def written(folder: Path, name: str, value: object) -> Path:
    """A JSON file for a run."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def speed(options: Options) -> Iterator[Row]:
    """Ours and the Trainer in turn, and the share of the matmul peak."""
    learned, _ = manual()
    documents = written(options.folder, "manual", learned)
    steps, warmup = (3, 1) if options.quick else (7, 2)
    common: dict[str, Any] = {"documents": documents, "steps": steps, "warmup": warmup}
    autocast = options.precision == "bfloat16"
    grid: list[dict[str, Any]] = [{"batch": 8, "bf16": autocast}]
    if not options.quick:
        grid += [{"batch": 8, "weights": "bfloat16"}, {"batch": 4, "bf16": autocast}]
        grid += [{"batch": 8, "bf16": autocast, "checkpointing": True}]
    trainer = partial(run_peer, "clm_trainer", threads=None, model=smollm2_folder(), context=CONTEXT, **common)
    scan = [trainer(**setting) for setting in grid]
    for setting, result in zip(grid, scan, strict=True):
        yield speed_row("language models", f"Trainer, {setting} (one run)", [result])
    best = grid[int(np.argmax([result["tokens_per_second"] for result in scan]))]
    runs = {
        "Trainer": lambda number: trainer(seed=number, **best),
        "ours": lambda number: ours(base="smollm2", precision=options.precision, seed=number, **common),
    }
    results = in_turn(runs, options.repeats)
    yield speed_row("language models", f"Trainer at its best, {best}", results["Trainer"])
    yield speed_row(
        "language models", "Shoptalk, clm on SmolLM2", results["ours"], peer=results["Trainer"], at_least=1.0
    )
    dtype = getattr(torch, options.precision)
    peak = max(matmul_rate(dtype, best_device(), size=size, seconds=1.0) for size in SIZES)
    for what, rate, least in (
        ("inside the model", "passes_tokens_per_second", 50.0),
        ("of whole steps", "tokens_per_second", None),
    ):
        shares = [100 * 6e-9 * result["parameters"] * result[rate] / peak for result in results["ours"]]
        note = f"{peak:,.0f} GFLOP/s; {np.median([result[rate] for result in results['ours']]):,.0f} tokens/s"
        yield row(f"Shoptalk, matmul peak, {what}", float(np.median(shares)), "%", at_least=least, note=note)


def repair(options: Options) -> Iterator[Row]:
    """The manual's gain beside that of another domain's text."""
    learned, tests = manual()
    told = written(options.folder, "held-out", tests)
    results = {}
    for name, documents, turns in (("manual", learned, False), ("conversations", dialogues("train", 2_000), True)):
        say(f"repair: {options.steps} steps on the {name}")
        results[name] = ours(
            base="smollm2",
            documents=written(options.folder, name, documents),
            turns=turns,
            tests=told,
            steps=options.steps,
            warmup=0,
            precision=options.precision,
        )
    sizes = np.array([len(text.encode()) for text in tests], dtype=float)
    before = np.array(results["manual"]["bits"]["before"])
    after = {name: np.array(result["bits"]["after"]) for name, result in results.items()}
    base = float(before.sum() / sizes.sum())
    for name, bits in after.items():
        gain, low, high = gained(before, bits, sizes)
        yield row(
            f"SmolLM2, {options.steps} steps on {name}: bits per byte of the manual saved",
            gain,
            "bits",
            note=f"{low:.3f} to {high:.3f}; {base:.3f} before, {100 * gain / base:.1f} % down",
        )
    net, low, high = gained(after["conversations"], after["manual"], sizes)
    yield row(
        "the manual's beyond the conversations', which also mend quantised weights",
        net,
        "bits",
        at_least=0.0,
        note=f"{low:.3f} to {high:.3f}, 95 % over {len(tests)} documents",
    )


def gained(
    before: Float[np.ndarray, " N"], after: Float[np.ndarray, " N"], sizes: Float[np.ndarray, " N"]
) -> tuple[float, float, float]:
    """Bits per byte that are saved, and the 95 % interval over documents (percentile bootstrap)."""
    chosen = np.random.default_rng(0).integers(len(sizes), size=(DRAWS, len(sizes)))
    saved = (before - after)[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
    low, high = np.percentile(saved, [2.5, 97.5])
    return float((before - after).sum() / sizes.sum()), float(low), float(high)


def young(options: Options) -> Iterator[Row]:
    """`scratch:gpt-nano` and the GPT-2-style decoder, as many minutes each."""
    documents = dialogues("train", 200 if options.quick else 20_000)
    tests = ["\n".join(turns) for turns in dialogues("test", 20 if options.quick else 300)]
    model = opened("scratch:gpt-nano", [turn for turns in documents for turn in turns], seed=0)
    model.tokenizer.save_pretrained(tokenizer := options.folder / "tokenizer")
    paths = {"documents": written(options.folder, "dialogues", documents)}
    paths["tests"] = written(options.folder, "dialogues-tests", tests)
    autocast = options.precision == "bfloat16"
    peer = partial(
        run_peer, "gpt2_style", threads=None, tokenizer=tokenizer, minutes=options.minutes, bf16=autocast, **paths
    )
    grid = ((4, 1e-3),) if options.quick else ((4, 1e-3), (4, 3e-3), (16, 1e-3), (16, 3e-3))
    runs: dict[str, Callable[[int], Result]] = {
        f"GPT-2 style, batch {batch}, learning rate {rate:g}": partial(_seeded, peer, batch=batch, lr=rate)
        for batch, rate in grid
    }
    mine = partial(
        ours, base="scratch:gpt-nano", turns=True, minutes=options.minutes, precision=options.precision, **paths
    )
    results = in_turn(runs | {"ours": partial(_seeded, mine)}, options.repeats)
    sizes = np.array([len(text.encode()) for text in tests], dtype=float)
    bits = {name: np.mean([result["bits"]["after"] for result in rounds], axis=0) for name, rounds in results.items()}
    for name, rounds in results.items():
        each = ", ".join(f"{sum(result['bits']['after']) / sizes.sum():.3f}" for result in rounds)
        one = rounds[0]
        yield row(
            f"unseen dialogues after {options.minutes:g} min: {name}",
            float(bits[name].sum() / sizes.sum()),
            "bits per byte",
            note=f"seeds: {each}; {one['parameters'] / 1e6:.1f} M weights, {one['steps']:,} steps, "
            f"{one['tokens_per_second']:,.0f} tokens/s, {one['peak_rss_mib']:,} MiB",
        )
    best = min((name for name in bits if name != "ours"), key=lambda name: float(bits[name].sum()))
    net, low, high = gained(bits[best], bits["ours"], sizes)
    yield row(
        f"ours below {best}",
        net,
        "bits per byte",
        at_least=0.0,
        note=f"{low:.3f} to {high:.3f}, 95 % over {len(tests)} dialogues, mean of {options.repeats} seeds",
    )


def forgetting(options: Options) -> Iterator[Row]:
    """What is learned and what is forgotten: the whole model, with text replayed, and low-rank adaptations."""
    learned, tests = manual()
    rows = data.rows("dialogues/topical_chat/valid_freq.jsonl.gz")
    chats = [[turn["text"] for turn in row["turns"] if turn["text"].strip()] for row in rows]
    common: dict[str, Any] = {
        "base": "smollm2",
        "documents": written(options.folder, "manual", learned),
        "tests": written(options.folder, "held-out", tests),
        "general": written(options.folder, "general", [chat for chat in chats if chat]),
        "steps": options.steps,
        "warmup": 1,
        "precision": options.precision,
    }
    ways: dict[str, dict[str, Any]] = {"whole": {}}
    ways |= {f"whole, {percent} % replayed": {"replay_percent": percent} for percent in (5, 25)}
    for rank in (8,) if options.quick else (8, 64):
        ways |= {f"rank {rank}, learning rate {rate:g}": {"lora_rank": rank, "lr": rate} for rate in (2e-4, 2e-3)}
    sizes = np.array([len(text.encode()) for text in tests], dtype=float)
    for name, way in ways.items():
        say(f"forgetting: {name}")
        result = ours(**common, **way)
        gain, low, high = gained(np.array(result["bits"]["before"]), np.array(result["bits"]["after"]), sizes)
        before, after = result["general_bits"]["before"], result["general_bits"]["after"]
        yield row(
            f"{name}: bits per byte of the manual saved in {options.steps} steps",
            gain,
            "bits",
            note=f"{low:.3f} to {high:.3f}; everyday sentences {before:.3f} to {after:.3f} "
            f"({100 * (after / before - 1):+.1f} %); {result['trained_parameters'] / 1e6:.1f} M trained, "
            f"{result['tokens_per_second']:,.0f} tokens/s, {result['peak_rss_mib']:,} MiB",
        )


def _seeded(run: Callable[..., Result], number: int, **more: object) -> Result:
    return run(seed=number, **more)


PARTS = {"speed": speed, "repair": repair, "young": young, "forgetting": forgetting}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts separated by commas (all)")
    parser.add_argument("--minutes", type=float, help="of each young model's training (2; quick: 0.1)")
    parser.add_argument("--steps", type=int, help="of each training of `repair` and `forgetting` (40; quick: 2)")
    parser.add_argument("--repeats", type=int, help="rounds of `speed` and `young` (3; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="does it run?")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise SystemExit(f"No part {unknown[0]!r}. There is: {', '.join(PARTS)}.")
    data.pack()
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.language_models {' '.join(sys.argv[1:])}`\n")
    with tempfile.TemporaryDirectory() as folder:
        options = Options(
            minutes=given.minutes or (0.1 if given.quick else 2.0),
            repeats=given.repeats or (1 if given.quick else 3),
            quick=given.quick,
            precision=choose_precision(best_device())[0],
            folder=Path(folder),
            steps=given.steps or (2 if given.quick else 40),
        )
        table.printed(measured for name in names for measured in PARTS[name](options))


if __name__ == "__main__":
    main()
