"""Rate limits: so many requests a minute for each key, visitor and address, a sixth of them at once."""

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_REMEMBERED = 100_000


class Rates:
    """Token buckets by name; the ones that were not used for longest are forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, name: str, per_minute: int) -> float:
        """Seconds until this may be asked again; 0 where it may now, and then it counts."""
        now = self._clock()
        most = max(1.0, per_minute / 6)
        left, since = self._buckets.pop(name, (most, now))
        left = min(most, left + (now - since) * per_minute / 60)
        seconds = 0.0 if left >= 1.0 else (1.0 - left) * 60 / per_minute
        self._buckets[name] = (left - 1.0 if seconds == 0.0 else left, now)
        while len(self._buckets) > _MOST_REMEMBERED:
            self._buckets.popitem(last=False)
        return seconds
