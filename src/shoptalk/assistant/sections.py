"""Documents cut into passages: each within one section, with its headings, its place in the text and its sentences.

    for passage in passages_of(document):
        passage.section, document.text[passage.start : passage.end]

A row of a table is a sentence of its own, told with the header's cells: "Bicycle – Skarvik–Oster Quay: 4; ...". So a
row is found, and understood, without its table. Of pages of HTML only what a browser shows is read (`html_remains.py`).
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from shoptalk.assistant.document_facts import DocumentFacts, facts_of
from shoptalk.assistant.html_remains import without_remains
from shoptalk.curate.passages import is_markdown
from shoptalk.records import Document

CHARACTERS = 450
"""Of a passage as it is embedded: with its headings about what an encoder reads at once (128 tokens)."""

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$|[ \t]*<h([1-6])[^>]*>(.*?)</h\3>[ \t]*$", re.I)
_FENCE = re.compile(r" {0,3}(```|~~~)")
_RULE = re.compile(r"[|:\-\s]+")
_DELIMITER = re.compile(r"\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+")
"""What stands below the header of a table whose rows have no outer bars."""
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_PARTS = re.compile(
    r"</?(?:address|article|aside|blockquote|br|caption|dd|details|div|dl|dt|figcaption|figure|footer|h[1-6]|header|hr|li|"
    r"main|nav|ol|option|p|pre|section|summary|table|tbody|td|tfoot|th|thead|tr|ul)\b",
    re.I,
)
"""Marks of HTML that part words; the others may stand within one."""
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+")
# These take a time that grows as the text does, also on pages of dots or brackets: a document may be anything.
_MARKUP = re.compile(r"!?\[([^\]]{0,300})\]\([^)]{0,2000}\)|</?[a-zA-Z][^<>]*>|(\*\*|__|``?|~~)")
_EMPHASIS = re.compile(r"(?<!\w)[*_](?=\S)(.{1,500}?)(?<=\S)[*_](?!\w)")
_ENDS = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s)|[。！？]")
_LEAD = re.compile(r"(\*\*|__)[^*_]{1,60}[.:!]\1[.:]?")
_ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|approx|incl|no|nr|st|dr|mr|mrs|ms|prof|z\.b|d\.h|u\.a|bzw|ca|evtl|inkl|usw|tel|p|pp|art|fig|sr|sra|m|mme)"
    r"|(?<!\w)[A-Za-z]|(?<!\S)\d{1,2})\.$",
    re.I,
)


@dataclass(frozen=True)
class Span:
    """A sentence, an item of a list, or a row of a table."""

    start: int
    end: int
    """Characters of the document's text."""
    text: str
    """As it is told: without markup, a row with its header's cells."""
    block: int
    """Number of the paragraph, list or table that it belongs to."""
    row: bool = False


@dataclass(frozen=True)
class Passage:
    """A part of one section that is found and read as a whole."""

    document: str
    title: str
    section: str
    start: int
    end: int
    text: str
    lines: tuple[Span, ...]
    facts: DocumentFacts = field(default_factory=DocumentFacts)

    @property
    def id(self) -> str:
        """The document's id, and where the passage begins in it."""
        return f"{self.document}@{self.start}"

    @property
    def heading(self) -> str:
        """Title and section on one line; the section's first part is not repeated where it is the title."""
        parts = [self.title, *(part for part in self.section.split(" > ") if part and part != self.title)]
        return " – ".join(part for part in parts if part)

    @property
    def sought(self) -> str:
        """What retrieval reads of it: the headings, then its sentences as they are told."""
        return f"{self.heading}\n{' '.join(line.text for line in self.lines)}".strip()

    def sought_line(self, line: Span) -> str:
        """What retrieval reads of one of its sentences: the nearest heading, then the sentence."""
        nearest = self.section.rpartition(" > ")[2] or self.title
        return f"{nearest}: {line.text}" if nearest else line.text


def passages_of(document: Document, *, size: int = CHARACTERS) -> list[Passage]:
    """The passages of a text, in their order; a conversation has none."""
    if document.turns or not document.text.strip():
        return []
    facts, body = facts_of(document)
    text = document.text[:body] + without_remains(document.text[body:])
    markdown = is_markdown(document.source)
    sections = list(_sections(text, body)) if markdown or "</h" in text else [_Section((), body, len(text))]
    title = facts.title or next((s.path[0] for s in sections if s.path), "") or _named(document)
    passages = []
    for section in sections:
        path = section.path[1:] if section.path[:1] == (title,) else section.path
        for lines in _groups(list(_lines(text, section)), size, markdown=markdown):
            start, end = lines[0].start, lines[-1].end
            passages.append(
                Passage(document.id, title, " > ".join(path), start, end, text[start:end], tuple(lines), facts)
            )
    return passages


def _named(document: Document) -> str:
    """A title for a document that states none: the file's name in words, or nothing for a row of a table."""
    if "#" in document.id:
        return ""
    name = document.source.rpartition("/")[2].removesuffix(".gz").rpartition(".")[0]
    return re.sub(r"[-_]+", " ", name).strip().capitalize()


# --- sections ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Section:
    path: tuple[str, ...]
    start: int
    end: int


def _sections(text: str, body: int) -> Iterator[_Section]:
    """What stands below each heading, with the headings above it; fenced code has none."""
    path: list[tuple[int, str]] = []
    begin, fenced = body, ""
    above = before = (body, body)
    for start, end in _rows(text, body, len(text)):
        row = text[start:end]
        if fence := _FENCE.match(row):
            fenced = "" if fenced == fence[1] else fenced or fence[1]
        heading = None if fenced else _heading(row, text[slice(*above)], text[slice(*before)])
        before, above = above, (start, end)
        if heading is None:
            continue
        level, name, underlined = heading
        yield _Section(tuple(name for _, name in path), begin, before[0] if underlined else start)
        path = [*((depth, parent) for depth, parent in path if depth < level), (level, name)]
        begin = end
    yield _Section(tuple(name for _, name in path), begin, len(text))


