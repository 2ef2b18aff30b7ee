"""Masked language modelling against transformers' Trainer: `python -m benchmarks.mlm [--quick] [--repeats 5]`.

Texts: BANKING77's training messages and the turns of SGD, at most 128 tokens, one a line (as `run_mlm --line_by_line`;
its other mode, which lets attention cross from text to text, trains something else). All runs take one pass over the
same random texts, mask 15 % of the tokens and learn at 5e-5; the first quarter of the steps is warm-up. Tokens are real
ones, no padding.

First every setting of the Trainer in the grid runs once; then its defaults (float32, SDPA, batch 64), the best of the
grid and ours take turns, ours at the same number of texts a batch.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks import command_line, data, timing
from benchmarks.ours import BASE, run_ours
from benchmarks.peer import run_peer
from benchmarks.timing import Options, Result, Row
from shoptalk.nn.bases import resolve
from shoptalk.nn.precision import Precision, choose_precision
from shoptalk.stages.world import best_device

NAME = "mlm"
MASK_RATE = 0.15
BATCH, LARGE = 64, 256


@dataclass(frozen=True)
class Setting:
    """How the Trainer is run."""

    attention: str = "sdpa"
    batch: int = BATCH
    bf16: bool = False
    group_by_length: bool = False

    @property
    def label(self) -> str:
        """For the table."""
        precision = "bf16" if self.bf16 else "float32"
        grouping = ", grouped by length" if self.group_by_length else ""
        return f"Trainer, {precision}, {self.attention}, batch {self.batch}{grouping}"


def grid(*, bfloat16: bool, quick: bool) -> list[Setting]:
    """The settings among which the best of the Trainer is looked for; bf16 only where the machine has units for it."""
    types = (False, True) if bfloat16 else (False,)
    if quick:
        return [Setting(bf16=bfloat16, group_by_length=True)]
    return [
        Setting(attention=attention, batch=batch, bf16=bf16, group_by_length=True)
        for bf16, attention, batch in product(types, ("sdpa", "eager"), (BATCH, LARGE))
    ]


def measure(options: Options) -> Iterator[Row]:
    """The grid, then the Trainer's defaults, its best and ours in turn."""
    texts = data.sample(data.banking77() + data.sgd_turns(), BATCH * options.steps)
    precision, _ = choose_precision(best_device())
    with tempfile.TemporaryDirectory() as folder:
        path = data.write_texts(Path(folder) / "texts.jsonl", texts)
        trainer = partial(_trainer, options, path)
        settings = grid(bfloat16=precision == "bfloat16", quick=options.quick)
        scan = {setting: trainer(setting, 0) for setting in settings if len(settings) > 1}
        for setting, result in scan.items():
            yield timing.speed_row(NAME, f"{setting.label} (one run)", [result])
        best = max(scan, key=lambda setting: float(scan[setting]["tokens_per_second"]), default=settings[0])
        results = timing.in_turn(
            {
                "default": partial(trainer, Setting()),
                "best": partial(trainer, best),
                **{f"ours {batch}": partial(_ours, options, path, precision, batch) for batch in {BATCH, best.batch}},
            },
            options.repeats,
        )
    missing = "" if precision == "bfloat16" else "; no bfloat16 units here: bf16 was not tried"
    yield timing.speed_row(NAME, f"{Setting().label}: its defaults", results["default"])
    yield timing.speed_row(NAME, f"{best.label}: its best", results["best"], note=f"best of {len(settings)}{missing}")
    ours, large = results[f"ours {BATCH}"], results[f"ours {best.batch}"]
    inside = ours[0]["precision"]
    yield timing.speed_row(
        NAME, f"Shoptalk, {inside}, batch {BATCH}, against the defaults", ours, peer=results["default"], at_least=15.0
    )
    yield timing.speed_row(
        NAME, f"Shoptalk, {inside}, batch {best.batch}, against the best", large, peer=results["best"], at_least=3.5
    )
    yield timing.loss_row(NAME, ours, results["default"])


def _trainer(options: Options, texts: Path, setting: Setting, number: int) -> Result:
    return run_peer(
        "mlm_trainer",
        threads=options.threads,
        model=resolve(BASE),
        texts=texts,
        warmup=warmup(options, setting.batch),
        seed=number,
        mask_rate=MASK_RATE,
        max_length=data.MAX_LENGTH,
        **vars(setting),
    )


def _ours(options: Options, texts: Path, precision: Precision, batch: int, number: int) -> Result:
    return run_ours(
        "train",
        threads=options.threads,
        texts=texts,
        objective="mlm",
        precision=precision,
        batch=batch,
        warmup=warmup(options, batch),
        seed=number,
        mask_rate=MASK_RATE,
    )


def warmup(options: Options, batch: int) -> int:
    """Warm-up steps at this batch: the same share of the texts at every batch."""
    return max(1, options.warmup * BATCH // batch)


if __name__ == "__main__":
    command_line.main(measure, __doc__)
