"""Time to the verdict, here and in another checkout. `python -m benchmarks.verdict_time CHECKOUT [--rounds 1]`

The job of issue 17: BANKING77's training text, of which 30 labels per class are given as labels and the rest without,
`shoptalk adapt` with a budget of ten minutes, which it does not use up. The checkouts take turns, the other one first;
each runs alone. Prints, as Markdown, the seconds of each stage, the choice, its interval and the ratio of the times. To
be run on an idle machine. Needs SHOPTALK_DATA, and an installation that serves both checkouts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.public_sets import few, rows_of, write_labels

HERE = Path(__file__).parent.parent


def job(folder: Path, per_class: int) -> tuple[Path, Path]:
    """The source and the labels."""
    train = rows_of(Path(os.environ["SHOPTALK_DATA"]) / "intents" / "banking77" / "train.jsonl.gz")
    labelled = few(train, per_class)
    known = {id(row) for row in labelled}
    source = folder / "pool.jsonl"
    rest = [row["text"] for row in train if id(row) not in known]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in rest), encoding="utf-8")
    return source, write_labels(folder / "labels.csv", labelled)


def run(checkout: Path, source: Path, labels: Path, out: Path, extra: list[str]) -> tuple[float, dict[str, Any]]:
    """The wall-clock seconds of the command, start included, and the run's facts."""
    command = [sys.executable, "-m", "shoptalk", "adapt", str(source), "--labels", str(labels), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "HF_HUB_OFFLINE": "1"}
    begun = time.perf_counter()
    subprocess.run([*command, *extra], check=True, env=environment, cwd=out.parent, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    return seconds, json.loads((out / "decision" / "facts.json").read_text(encoding="utf-8"))


def told(name: str, seconds: float, facts: dict[str, Any]) -> str:
    """A run as a row."""
    verdict, cost = facts["verdict"], facts["cost"]
    low, high = verdict["interval"]
    stages = ", ".join(f"{row['stage']} {row['seconds']:.0f}" for row in cost["stages"])
    decided = f"{verdict['choice']} {verdict['entry']}, {verdict['gain']:+.1f} ({low:+.1f} to {high:+.1f})"
    cells = [
        name,
        f"{seconds / 60:.1f} min",
        stages,
        decided,
        f"{high - low:.2f}",
        f"{cost['losers']['seconds']:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="the other checkout's folder")
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("extra", nargs="*", help="further words for `shoptalk adapt`, after --")
    given = parser.parse_args()
    taken: dict[str, list[float]] = {"other": [], "here": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source, labels = job(folder, given.per_class)
        print("| checkout | time | seconds by stage | verdict | width | losers |\n|---|---|---|---|---|---|")
        for number in range(given.rounds):
            for name, checkout in (("other", given.checkout), ("here", HERE)):
                out = folder / f"{name}-{number}"
                seconds, facts = run(checkout.resolve(), source, labels, out, given.extra)
                taken[name].append(seconds)
                print(told(name, seconds, facts), flush=True)
    print(f"\nhere / other: {median(taken['here']) / median(taken['other']):.2f} (medians of {given.rounds})")


if __name__ == "__main__":
    main()
