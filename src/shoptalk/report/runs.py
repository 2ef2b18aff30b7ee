"""Several finished runs side by side, and what may be said of them together: pure functions of what they have left.

Two gains may be ranked only where they were measured alike: on the same labels, the same test set, with as many labels
per class, by the same metric, over the same base. Elsewhere a sentence says what stands in the way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from shoptalk.report.comparison_json import Comparison, DifferingSetting, RunRow
from shoptalk.report.facts_json import RunFacts
from shoptalk.report.units import digits_of, level_of
from shoptalk.report.wording import gained, interval, number, pair_of, signed

UNTOLD = ("price_per_hour", "train.snapshot_seconds", "train.shard")
"""Settings on which no result depends; what the price of an hour buys is told with the budget."""
INPUTS_MOST = 12
"""Files that differ which are named one by one; of more, it is told how many each run read."""
_INPUTS = ("labels", "test", "base")


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run has left: where it lies as the user wrote it, its facts, and its decision's manifest."""

    name: str
    facts: RunFacts
    settings: Mapping[str, Any]
    parents: Mapping[str, str]
    """The SHA-256 of the base, of the labels and the test where there were some, and of each source by its name."""
    versions: Mapping[str, str]


def compared(runs: Sequence[FinishedRun]) -> Comparison:
    """The runs side by side, and what may be said of them together."""
    table = [_row(run) for run in runs]
    groups = _groups(table)
    worth = {row.smallest_gain for row in table}
    return Comparison(
        runs=tuple(table),
        settings=tuple(_differing(runs)),
        groups=tuple(map(tuple, groups)),
        findings=(
            *_unmeasured(table),
            *_apart(table, groups),
            *(line for group in groups for line in _within([table[place] for place in group])),
        ),
        smallest_gain=worth.pop() if len(worth) == 1 else None,
    )


def _row(run: FinishedRun) -> RunRow:
    verdict, kept = run.facts.verdict, run.facts.kept
    measured = gained(verdict)
    worth = verdict.smallest_gain
    if "smallest_gain" not in verdict.model_fields_set:  # without labels a verdict has none
        worth = number(run.settings.get("smallest_gain"))
    return RunRow(
        run=run.name,
        kind=run.facts.kind,
        start=run.settings.get("base"),
        objective=verdict.objective,
        entry=verdict.entry,
        choice=verdict.choice,
        metric=verdict.metric,
        **({} if verdict.measure is None else {"measure": verdict.measure}),
        base=verdict.base,
        adapted=verdict.adapted,
        gain=verdict.gain if measured else None,
        interval=verdict.interval if measured else None,
        n_examples=verdict.n_examples,
        n_draws=verdict.n_draws,
        labelled=run.parents.get("labels") is not None,
        trained=bool(verdict.candidates),
        shots=verdict.shots,
        smallest_gain=worth,
        seed=run.settings.get("seed"),
        seconds=verdict.spent.seconds,
        tokens=verdict.spent.tokens,
        euros=verdict.spent.euros,
        documents=kept.documents,
        texts=kept.texts,
        hashes={name: run.parents.get(name) for name in _INPUTS},
    )


# --- who was measured alike ---------------------------------------------------------------------------------------


def _measured_by(row: RunRow) -> dict[str, Any]:
    """What must be the same for two gains to be ranked."""
    hashes = row.hashes
    return {
        "labels": hashes["labels"],
        "test": hashes["test"],
        "shots": row.shots,
        "metric": row.metric,
        "base": hashes["base"],
    }


