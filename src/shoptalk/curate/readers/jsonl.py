"""JSON Lines: a document a row, from `turns` [{role, text}], `messages` [{role, content}] or the text column.

Roles stay as the file has them. The row's other keys are the document's metadata; what a message has beside its role
and its text is not read. Rows that name a picture's file
(`curate.image_column`) come last, by picture (`pictures.py`); a conversation that names one stays a conversation.
"""

from collections.abc import Iterator
from typing import Any

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.columns import column_named
from shoptalk.curate.files import Bad, RefusedFile, Row, SourceFile, json_rows
from shoptalk.curate.readers.pictures import NamedPictures, image_column
from shoptalk.curate.readers.shared import left_out, metadata_of, one_text
from shoptalk.records import Document, Drop, Turn

_CONVERSATIONS = ("turns", "messages")


def read_jsonl(file: SourceFile, encoding: str, config: CurateConfig) -> Iterator[Document | Drop]:
    """The rows; one with an id of its own is called by it, another by its line.

    Raises:
        RefusedFile: as `json_rows`, and "empty".
    """
    rows, named = 0, dict[str, NamedPictures]()
    for row in json_rows(file.path, encoding):
        rows += 1
        item = row if isinstance(row, Bad) else _item(file, row, named, config)
        if item is not None:
            yield left_out(file.name, item) if isinstance(item, Bad) else item
    for pictures in named.values():
        yield from pictures.documents()
    if not rows:
        raise RefusedFile("empty", "no rows in the file")


def _item(
    file: SourceFile, row: Row, named: dict[str, NamedPictures], config: CurateConfig
) -> Document | Drop | Bad | None:
    """What a row is; None where it names a picture, which is added to those of its column."""
    column = image_column(row.value, config)
    if column is None or any(row.value.get(key) is not None for key in _CONVERSATIONS):
        return _document(file, row, config)
    text = column_named(config.text_column, row.value) or config.text_column
    key = f"{column}\0{text}"
    if key not in named:
        named[key] = NamedPictures(file, column, text, config)
    nameless = named[key].add(row)
    if nameless is None or not isinstance(row.value.get(text), str):
        return nameless
    return _document(file, row, config)


def _document(file: SourceFile, row: Row, config: CurateConfig) -> Document | Drop | Bad:
    given_id = row.value.get("id")
    named = isinstance(given_id, str | int) and not isinstance(given_id, bool) and str(given_id).strip()
    id = f"{file.name}#{printable(str(given_id).strip()) if named else row.number}"
    read = ("id",) if named else ()
    for key in _CONVERSATIONS:
        if row.value.get(key) is not None:  # exports have null columns
            turns = _turns(row, key)
            if isinstance(turns, Bad):
                return turns
            metadata = metadata_of(row.value, read=(*read, key), config=config)
            return Document(id=id, source=file.name, turns=turns, metadata=metadata)
    # A file's own `text` still counts where the setting names the column of some other file.
    for wanted in (config.text_column, "text"):
        column = column_named(wanted, row.value)
        if column is not None:
            value = row.value[column]
            if not isinstance(value, str):
                return _wrong(row, f"{column!r} is {type(value).__name__}, expected a string")
            metadata = metadata_of(row.value, read=(*read, column), config=config)
            return one_text(file, row.number, id, value, metadata)
    keys = ", ".join(printable(key) for key in row.value) or "none"
    expected = f"{config.text_column!r}, 'turns' or 'messages'"
    return Bad(row.number, "no-text", f"expected {expected}, found the keys: {keys}", sample(str(row.value)))


def _turns(row: Row, key: str) -> tuple[Turn, ...] | Bad:
    """A conversation; a message without text keeps its place, so that its neighbours do not become consecutive."""
    messages = row.value[key]
    if not isinstance(messages, list):
        return _wrong(row, f"{key!r} is {type(messages).__name__}, expected a list")
    turns = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            return _wrong(row, f"{key}[{number}] is {type(message).__name__}, expected an object")
        role, text = message.get("role"), _message_text(message)
        if not isinstance(role, str):
            return _wrong(row, f"{key}[{number}] has no role that is a string")
        if text is None:
            return _wrong(row, f"{key}[{number}] has neither a text nor a content that is one")
        turns.append(Turn(role=repair(role), text=repair(text)))
    if not any(turn.text for turn in turns):
        return Bad(row.number, "empty", "no turn has text", sample(str(row.value)))
    return tuple(turns)


def _message_text(message: dict[str, Any]) -> str | None:
    """`text` or `content`: a string, null (a message that only calls a tool), or a list of parts, some of them text."""
    if "text" not in message and "content" not in message:
        return None
    value = message["text"] if "text" in message else message["content"]
    if value is None:
        return ""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict) and part.get("type") == "text"]
        return "\n".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else None


def _wrong(row: Row, detail: str) -> Bad:
    return Bad(row.number, "wrong-type", detail, sample(str(row.value)))
