"""Works off the jobs: webhooks, and hand-overs that nobody took; and takes up what was left lying. Several servers may
do so side by side.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from shoptalk.serve.handover import come_back
from shoptalk.serve.outbound import ask, signature
from shoptalk.serve.outbox import Job, finish, take
from shoptalk.serve.rows import WebhookRow
from shoptalk.serve.service import Service

log = logging.getLogger("shoptalk.serve")
POLL_SECONDS = 0.5
REFRESH_SECONDS = 2.0
LEFT_LYING = timedelta(seconds=30)
"""How old a message is that somebody should have answered: the disk was full, or another server has died."""


class Workers:
    """A loop for each kind of job, so that a webhook's slow server holds up no hand-over; and two that look around."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._kinds: dict[str, Callable[[Job], Awaitable[None]]] = {
            "handover_timeout": self._time_out,
            "webhook": self._send,
        }

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(
            self._every(REFRESH_SECONDS, self._refresh),
            self._every(LEFT_LYING.total_seconds(), self._take_up),
            *map(self._work_off, self._kinds),
        )

    async def _work_off(self, kind: str) -> None:
        while True:
            try:
                jobs = await self.service.database.write(partial(take, kind=kind))
                await asyncio.gather(*(self._do(job) for job in jobs))
                if not jobs:
                    await asyncio.sleep(POLL_SECONDS)
            except Exception:
                log.exception("jobs cannot be taken")
                await asyncio.sleep(5 * POLL_SECONDS)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:
                log.exception("nothing can be looked after")

    async def _refresh(self) -> None:
        """`shoptalk knowledge` may have changed the knowledge."""
        await self.service.in_thread(self.service.assistant.knowledge.refresh)

    async def _take_up(self) -> None:
        """Messages that are owed an answer and get none."""
        await self.service.answerer.resume(older=LEFT_LYING)

    async def _do(self, job: Job) -> None:
        error = None
        try:
            await self._kinds[job.kind](job)
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"[:500]
        self.service.measures.jobs.labels(job.kind, "failed" if error else "done").inc()
        await self.service.database.write(lambda session: finish(session, job, error=error))

    async def _send(self, job: Job) -> None:
        hook = await self.service.database.read(lambda session: session.get(WebhookRow, job.payload["webhook"]))
        if hook is None:  # it was deleted meanwhile
            return
        body = json.dumps(job.payload["body"], ensure_ascii=False).encode()
        headers = {
            "content-type": "application/json",
            "user-agent": "shoptalk",
            "shoptalk-signature": signature(hook.secret, int(time.time()), body),
        }
        private = self.service.settings.private_targets
        status, _, _ = await self.service.outside(
            lambda: ask("POST", hook.url, body=body, headers=headers, private=private)
        )
        if not 200 <= status < 300:
            raise OSError(f"the webhook answered {status}")

    async def _time_out(self, job: Job) -> None:
        conversation, patience = job.payload["conversation"], self.service.patience()
        row = await self.service.database.write(
            lambda session: come_back(
                session,
                conversation,
                job.payload["since"],
                texts=self.service.texts,
                patience=patience,
                agent=job.payload.get("agent"),
            )
        )
        if row is not None:
            self.service.news_of(conversation)
            self.service.answerer.schedule(conversation, whole=True)
