"""What readers of several formats share: one text as a document, a whole file as documents, a row that is left out."""

from collections.abc import Iterator, Sequence

from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.files import Bad, RefusedFile, SourceFile, lines
from shoptalk.records import Document, Drop

PART_CHARACTERS = 1_000_000
"""A text file longer than this is cut into documents of at least this length."""


def one_text(file: SourceFile, number: int, id: str, text: str) -> Document | Drop:
    """The document of one text, repaired; `number` is the line that it begins on."""
    repaired = repair(text)
    if not repaired:
        return left_out(file, Bad(number, "empty", "no text", sample(text)))
    return Document(id=id, source=file.name, text=repaired)


def left_out(file: SourceFile, bad: Bad) -> Drop:
    """The drop of a line or row that cannot be used."""
    return Drop(
        id=f"{file.name}#{bad.number}",
        source=file.name,
        reason=bad.reason,
        detail=printable(bad.detail),
        sample=bad.sample,
    )


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
            yield left_out(file, line)
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
