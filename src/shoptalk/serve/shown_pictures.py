"""Pictures of messages, as rows."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from shoptalk.serve.refusals import Refused
from shoptalk.serve.rows import ConversationRow, MessageRow, PictureRow, new_id
from shoptalk.serve.uploads import Upload


def keep_picture(session: Session, message: MessageRow, picture: Upload) -> None:
    """Store what came with a message."""
    row = PictureRow(
        id=new_id("picture"),
        message_id=message.id,
        site_id=message.site_id,
        conversation_id=message.conversation_id,
        digest=picture.digest,
        data=picture.data,
    )
    session.add(row)


def last_picture(session: Session, messages: Sequence[str]) -> bytes | None:
    """The file that came with the last of these messages that has one."""
    rows = (
        select(PictureRow.data)
        .join(MessageRow, MessageRow.id == PictureRow.message_id)
        .where(PictureRow.message_id.in_(messages))
        .order_by(MessageRow.number.desc())
        .limit(1)
    )
    return session.scalar(rows)


def pictures_of(session: Session, conversation: str) -> dict[str, str]:
    """The ids of a conversation's pictures, by their messages."""
    rows = session.execute(
        select(PictureRow.message_id, PictureRow.id).where(PictureRow.conversation_id == conversation)
    )
    return {row.message_id: row.id for row in rows}


def picture_file(session: Session, site: str, picture: str, *, visitor: str | None = None) -> bytes:
    """The file of a site's picture; where a visitor is named, only of their own conversations.

    Raises:
        Refused: there is none of that id, or it is another's.
    """
    rows = (
        select(PictureRow.data)
        .join(ConversationRow, ConversationRow.id == PictureRow.conversation_id)
        .where(PictureRow.id == picture, PictureRow.site_id == site)
    )
    if visitor is not None:
        rows = rows.where(ConversationRow.visitor == visitor)
    data = session.scalar(rows)
    if data is None:
        raise Refused(404, "picture_not_found", f"There is no picture {picture[:80]!r} here.")
    return data
