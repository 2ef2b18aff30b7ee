"""Files and folders to documents. Bad input stops a row or a file, never the run: it becomes a drop with its reason.

    for item in stream_sources([Path("conversations"), Path("faq.md")], CurateConfig()):  # a Document or a Drop

| file    | becomes                                                                                             |
|---------|-----------------------------------------------------------------------------------------------------|
| `.md`   | one document                                                                                        |
| `.txt`  | one document if blank lines part its paragraphs; else a document a line                             |
| `.csv`  | a document a row, from the column `curate.text_column`                                              |
| `.jsonl`| a document a row, from `turns` [{role, text}], `messages` [{role, content}] or the text column      |

Each may be gzip-compressed, and in any encoding that `encodings` can tell. A column is found whatever the case of its
name; any other, labels above all, is ignored. A `.md` or `.txt` of over a million
characters becomes several documents, parted at blank lines, so that no file is ever held whole.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shoptalk.artifact import file_digest
from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.columns import column_named, column_problem
from shoptalk.curate.encodings import UTF8, spoken
from shoptalk.curate.files import (
    Bad,
    RefusedFile,
    Row,
    encoding_of,
    format_of,
    json_rows,
    lines,
)
from shoptalk.curate.limits import MEGABYTE, refuse_oversized
from shoptalk.curate.listing import KNOWN, UNTOLD, counted, list_files
from shoptalk.curate.listing import SourceFile as _File
from shoptalk.curate.seen import Table
from shoptalk.curate.tables import CsvTable, csv_rows, csv_table
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop, Turn

PART_CHARACTERS = 1_000_000
"""A text file longer than this is cut into documents of at least this length."""


def stream_sources(
    paths: Sequence[Path], config: CurateConfig, *, out: Path | None = None, say: Callable[[str], None] | None = None
) -> Iterator[Document | Drop]:
    """Every usable document of the given files and folders, and everything left out, one at a time in a fixed order.

    What is counted is texts: there is one document or one drop for each row of a table, for each line of a list, and
    for each other file.

    Document ids are unique: the file's name and the row's own id or line number, such as "chats.jsonl#17". What is held
    meanwhile is one row, or a part of a text file, and 15 to 30 bytes a row of JSONL for its id.

    Args:
        paths: files and folders; what of these is never read, `listing.py` says.
        config: how they are read, and how large a file may be.
        out: the folder that the results go to, which is never a source.
        say: is told of each file that is not UTF-8, and in which encoding it is read.

    Raises:
        SourceError: a path does not exist, has an unknown extension or is a run folder, or a folder is empty (at
            once); a given CSV lacks the text column or has more cells than columns in many rows, or nothing usable
            remained (when that is found out).
    """
    files, drops = list_files(paths, out=out)
    return _stream(paths, files, drops, config, say)


def _stream(
    paths: Sequence[Path],
    files: Sequence[_File],
    drops: Sequence[Drop],
    config: CurateConfig,
    say: Callable[[str], None] | None,
) -> Iterator[Document | Drop]:
    yield from drops
    reasons = Counter(drop.reason for drop in drops)
    first: Drop | None = None
    documents = 0
    ids = _Ids()
    for file in files:
        try:
            refuse_oversized(file.path, config)
            encoding = encoding_of(file.path)
            if say is not None and encoding != UTF8:
                say(read_as(file.name, encoding))
            for item in _read(file, encoding, config):
                if isinstance(item, Bad):
                    reasons[item.reason] += 1
                    drop = _drop(file, item)
                    first = first or drop
                    yield drop
                else:
                    documents += 1
                    yield ids.unique(item)
        except RefusedFile as refused:
            reasons[refused.reason] += 1
            drop = Drop(id=file.name, source=file.name, reason=refused.reason, detail=refused.detail)
            first = first or drop
            yield drop
    if not documents:
        raise SourceError(
            f"No usable text in {_listed(paths)}: {counted(reasons)}.{_first(first or next(iter(drops), None))}"
        )


def read_as(name: str, encoding: str) -> str:
    """What to tell of a file that is not UTF-8."""
    return (
        f"{name} is not UTF-8 and is read as {spoken(encoding)}. "
        "Where letters come out wrong, save it as UTF-8 and run again."
    )


def _first(drop: Drop | None) -> str:
    """The first text left out, for the message that all of them are."""
    if drop is None:
        return f" Give files with text: {KNOWN}."
    return f" The first: {drop.id}: {drop.detail}." if drop.detail else ""


def source_fingerprint(
    paths: Sequence[Path], config: CurateConfig | None = None, *, out: Path | None = None
) -> dict[str, str]:
    """Each file's name and the SHA-256 of its bytes, for cache keys; "unreadable" or "too-large" where it has none.

    What the listing leaves out is there with its reason, but for what comes and goes by itself (`listing.UNTOLD`).

    Raises:
        SourceError: a path does not exist, has an unknown extension, is an empty folder or a run folder.
    """
    limit = (config or CurateConfig()).file_megabytes * MEGABYTE
    files, drops = list_files(paths, out=out)
    fingerprint = {drop.id: drop.reason for drop in drops if drop.reason not in UNTOLD}
    for file in files:
        try:
            if not file.path.is_file():
                fingerprint[file.name] = "unreadable"
            elif file.path.stat().st_size > limit:
                fingerprint[file.name] = "too-large"  # nobody reads it, so nobody waits for its hash
            else:
                fingerprint[file.name] = file_digest(file.path)
        except OSError:
            fingerprint[file.name] = "unreadable"
    return fingerprint


def count_by_reason(drops: Sequence[Drop]) -> str:
    """Such as "3 left out (2 bad-json, 1 empty)"."""
    return counted(Counter(drop.reason for drop in drops))


def rows_left_out(name: str, drops: Sequence[Drop]) -> str:
    """What to tell of a file's rows that were left out, such as "l.csv: 1 left out (1 no-label). The first: ..."."""
    return f"{name}: {count_by_reason(drops)}.{_first(drops[0])}"


