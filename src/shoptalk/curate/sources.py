"""Files and folders to documents. Bad input stops a row or a file, never the run: it becomes a drop with its reason.

    for item in stream_sources([Path("conversations"), Path("faq.md")], CurateConfig()):  # a Document or a Drop

| file    | becomes                                                                                             |
|---------|-----------------------------------------------------------------------------------------------------|
| `.md`   | one document                                                                                        |
| `.txt`  | one document if blank lines part its paragraphs; else a document a line                             |
| `.csv`  | a document a row, from the column `curate.text_column`                                              |
| `.jsonl`| a document a row, from `turns` [{role, text}], `messages` [{role, content}] or the text column      |
| picture | one document: `.png`, `.jpg`, `.webp`, `.gif`, `.bmp`, `.tif`, or of a `.zip` each that it holds     |

A `.csv` or `.jsonl` with the column `curate.image_column` becomes a document for each picture that its rows name, with
the texts of these rows as its captions. A picture that two tables name is read again where the second has captions.

Each file of text may be gzip-compressed, and in any encoding that `encodings` can tell. A column is found whatever the
case of its name; any other becomes the document's metadata, but for the label column, which is not read. A `.md` or
`.txt` of over a million characters becomes several documents, parted at blank lines, so that no file is held
whole. `readers` has a file for each format.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from shoptalk.artifact import file_digest
from shoptalk.config import CurateConfig
from shoptalk.curate.encodings import UTF8, spoken
from shoptalk.curate.files import RefusedFile, SourceFile, encoding_of, suffix_of
from shoptalk.curate.groups import together
from shoptalk.curate.limits import MEGABYTE, refuse_oversized
from shoptalk.curate.listing import KNOWN, UNTOLD, counted, list_files
from shoptalk.curate.named_files import pictures_named
from shoptalk.curate.readable import NOT_READ
from shoptalk.curate.readers import PICTURE_READERS, READERS, Reader, format_of
from shoptalk.curate.seen import Table
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop


def stream_sources(
    paths: Sequence[Path],
    config: CurateConfig,
    *,
    out: Path | None = None,
    say: Callable[[str], None] | None = None,
    readers: Mapping[str, Reader] = READERS,
    pictures: bool = True,
    captions: bool = True,
) -> Iterator[Document | Drop]:
    """Every usable document of the given files and folders, and everything left out, one at a time in a fixed order.

    What is counted is texts: there is one document or one drop for each row of a table, for each line of a list, and
    for each other file.

    Document ids are unique: the file's name and the row's own id or line number, such as "chats.jsonl#17". What is held
    meanwhile is one row, or a part of a text file, and 15 to 30 bytes a row of JSONL for its id. Of a table of pictures
    are held the captions and other columns of all its rows until its end, of a zip the names inside, and, where a table
    names pictures, the path of each that was read.

    Args:
        paths: files and folders; what of these is never read, `listing.py` says.
        config: how they are read, and how large a file may be.
        out: the folder that the results go to, which is never a source.
        say: is told of each file that is not UTF-8, and in which encoding it is read.
        readers: of each kind of file.
        pictures: whether pictures are read; else each file of them is a drop, and what a row of a table names is
            metadata.
        captions: whether captions are read too; else they are no reason to read a picture again that an earlier table
            names.

    Raises:
        SourceError: a path does not exist, has an unknown extension or is a run folder, or a folder is empty (at
            once); a given CSV lacks the text column or has more cells than columns in many rows, or nothing usable
            remained (when that is found out).
    """
    files, drops = list_files(paths, out=out)
    if not pictures:
        detail = (
            "a picture, or a zip of them, where texts are read; with --base scratch:resnet-mini, or `adapt` with "
            "--task picture, they are"
        )
        drops += [
            Drop(id=file.name, source=file.name, reason=NOT_READ, detail=detail) for file in files if _shows(file)
        ]
        files = [file for file in files if not _shows(file)]
        config = config.model_copy(update={"image_column": ""})
    # Tables first: a picture that one names is read with what the table says of it, and not once more by itself.
    files.sort(key=_shows)
    return _stream(paths, files, drops, config, say, readers, captions)


def _shows(file: SourceFile) -> bool:
    """Whether a file is a picture or a zip of them."""
    return format_of(file.path) in PICTURE_READERS


def _stream(
    paths: Sequence[Path],
    files: Sequence[SourceFile],
    drops: Sequence[Drop],
    config: CurateConfig,
    say: Callable[[str], None] | None,
    readers: Mapping[str, Reader],
    captions: bool,
) -> Iterator[Document | Drop]:
    yield from drops
    reasons = Counter(drop.reason for drop in drops)
    first: Drop | None = None
    documents = 0
    ids, named = _Ids(), _NamedByTables(config, captions=captions)
    for file in files:
        try:
            refuse_oversized(file.path, config)
            for read in _read(file, config, say, readers):
                item = read if _shows(file) else named.added(read)
                if _shows(file) and named.holds(item):
                    continue
                if isinstance(item, Drop):
                    reasons[item.reason] += 1
                    first = first or item
                    yield item
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


def _read(
    file: SourceFile, config: CurateConfig, say: Callable[[str], None] | None, readers: Mapping[str, Reader]
) -> Iterator[Document | Drop]:
    """What a file holds, by the reader of its format."""
    suffix = format_of(file.path)
    if suffix in PICTURE_READERS:
        yield from PICTURE_READERS[suffix](file, config)
        return
    encoding = encoding_of(file.path)
    if say is not None and encoding != UTF8:
        say(read_as(file.name, encoding))
    yield from readers[suffix_of(file.path)](file, encoding, config)


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
    return first_left_out([drop])


def source_fingerprint(
    paths: Sequence[Path], config: CurateConfig | None = None, *, out: Path | None = None
) -> dict[str, str]:
    """Each file's name and the SHA-256 of its bytes, for cache keys; "unreadable" or "too-large" where it has none.
    The same of each picture that a table names.

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
                for name, content in pictures_named(file.path, config or CurateConfig()).items():
                    fingerprint[f"{file.name}: {name}"] = content
        except OSError:
            fingerprint[file.name] = "unreadable"
    return fingerprint