def _groups(table: Sequence[RunRow]) -> list[list[int]]:
    """The places of runs with a gain, those that were measured alike together."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(table):
        if row.gain is not None:
            found.setdefault(repr(_measured_by(row)), []).append(place)
    return list(found.values())


def _unmeasured(table: Sequence[RunRow]) -> list[str]:
    return [
        f"{row.run} has no gain to compare: {'nothing was trained' if row.labelled else 'it had no labels'}."
        for row in table
        if row.gain is None
    ]


def _apart(table: Sequence[RunRow], groups: Sequence[Sequence[int]]) -> list[str]:
    """Why runs of different groups may not be ranked, each pair of groups once."""
    lines = []
    for one, other in combinations(groups, 2):
        names = [_joined([table[place].run for place in group]) for group in (one, other)]
        reasons = _reasons(table[one[0]], table[other[0]])
        lines.append(f"{names[1]} may not be ranked with {names[0]}: {_joined(reasons)}.{_answers(table, one, other)}")
    return lines


def _reasons(one: RunRow, other: RunRow) -> list[str]:
    mine, yours = _measured_by(one), _measured_by(other)
    differ = {name for name in mine if mine[name] != yours[name]}
    found = []
    if "labels" in differ:
        found.append(f"their labels files differ ({_file(mine['labels'])} and {_file(yours['labels'])})")
    if "test" in differ:
        found.append(f"their test sets differ ({_file(mine['test'])} and {_file(yours['test'])})")
    if "shots" in differ:
        found.append(f"they were measured with {mine['shots'] or 'all'} and {yours['shots'] or 'all'} labels per class")
    if "metric" in differ:
        found.append(f"their metrics differ ({mine['metric']} and {yours['metric']})")
    if "base" in differ:
        found.append(f"they start from different bases ({one.start} and {other.start})")
    return found


def _answers(table: Sequence[RunRow], one: Sequence[int], other: Sequence[int]) -> str:
    """Where only the base differs, what can be said instead: how well each answers in the end, without an interval."""
    first, second = table[one[0]], table[other[0]]
    mine, yours = _measured_by(first), _measured_by(second)
    if any(mine[name] != yours[name] for name in mine if name != "base"):
        return ""
    levels = [f"{table[place].run} {level_of(table[place])}" for place in (*one, *other)]
    return (
        " A gain says what a base profits; how well each answers after training is "
        f"{_joined(levels)} (no interval was made for that difference)."
    )


def _within(group: Sequence[RunRow]) -> list[str]:
    """How runs that were measured alike compare: told apart only where their intervals do not meet."""
    if len(group) < 2:
        return []
    best, *rest = sorted(group, key=lambda row: -(row.gain or 0.0))
    lines = []
    for row in rest:
        meet = _meet(best.interval, row.interval)
        said = (
            "cannot be told apart: their intervals overlap"
            if meet
            else f"can be told apart: {best.run} gains more, and their intervals do not overlap"
        )
        digits, unit = digits_of(best.measure), best.measure.difference if best.measure else "points"
        lines.append(
            f"{best.run} ({signed(best.gain, digits)} {unit}, {interval(best.interval, digits)}) and {row.run} "
            f"({signed(row.gain, digits)}, {interval(row.interval, digits)}) {said}."
        )
    seeds = {(row.seed, row.n_draws) for row in group}
    if len(seeds) > 1:
        lines.append(
            f"Of {_joined([row.run for row in group])} the random label sets differ (by seed or number), which adds "
            "to the difference by chance."
        )
    return lines


def _meet(one: Any, other: Any) -> bool:
    mine, yours = pair_of(one), pair_of(other)
    return mine is None or yours is None or (mine[0] <= yours[1] and yours[0] <= mine[1])


# --- settings -----------------------------------------------------------------------------------------------------


def _differing(runs: Sequence[FinishedRun]) -> list[DifferingSetting]:
    """Settings, inputs and versions that are not the same in all runs, with each run's value."""
    settings = _rows([dict(_flat(run.settings)) for run in runs])
    inputs = _rows([{f"SHA-256 of {name}": _hash(value) for name, value in run.parents.items()} for run in runs])
    if len(inputs) > INPUTS_MOST:
        named = {f"SHA-256 of {name}" for name in _INPUTS}
        counts = tuple(len(set(run.parents) - set(_INPUTS)) for run in runs)
        counted = DifferingSetting(setting="source files", values=counts)
        inputs = [*(one for one in inputs if one.setting in named), counted]
    return [*settings, *inputs, *_rows([{f"version of {k}": v for k, v in run.versions.items()} for run in runs])]


def _rows(trees: Sequence[Mapping[str, Any]]) -> list[DifferingSetting]:
    """The names under which the trees differ, with each tree's value."""
    names = dict.fromkeys(name for tree in trees for name in tree if name not in UNTOLD)
    every = (DifferingSetting(setting=name, values=tuple(tree.get(name) for tree in trees)) for name in names)
    return [row for row in every if any(value != row.values[0] for value in row.values)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _hash(value: str | None) -> str | None:
    """The first eight digits of a hash; a source that cannot be read has none."""
    return value[:8] if value else value


def _file(value: str | None) -> str:
    return f"SHA-256 {_hash(value)}" if value else "none was given"


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
