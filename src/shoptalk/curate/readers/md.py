"""Markdown: one document, or several where the file is long."""

from collections.abc import Iterator

from shoptalk.config import CurateConfig
from shoptalk.curate.files import SourceFile
from shoptalk.curate.readers.shared import whole_text
from shoptalk.records import Document, Drop


def read_md(file: SourceFile, encoding: str, config: CurateConfig) -> Iterator[Document | Drop]:
    """The whole text.

    Raises:
        RefusedFile: as `whole_text`.
    """
    return whole_text(file, encoding)