# From a file to documents


def _read(file: _File, encoding: str, config: CurateConfig) -> Iterator[Document | Bad]:
    match format_of(file.path):
        case ".txt":
            return _read_txt(file, encoding)
        case ".md":
            return _parts(file, encoding)
        case ".csv":
            return _read_csv(file, encoding, config)
        case _:
            return _read_jsonl(file, encoding, config)


def _read_txt(file: _File, encoding: str) -> Iterator[Document | Bad]:
    if not _is_list(file, encoding):
        yield from _parts(file, encoding)
        return
    for line in lines(file.path, encoding):
        if isinstance(line, Bad):
            yield line
        elif line.text.strip():
            yield _plain(file, line.number, f"{file.name}#{line.number}", line.text)


def _is_list(file: _File, encoding: str) -> bool:
    """Whether a text file has several lines and no blank one between them. Reads all of it, and holds a line."""
    first = last = filled = 0
    with contextlib.suppress(RefusedFile):  # of a file that is cut off, the lines before
        for line in lines(file.path, encoding):
            if isinstance(line, Bad) or line.text.strip():
                first, last, filled = first or line.number, line.number, filled + 1
    return filled > 1 and last - first == filled - 1


def _parts(file: _File, encoding: str) -> Iterator[Document | Bad]:
    """One document, or for a long file several, each begun at the first paragraph after enough characters.

    A paragraph that goes on and on is cut at the end of a line.
    """
    held: list[str] = []
    begin, size, anything, blank = 1, 0, False, False
    for line in lines(file.path, encoding):
        if isinstance(line, Bad):
            anything = True
            yield line
            continue
        here = bool(line.text.strip())
        if here and size > (PART_CHARACTERS if blank else 2 * PART_CHARACTERS):
            anything = True
            yield from _part(file, f"{file.name}#{begin}", held)
            held, begin, size = [], line.number, 0
        held.append(line.text)
        size += len(line.text) + 1
        blank = not here
    found = list(_part(file, f"{file.name}#{begin}" if begin > 1 else file.name, held))
    yield from found
    if not found and not anything:
        raise RefusedFile("empty", "no text in the file")


def _part(file: _File, id: str, held: Sequence[str]) -> Iterator[Document]:
    text = repair("\n".join(held))
    if text:
        yield Document(id=id, source=file.name, text=text)


