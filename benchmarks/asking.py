"""How many answers settle which of two systems is better, and is what they settle right?

    python -m benchmarks.asking [--quick] [--rows 0:10] [--out FILE.md]

Planted truths, many trials, one Markdown table; `--quick` runs a twentieth of the trials.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from shoptalk.evaluate.asking_trials import asking_rows, asking_table, run_asking

TRIALS = 500


def planted(rows: str, *, trials: int, seed: int) -> str:
    """The table of planted truths."""
    begin, end = (int(place) if place else None for place in rows.split(":"))
    results, started = [], time.monotonic()
    for row in asking_rows()[begin:end]:
        results.append(run_asking(row, trials=trials, seed=seed, workers=os.cpu_count() or 1))
        last = asking_table(results[-1:]).splitlines()[-1]
        print(f"{time.monotonic() - started:6.0f} s {last}", file=sys.stderr, flush=True)
    return asking_table(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the trials")
    parser.add_argument("--rows", default=":", help="which rows, as a slice of all: the table in pieces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    text = planted(given.rows, trials=TRIALS // 20 if given.quick else TRIALS, seed=given.seed)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
