"""The profile of a run: the seconds of each stage, and within it of each part. Only told; nothing depends on it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Profile:
    """The clock of one process. Parts may lie in parts: each counts what is its alone.

    profile = Profile()
    with profile.stage("choose"), profile.part("looks"):
        ...
    profile.stages, profile.parts["choose"]      # {"choose": 1.2}, {"looks": 1.2}
    """

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        """Those that have ended, in the order in which they began."""
        self.parts: dict[str, dict[str, float]] = {}
        """Of each stage, its parts in the order in which they first ended."""
        self._stage = ""
        self._inner = [0.0]  # of each open part, outermost first, the seconds of the parts that lie in it

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage of the run: parts that are measured inside are its own."""
        begun, self._stage = time.perf_counter(), name
        yield
        self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - begun
        self._stage = ""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the stage at hand; a part that is met again adds up."""
        begun = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begun - self._inner.pop())

    def add(self, name: str, seconds: float) -> None:
        """Seconds that were measured elsewhere, inside the part that is open."""
        parts = self.parts.setdefault(self._stage, {})
        parts[name] = parts.get(name, 0.0) + seconds
        self._inner[-1] += seconds