def count_by_reason(drops: Sequence[Drop]) -> str:
    """Such as "3 left out (2 bad-json, 1 empty)"."""
    return counted(Counter(drop.reason for drop in drops))


def rows_left_out(name: str, drops: Sequence[Drop]) -> str:
    """What to tell of a file's rows that were left out, such as "l.csv: 1 left out (1 no-label). The first: ..."."""
    return f"{name}: {count_by_reason(drops)}.{first_left_out(drops)}"


def first_left_out(drops: Sequence[Drop]) -> str:
    """The first of what was left out with why, for the message that all of it was; empty where there is no more to say
    than the reason.
    """
    return f" The first: {drops[0].id}: {drops[0].detail}." if drops and drops[0].detail else ""


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)


class _NamedByTables:
    """The pictures that tables name: a table of labels often lies beside one of captions."""

    def __init__(self, config: CurateConfig, *, captions: bool) -> None:
        self._config, self._captions = config, captions
        self._firsts: dict[str, dict[tuple[str, ...], str]] = {}
        """By the file of each, links followed: the id of its first document of each customer (`groups.together`)."""

    def added(self, document: Document | Drop) -> Document | Drop:
        """What a table's rows became; a drop where an earlier document has its picture and it adds nothing to that."""
        if isinstance(document, Drop) or document.picture is None:
            return document
        whose = together(document.metadata, self._config)
        firsts = self._firsts.setdefault(os.path.realpath(document.picture.path), {})
        first = firsts.setdefault(whose, document.id)
        if first == document.id or (self._captions and (document.turns or document.text)):
            return document
        detail = f"the same picture as {first}" + (", and no caption" if self._captions else "")
        return Drop(id=document.id, source=document.source, reason="duplicate", detail=detail)

    def holds(self, item: Document | Drop) -> bool:
        """Whether a table has named this picture."""
        if isinstance(item, Drop) or item.picture is None:
            return False
        return os.path.realpath(item.picture.path) in self._firsts


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
