"""Several bases beside each other: which is the best before any training, by how much, and what using each takes.

The best is what the verdict compares the adapted encoder with, and what is shipped where that is not adopted. The
choice among bases is in the menu's maximum like every other.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from shoptalk import decide
from shoptalk.evaluate.bench import Bench, Measured, looks_over, shipped_over
from shoptalk.nn.product import Embedder, Product
from shoptalk.records import Frozen
from shoptalk.tasks.judge import Final, Judge

TIMED, WARMED = 32, 4
"""Messages that are timed one by one, and those before them that are not counted."""


class Price(Frozen):
    """What it takes to use a model, whatever it brings."""

    ms_per_message: float | None
    """Median time of embedding one message alone, on this machine; None of what embeds nothing."""
    megabytes: float
    """Of the weights as they are shipped, in float32; a million bytes each."""
    threads: int
    """That were used for it."""


@dataclass(frozen=True)
class MeasuredBase:
    """A base as it is, measured on a run's bench."""

    name: str
    """As people know it."""
    model: str
    """The reference or the folder that opens it."""
    measured: Measured
    final: Final | None
    """As it would be shipped, where there is a judge."""
    seconds: float
    """What measuring it took."""
    final_seconds: float
    price: Price | None
    """None where it was measured by an earlier version."""
    other_tasks: Mapping[str, Final] = field(default_factory=dict)
    """As it would be shipped, by the judges of `other_tasks.read_beside`."""


def price_of(product: Product, messages: tuple[Any, ...]) -> Price:
    """Time messages one by one, as an assistant gets them, and weigh the weights."""
    weights = sum(parameter.numel() for parameter in product.network.parameters())
    times = []
    if isinstance(product, Embedder):
        for message in messages[: WARMED + TIMED]:
            begun = time.perf_counter()
            product.embed([message])
            times.append(1000 * (time.perf_counter() - begun))
    # Of too few messages, all are counted.
    counted = times[WARMED:] or times
    return Price(
        ms_per_message=round(statistics.median(counted), 2) if counted else None,
        megabytes=round(4 * weights / 1e6, 3),
        threads=torch.get_num_threads(),
    )


def best_of(bases: Sequence[MeasuredBase], bench: Bench) -> MeasuredBase:
    """The first of those with the highest score as it would be shipped; the first of all where nothing judges.

    A base that loses at another task more than its guard allows is not the best, whatever it gains at this one.
    """
    judge, (first, *others) = bench.judge, bases
    if judge is None or not others:
        return first
    inside = [base for base in others if not _loses(first, base, bench)]
    return max([first, *inside], key=lambda base: _score(base, judge))


def _loses(first: MeasuredBase, base: MeasuredBase, bench: Bench) -> bool:
    """Whether it is outside the guard of another task. Forgetting is no loss here: nothing was trained."""
    was, now = first.measured.values(), base.measured.values()
    others = [guard for guard in bench.guards.values() if guard.reads in bench.judges and guard.least is None]
    return any(not guard.change(was, now) >= guard.limit for guard in others)


def _score(base: MeasuredBase, judge: Judge) -> float:
    assert base.final is not None
    scores = base.final.scores
    return float(scores[judge.tested[: len(scores)]].mean())


def looks_over_best(
    best: MeasuredBase, bases: Sequence[MeasuredBase], judge: Judge, entries: Mapping[str, Measured]
) -> decide.Scores:
    """What looks have seen of the best base, of the entries, and after them of the other bases: all that was chosen
    among. Where there are no entries nothing is compared with the best base.
    """
    others = {base.name: base.measured for base in bases if base.name != best.name} if entries else {}
    return looks_over(best.measured, [*entries.items(), *others.items()], judge)


def base_rows(
    best: MeasuredBase, bases: Sequence[MeasuredBase], judge: Judge, *, c: float | None, seed: int
) -> list[dict[str, Any]]:
    """Each base beside the one that is adapted, both as they would be shipped, and what it takes to use it.

    `c` is the menu's; without a menu it is that of the bases alone.
    """
    first, *others = bases
    rows = [_row(first, best, value=judge.measure.level(_score(first, judge)))]
    if c is None and others:
        looks = looks_over(first.measured, [(base.name, base.measured) for base in others], judge)
        c = decide.estimate(looks, seed=seed).c
    for base in others:
        assert first.final is not None and base.final is not None and c is not None
        estimate = decide.estimate_chosen(shipped_over(first.final, base.name, base.final, judge), c=c, seed=seed)
        interval = [float(estimate.low[0]), float(estimate.high[0])]
        row = _row(base, best, value=float(estimate.adapted[0]), gain=float(estimate.gain[0]), interval=interval)
        rows.append(row)
    return rows


def _row(
    base: MeasuredBase,
    best: MeasuredBase,
    *,
    value: float,
    gain: float | None = None,
    interval: list[float] | None = None,
) -> dict[str, Any]:
    price = base.price.model_dump() if base.price else {"ms_per_message": None, "megabytes": None, "threads": None}
    return {
        "base": base.name,
        "head": (base.final.way if base.final else "") or None,
        "value": value,
        "gain": gain,
        "interval": interval,
        "best": base.name == best.name,
        **price,
    }


def bases_sentence(rows: Sequence[dict[str, Any]], judge: Judge, *, adopted: bool) -> str:
    """What people are told of several bases: which is the best, by how much, and at what price."""
    first = rows[0]
    best = next(row for row in rows if row["best"])
    against = first if best is not first else max(rows[1:], key=lambda row: row["value"] * _sign(judge))
    compared = best if best is not first else against
    low, high = compared["interval"]
    change, unit = judge.measure.change, judge.measure.difference
    gap = f"{compared['base']} over {first['base']}: {change(compared['gain'])} {unit}, {change(low)} to {change(high)}"
    use = "it is what the adapted encoder had to beat"
    if not adopted:
        use = "it is what adapting had to beat, and what is kept"
    return (
        f"Of {len(rows)} bases {best['base']} answers best as it is ({judge.measure.shown(best['value'])} against "
        f"{judge.measure.shown(against['value'])} of {against['base']}; {gap}), so {use}. A {judge.measure.one} takes "
        f"{_priced(best)} with {best['base']} and {_priced(against)} with {against['base']}"
        f"{'; adapting changes neither' if adopted else ''}."
    )


def _sign(judge: Judge) -> float:
    return -1.0 if judge.measure.lower_is_better else 1.0


def _priced(row: dict[str, Any]) -> str:
    time = "an unknown time" if row["ms_per_message"] is None else f"{row['ms_per_message']:.1f} ms"
    return f"{time} and {row['megabytes']:.0f} MB of weights"
