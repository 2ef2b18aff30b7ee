"""Translations of messages for the desk: one thread's at a time, beside the event loop, and remembered for a while.

They are in this process's memory alone: nothing of them is stored, sent to a visitor or given to the assistant.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

from shoptalk.assistant.translated_text import TranslatedText
from shoptalk.serve.refusals import Refused

log = logging.getLogger("shoptalk.serve")
MOST_MESSAGES = 50
"""Of a thread, the newest."""
MOST_CHARACTERS = 8_000
"""Of a thread together, unless a single message may have more."""
MOST_WAITING = 4
"""Threads that are being translated or wait for it."""
_REMEMBERED = 1_000
"""Messages whose translations are kept."""
_TRY_AGAIN = 5.0  # seconds


@runtime_checkable
class Translates(Protocol):
    """What the server needs of a translator."""

    languages: tuple[str, str]
    """From and into what."""

    def translated(self, texts: Sequence[str]) -> list[TranslatedText]:
        """What it writes for each text."""
        ...

    def stop(self) -> None:
        """Give up what is being translated."""
        ...


class Translations:
    """What a translator has written. It belongs to one event loop."""

    def __init__(self, translator: Translates) -> None:
        self.languages = translator.languages
        self._translator = translator
        self._known: OrderedDict[str, TranslatedText] = OrderedDict()
        self._waiting = self._forgotten = 0
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="translate")

    async def of(self, texts: Sequence[str]) -> Mapping[str, TranslatedText]:
        """The translation of each text.

        Raises:
            Refused: too many wait already, or the model failed.
        """
        if all(text in self._known for text in texts):
            return {text: self._known[text] for text in texts}
        if self._waiting >= MOST_WAITING:
            sentence = f"{self._waiting} threads are being translated already. Try again in a moment."
            raise Refused(429, "busy", sentence, retry_after=_TRY_AGAIN)
        self._waiting += 1
        since = self._forgotten
        try:
            async with self._turn:
                return await self._of_all(texts, since)
        finally:
            self._waiting -= 1

    async def _of_all(self, texts: Sequence[str], since: int) -> Mapping[str, TranslatedText]:
        known = {text: self._known[text] for text in texts if text in self._known}
        if fresh := [text for text in dict.fromkeys(texts) if text not in known]:
            known |= zip(fresh, await self._written(fresh), strict=True)
        if self._forgotten != since:  # somebody was erased since they were asked for, and it may be one of these
            return known
        for text in known:
            self._known[text] = known[text]
            self._known.move_to_end(text)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

    async def _written(self, texts: Sequence[str]) -> list[TranslatedText]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._translator.translated, texts)
        except Exception:  # models raise anything
            log.exception("a thread cannot be translated")
            sentence = "The translator failed; the server's log says how. The thread itself is as it was."
            raise Refused(503, "translation_failed", sentence, retry_after=_TRY_AGAIN) from None

    def forget(self) -> None:
        """Keep no text: somebody's messages were erased."""
        self._known.clear()
        self._forgotten += 1

    def close(self) -> None:
        """The end, which no translation holds up."""
        self._translator.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)


def within_limits(texts: Sequence[str], *, most_characters: int) -> int:
    """How many of the texts, from the last one back, are translated: as many as have that many characters together."""
    count = characters = 0
    for text in reversed(texts[-MOST_MESSAGES:]):
        characters += len(text)
        if characters > most_characters:
            break
        count += 1
    return count
