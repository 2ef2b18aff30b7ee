"""Is the verdict right as often as it says? Planted truths, many trials, one Markdown table.

    python -m benchmarks.verdict_harness [--quick] [--rows 0:10] [--out FILE.md]

Shares are in per cent with Wilson 95 % intervals. "adopted" is power where the true gain exceeds the smallest gain;
"all intervals hold" is the simultaneous coverage of the menu's 95 % intervals. `--quick` runs a twentieth of the
trials.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from shoptalk.evaluate.harness import run, table
from shoptalk.evaluate.harness_rows import table_rows


def main() -> None:
    parser = argparse.ArgumentParser(description="The verdict's statistics on populations whose true gain is known.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the trials")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--rows", default=":", help="which rows, as a slice of all: the table in pieces")
    options = parser.parse_args()
    begin, end = (int(place) if place else None for place in options.rows.split(":"))
    workers = os.cpu_count() or 1
    rows, started = [], time.monotonic()
    for row in table_rows()[begin:end]:
        trials = max(10, row.trials // 20) if options.quick else row.trials
        rows.append(run(row.planted(), trials=trials, workers=workers))
        last = table(rows[-1:]).splitlines()[-1]
        print(f"{time.monotonic() - started:6.0f} s {last}", file=sys.stderr, flush=True)
    text = table(rows)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
