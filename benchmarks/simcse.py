"""Unsupervised SimCSE against sentence-transformers' trainer: `python -m benchmarks.simcse [--quick] [--repeats 5]`.

Texts: BANKING77's training messages and the turns of SGD, at most 128 tokens. Both take one pass over the same random
texts in batches of 64, with a temperature of 0.05 and a learning rate of 5e-5; the first quarter of the steps is
warm-up. The peer trains on (text, text) pairs with its in-batch loss, in bf16 where the machine has units for it. Every
text is encoded twice and its real tokens are counted once, on both sides.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import command_line, data, timing
from benchmarks.ours import BASE, run_ours
from benchmarks.peer import run_peer
from benchmarks.timing import Options, Row
from shoptalk.nn.bases import resolve
from shoptalk.nn.precision import choose_precision
from shoptalk.stages.world import best_device

NAME = "simcse"
BATCH = 64


def measure(options: Options) -> Iterator[Row]:
    """The trainer and ours in turn."""
    texts = data.sample(data.banking77() + data.sgd_turns(), BATCH * options.steps)
    precision, _ = choose_precision(best_device())
    bf16 = precision == "bfloat16"
    with tempfile.TemporaryDirectory() as folder:
        common: dict[str, Any] = {
            "threads": options.threads,
            "texts": data.write_texts(Path(folder) / "texts.jsonl", texts),
            "batch": BATCH,
            "warmup": options.warmup,
        }
        peer: dict[str, Any] = {"model": resolve(BASE), "max_length": data.MAX_LENGTH, "bf16": bf16}
        results = timing.in_turn(
            {
                "trainer": lambda number: run_peer("simcse_trainer", seed=number, **common, **peer),
                "ours": lambda number: run_ours(
                    "train", seed=number, objective="simcse", precision=precision, **common
                ),
            },
            options.repeats,
        )
    label = "bf16" if bf16 else "float32: no bfloat16 units here"
    trainer, ours = results["trainer"], results["ours"]
    yield timing.speed_row(NAME, f"sentence-transformers' trainer, batch {BATCH} ({label})", trainer)
    yield timing.speed_row(NAME, f"Shoptalk, {ours[0]['precision']}, batch {BATCH}", ours, peer=trainer, at_least=3.0)
    yield timing.loss_row(NAME, ours, trainer)


if __name__ == "__main__":
    command_line.main(measure, __doc__)
