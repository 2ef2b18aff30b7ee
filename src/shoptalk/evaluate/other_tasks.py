"""What training changes at the tasks beside the one that must gain, and of a language model in general text: the base
and the challenger as they would be shipped, with the interval of the difference.

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
    """The judges of other tasks whose draws teach nothing, then the cloze on general text. Other judges, which fit
    heads on every draw, would take as long as the verdict itself; and where nothing judges the task that must gain,
    there is no verdict.
    """
    return [*_other_judges(bench), *([bench.general.judge] if bench.judge and bench.general else [])]


def _other_judges(bench: Bench) -> list[Judge]:
    if bench.judge is None:
        return []
    return [one for one in bench.judges.values() if one is not bench.judge and len(one.tested) == 1]


def told_beside(bench: Bench) -> str:
    """What those are, for people: tasks by the names that settings have for them."""
    return ", ".join(one.key if one.key in bench.judges else one.measure.name for one in read_beside(bench))


def other_finals(bench: Bench, product: Product) -> dict[str, Final]:
    """A model's scores by the judges of `read_beside`, by their keys.

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
    for judge in _other_judges(bench):
        row, finding = _change(judge, before, after, base=base, entry=entry, seed=seed)
        sentence = f"At the task {judge.key}, which only had to get no worse, the trained {finding}."
        rows.append({"task": judge.key, **row, "sentence": sentence})
    return rows


def general_change(
    bench: Bench, before: Mapping[str, Final], after: Mapping[str, Final], *, base: str, entry: str, seed: int
) -> dict[str, Any] | None:
    """`general_cloze` of `verdict.json`; None where general text is not asked. The arguments are those of
    `other_changes`, but `before` and `base` are of the model that was trained, whichever base is the best: what is
    forgotten is what that one knew.
    """
    if bench.general is None:
        return None
    judge, limit = bench.general
    row, finding = _change(judge, before, after, base=base, entry=entry, seed=seed)
    inside = not row["interval"][1] < limit
    return {
        **row,
        "n_gaps": sum(map(len, judge.gaps)),
        "limit": limit,
        "inside": inside,
        "sentence": f"Of what was known before, the trained {finding}, {'inside' if inside else 'outside'} the guard "
        f"of {abs(limit):g} points.",
    }


def forgotten(general: Mapping[str, Any] | None, *, entry: str) -> dict[str, str]:
    """The challenger with that `general_change` and why it is outside its guards; empty where it is inside."""
    if general is None or general["inside"]:
        return {}
    low, high = general["interval"]
    why = (
        f"it forgets: what stands in the gaps of general text it holds {-general['gain']:.1f} points less probable "
        f"than the base, {-high:.1f} to {-low:.1f} (guard {abs(general['limit']):g})"
    )
    return {entry: why}


def _change(
    judge: Judge, before: Mapping[str, Final], after: Mapping[str, Final], *, base: str, entry: str, seed: int
) -> tuple[dict[str, Any], str]:
    """The numbers of a row, and the same in words."""
    scores, measure = shipped_over(before[judge.key], entry, after[judge.key], judge), judge.measure
    estimate = decide.estimate(scores, seed=seed)
    gain, interval = float(estimate.gain[0]), [float(estimate.low[0]), float(estimate.high[0])]
    finding = measure.finding.format(
        adapted=measure.shown(float(estimate.adapted[0])), base=measure.shown(estimate.base)
    )
    row = {
        "metric": measure.name,
        "base": estimate.base,
        "adapted": float(estimate.adapted[0]),
        "gain": gain,
        "interval": interval,
        "n_examples": estimate.n_examples,
    }
    return row, f"{measure.trained} ({entry}) {finding} ({_told(gain, interval, measure, base)})"


def _told(gain: float, interval: list[float], measure: Measure, base: str) -> str:
    low, high = map(measure.change, interval)
    better = "less is better: a gain of " if measure.lower_is_better else ""
    return f"{better}{measure.change(gain)} {measure.difference} over {base} as it is, {low} to {high}"
