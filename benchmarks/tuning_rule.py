"""How often `finetune` ships a tuned encoder that brings a planted gain, or nothing; one Markdown table.

    python -m benchmarks.tuning_rule [--trials 2000]

Per cent of trials in which it ships: by thirds of the labels that chose no look (`shoptalk.decide.trials`), and by the
earlier rule, the best look at a fifth of the labels if ahead there by more than a standard error.
"""

import argparse

import numpy as np

from shoptalk.evaluate.tuning_rule import PlantedTuning, ships

ROWS = (
    *(PlantedTuning(labels=labels) for labels in (60, 100, 200, 385, 1155, 2310)),
    PlantedTuning(labels=385, copies=3),
    PlantedTuning(labels=200, differing=0.03),
    PlantedTuning(labels=385, correlation=0.0),
    *(PlantedTuning(labels=labels, gain=gain) for labels in (100, 385, 1155, 2310) for gain in (1.0, 2.0, 4.0)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    options = parser.parse_args()
    print("| true gain | labels | copies | differing, % | correlation of looks | ships, % | earlier rule, % |")
    print("|---|---|---|---|---|---|---|")
    for row in ROWS:
        shipped = np.array([ships(row, seed=seed) for seed in range(options.trials)])
        new, old = 100 * shipped.mean(axis=0)
        print(
            f"| {row.gain:+.1f} | {row.labels:,} | {row.copies} | {100 * row.differing:.0f} | {row.correlation:g} "
            f"| {new:.1f} | {old:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
