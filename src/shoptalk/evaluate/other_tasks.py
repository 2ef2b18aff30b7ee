"""What training changes at the tasks beside the one that must gain: the base and the challenger as they would be
shipped, with the interval of the difference.

Guards go by looks, which read little. Here each model is read once more, as for a verdict, so that people may know
whether a change is one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shoptalk import decide
from shoptalk.evaluate.bench import Bench, finite, shipped_over
from shoptalk.nn.product import Product
from shoptalk.records import Measure
from shoptalk.tasks.judge import Final, Judge, load_final, refuse_other_final


def read_beside(bench: Bench) -> list[Judge]:
    """The judges of other tasks whose draws teach nothing. The others, which fit heads on every draw, would take as
    long as the verdict itself; and where nothing judges the task that must gain, there is no verdict.
    """
    if bench.judge is None:
        return []
    return [one for one in bench.judges.values() if one is not bench.judge and len(one.tested) == 1]


def other_finals(bench: Bench, product: Product) -> dict[str, Final]:
    """A model's scores at those tasks, by their keys.

    Raises:
        DivergedError: some are no numbers.
    """
    finals = {}
    for judge in read_beside(bench):
        finals[judge.key] = judge.final(product)
        finite(finals[judge.key].scores, judge)
    return finals


def save_others(folder: Path, finals: Mapping[str, Final]) -> None:
    """As a folder for each task; `load_others` reads them."""
    for key, final in finals.items():
        final.save(folder / key)


def load_others(folder: Path, bench: Bench) -> dict[str, Final]:
    """What `save_others` wrote.

    Raises:
        ValueError: they are not of this bench.
    """
    finals = {}
    for judge in read_beside(bench):
        finals[judge.key] = load_final(folder / judge.key)
        refuse_other_final(finals[judge.key], judge)
    return finals


def other_changes(
    bench: Bench, before: Mapping[str, Final], after: Mapping[str, Final], *, base: str, entry: str, seed: int
) -> list[dict[str, Any]]:
    """A row of `verdict.json` for each of those tasks.

    Args:
        bench: the run's judges.
        before: `other_finals` of the model that training is compared with.
        after: those of the challenger.
        base: what people know the first as.
        entry: what they know the challenger as.
        seed: of the interval's resamples.
    """
    rows = []
    for judge in read_beside(bench):
        scores, measure = shipped_over(before[judge.key], entry, after[judge.key], judge), judge.measure
        change = decide.estimate(scores, seed=seed)
        gain, interval = float(change.gain[0]), [float(change.low[0]), float(change.high[0])]
        finding = measure.finding.format(
            adapted=measure.shown(float(change.adapted[0])), base=measure.shown(change.base)
        )
        row = {
            "task": judge.key,
            "metric": measure.name,
            "base": change.base,
            "adapted": float(change.adapted[0]),
            "gain": gain,
            "interval": interval,
            "n_examples": change.n_examples,
            "sentence": f"At the task {judge.key}, which only had to get no worse, the trained {measure.trained} "
            f"({entry}) {finding} ({_told(gain, interval, measure, base)}).",
        }
        rows.append(row)
    return rows


def _told(gain: float, interval: list[float], measure: Measure, base: str) -> str:
    low, high = map(measure.change, interval)
    better = "less is better: a gain of " if measure.lower_is_better else ""
    return f"{better}{measure.change(gain)} {measure.difference} over {base} as it is, {low} to {high}"
