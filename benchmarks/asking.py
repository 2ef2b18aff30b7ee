"""How many answers settle which of two systems is better, and is what they settle right?

    python -m benchmarks.asking [--quick] [--rows 0:10] [--out FILE.md]
    SHOPTALK_DATA=... python -m benchmarks.asking --real [--sets banking77,clinc150,snips] [--cache FOLDER]

Planted truths, many trials, one Markdown table; `--quick` runs a twentieth of the trials. With `--real`, two heads on
MiniLM's vectors, each as it would be shipped, the official test as the bank and its labels as the answers, in 20 random
orders. What is wrong is judged by the test's own gain. Of random labels it is told how many clear the smallest gain in
half and in nine tenths of cases, by an interval computed once.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shoptalk.evaluate.asking_trials import (
    Planted,
    asked_in_order,
    asking_rows,
    asking_table,
    count,
    part_of,
    run_asking,
)

TRIALS = 500
ORDERS = 20
SMALLEST_GAIN = 0.5


class Head(NamedTuple):
    """A system: how many labels per class taught it, and of which kind its head is."""

    shots: int
    kind: str
    names: bool

    def words(self) -> str:
        return f"{self.kind}{' with names' if self.names else ''}, {self.shots} per class"


PAIRS = (
    *((Head(shots, "linear", False), Head(shots, "self-trained", True)) for shots in (5, 10, 30)),
    (Head(10, "linear", False), Head(20, "linear", False)),
    (Head(20, "self-trained", True), Head(30, "self-trained", True)),
)


def planted(rows: str, *, trials: int, seed: int) -> str:
    """The table of planted truths."""
    begin, end = (int(place) if place else None for place in rows.split(":"))
    results, started = [], time.monotonic()
    for row in asking_rows()[begin:end]:
        results.append(run_asking(row, trials=trials, seed=seed, workers=os.cpu_count() or 1))
        last = asking_table(results[-1:]).splitlines()[-1]
        print(f"{time.monotonic() - started:6.0f} s {last}", file=sys.stderr, flush=True)
    return asking_table(results)


def answers_of(name: str, cache: Path | None) -> Iterator[tuple[Head, Head, np.ndarray, np.ndarray]]:
    """Each pair of systems, and which of the official test's messages each answers rightly."""
    from benchmarks.heads import draw, vectors_of
    from shoptalk.nn.bases import open_base
    from shoptalk.nn.heads.kinds import KINDS, fit_kind, views_of
    from shoptalk.nn.heads.names import embedded
    from shoptalk.nn.heads.pool import MOST, Pool

    product = open_base("minilm")
    texts, labels = vectors_of(product, name, "train", cache)
    tests, truth = vectors_of(product, name, "test", cache)
    names, codes = np.unique(labels, return_inverse=True)
    pool = Pool.of(texts[np.random.default_rng(0).permutation(len(texts))[:MOST]])
    named = embedded(product, names.tolist())
    views, asked = views_of(texts, pool), views_of(tests, pool)
    named_views = views_of(named, pool) if named is not None else {}
    # A larger label set holds the smaller ones: each class's order is drawn once.
    order = draw(codes, len(codes), np.random.default_rng([7, 0]))
    place = np.concatenate([np.arange(int((codes == c).sum())) for c in range(len(names))])
    answers: dict[Head, np.ndarray] = {}
    for pair in PAIRS:
        for head in pair:
            if head not in answers:
                chosen, smoothed = order[place < head.shots], KINDS[head.kind].smoothed
                teacher = named_views.get(smoothed) if head.names else None
                fitted = fit_kind(KINDS[head.kind], views[smoothed][chosen], codes[chosen], names, pool, teacher)
                answers[head] = fitted.predict(asked[smoothed])
        yield *pair, *_compared(answers, pair, truth)


def _compared(
    answers: dict[Head, np.ndarray], pair: Sequence[Head], truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x of each message on which they differ, and which of all messages each has right, as two rows."""
    old, new = (answers[head] for head in pair)
    right = np.stack([old == truth, new == truth])
    return (right[1].astype(int) - right[0].astype(int))[old != new], right


def real(sets: Sequence[str], cache: Path | None) -> str:
    """The table of public sets."""
    columns = (
        "set",
        "old",
        "new",
        "accuracy",
        "bank",
        "they differ on",
        "neither right",
        "adopted / kept",
        "wrong",
        "answers to settle: median / 90 %",
        "the bank alone",
        "random labels: median / 90 %",
    )
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    print("\n".join(lines), flush=True)
    for name in sets:
        for old, new, x, right in answers_of(name, cache):
            lines.append(_line(name, old, new, x, right))
            print(lines[-1], flush=True)
    return "\n".join(lines)


def _line(name: str, old: Head, new: Head, x: np.ndarray, right: np.ndarray) -> str:
    bank, disagree, gain = right.shape[1], len(x), 100 * float(x.sum()) / right.shape[1]
    decided = 100 * float(np.mean(x != 0))
    of = Planted(name, 100 * disagree / bank, gain, bank=bank, smallest_gain=SMALLEST_GAIN, decided=decided)
    rng = np.random.default_rng(0)
    trials = [asked_in_order(rng.permutation(x), None, of) for _ in range(ORDERS)]
    adopted, kept = (sum(trial.choice == choice for trial in trials) for choice in (1, -1))
    wrong = adopted if gain <= SMALLEST_GAIN else kept
    cells = [name, old.words(), new.words(), " → ".join(f"{100 * float(part.mean()):.1f}" for part in right)]
    cells += [f"{bank:,}", f"{disagree} ({100 * disagree / bank:.1f} %)", f"{100 - decided:.0f} %"]
    cells += [f"{adopted} / {kept} of {ORDERS}", str(wrong)]
    for answers in ([trial.answers for trial in trials], [trial.bank_answers for trial in trials]):
        cells.append(" / ".join(count(part_of(answers, part)) for part in (0.5, 0.9)))
    cells.append(" / ".join(count(of.random_labels(power)) for power in (0.0, 1.2816)))
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the trials")
    parser.add_argument("--rows", default=":", help="which rows, as a slice of all: the table in pieces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="public sets instead of planted truths")
    parser.add_argument("--sets", default="banking77,clinc150,snips")
    parser.add_argument("--cache", type=Path, help="a folder for vectors, which take longest")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    if given.real:
        text = real(given.sets.split(","), given.cache)
    else:
        text = planted(given.rows, trials=TRIALS // 20 if given.quick else TRIALS, seed=given.seed)
        print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
