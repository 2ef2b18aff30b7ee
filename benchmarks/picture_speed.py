"""Our side of the comparison of speed, in a process of its own: `python -m benchmarks.picture_speed --pictures FILE`.

Trains by the repository's loop; its last line is the result as JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.picture_training import Clock
from benchmarks.timing import peak_mib
from shoptalk.config import load
from shoptalk.image.pixels import Pixels
from shoptalk.nn.bases import open_base
from shoptalk.objectives import make_spec
from shoptalk.records import Picture
from shoptalk.stages.world import best_device
from shoptalk.text.corpus import Corpus
from shoptalk.training.advance import Training
from shoptalk.training.loop import loop_config, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objective", default="simclr")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the objective, as JSON")
    parser.add_argument("--base", required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="an array of bytes, [n, S, S, 3]")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, required=True, help="steps that are not timed")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    array = np.load(given.pictures, mmap_mode="r")
    count = len(array)
    items = tuple(Picture(path=f"{number}", sha256=f"{number}") for number in range(count))
    places = np.arange(count)
    corpus = Corpus(items=items, conversation=places, turn=np.full(count, -1), digest="benchmark", shown=places)
    product = open_base(given.base, seed=given.seed)
    spec = make_spec(given.objective, given.settings | {"batch": given.batch})
    product.network.to(best_device())
    config = loop_config(
        spec, load(seed=given.seed), name=given.objective, steps=given.steps, precision=given.precision
    )
    with tempfile.TemporaryDirectory() as folder:
        training = Training.build(
            spec,
            corpus=corpus,
            inputs=Pixels(array, places.astype(np.int32), array.shape[1]),
            product=product,
            targets=None,
            config=config,
            folder=Path(folder),
            snapshot_seconds=float("inf"),
        )
        ends, losses, clock, before = [], [], Clock(training.collate), 0.0
        for step in train(training.objective, training.data, clock, training.config):
            ends.append(time.perf_counter())
            losses.append(step.loss)
            if step.number == given.warmup:
                before = clock.seconds
    seconds = ends[-1] - ends[given.warmup - 1]
    result = {
        "pictures_per_second": (given.steps - given.warmup) * given.batch / seconds,
        "input_share": 100 * (clock.seconds - before) / seconds,
        "losses": losses,
        "peak_rss_mib": round(peak_mib()),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