def _read_csv(file: _File, encoding: str, config: CurateConfig) -> Iterator[Document | Bad]:
    wanted = {"curate.text_column": (config.text_column,)}
    table = csv_table(file.path, encoding, tuple(wanted.values()))
    if (problem := column_problem(wanted, table.columns)) is not None:
        yield from _all_left_out(file, table, "no-text", problem + table.hint)
        return
    if table.refusal is not None:
        yield from _all_left_out(file, table, "too-many-cells", table.refusal)
        return
    if not table.rows:
        raise RefusedFile("empty", "a header and no rows")
    column = column_named(config.text_column, table.columns)
    for row in csv_rows(table):
        if isinstance(row, Bad):
            yield row
        elif column not in row.value:
            yield Bad(row.number, "no-text", "the row is too short to reach the text column", sample(str(row.value)))
        else:
            yield _plain(file, row.number, f"{file.name}#{row.number}", row.value[column])


def _all_left_out(file: _File, table: CsvTable, reason: str, refusal: str) -> Iterator[Bad]:
    """Each row of a file that is refused, for what is counted is texts; the first says why at length."""
    if file.given:
        raise SourceError(f"{file.path} {refusal}")
    if not table.rows:
        raise RefusedFile(reason, refusal)
    detail = f"the file {refusal}"
    for row in csv_rows(table):
        yield Bad(row.number, reason, detail, row.sample if isinstance(row, Bad) else sample(str(row.value)))
        detail = "the whole file is left out"


def _read_jsonl(file: _File, encoding: str, config: CurateConfig) -> Iterator[Document | Bad]:
    rows = 0
    for row in json_rows(file.path, encoding):
        rows += 1
        yield row if isinstance(row, Bad) else _from_object(file, row, config)
    if not rows:
        raise RefusedFile("empty", "no rows in the file")


def _from_object(file: _File, row: Row, config: CurateConfig) -> Document | Bad:
    own = row.value.get("id")
    named = isinstance(own, str | int) and not isinstance(own, bool) and str(own).strip()
    id = f"{file.name}#{printable(str(own).strip()) if named else row.number}"
    for key in ("turns", "messages"):
        if key in row.value:
            return _conversation(file, row, id, key)
    # A file's own `text` still counts where the setting names the column of some other file.
    for wanted in (config.text_column, "text"):
        column = column_named(wanted, row.value)
        if column is not None:
            value = row.value[column]
            if not isinstance(value, str):
                return _wrong(row, f"{column!r} is {type(value).__name__}, expected a string")
            return _plain(file, row.number, id, value)
    keys = ", ".join(printable(key) for key in row.value) or "none"
    expected = f"{config.text_column!r}, 'turns' or 'messages'"
    return Bad(row.number, "no-text", f"expected {expected}, found the keys: {keys}", sample(str(row.value)))


def _conversation(file: _File, row: Row, id: str, key: str) -> Document | Bad:
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
    return Document(id=id, source=file.name, turns=tuple(turns))


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


def _plain(file: _File, number: int, id: str, text: str) -> Document | Bad:
    repaired = repair(text)
    if not repaired:
        return Bad(number, "empty", "no text", sample(text))
    return Document(id=id, source=file.name, text=repaired)


def _wrong(row: Row, detail: str) -> Bad:
    return Bad(row.number, "wrong-type", detail, sample(str(row.value)))


def _drop(file: _File, bad: Bad) -> Drop:
    return Drop(
        id=f"{file.name}#{bad.number}",
        source=file.name,
        reason=bad.reason,
        detail=printable(bad.detail),
        sample=bad.sample,
    )


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)


class _Ids:
    """Hands out each id once; a repeated one gets "~2", "~3", ..."""

    def __init__(self) -> None:
        self._counts = Table()

    def unique(self, document: Document) -> Document:
        """The document with an id that no other has. Those of a text file or a table have one as it is."""
        if not document.source.lower().removesuffix(".gz").endswith(".jsonl"):
            return document
        id = candidate = document.id
        while self._counts.get(candidate.encode()):
            self._counts.set(id.encode(), self._counts.get(id.encode()) + 1)
            candidate = f"{id}~{self._counts.get(id.encode())}"
        self._counts.set(candidate.encode(), 1)
        return document if candidate == id else document.model_copy(update={"id": candidate})
