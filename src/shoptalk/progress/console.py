"""The reporter of the command line.

In a terminal it draws a live panel from the first stage of `adapt` on, and a live line for other trainings; elsewhere
it prints plain lines.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shoptalk.config import Budget
from shoptalk.progress.panel import about_text, gain_text, panel
from shoptalk.progress.state import CandidateState, Outlook, State, TrainingState
from shoptalk.records import Look

PLAIN_EVERY = 15.0
"""Seconds between two lines where there is no terminal to redraw."""
REDRAWS = 2.0
"""Redraws of the panel per second, each of which costs the run some milliseconds."""


class Console:
    """Reports progress, for `stages.world.World`. Leaving it closes the panel, whatever the reason."""

    def __init__(self, rich: RichConsole | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self.rich = rich or RichConsole(stderr=True, highlight=False)
        self.now = now
        self.state = State(begun=now(), planned=())
        self._live: Live | None = None
        self._log: list[str] = []

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            for line in self._log:  # the panel showed only the last lines; all of them stay in the terminal
                self._print(line)
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """One line, with the time since the start."""
        line = self._stamped(text)
        if self._live is None:
            self._print(line)
        else:
            self._log.append(line)
            self.state = replace(self.state, said=(*self.state.said, text)[-20:])

    def track(self, steps: Iterable[Any], *, done: int, total: int, name: str) -> Iterator[Any]:
        """Pass steps through, showing loss, real tokens per second, the share of padding and the time left."""
        if self._live is not None:
            return self._in_panel(steps, done, total, name)
        return self._on_a_line(steps, done, total, name) if self._redraws else self._plain(steps, total, name)

    def stage(self, name: str) -> None:
        """A stage of `adapt` begins; the first one opens the panel, where there is a terminal to draw it in."""
        if not self.state.stages:
            from shoptalk.stages.world import STAGES

            self.state = replace(self.state, planned=STAGES)
        self.state = self.state.entered(name, self.now())
        if self._live is None and self._redraws:
            self._live = Live(_View(self), console=self.rich, refresh_per_second=REDRAWS, transient=True)
            self._live.start(refresh=True)

    def planned(self, candidates: Sequence[str], *, seconds: float, before: float, budget: Budget) -> None:
        """What will train, and the forecast."""
        outlook = Outlook(seconds=seconds, before=before, budget=budget, since=self.now())
        self.state = replace(self.state, candidates=tuple(map(CandidateState, candidates)), outlook=outlook)

    def looked(self, look: Look) -> None:
        """A candidate was measured."""
        self.state = self.state.looked(look, self.now())
        line = self._stamped(_look_text(look))
        if self._live is None:
            self._print(line)
        else:  # the panel draws it
            self._log.append(line)

    def chosen(self, candidate: str) -> None:
        """The other candidates are eliminated."""
        self.state = self.state.chosen(candidate)

    @property
    def _redraws(self) -> bool:
        """Whether lines on the screen can be redrawn: not in a pipe, and not where TERM is dumb."""
        return self.rich.is_interactive and not self.rich.is_dumb_terminal

    def _print(self, line: str) -> None:
        self.rich.print(line, markup=False, soft_wrap=True)

    def _stamped(self, text: str) -> str:
        minutes, seconds = divmod(int(self.now() - self.state.begun), 60)
        return f"{minutes:3d}:{seconds:02d}  {text}"

    def _in_panel(self, steps: Iterable[Any], done: int, total: int, name: str) -> Iterator[Any]:
        training = TrainingState(name, total, step=done)
        self.state = replace(self.state, training=training)
        for step in steps:
            training = training.after(step)
            self.state = replace(self.state, training=training)
            yield step

    def _on_a_line(self, steps: Iterable[Any], done: int, total: int, name: str) -> Iterator[Any]:
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
            training = TrainingState(name, total)
            for step in steps:
                training = training.after(step)
                progress.update(task, completed=step.number, note=_note(training))
                yield step

    def _plain(self, steps: Iterable[Any], total: int, name: str) -> Iterator[Any]:
        training, last = TrainingState(name, total), self.now()
        for step in steps:
            training = training.after(step)
            if self.now() - last >= PLAIN_EVERY or step.number == total:
                line = f"step {step.number} of {total}, {_note(training)}, about {training.left:.0f} s left"
                self.say(f"{name}: {line}")
                last = self.now()
            yield step


class _View:
    """The renderable that rich redraws: the panel of the console's current state."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __rich_console__(self, rich: RichConsole, options: ConsoleOptions) -> Iterator[Panel]:
        yield panel(
            self._console.state,
            self._console.now(),
            width=options.max_width,
            height=options.size.height,
            ascii_only=options.ascii_only,
        )


def _note(training: TrainingState) -> str:
    return f"loss {training.loss:.3f}, {training.rate:,.0f} {training.units}/s, {training.waste:.0%} padding"


def _look_text(look: Look) -> str:
    """One line about a look, for where there is no panel."""
    if look.gain is None:
        return f"look: {look.entry}, too little to measure a gain on"
    if look.interval is None:
        return f"look: {look.entry}, {look.measure} {look.gain:+.1f} against the base so far"
    return f"look: {look.entry}, {gain_text(look)}{about_text(look)} over {look.base or 'the base'} so far"
