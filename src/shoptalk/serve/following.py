"""What happens in a conversation, as it happens: every stream and every live page is made from this."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from shoptalk.serve.rows import ConversationRow
from shoptalk.serve.service import Service
from shoptalk.serve.threads import message_records

HEARTBEAT_SECONDS = 10.0
SIGN_OF_LIFE = ": still here\n\n"
"""What a stream sends where nothing happens, so that both ends know that the other is there."""


@dataclass(frozen=True)
class News:
    """How a conversation stands, and its messages since the last news."""

    state: dict[str, Any]
    """`held_by`, `agent` and `closed`."""
    messages: list[dict[str, Any]]
    first: bool
    """Whether this is what was there before anybody followed."""


async def news_of(
    service: Service, conversation: str, *, after: int, seconds: float
) -> AsyncGenerator[News | None, None]:
    """News of a conversation from the message after number `after` on, for some seconds. None is a sign of life."""
    ends, first = time.monotonic() + seconds, True
    with service.hub.listening(f"conversation {conversation}") as listener:
        while not service.answerer.draining:
            listener.caught_up()
            read = partial(_since, conversation=conversation, after=after)
            state, messages = await service.database.read(read)
            after = messages[-1]["number"] if messages else after
            yield News(state, messages, first)
            first = False
            left = ends - time.monotonic()
            if left <= 0:
                return
            if not await listener.wait(seconds=min(HEARTBEAT_SECONDS, left)):
                yield None


def _since(session: Session, conversation: str, after: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    row = session.get_one(ConversationRow, conversation)
    state = {"held_by": row.held_by, "agent": row.agent, "closed": row.closed is not None}
    return state, message_records(session, conversation, after=after)
