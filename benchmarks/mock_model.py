"""A language model that is none, for load: an OpenAI-compatible endpoint whose knobs are in the model's name.

    mock-first-300ms-words-40             the answer begins after 300 ms and has at most 40 words
    mock-first-300ms-words-40-fails-10    of ten requests in a hundred nothing comes but a 503

It says the beginning of the first passage that it is given and cites it, so that the gate lets it pass.
"""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"mock-first-(\d+)ms-words-(\d+)(?:-fails-(\d+))?")
_PASSAGE = re.compile(r"\[1\] [^\n]*\n(.*)")


@dataclass(frozen=True)
class Knobs:
    """What a model's name says."""

    first: float
    """Seconds until the answer begins."""
    words: int
    fails: float
    """The share of requests that fail."""


def knobs_of(name: str) -> Knobs:
    """The knobs in a name; raises ValueError where it has none."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no mock: expected mock-first-300ms-words-40 or the same with -fails-10")
    return Knobs(int(match[1]) / 1000, int(match[2]), int(match[3] or 0) / 100)


def said(prompt: str, words: int) -> str:
    """The first words of the first passage, and where they are from."""
    passage = _PASSAGE.search(prompt)
    text = " ".join((passage[1] if passage else "NO ANSWER").split()[:words])
    return f"{text} [1]" if passage else text


@dataclass
class MockModel:
    """The endpoint, and what it was asked."""

    rng: random.Random = field(default_factory=lambda: random.Random(0))
    asked: int = 0
    failed: int = 0

    async def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to one request."""
        knobs = knobs_of(str(body["model"]))
        self.asked += 1
        await asyncio.sleep(knobs.first)
        if self.rng.random() < knobs.fails:
            self.failed += 1
            return 503, {"error": {"message": "overloaded"}}
        text = said(str(body["messages"][-1]["content"]), knobs.words)
        return 200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its `base_url`, as long as it listens."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)content-length: *(\d+)", head)
            body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
            status, answer = await self.answer(body)
            content = json.dumps(answer).encode()
            writer.write(
                f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + content
            )
            await writer.drain()
        writer.close()
