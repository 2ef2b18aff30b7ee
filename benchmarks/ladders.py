"""What does each step bring? `python -m benchmarks.ladders [--sets banking77,clinc150,snips,emotion] [--budget 10m]`

For each set the training texts without labels are the source and 30 labels per class decide. Each run's verdict gives
its ladder and its first two sentences. Beside them stands what the official test says of the first rung and of what is
shipped: scikit-learn's logistic regression on the base's vectors, and the run's own encoder with its head, both fitted
on the same labels. Nothing of a run is chosen on that test. Needs SHOPTALK_DATA. Prints Markdown.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.data import pack
from benchmarks.public_sets import few, rows_of, shoptalk, write_labels
from shoptalk.nn.bases import open_base
from shoptalk.nn.heads.head_files import load

SETS = {
    "banking77": "intents/banking77",
    "clinc150": "intents/clinc150",
    "snips": "intents/snips",
    "emotion": "sentiment/tweeteval_emotion",
}
INVERSE_PENALTY = 20.0


def adapt(name: str, work: Path, *, per_class: int, budget: str, extra: list[str]) -> tuple[dict[str, Any], Path, Path]:
    """A set's verdict, the run's folder and the labels that decided."""
    train = rows_of(pack() / SETS[name] / "train.jsonl.gz")
    source = work / f"{name}.jsonl"
    source.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in train), encoding="utf-8")
    labels = write_labels(work / f"{name}-{per_class}.csv", few(train, per_class))
    run = work / f"run-{name}-{per_class}"
    return shoptalk("adapt", source, "--labels", labels, "--budget", budget, "--out", run, *extra), run, labels


def on_test(name: str, run: Path, labels: Path) -> tuple[float, float]:
    """Accuracies on the official test, in per cent: the plain head on the base, and what the run ships."""
    test = rows_of(pack() / SETS[name] / "test.jsonl.gz")
    texts, truth = [row["text"] for row in test], [str(row["label"]) for row in test]
    with labels.open(encoding="utf-8", newline="") as file:
        examples = list(csv.DictReader(file))
    base, shipped = open_base("minilm"), open_base(str(run / "encoder"))
    plain = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000)
    plain.fit(base.embed([row["text"] for row in examples]), [row["label"] for row in examples])
    answers = load(run / "head").answers(shipped.embed(texts))
    first = plain.predict(base.embed(texts)) == np.array(truth)
    last = [answer.labels[0] == label for answer, label in zip(answers, truth, strict=True)]
    return 100 * float(first.mean()), 100 * float(np.mean(last))


def told(name: str, verdict: dict[str, Any], tests: tuple[float, float]) -> str:
    """A set's rows: one for each rung, then the sentences and the official test."""
    lines = []
    for rung in verdict["ladder"]:
        gain = (
            ""
            if rung["gain"] is None
            else f"{rung['gain']:+.1f} ({rung['interval'][0]:+.1f} to {rung['interval'][1]:+.1f})"
        )
        lines.append(f"| {name} | {rung['step']} | {rung['value']:.1f} | {gain} |")
    minutes = verdict["spent"]["seconds"] / 60
    lines.append(
        f"| {name} | official test: plain head on the base → shipped | {tests[0]:.1f} → {tests[1]:.1f} "
        f"| {tests[1] - tests[0]:+.1f}; {verdict['choice']} {verdict['entry']}, {minutes:.1f} min |"
    )
    return "\n".join([*lines, "", verdict["sentence"], ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--work", type=Path)
    parser.add_argument("extra", nargs="*", help="further words for `shoptalk adapt`, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        print("| set | rung | per cent | gain over the rung before |\n|---|---|---|---|", flush=True)
        for name in given.sets.split(","):
            verdict, run, labels = adapt(name, work, per_class=given.per_class, budget=given.budget, extra=given.extra)
            print(told(name, verdict, on_test(name, run, labels)), flush=True)


if __name__ == "__main__":
    main()
