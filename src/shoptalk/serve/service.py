"""What routes work with: one server's database, assistant and settings."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import select

from shoptalk.assistant.desk_hours import opens_at
from shoptalk.assistant.reply import Reply
from shoptalk.serve.answerer import Answerer
from shoptalk.serve.conversations import Incoming, accept
from shoptalk.serve.database import Database
from shoptalk.serve.hub import Hub
from shoptalk.serve.measures import Measures
from shoptalk.serve.rates import Rates
from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import ASSISTANT, SiteRow
from shoptalk.serve.service_settings import ServeSettings
from shoptalk.serve.stored_answers import StoredAnswer, answer_to
from shoptalk.serve.translations import Translates, Translations
from shoptalk.serve.uploads import Upload, upload_of

log = logging.getLogger("shoptalk.serve")
T = TypeVar("T")


@dataclass
class Service:
    """One server."""

    run: Path
    database: Database
    assistant: Any
    """The assistant, or what stands for it in tests."""
    settings: ServeSettings
    key: str | None = None
    """SHOPTALK_KEY."""
    open_here: bool = True
    """Whether programs on this machine need no key."""
    translator: Translates | None = None
    """What agents may have threads translated by."""
    about_translator: str | None = None
    """What the owner should know of it."""
    hub: Hub = field(default_factory=Hub)
    measures: Measures = field(default_factory=Measures)
    rates: Rates = field(default_factory=Rates)
    origins: frozenset[str] = frozenset()
    """All sites' origins."""
    _outside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, thread_name_prefix="outside"))

    def __post_init__(self) -> None:
        self.answerer = Answerer(
            self.database,
            self.assistant,
            self.settings,
            texts=self.texts,
            stored=self.news_of,
            replied=self._count_reply,
            patience=self.patience,
        )

        self.translations = Translations(self.translator) if self.translator is not None else None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the owner should know, told at the start and by `/readyz`."""
        return (*self.assistant.remarks, *([self.about_translator] if self.about_translator else []))

    @property
    def texts(self) -> Mapping[str, str]:
        """The owner's wording of the assistant's sentences."""
        texts: Mapping[str, str] = self.assistant.settings.texts
        return texts

    async def read_origins(self) -> None:
        """Remember from where browsers may call; after every change of a site."""
        lists = await self.database.read(lambda session: session.scalars(select(SiteRow.origins)).all())
        self.origins = frozenset(origin for origins in lists for origin in origins)

    def patience(self) -> timedelta:
        """How long a hand-over that nobody takes waits: some minutes, which begin once somebody is at the desk."""
        settings = self.assistant.settings
        now = datetime.now(UTC).astimezone(ZoneInfo(settings.timezone))
        closed = opens_at(settings, now).astimezone(UTC) - now.astimezone(UTC)
        return closed + timedelta(minutes=self.settings.handover_minutes)

    def stop_taking(self) -> None:
        """The process is about to end: what was accepted is answered without waiting for more, streams end."""
        self.answerer.hurry()
        self.hub.call_all()

    def news_of(self, conversation: str) -> None:
        """Wake those who follow a conversation, or any inbox."""
        self.hub.call(f"conversation {conversation}", "inbox")

    def _count_reply(self, reply: Reply) -> None:
        self.measures.replies.labels(reply.decision, reply.path).inc()
        self.measures.reply_seconds.observe(float(reply.seconds.get("total", 0.0)))
        if reply.too_slow is not None:
            self.measures.slow_rules.labels(reply.too_slow).inc()
            log.warning(
                "a message was handed to a person because the pattern of the rule %r was not read in time: "
                "its repeats may share a text in many ways (see the guide, The assistant)",
                reply.too_slow,
            )

    async def receive(self, incoming: Incoming, *, whole: bool) -> tuple[str, str]:
        """Store a message and have it answered: the ids of its conversation and its own."""
        self.check_length("\n".join((*incoming.earlier, incoming.text)))
        with self.answerer.admitted():
            accepted = await self.database.write(lambda session: accept(session, incoming))
            if accepted.held_by == ASSISTANT:
                self.answerer.schedule(accepted.conversation, whole=whole)
        self.news_of(accepted.conversation)
        return accepted.conversation, accepted.message

    async def picture_of(self, address: str | None) -> Upload | None:
        """What a request shows, read and written anew.

        Raises:
            Refused: the assistant knows no pictures, or this is none.
        """
        if address is None:
            return None
        if not self.sees_pictures:
            raise Refused(422, "no_pictures_here", "This assistant knows no pictures. Describe in words what you see.")
        return await self.in_thread(lambda: upload_of(address))

    @property
    def sees_pictures(self) -> bool:
        """Whether visitors may send pictures: the owner has named a run of pictures."""
        return self.assistant.settings.pictures is not None

    def check_length(self, text: str) -> None:
        """Refuse a message that is too long to be read."""
        if len(text) > self.settings.longest_message:
            raise Refused(
                413,
                "message_too_long",
                f"The message has {len(text):,} characters; the most is {self.settings.longest_message:,}.",
            )

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Work that waits for a model or the disk, beside the event loop."""
        return await asyncio.to_thread(work)

    async def outside(self, work: Callable[[], T]) -> T:
        """Work that waits for somebody else's server, in threads that nothing here waits for."""
        return await asyncio.get_running_loop().run_in_executor(self._outside, work)

    def close(self) -> None:
        """The end, once nothing is owed any more."""
        self._outside.shutdown(wait=False, cancel_futures=True)
        if self.translations is not None:
            self.translations.close()
        self.database.close()

    async def answer(self, incoming: Incoming, *, whole: bool) -> StoredAnswer:
        """Store a message, have it answered, and wait for that."""
        conversation, message = await self.receive(incoming, whole=whole)
        await self.answerer.answered(conversation, message)
        return await self.database.read(lambda session: answer_to(session, message, self.texts))
