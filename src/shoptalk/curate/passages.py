"""Long texts cut into passages of about the length that an encoder reads at once."""

import re
from collections import deque

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from shoptalk.records import Document

_BLANK_LINES = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"#{1,6}[ \t]+(.*)")


def is_markdown(source: str) -> bool:
    """Whether a document's source, a file name, says Markdown."""
    return source.lower().removesuffix(".gz").endswith(".md")


def passages(text: str, size: int, *, markdown: bool = False) -> list[str]:
    """The paragraphs of a text, the long ones cut at sentence or block boundaries: at most `size` characters each.

    In Markdown, a rule without words or a heading of one or two words is joined to the passage after it. Any of the
    passages, joined by blank lines, cut into themselves again: leaving some out does not change the others.

    Args:
        text: any text; only its whitespace may change.
        size: characters, at least 4.
        markdown: cut between the blocks of Markdown where possible.
    """
    splitter = MarkdownSplitter if markdown else TextSplitter
    waiting = deque(part.strip() for part in _BLANK_LINES.split(text))
    found: list[str] = []
    held = ""  # headings and rules that go with the next passage
    while waiting:
        part = waiting.popleft()
        room = size - len(held) - 1 if held else size
        if not part:
            continue
        if len(part) > room:
            waiting.extendleft(reversed(splitter(room).chunks(part)))
            continue
        held = f"{held}\n{part}" if held else part
        if markdown and _is_noise(part) and len(held) <= size // 2:
            continue
        found.append(held)
        held = ""
    return [*found, held] if held else found


def units_of(document: Document, size: int) -> list[str]:
    """The turns of a conversation, or the passages of a text."""
    if document.turns:
        return [turn.text for turn in document.turns]
    return passages(document.text, size, markdown=is_markdown(document.source))


def _is_noise(passage: str) -> bool:
    """A table rule, a thematic break or the like, or nothing but a heading of fewer than three words."""
    if not any(character.isalnum() for character in passage):
        return True
    heading = _HEADING.fullmatch(passage)
    return heading is not None and len(heading[1].split()) < 3
