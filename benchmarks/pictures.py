"""What pictures teach: `python -m benchmarks.pictures [--only simclr,lit] [--minutes 15] [--quick]`

Needs SHOPTALK_DATA.

- `baselines`, `simclr`, `moco`, `byol`, `dino`, `mae`: CIFAR-10's first 2,000 training pictures of each class, without
  their classes, train a base with random weights. Then the whole test set is classified by the 20 nearest training
  pictures (cosine, weighted votes) and by a linear head that all training labels fitted. Beside it stand raw pixels,
  HOG with a colour histogram, and the random weights. `share of a step` says what making batches takes.
- `backbone`: forward and backward passes against the fastest matmul of the machine.
- `speed`: pictures a second of SimCLR, in turn with a plain PyTorch script of the same backbone, batch and
  augmentation; with `--objectives simclr,moco,byol` of these.
- `profile`: of a few steps of each objective, what share goes to batches, matmuls, norms, loss, optimizer and teacher.
- `collapse`: 200 steps of BYOL without its predictor and of DINO without its centring, and of both as they should be.
- `clothing`: `shoptalk adapt --task picture` on photographs of clothes with ten labels of each class.
- `lit`: emoji by two vendors learn their names in MiniLM's space, which is frozen; then a third vendor's are named.

One seed, the last step, and no choice rests on a test set. A training lasts --minutes, its steps forecast from eight of
them. Progress goes to standard error, the table to standard output, row by row.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import data, picture_sets, table, timing
from benchmarks.emoji import lit
from benchmarks.peak import matmul_peak
from benchmarks.peer import run_peer
from benchmarks.picture_profile import OBJECTIVES as PROFILED
from benchmarks.picture_profile import profiles
from benchmarks.picture_training import (
    BASES,
    SEED,
    Options,
    Pictures,
    Trained,
    accuracies,
    backbone_rate,
    row,
    train_for,
)  # fmt: skip
from benchmarks.timing import ROOT, Row, run_json
from shoptalk.image.pixels import decode_all
from shoptalk.nn.bases import open_base
from shoptalk.nn.precision import choose_precision
from shoptalk.objectives import make_spec
from shoptalk.stages.world import best_device

ASKED = {"simclr": 52.0, "moco": 50.0}
"""kNN accuracy in per cent."""
ABOVE_RANDOM = {"byol": 5.0, "dino": 5.0, "mae": 8.0}
"""Points above random weights: by kNN, MAE by its linear probe."""
PROBED = "mae"
COLLAPSES = (
    ("byol", "predictor", "BYOL without its predictor"),
    ("dino", "centring", "DINO without its centring"),
)
COLLAPSE_STEPS = 200
PEERS = {
    "simclr": ("hidden", "dimensions", "temperature"),
    "moco": ("hidden", "dimensions", "temperature", "momentum", "queue", "parts"),
    "byol": ("hidden", "dimensions", "momentum"),
}
"""What the plain script takes of each objective's settings."""
MOST_INPUT, LEAST_PEAK = 15.0, 50.0
LABELS_EACH = 10


# CIFAR-10 ----------------------------------------------------------------------------------------------------------


@cache
def cifar(quick: bool) -> tuple[picture_sets.Labelled, picture_sets.Labelled]:
    """Training and test pictures."""
    known, tests = (picture_sets.labelled(f"images/cifar10_jpeg/{name}.zip") for name in ("train_20k", "test_10k"))
    return (picture_sets.first_of_each(known, 100), picture_sets.first_of_each(tests, 50)) if quick else (known, tests)


@cache
def cifar_pictures(size: int, quick: bool) -> Pictures:
    """Both in memory."""
    known, tests = cifar(quick)
    return Pictures(
        decode_all(known.pictures, size=size), known.classes, decode_all(tests.pictures, size=size), tests.classes
    )


@cache
def worth(ref: str, quick: bool) -> tuple[float, float]:
    """kNN and linear accuracy of a base as it is."""
    product = open_base(ref, seed=SEED)
    knn, linear = accuracies(product, cifar_pictures(product.size, quick), probe=True)
    return knn, linear or 0.0


def baselines(options: Options) -> Iterator[Row]:
    """Without any training."""
    for ref in ("pixels", "hog", *dict.fromkeys([options.base] if options.base else BASES.values())):
        if ref is not None:
            knn, linear = worth(ref, options.quick)
            yield row(f"CIFAR-10, {ref} untrained: kNN", knn, "%", note=f"linear head {linear:.1f} %")


