"""The answerer: every stored message is answered exactly once, whatever happens to this process in between.

What it owes is in the database. A conversation is answered by one task at a time; the reply is stored only if its
messages still stand unanswered, and on start all that stands is taken up.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

from shoptalk.assistant.phrases import phrase
from shoptalk.assistant.reply import Decision, Reply, Versions
from shoptalk.records import Turn
from shoptalk.serve.conversations import Stored, Waiting, left_unanswered, store_reply, unanswered
from shoptalk.serve.database import Database
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import ASSISTANT
from shoptalk.serve.service_settings import ServeSettings

log = logging.getLogger("shoptalk.serve")
_LONGEST_TURN = 5
"""In turn_seconds: somebody who never stops writing is answered in between."""
_TRIES = 3


@runtime_checkable
class Answering(Protocol):
    """What the server needs of an assistant to answer."""

    def reply(self, turns: Sequence[Turn], *, earlier: Sequence[Decision], picture: bytes | None) -> Reply:
        """The reply to the last turns, after what was decided before; with them a picture may be shown."""
        ...

    def summary(self, turns: Sequence[Turn]) -> str:
        """What an agent reads first."""
        ...


@dataclass
class _Due:
    """When a conversation's turn is over."""

    first: float
    at: float
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Answerer:
    """Answers conversations, at most `most_waiting` at once, a few of them in threads at the same time."""

    def __init__(
        self,
        database: Database,
        assistant: Answering,
        settings: ServeSettings,
        *,
        patience: Callable[[], timedelta],
        texts: Mapping[str, str] | None = None,
        stored: Callable[[str], None] = lambda conversation: None,
        replied: Callable[[Reply], None] = lambda reply: None,
    ) -> None:
        self._database, self._assistant, self._settings = database, assistant, settings
        self._patience = patience
        self._texts, self._stored, self._replied = texts or {}, stored, replied
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="reply")
        self._due: dict[str, _Due] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiters: dict[str, dict[str, asyncio.Event]] = {}
        self._arriving = 0
        self._seconds = 0.05
        self.draining = False

    @property
    def waiting(self) -> int:
        """How many conversations are being answered."""
        return len(self._due)

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """While a message is being accepted. Says no before that, if it could not be answered soon.

        Raises:
            Refused: too many wait already, or the server is about to stop.
        """
        if self.draining:
            raise Refused(429, "stopping", "The server is about to restart. Try again in a moment.", retry_after=2.0)
        waiting = len(self._due) + self._arriving
        if waiting >= self._settings.most_waiting:
            seconds = max(1.0, waiting * self._seconds / self._settings.threads)
            raise Refused(429, "busy", f"{waiting} messages wait for their answers already.", retry_after=seconds)
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def schedule(self, conversation: str, *, whole: bool) -> None:
        """A message came. A turn that is `whole` is answered now, else once nothing more has come for two seconds."""
        now = time.monotonic()
        wait = 0.0 if whole else self._settings.turn_seconds
        due = self._due.get(conversation)
        if due is None:
            due = self._due[conversation] = _Due(now, now + wait)
            task = asyncio.create_task(self._answer(conversation, due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            due.at = min(now + wait, due.first + _LONGEST_TURN * self._settings.turn_seconds)
            due.changed.set()

    async def resume(self, *, older: timedelta = timedelta(0)) -> int:
        """Take up what was accepted so long ago and left unanswered: by an earlier process, or because it failed."""
        left = await self._database.read(lambda session: left_unanswered(session, older=older))
        if self.draining:
            return 0
        conversations = [conversation for conversation in left if conversation not in self._due]
        for conversation in conversations:
            self.schedule(conversation, whole=True)
        return len(conversations)

    async def answered(self, conversation: str, message: str) -> None:
        """Wait until a message is answered, or nothing of its conversation is being answered."""
        if conversation in self._due:
            await self._waiters.setdefault(conversation, {}).setdefault(message, asyncio.Event()).wait()

    def hurry(self) -> None:
        """Accept no more, and wait for no more of a turn."""
        self.draining = True
        for due in self._due.values():
            due.at = 0.0
            due.changed.set()

    async def drain(self, seconds: float) -> None:
        """Answer what was accepted, and accept no more."""
        self.hurry()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, conversation: str, due: _Due) -> None:
        tries = failures = 0
        try:
            while True:
                await self._turn_over(due)
                due.changed.clear()
                try:
                    waiting = await self._database.read(lambda session: unanswered(session, conversation))
                    if not waiting.messages or waiting.held_by != ASSISTANT:
                        if due.changed.is_set():
                            continue
                        return
                    stored = await self._reply_to(waiting, alone=tries >= _TRIES, failed=failures >= _TRIES - 1)
                except Exception:
                    failures += 1
                    log.exception("a reply failed")
                    if failures >= _TRIES:
                        return
                    await asyncio.sleep(0.2 * failures)
                    continue
                tries = tries + 1 if stored.joined else 0
                if stored.joined:
                    continue
                self._stored(conversation)
        finally:
            self._due.pop(conversation, None)
            for event in self._waiters.pop(conversation, {}).values():
                event.set()

    async def _turn_over(self, due: _Due) -> None:
        while (seconds := due.at - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(seconds):
                    await due.changed.wait()
                due.changed.clear()
            except TimeoutError:
                return

    async def _reply_to(self, waiting: Waiting, *, alone: bool, failed: bool) -> Stored:
        started = time.monotonic()
        reply, note = await asyncio.get_running_loop().run_in_executor(self._threads, self._work_out, waiting, failed)
        patience = self._patience()
        stored = await self._database.write(
            lambda session: store_reply(session, waiting, reply, note=note, patience=patience, alone=alone)
        )
        if stored.message is not None:
            self._replied(reply)
            for message in waiting.messages:
                if (event := self._waiters.get(waiting.conversation, {}).pop(message, None)) is not None:
                    event.set()
        self._seconds = 0.9 * self._seconds + 0.1 * (time.monotonic() - started)
        return stored

    def _work_out(self, waiting: Waiting, failed: bool) -> tuple[Reply, str]:
        """The reply, and the note where a person is to read one."""
        if failed:
            words = phrase("failed", " ".join(turn.text for turn in waiting.turns if turn.role == "user"), self._texts)
            reply = Reply("escalate", "tool_failure", words, (), (), 0.0, None, "rule", Versions("", "", ""))
            return reply, ""
        reply = self._assistant.reply(waiting.turns, earlier=waiting.decisions, picture=waiting.picture)
        note = self._assistant.summary(waiting.turns) if reply.decision == "escalate" else ""
        return reply, note
