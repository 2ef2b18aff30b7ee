"""What somebody is told who waits while knowledge is made: how many texts are read, and how long it may yet take.

tell = ProgressLines(print)
tell(0, 12_000)
tell(2_048, 12_000)
"""

import time
from collections.abc import Callable

WORTH_SAYING = 1_000
"""Texts; fewer are read in a few seconds."""
_SECONDS = 10.0
"""Between two lines."""


class ProgressLines:
    """Says a line when it begins, and one now and then."""

    def __init__(self, say: Callable[[str], None], *, now: Callable[[], float] = time.monotonic) -> None:
        self._say, self._now = say, now
        self._began = self._said = now()

    def __call__(self, done: int, texts: int) -> None:
        """So many of all the texts are read."""
        now = self._now()
        if done == 0:
            self._began = self._said = now
            if texts >= WORTH_SAYING:
                self._say(f"Knowledge: {texts:,} passages and sentences are read, once. Later starts find them there.")
        elif done < texts and now - self._said >= _SECONDS:
            self._said = now
            left = (now - self._began) * (texts - done) / done
            spoken = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
            self._say(f"Knowledge: {done:,} of {texts:,} are read, about {spoken} left.")