def objective(name: str) -> Callable[[Options], Iterator[Row]]:
    """The part that trains by one objective."""

    def measure(options: Options) -> Iterator[Row]:
        ref = options.base_of(name)
        random_knn, random_linear = worth(ref, options.quick)
        product = open_base(ref, seed=SEED)
        pictures = cifar_pictures(product.size, options.quick)
        corpus = picture_sets.corpus_of(cifar(options.quick)[0].pictures)
        trained = train_for(
            product,
            name,
            options.settings,
            corpus,
            product.inputs(corpus),
            precision=options.precision,
            minutes=options.minutes,
            watched=pictures.known.take(np.arange(0, len(pictures.known), max(1, len(pictures.known) // 512))),
        )
        knn, linear = accuracies(product, pictures, probe=True)
        above = ABOVE_RANDOM.get(name)
        yield row(
            f"CIFAR-10, {name}: kNN",
            knn,
            "%",
            at_least=ASKED.get(name, None if name == PROBED or above is None else random_knn + above),
            note=f"{ref}, {trained.steps:,} steps of {trained.batch} in {trained.seconds / 60:.1f} min, "
            f"{options.precision}; random weights {random_knn:.1f} %",
        )
        yield row(
            f"CIFAR-10, {name}: linear head",
            linear or 0.0,
            "%",
            at_least=random_linear + ABOVE_RANDOM[name] if name == PROBED else None,
            note=f"random weights {random_linear:.1f} %",
        )
        yield from training_rows(name, trained)

    return measure


def training_rows(name: str, trained: Trained) -> Iterator[Row]:
    """Speed, share of the input, and the alarm that must not go off."""
    yield row(f"{name}: training", trained.pictures_per_second, "pictures/s", note=f"last loss {trained.loss:.3f}")
    yield row(f"{name}: making batches, share of a step", trained.input_share, "%", at_most=MOST_INPUT)
    yield row(f"{name}: lowest RankMe, of the most it could be", trained.least_rank, "%", note=alarm_words(trained))


def alarm_words(trained: Trained) -> str:
    """When the collapse alarm went off."""
    return "no collapse alarm" if trained.alarm is None else f"collapse alarm at step {trained.alarm}"


def collapse(options: Options) -> Iterator[Row]:
    """Both that must collapse, and both that must not: the value is the step of the alarm, 0 without one."""
    corpus = picture_sets.corpus_of(cifar(options.quick)[0].pictures)
    for name, setting, words in COLLAPSES:
        for settings, what in (({setting: False}, words), ({}, f"{name} as it should be")):
            product = open_base(options.base_of(name), seed=SEED)
            known = cifar_pictures(product.size, options.quick).known
            trained = train_for(
                product,
                name,
                options.settings | settings,
                corpus,
                product.inputs(corpus),
                precision=options.precision,
                steps=20 if options.quick else COLLAPSE_STEPS,
                watched=known.take(np.arange(0, len(known), max(1, len(known) // 512))),
                every=10 if options.quick else 20,
            )
            bars = {"at_least": 1.0, "at_most": float(COLLAPSE_STEPS)} if settings else {"at_most": 0.0}
            note = f"{alarm_words(trained)}; lowest RankMe {trained.least_rank:.1f} % of the most, limit 5 %"
            yield row(f"collapse: {what}", float(trained.alarm or 0), "step of the alarm", note=note, **bars)


def backbone(options: Options) -> Iterator[Row]:
    """Each base at the batch that its objectives give it."""
    peak, size = matmul_peak(options.precision, best_device(), quick=options.quick)
    yield row(f"matmul peak, {options.precision}", peak, "GFLOP/s", note=f"{size} x {size}")
    for ref in dict.fromkeys([options.base] if options.base else BASES.values()):
        if ref is not None:
            network: Any = open_base(ref, seed=SEED).network
            batch = 32 if options.quick else 512
            rate, seconds, gflop = backbone_rate(network, batch=batch, precision=options.precision)
            yield row(
                f"{ref}: forward and backward, of the matmul peak",
                100 * rate / peak,
                "%",
                at_least=LEAST_PEAK,
                note=f"{rate:,.0f} GFLOP/s; {batch} views in {seconds:.2f} s; {1000 * gflop:.1f} MFLOP a picture "
                "forward",
            )


def speed(options: Options) -> Iterator[Row]:
    """Ours against the plain script, in turn, each in a process of its own."""
    for name in options.objectives or ("simclr",):
        yield from speed_of(name, options)


def speed_of(objective: str, options: Options) -> Iterator[Row]:
    """One objective's pictures a second."""
    if objective not in PEERS:
        raise SystemExit(f"There is no plain script of {objective!r}, but of {', '.join(PEERS)}.")
    ref = options.base_of(objective)
    spec: Any = make_spec(objective, options.settings)
    product: Any = open_base(ref, seed=SEED)
    known = cifar_pictures(product.size, options.quick).known
    batch, steps = (16, 4) if options.quick else (spec.batch, 24)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "pictures.npy"), known.take(np.arange(min(len(known), 8_192))))
        product.save(Path(folder, "model"), card="")
        common: dict[str, Any] = {
            "objective": objective,
            "pictures": Path(folder, "pictures.npy"),
            "batch": batch,
            "steps": steps,
            "warmup": steps // 4,
        }
        plain: dict[str, Any] = {
            "model": Path(folder, "model"),
            "lr": spec.lr,
            "bf16": options.precision == "bfloat16",
            **{name: getattr(spec, name) for name in PEERS[objective]},
        }

        def ours(number: int) -> timing.Result:
            own = {"base": ref, "settings": json.dumps(options.settings), "precision": options.precision}
            words = timing.options_to_words(own | {"seed": number} | common)
            return run_json([sys.executable, "-m", "benchmarks.picture_speed", *words], threads=options.threads)

        def peer(number: int) -> timing.Result:
            return run_peer("picture_trainer", threads=options.threads, seed=number, **common, **plain)

        results = timing.in_turn({"plain PyTorch": peer, "ours": ours}, options.repeats)
    yield from speed_rows(f"{objective}, {ref}, batch {batch}", results, note=options.precision)


def speed_rows(what: str, results: dict[str, list[timing.Result]], *, note: str) -> Iterator[Row]:
    """Pictures a second of both."""
    for name, runs in results.items():
        rates = [run["pictures_per_second"] for run in runs]
        peer = [run["pictures_per_second"] for run in results["plain PyTorch"]]
        ratio, ratio_range = timing.ratios(rates, peer) if name == "ours" else (None, None)
        yield Row(
            "pictures",
            f"{what}: {name}",
            float(np.median(rates)),
            "pictures/s",
            spread=timing.spread(rates),
            ratio=ratio,
            ratio_range=ratio_range,
            note=f"{note}; making batches {np.median([run['input_share'] for run in runs]):.1f} % of a step; "
            f"peak {max(run['peak_rss_mib'] for run in runs):,} MiB",
        )


# Clothes -----------------------------------------------------------------------------------------------------------


def clothing(options: Options) -> Iterator[Row]:
    """The command, as a user gives it: ten labels of each class, all other training pictures without theirs."""
    folder = data.pack() / "images" / "clothing96"
    known = picture_sets.labelled("images/clothing96/train.zip")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        labels = write_labels(work / "labels.csv", [picture_sets.first_of_each(known, LABELS_EACH)])
        tests = [picture_sets.labelled(f"images/clothing96/{name}.zip") for name in ("validation", "test")]
        command = [
            sys.executable, "-m", "shoptalk", "adapt", folder / "train.zip", "--task", "picture", "--labels", labels,
            "--test", write_labels(work / "test.csv", tests), "--base", options.base or "scratch:resnet-mini@64",
            "--budget", f"{options.minutes:g}m", "--out", work / "run",
        ]  # fmt: skip
        begun = time.perf_counter()
        around = timing.environment(options.threads) | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        done = subprocess.run(
            list(map(str, command)), env=around, cwd=work, stdout=sys.stderr, stderr=sys.stderr, check=False
        )
        if done.returncode:
            raise SystemExit(f"shoptalk adapt on the clothes ended with {done.returncode}; what it said stands above.")
        seconds = time.perf_counter() - begun
        verdict = json.loads((work / "run" / "decision" / "facts.json").read_text(encoding="utf-8"))["verdict"]
    low, high = verdict["interval"]
    yield row(
        f"clothes, {LABELS_EACH} labels of each class: {verdict['choice']} {verdict['entry']}",
        verdict["gain"],
        "points over the best base",
        note=f"{low:+.1f} to {high:+.1f}; {seconds / 60:.0f} min in all",
    )


def write_labels(path: Path, parts: list[picture_sets.Labelled]) -> Path:
    """A table with the columns image,label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for part in parts:
            for picture, number in zip(part.pictures, part.classes, strict=True):
                writer.writerow([Path(picture.path).absolute(), part.names[number]])
    return path


# -------------------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "baselines": baselines,
    **{name: objective(name) for name in BASES},
    "backbone": backbone,
    "speed": speed,
    "profile": profiles,
    "collapse": collapse,
    "clothing": clothing,
    "lit": lit,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts separated by commas (all)")
    parser.add_argument("--objectives", help=f"of `profile` ({','.join(PROFILED)}) and of `speed` (simclr)")
    parser.add_argument("--minutes", type=float, help="of each training (15; quick: 0.1)")
    parser.add_argument("--base", help="instead of each part's own, such as scratch:vit-tiny")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="of the objective, as KEY=JSON")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help="(the one that was timed faster here)")
    parser.add_argument("--repeats", type=int, help="rounds of `speed` (5; quick: 1)")
    parser.add_argument("--threads", type=int, help="of torch, and of the processes that are started")
    parser.add_argument("--quick", action="store_true", help="few pictures and seconds: does it run?")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise SystemExit(f"No part {unknown[0]!r}. There is: {', '.join(PARTS)}.")
    objectives = tuple(given.objectives.split(",")) if given.objectives else ()
    if unknown := [name for name in objectives if name not in PROFILED]:
        raise SystemExit(f"No objective {unknown[0]!r} on pictures. There is: {', '.join(PROFILED)}.")
    data.pack()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    options = Options(
        minutes=given.minutes or (0.1 if given.quick else 15.0),
        quick=given.quick,
        repeats=given.repeats or (1 if given.quick else 5),
        threads=given.threads,
        precision=given.precision or choose_precision(best_device())[0],
        base=given.base,
        objectives=objectives,
        settings={key: json.loads(value) for key, value in (pair.split("=", 1) for pair in given.settings)},
    )
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.pictures {' '.join(sys.argv[1:])}`\n")
    table.printed(measured for name in names for measured in PARTS[name](options))


if __name__ == "__main__":
    main()
