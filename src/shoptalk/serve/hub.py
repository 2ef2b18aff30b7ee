"""Wakes those who wait for news of a conversation or of a site's inbox."""

import asyncio
from collections import defaultdict


class Hub:
    """Events by topic. Who waits asks the database what is new; a missed call costs a second, nothing else."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def call(self, *topics: str) -> None:
        """There is news."""
        for topic in topics:
            for event in self._waiting.get(topic, ()):
                event.set()

    def call_all(self) -> None:
        """There is news of everything."""
        self.call(*self._waiting)

    async def wait(self, topic: str, *, seconds: float) -> bool:
        """Until there is news, or some seconds have passed."""
        event = asyncio.Event()
        self._waiting[topic].add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
            return True
        except TimeoutError:
            return False
        finally:
            self._waiting[topic].discard(event)
            if not self._waiting[topic]:
                del self._waiting[topic]
