"""Progress on standard error: a live line in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_EVERY = 15.0
"""Seconds between two lines where there is no terminal to redraw."""


@runtime_checkable
class _Step(Protocol):
    number: int
    loss: float
    tokens: int
    cells: int
    seconds: float


class Console:
    """Says what is going on. A reporter for `stages.world.World`."""

    def __init__(self) -> None:
        self.rich = RichConsole(stderr=True, highlight=False)
        self.begun = time.monotonic()

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """One line, with the time since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self.begun), 60)
        self.rich.print(f"{minutes:3d}:{seconds:02d}  {text}", markup=False, soft_wrap=True)

    def track(self, steps: Iterable[Any], *, done: int, total: int, name: str) -> Iterator[Any]:
        """Pass steps through, showing loss, real tokens a second, padding wasted and the time left."""
        return self._live(steps, done, total, name) if self.rich.is_terminal else self._plain(steps, total, name)

    def _live(self, steps: Iterable[Any], done: int, total: int, name: str) -> Iterator[Any]:
        columns = (
            TextColumn("       {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.rich, transient=True) as progress:
            task = progress.add_task(name, total=total, completed=done, note="")
            meter = _Meter()
            for step in steps:
                progress.update(task, completed=step.number, note=meter.note(step))
                yield step

    def _plain(self, steps: Iterable[Any], total: int, name: str) -> Iterator[Any]:
        meter, last = _Meter(), time.monotonic()
        for step in steps:
            note = meter.note(step)
            if time.monotonic() - last >= PLAIN_EVERY or step.number == total:
                left = (total - step.number) * meter.seconds / meter.steps
                self.say(f"{name}: step {step.number} of {total}, {note}, about {left:.0f} s left")
                last = time.monotonic()
            yield step


class _Meter:
    """Running totals of a training, since this process began it."""

    def __init__(self) -> None:
        self.steps, self.tokens, self.cells, self.seconds = 0, 0, 0, 0.0

    def note(self, step: _Step) -> str:
        self.steps += 1
        self.tokens += step.tokens
        self.cells += step.cells
        self.seconds += step.seconds
        waste = 1 - self.tokens / self.cells
        return f"loss {step.loss:.3f}, {self.tokens / self.seconds:,.0f} tokens/s, {waste:.0%} padding"
