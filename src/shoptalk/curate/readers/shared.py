"""What readers of several formats share: one text as a document, a whole file as documents, a row that is left out."""

import functools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.files import Bad, RefusedFile, SourceFile, lines
from shoptalk.records import Document, Drop, Metadata, Plain

PART_CHARACTERS = 1_000_000
"""A text file longer than this is cut into documents of at least this length."""
NOTHING = Metadata()


def one_text(file: SourceFile, number: int, id: str, text: str, metadata: Metadata = NOTHING) -> Document | Drop:
    """The document of one text, repaired; `number` is the line that it begins on."""
    repaired = repair(text)
    if not repaired:
        return left_out(file.name, Bad(number, "empty", "no text", sample(text)))
    return Document(id=id, source=file.name, text=repaired, metadata=metadata)


def left_out(name: str, bad: Bad) -> Drop:
    """The drop of a line or row of the file of that name, which cannot be used."""
    return Drop(
        id=f"{name}#{bad.number}",
        source=name,
        reason=bad.reason,
        detail=printable(bad.detail),
        sample=bad.sample,
    )


def metadata_of(row: Mapping[str, Any], *, read: Collection[str], config: CurateConfig) -> Metadata:
    """What a row says beside what was `read` of it: all other columns that hold something.

    The label column stays out, whatever its case and with an s at its end, too: a run that is asked whether unlabelled
    text helps must not find the answers lying beside it.
    """
    labels = _labels_of(config.label_column)
    return Metadata(
        {
            printable(name): _plain(value)
            for name, value in row.items()
            if name not in read and value is not None and value != "" and name.strip().casefold() not in labels
        }
    )


@functools.cache
def _labels_of(column: str) -> frozenset[str]:
    return frozenset(name.strip().casefold() for name in (column, f"{column}s"))


def _plain(value: Any) -> Plain:
    """A value of JSON as it is; a list, an object and a number that JSON does not have as text."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    try:
        return printable(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        return "(too deeply nested to be kept)"


def whole_text(file: SourceFile, encoding: str) -> Iterator[Document | Drop]:
    """One document, or for a long file several, each begun at the first paragraph after enough characters.

    A paragraph that goes on and on is cut at the end of a line.

    Raises:
        RefusedFile: as `lines`, and "empty".
    """
    held: list[str] = []
    begin, size, anything, blank = 1, 0, False, False
    for line in lines(file.path, encoding):
        if isinstance(line, Bad):
            anything = True
            yield left_out(file.name, line)
            continue
        here = bool(line.text.strip())
        if here and size > (PART_CHARACTERS if blank else 2 * PART_CHARACTERS):
            anything = True
            yield from _part(file, f"{file.name}#{begin}", held)
            held, begin, size = [], line.number, 0
        held.append(line.text)
        size += len(line.text) + 1
        blank = not here
    rest = list(_part(file, f"{file.name}#{begin}" if begin > 1 else file.name, held))
    yield from rest
    if not rest and not anything:
        raise RefusedFile("empty", "no text in the file")


def _part(file: SourceFile, id: str, held: Sequence[str]) -> Iterator[Document]:
    text = repair("\n".join(held))
    if text:
        yield Document(id=id, source=file.name, text=text)
