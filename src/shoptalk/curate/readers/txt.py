"""Plain text: one document where blank lines part its paragraphs; else a list, and a document a line."""

import contextlib
from collections.abc import Iterator

from shoptalk.config import CurateConfig
from shoptalk.curate.files import Bad, RefusedFile, SourceFile, lines
from shoptalk.curate.readers.shared import left_out, one_text, whole_text
from shoptalk.records import Document, Drop


def read_txt(file: SourceFile, encoding: str, config: CurateConfig) -> Iterator[Document | Drop]:
    """The lines of a list, or the whole text.

    Raises:
        RefusedFile: as `lines`, and "empty".
    """
    if not _is_list(file, encoding):
        yield from whole_text(file, encoding)
        return
    for line in lines(file.path, encoding):
        if isinstance(line, Bad):
            yield left_out(file.name, line)
        elif line.text.strip():
            yield one_text(file, line.number, f"{file.name}#{line.number}", line.text)


def _is_list(file: SourceFile, encoding: str) -> bool:
    """Whether a text file has several lines and no blank one between them. Reads all of it, and holds a line."""
    first = last = filled = 0
    with contextlib.suppress(RefusedFile):  # of a file that is cut off, the lines before
        for line in lines(file.path, encoding):
            if isinstance(line, Bad) or line.text.strip():
                first, last, filled = first or line.number, line.number, filled + 1
    return filled > 1 and last - first == filled - 1
