"""Wakes those who wait for news of a conversation or of a site's inbox."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator


class Listener:
    """Hears every call from the moment it listens on, also one that comes while it does something else."""

    def __init__(self) -> None:
        self._called = asyncio.Event()

    def call(self) -> None:
        """There is news."""
        self._called.set()

    def caught_up(self) -> None:
        """Forget the calls so far: whoever says this reads all that is new directly afterwards."""
        self._called.clear()

    async def wait(self, *, seconds: float) -> bool:
        """Whether there was a call since `caught_up`; else whether one comes within some seconds."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._called.wait()
        except TimeoutError:
            return False
        return True


class Hub:
    """Listeners by topic. The database alone says what is new: first `caught_up`, then read, then `wait`. Whoever began
    to listen only after reading would sleep through what is stored in between.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = defaultdict(set)

    @contextlib.contextmanager
    def listening(self, topic: str) -> Iterator[Listener]:
        """A listener, while the block lasts."""
        listener = Listener()
        self._listeners[topic].add(listener)
        try:
            yield listener
        finally:
            self._listeners[topic].discard(listener)
            if not self._listeners[topic]:
                del self._listeners[topic]

    def call(self, *topics: str) -> None:
        """There is news."""
        for topic in topics:
            for listener in self._listeners.get(topic, ()):
                listener.call()

    def call_all(self) -> None:
        """There is news of everything."""
        self.call(*self._listeners)