def _heading(row: str, above: str, before: str) -> tuple[int, str, bool] | None:
    """The level and name of a heading that ends in this row, and whether it is the row above, which this underlines."""
    if found := _HEADING.match(row):
        level = len(found[1]) if found[1] else int(found[3])
        return level, plain(found[2] if found[1] else found[4]), False
    underline = _UNDERLINE.fullmatch(row)
    alone = above.strip() and not before.strip() and "|" not in above and not _ITEM.match(above)
    if underline is None or len(underline[1]) < 3 or not alone or _HEADING.match(above) or above.lstrip()[0] in ">-=":
        return None
    return (1 if row.lstrip()[0] == "=" else 2), plain(above), True


def _rows(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield start, stop
        start = stop + 1


# --- sentences and rows -----------------------------------------------------------------------------------------------


def _lines(text: str, section: _Section) -> Iterator[Span]:
    """The sentences, items and rows of a section."""
    held: list[tuple[int, int]] = []
    header: list[str] | None = None
    block = 0
    places = [*_rows(text, section.start, section.end), (section.end, section.end)]
    for (start, end), below in zip(places, [*places[1:], places[-1]], strict=True):
        row = text[start:end].strip()
        is_row = row.startswith("|") and row.count("|") > 1
        if "|" in row and not is_row:  # a table without outer bars: the line below its header says so
            is_row = header is not None or _DELIMITER.fullmatch(text[slice(*below)]) is not None
        if held and (not row or is_row or _ITEM.match(text[start:end])):
            block += 1
            yield from _sentences(text, held[0][0], held[-1][1], block)
            held = []
        if not is_row:
            header = None
            if row:
                held.append((start, end))
            continue
        cells = _cells(row)
        if header is None:
            block += 1
            header = cells
        elif not _RULE.fullmatch(row):
            yield Span(start, end, told_row(header, cells), block, row=True)


def _cells(row: str) -> list[str]:
    return [plain(cell) for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def told_row(header: list[str], cells: list[str]) -> str:
    """A row of a table in words: its first cell, then each cell with its column's name."""
    pairs = [
        f"{name}: {cell}" if name else cell
        for name, cell in zip([*header[1:], *[""] * len(cells)], cells[1:], strict=False)
        if cell and cell != "–"
    ]
    return f"{cells[0]} – {'; '.join(pairs)}" if pairs else cells[0]


def _sentences(text: str, start: int, end: int, block: int) -> Iterator[Span]:
    """The sentences of a paragraph; a question, or words in bold that lead in, stay with the sentence after them."""
    if item := _ITEM.match(text[start:end]):
        start += item.end()
    begin = start
    for stop in _ENDS.finditer(text, start, end):
        if _ABBREVIATED.search(text[begin : stop.end()].rstrip("\"'”’»)]*_ ")):
            continue
        if stop.end() < end and _leads(text[begin : stop.end()].strip()):
            continue
        yield from _line(text, begin, stop.end(), block)
        begin = stop.end()
    yield from _line(text, begin, end, block)


def _leads(said: str) -> bool:
    """Whether a sentence is a question, or words in bold that lead in to the next one."""
    return (said.count("?") == 1 and said.rstrip("*_\"' )”»").endswith("?")) or bool(_LEAD.fullmatch(said))


def _line(text: str, start: int, end: int, block: int) -> Iterator[Span]:
    while start < end and text[start] in " \t\n>":
        start += 1
    words = plain(text[start:end])
    if any(character.isalnum() for character in words):
        yield Span(start, start + len(text[start:end].rstrip()), words, block)


def plain(text: str) -> str:
    """Markdown and HTML without their markup, on one line."""
    bare = _MARKUP.sub(_unmarked, text)
    bare = _EMPHASIS.sub(r"\1", bare)
    return " ".join(html.unescape(re.sub(r"\\([|*_#`])", r"\1", re.sub(r"(?m)^\s*>\s?", "", bare))).split())


def _unmarked(found: re.Match[str]) -> str:
    if _PARTS.match(found[0]):
        return " "
    return found[1] or ""


# --- passages ---------------------------------------------------------------------------------------------------------


def _groups(lines: list[Span], size: int, *, markdown: bool) -> Iterator[list[Span]]:
    """Neighbouring sentences of a section, together at most `size` characters; a longer sentence is cut.

    A group that is full ends with its paragraph or table where that leaves it at least half full.
    """
    group: list[Span] = []
    held = 0
    for line in [piece for whole in lines for piece in _pieces(whole, size, markdown=markdown)]:
        full = held + len(line.text) + 1 > size
        if group and (full or (line.block != group[-1].block and line.row != group[-1].row and held > size // 2)):
            yield group
            group, held = [], 0
        group.append(line)
        held += len(line.text) + 1
    if group:
        yield group


def _pieces(line: Span, size: int, *, markdown: bool) -> Iterator[Span]:
    if len(line.text) <= size or line.row:
        yield line
        return
    # What is told of a sentence may be shorter than what stands in the text, so the pieces are told by themselves.
    raw = line.text
    splitter = MarkdownSplitter(size) if markdown else TextSplitter(size)
    for _, piece in splitter.chunk_indices(raw):
        yield Span(line.start, line.end, piece, line.block)
