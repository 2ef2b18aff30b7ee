"""Does adapting to a public set's own text help? `python -m benchmarks.public_sets [--sets ...] [--budget 10m]`

For each set: the training texts without labels are the source, 30 (or 5) labels a class decide, and afterwards the
official test set says what the decision was worth: linear probe at 1/5/10/full labels a class from the full training
labels, mean of 10 draws, base against the best challenger. Needs SHOPTALK_DATA. Prints Markdown.
"""

import argparse
import csv
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def rows_of(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def few(rows: list[dict[str, Any]], per_class: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Up to `per_class` random rows of each label."""
    rng, by_label = random.Random(seed), {}
    for row in rng.sample(rows, len(rows)):
        by_label.setdefault(row["label"], []).append(row)
    return [row for group in by_label.values() for row in group[:per_class]]


def write_labels(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([row["text"], row["label"]] for row in rows)
    return path


def shoptalk(*words: object) -> Any:
    command = [sys.executable, "-m", "shoptalk", *map(str, words), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def span(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['gain']:+.1f} ({low:+.1f} to {high:+.1f})"


def measure(name: str, data: Path, work: Path, *, per_class: int, budget: str, extra: list[str]) -> str:
    train = rows_of(data / "intents" / name / "train.jsonl.gz")
    source = work / f"{name}.jsonl"
    source.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in train), encoding="utf-8")
    labels = write_labels(work / f"{name}-{per_class}.csv", few(train, per_class))
    full = write_labels(work / f"{name}-full.csv", train)
    test = write_labels(work / f"{name}-test.csv", rows_of(data / "intents" / name / "test.jsonl.gz"))
    out = work / f"run-{name}-{per_class}-{len(extra)}"
    verdict = shoptalk("adapt", source, "--labels", labels, "--budget", budget, "--out", out, *extra)
    found = shoptalk("compare", "minilm", out / "candidate", "--labels", full, "--test", test)["shots"]
    cells = [f"{row['base']:.1f} → {row['adapted']:.1f}, {span(row)}" for row in found.values()]
    first = f"{name}, {per_class} labels a class {' '.join(extra)}"
    decided = f"{verdict['choice']} {verdict['entry']}, {span(verdict)}"
    return " | ".join(["|", first, decided, f"{verdict['spent']['seconds'] / 60:.1f} min", *cells, "|"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default="banking77,clinc150")
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--work", type=Path)
    parser.add_argument("extra", nargs="*", help="further words for `shoptalk adapt`, after --")
    given = parser.parse_args()
    data = Path(os.environ["SHOPTALK_DATA"])
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        print(
            "| source and labels | verdict, gain by its own labels | spent | test, 1-shot | 5-shot | 10-shot | full |"
        )
        print("|---|---|---|---|---|---|---|")
        for name in given.sets.split(","):
            print(
                measure(name, data, work, per_class=given.per_class, budget=given.budget, extra=given.extra), flush=True
            )


if __name__ == "__main__":
    main()
