"""How long each step of a reply takes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Seconds of each step."""

    begun: float = field(default_factory=time.perf_counter)
    laps: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """A step ends here."""
        now = time.perf_counter()
        self.laps[name], self.last = now - self.last, now

    def seconds(self) -> Mapping[str, float]:
        """Of each step so far, and of all of them."""
        return {**self.laps, "total": self.last - self.begun}
