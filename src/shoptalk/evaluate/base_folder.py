"""What is measured of a base, as files in its folder: `baseline` of the first, `bases/<number>` of others."""

from collections.abc import Mapping
from pathlib import Path

from shoptalk.evaluate.bench import Bench, Measured, load_measured, refuse_other, save_measured
from shoptalk.evaluate.other_tasks import load_others, save_others
from shoptalk.tasks.judge import Final, load_final, refuse_other_final


def save_base(folder: Path, measured: Measured, final: Final | None, other_tasks: Mapping[str, Final]) -> None:
    """Its looks, and its scores as it would be shipped: where there is a judge, and at other tasks."""
    save_measured(folder, measured)
    if final is not None:
        final.save(folder / "final")
    save_others(folder / "other", other_tasks)


def load_base(folder: Path, bench: Bench) -> tuple[Measured, Final | None, dict[str, Final]]:
    """What `save_base` wrote.

    Raises:
        ValueError: it is not of this bench.
    """
    measured, final = load_measured(folder), None
    refuse_other(measured, bench)
    if bench.judge is not None:
        final = load_final(folder / "final")
        refuse_other_final(final, bench.judge)
    return measured, final, load_others(folder / "other", bench)
