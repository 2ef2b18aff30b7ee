"""The command line that every comparison has: `timing.py` runs them, `table.py` shows what they found."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict

from benchmarks.table import markdown
from benchmarks.timing import Options, Row


def main(measure: Callable[[Options], Iterator[Row]], about: str | None) -> None:
    """The command line of one comparison: a table for people, or with --json a line for each row as it is measured."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON line a row instead of a table")
    add_options(parser)
    given = parser.parse_args()
    rows = []
    for row in measure(read_options(given)):
        rows.append(row)
        if given.json:
            print(json.dumps(asdict(row)), flush=True)
    if not given.json:
        print(markdown(rows))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every comparison takes."""
    parser.add_argument("--repeats", type=int, help="rounds (5; quick: 1)")
    parser.add_argument("--steps", type=int, help="training steps of 64 texts a run, a quarter warm-up (48; quick: 4)")
    parser.add_argument("--minutes", type=float, help="how long `memory` trains (30; quick: 0.25)")
    parser.add_argument("--threads", type=int, help="for peers and us alike (the libraries' default)")
    parser.add_argument("--quick", action="store_true", help="one small round of each: does it run?")


def read_options(given: argparse.Namespace) -> Options:
    """Options with their defaults."""
    return Options(
        repeats=given.repeats or (1 if given.quick else 5),
        steps=given.steps or (4 if given.quick else 48),
        minutes=given.minutes or (0.25 if given.quick else 30.0),
        quick=given.quick,
        threads=given.threads,
    )
