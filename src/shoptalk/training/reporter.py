"""Where progress is told, and a place where it is not."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from shoptalk.config import Budget
from shoptalk.records import Look
from shoptalk.training.loop import Step


@runtime_checkable
class Reporter(Protocol):
    """Where progress is told; the command line prints it, tests collect it."""

    def say(self, text: str) -> None:
        """One line for people."""

    def track(self, steps: Iterable[Step], *, done: int, total: int, name: str) -> Iterator[Step]:
        """Pass the steps of a training through, showing where it stands."""

    def stage(self, name: str) -> None:
        """A stage of `adapt` begins, and the one before it has ended."""

    def planned(self, candidates: Sequence[str], *, seconds: float, before: float, budget: Budget) -> None:
        """What will train, and the forecast of the whole run in seconds, of which `before` have gone already."""

    def looked(self, look: Look) -> None:
        """A candidate was measured on its way."""

    def chosen(self, candidate: str) -> None:
        """This candidate goes on; the others are eliminated."""


class Silent:
    """A reporter that tells nothing: that of all processes but the first."""

    def say(self, text: str) -> None:
        """Nothing."""

    def track(self, steps: Iterable[Step], *, done: int, total: int, name: str) -> Iterator[Step]:
        """Pass the steps through."""
        yield from steps

    def stage(self, name: str) -> None:
        """Nothing."""

    def planned(self, candidates: Sequence[str], *, seconds: float, before: float, budget: Budget) -> None:
        """Nothing."""

    def looked(self, look: Look) -> None:
        """Nothing."""

    def chosen(self, candidate: str) -> None:
        """Nothing."""
