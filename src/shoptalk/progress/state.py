"""The state of a run, as immutable values: each change makes a new one.

A thread of rich draws the panel while the run's own thread reports. Because states are immutable, a drawing never sees
one that is half changed.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from shoptalk.config import Budget
from shoptalk.records import Look
from shoptalk.report.nouns import nouns_for

CURVE_MOST = 128
"""The most points that are kept of a curve; beyond that neighbours are averaged."""


@runtime_checkable
class TrackedStep(Protocol):
    """What is shown of a step; `training.loop.Step` has it."""

    number: int
    loss: float
    tokens: int
    cells: int
    seconds: float
    kind: str


@dataclass(frozen=True)
class Curve:
    """A long series in at most `CURVE_MOST` averages of as many values each."""

    means: tuple[float, ...] = ()
    width: int = 1
    """Values that go into each mean."""
    pending: tuple[float, ...] = ()
    """Values that do not make a mean yet."""

    def add(self, value: float) -> "Curve":
        """The curve with one more value."""
        pending = (*self.pending, value)
        if len(pending) < self.width:
            return replace(self, pending=pending)
        means = (*self.means, sum(pending) / len(pending))
        if len(means) < CURVE_MOST:
            return Curve(means, self.width)
        return Curve(tuple((a + b) / 2 for a, b in zip(means[::2], means[1::2], strict=True)), 2 * self.width)

    @property
    def values(self) -> tuple[float, ...]:
        """The points to draw, the latest last."""
        return (*self.means, sum(self.pending) / len(self.pending)) if self.pending else self.means


@dataclass(frozen=True)
class TrainingState:
    """Running totals of one training, since this process began it."""

    name: str
    total: int
    step: int = 0
    steps: int = 0
    tokens: int = 0
    cells: int = 0
    seconds: float = 0.0
    loss: float = float("nan")
    losses: Curve = Curve()
    units: str = "tokens"
    """What `tokens` counts: patches where pictures are learned from."""

    def after(self, step: TrackedStep) -> "TrainingState":
        """The same, one step on."""
        return replace(
            self,
            step=step.number,
            steps=self.steps + 1,
            tokens=self.tokens + step.tokens,
            cells=self.cells + step.cells,
            seconds=self.seconds + step.seconds,
            loss=step.loss,
            losses=self.losses.add(step.loss),
            units=nouns_for(step.kind).units,
        )

    @property
    def rate(self) -> float:
        """Real tokens, or other units, per second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def waste(self) -> float:
        """Share of padding."""
        return 1 - self.tokens / self.cells if self.cells else 0.0

    @property
    def left(self) -> float:
        """Seconds to the last step, at the speed so far."""
        return (self.total - self.step) * self.seconds / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class Stage:
    """A stage of the run, and when it began and ended."""

    name: str
    begun: float
    ended: float | None = None


@dataclass(frozen=True)
class CandidateState:
    """A candidate and its looks so far."""

    name: str
    looks: tuple[Look, ...] = ()
    eliminated: bool = False

    @property
    def gains(self) -> list[float]:
        """The gain of the base, which is 0, and of each look that has one."""
        return [0.0, *(look.gain for look in self.looks if look.gain is not None)]


@dataclass(frozen=True)
class Outlook:
    """The plan's forecast of the whole run in seconds, and those before the plan was made."""

    seconds: float
    before: float
    budget: Budget
    since: float
    """When the plan was made, or the last look taken, by the clock."""


@dataclass(frozen=True)
class State:
    """All that the panel shows."""

    begun: float
    planned: tuple[str, ...]
    """The stages that are known to come, in order."""
    stages: tuple[Stage, ...] = ()
    candidates: tuple[CandidateState, ...] = ()
    training: TrainingState | None = None
    outlook: Outlook | None = None
    said: tuple[str, ...] = ()

    def entered(self, name: str, now: float) -> "State":
        """The state after a stage begins: the one before it ends, and so does its training."""
        ended = tuple(stage if stage.ended is not None else replace(stage, ended=now) for stage in self.stages)
        return replace(self, stages=(*ended, Stage(name, now)), training=None)

    def looked(self, look: Look, now: float) -> "State":
        """The state after a look at a candidate, which is added if it was not announced."""
        known = {candidate.name: candidate for candidate in self.candidates}
        mine = known.get(look.candidate, CandidateState(look.candidate))
        known[look.candidate] = replace(mine, looks=(*mine.looks, look))
        outlook = replace(self.outlook, since=now) if self.outlook else None
        return replace(self, candidates=tuple(known.values()), outlook=outlook, training=None)

    def chosen(self, name: str) -> "State":
        """The state after one candidate is chosen: all others are eliminated."""
        marked = tuple(replace(one, eliminated=one.name != name) for one in self.candidates)
        return replace(self, candidates=marked)

    @property
    def looks(self) -> list[Look]:
        """The looks at all candidates."""
        return [look for candidate in self.candidates for look in candidate.looks]

    @property
    def best(self) -> Look | None:
        """The look with the highest gain."""
        known = [look for look in self.looks if look.gain is not None]
        return max(known, key=lambda look: look.gain or 0.0, default=None)

    def spent_seconds(self, now: float) -> float:
        """Seconds of the whole run, in earlier processes too: those before the plan was made, those of every look since
        then, and those since the last look.
        """
        if self.outlook is None:
            return now - self.begun
        return self.outlook.before + sum(look.seconds for look in self.looks) + now - self.outlook.since

    def spent_tokens(self) -> int:
        """Training tokens of every candidate so far."""
        of_candidates = sum(max((look.tokens for look in candidate.looks), default=0) for candidate in self.candidates)
        return of_candidates + (self.training.tokens if self.training else 0)
