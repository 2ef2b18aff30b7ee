"""Training beside another busy program: `python -m benchmarks.neighbour [--quick] [--repeats 5]`.

Masked language modelling on BANKING77's training messages and the turns of SGD, alone and beside a process that keeps
one core busy; with OpenMP's threads spinning while they wait, as its runtime has it by default, and asleep, as the
command line of Shoptalk sets it (`nn/waiting.py`). The four take turns. Tokens are real ones, no padding.

Asleep may cost a tenth alone. Beside the neighbour it may cost what the neighbour takes: one core of those there are.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import command_line, data, timing
from benchmarks.ours import command
from benchmarks.timing import Options, Result, Row
from shoptalk.nn.machine import usable_cores
from shoptalk.nn.precision import Precision, choose_precision
from shoptalk.nn.waiting import let_threads_sleep
from shoptalk.stages.world import best_device

NAME = "neighbour"
BATCH = 64
ALONE_AT_LEAST = 0.9


def measure(options: Options) -> Iterator[Row]:
    """Spinning and asleep, alone and beside a neighbour, in turn."""
    texts = data.sample(data.banking77() + data.sgd_turns(), BATCH * options.steps)
    precision, _ = choose_precision(best_device())
    asleep: dict[str, str] = {}
    let_threads_sleep(asleep)
    with tempfile.TemporaryDirectory() as folder:
        path = data.write_texts(Path(folder) / "texts.jsonl", texts)
        run = partial(_train, options, path, precision)
        results = timing.in_turn(
            {
                "spinning, alone": partial(run, {}, False),
                "asleep, alone": partial(run, asleep, False),
                "spinning, beside": partial(run, {}, True),
                "asleep, beside": partial(run, asleep, True),
            },
            options.repeats,
        )
    cores = usable_cores()
    alone, beside = "alone", f"beside one busy process on {cores} cores"
    yield timing.speed_row(NAME, f"{precision}, threads spin, {alone}", results["spinning, alone"])
    yield timing.speed_row(
        NAME, f"{precision}, threads sleep, {alone}, against spinning alone", results["asleep, alone"],
        peer=results["spinning, alone"], at_least=ALONE_AT_LEAST,
    )  # fmt: skip
    yield timing.speed_row(
        NAME, f"{precision}, threads spin, {beside}, against spinning alone", results["spinning, beside"],
        peer=results["spinning, alone"],
    )  # fmt: skip
    yield timing.speed_row(
        NAME, f"{precision}, threads sleep, {beside}, against sleeping alone", results["asleep, beside"],
        peer=results["asleep, alone"], at_least=1 - 1 / cores if cores > 1 else 0.5,
    )  # fmt: skip


def _train(
    options: Options, texts: Path, precision: Precision, settings: dict[str, str], beside: bool, number: int
) -> Result:
    words = command(
        "train",
        texts=texts,
        objective="mlm",
        precision=precision,
        batch=BATCH,
        warmup=options.warmup,
        seed=number,
    )
    with busy_neighbour() if beside else contextlib.nullcontext():
        return timing.run_json(words, threads=options.threads, settings=settings)


@contextlib.contextmanager
def busy_neighbour() -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that keeps a core busy, inside."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    command_line.main(measure, __doc__)
