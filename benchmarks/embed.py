"""`embed` against `SentenceTransformer.encode`: `python -m benchmarks.embed [--quick] [--repeats 5]`.

Texts: BANKING77's training messages and 100,000 turns of SGD (quick: 1,000 of them), at most 128 tokens. The peer runs
at its defaults (float32, batches of 32) and at the best of a few settings, looked for on 5,000 of the texts. Loading
the model and the first few batches are not timed; tokenising is, on both sides. The vectors must agree.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks import command_line, data, timing
from benchmarks.ours import BASE, run_ours
from benchmarks.peer import run_peer
from benchmarks.timing import Options, Result, Row
from shoptalk.nn.bases import resolve
from shoptalk.nn.precision import choose_precision
from shoptalk.stages.world import best_device

NAME = "embed"
TURNS, SCANNED, QUICK = 100_000, 5_000, 1_000


@dataclass(frozen=True)
class Setting:
    """How `encode` is run."""

    batch: int = 32
    attention: str = "sdpa"
    bf16: bool = False

    @property
    def label(self) -> str:
        """For the table."""
        return f"encode, {'bf16' if self.bf16 else 'float32'}, {self.attention}, batch {self.batch}"


def grid(*, bfloat16: bool, quick: bool) -> list[Setting]:
    """The settings among which the best of `encode` is looked for; bf16 only where the machine has units for it."""
    if quick:
        return [Setting(batch=128, bf16=bfloat16)]
    return [
        Setting(batch=batch, attention=attention, bf16=bfloat16)
        for attention, batch in product(("sdpa", "eager"), (32, 64, 128, 256))
    ]


def measure(options: Options) -> Iterator[Row]:
    """The grid on a sample, then the defaults, the best and ours in turn on everything."""
    texts = data.banking77() + data.sgd_turns(TURNS)
    if options.quick:
        texts = data.sample(texts, QUICK)
    precision, _ = choose_precision(best_device())
    bfloat16 = precision == "bfloat16"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        everything = data.write_texts(folder / "texts.jsonl", texts)
        scanned = data.write_texts(folder / "sample.jsonl", data.sample(texts, min(SCANNED, len(texts))))
        encode = partial(_encode, options, everything, folder)
        settings = grid(bfloat16=bfloat16, quick=options.quick)
        scan = {setting: _encode(options, scanned, folder, setting, 0) for setting in settings if len(settings) > 1}
        for setting, result in scan.items():
            yield timing.speed_row(NAME, f"{setting.label} (one run, {min(SCANNED, len(texts)):,} texts)", [result])
        best = max(scan, key=lambda setting: float(scan[setting]["tokens_per_second"]), default=settings[0])
        results = timing.in_turn(
            {
                "default": partial(encode, Setting()),
                "best": partial(encode, best),
                "ours": lambda number: run_ours(
                    "embed", threads=options.threads, texts=everything, precision=precision, vectors=folder / "ours.npy"
                ),
            },
            options.repeats,
        )
        agreement = cosines(np.load(folder / "ours.npy"), np.load(folder / _vectors(Setting())))
    missing = "" if bfloat16 else "; no bfloat16 units here: bf16 was not tried"
    inside = f"Shoptalk, {results['ours'][0]['precision']}"
    yield timing.speed_row(NAME, f"{Setting().label}: its defaults", results["default"])
    yield timing.speed_row(NAME, f"{best.label}: its best", results["best"], note=f"best of {len(settings)}{missing}")
    yield timing.speed_row(
        NAME, f"{inside}, against the defaults", results["ours"], peer=results["default"], at_least=3.0
    )
    yield timing.speed_row(NAME, f"{inside}, against the best", results["ours"], peer=results["best"], at_least=1.4)
    yield Row(
        comparison=NAME,
        what="smallest cosine of our vector and that of encode's defaults, first 1,000 texts",
        value=round(float(agreement.min()), 5),
        unit="",
        at_least=0.999,
    )


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row."""
    return np.asarray((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))


def _vectors(setting: Setting) -> str:
    return f"{setting.attention}-{setting.batch}-{setting.bf16}.npy"


def _encode(options: Options, texts: Path, folder: Path, setting: Setting, number: int) -> Result:
    return run_peer(
        "encode",
        threads=options.threads,
        model=resolve(BASE),
        texts=texts,
        max_length=data.MAX_LENGTH,
        vectors=folder / _vectors(setting),
        **vars(setting),
    )


if __name__ == "__main__":
    command_line.main(measure, __doc__)
