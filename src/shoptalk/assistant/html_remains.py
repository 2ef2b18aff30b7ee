"""What is left of web pages in a document, read as a browser shows it: scripts and navigation are no text, blocks part
sentences, and a table's rows become rows.

    shown = without_remains("<script>alert(1)</script><p>Open from 9 to 17 h.</p><p>Closed on Sundays.</p>")

The result is as long as the text, so that places in one are places in the other. What stands in fences or between
backticks of Markdown is shown and stays as it is.
"""

import re
from collections.abc import Iterator

_CODE = re.compile(r"^ {0,3}(```++|~~~++)[^\n]*\n(?:.*?^ {0,3}\1[`~]*[ \t]*$|.*\Z)|`[^`\n]{1,300}`", re.M | re.S)
_HIDDEN = ("script", "style", "noscript", "template", "nav")
_NAVIGATES = r"""\b(?:class|id|role)\s*=\s*["']?[^"'<>]{0,200}?\b(?:nav|navbar|navigation|breadcrumbs?)\b"""
_OPENS = re.compile(
    rf"<!--|<({'|'.join(_HIDDEN)}|header|footer)\b[^<>]*>|"
    rf"<(div|ul|ol|section|span)\b[^<>]{{0,500}}?{_NAVIGATES}[^<>]{{0,500}}>",
    re.I,
)
_LINK = re.compile(r"<a\b[^<>]*>[^<>]*(?:<(?!/?a\b)[^<>]*>[^<>]*)*</a\s*>", re.I)
_BLOCK = re.compile(
    r"</?(?:address|article|aside|blockquote|div|dl|dt|fieldset|figure|footer|form|header|hr|li|main|ol|p|pre|section|"
    r"table|td|th|tr|ul)\b[^<>]*>|</dd\s*>",
    re.I,
)
_TABLE = re.compile(r"<(/?)table\b[^<>]*>", re.I)
_ROW = re.compile(r"<tr\b[^<>]*>", re.I)
_CELL = re.compile(r"<t([dh])\b[^<>]*>", re.I)
_MARKS = (
    (_ROW, "\n"),
    (_CELL, "|"),
    (re.compile(r"</tr\s*>", re.I), " |"),
    (re.compile(r"<table\b[^<>]*>|</(?:table|caption)\s*>", re.I), "\n\n"),
)
"""What stands in place of a table's tags, before blanks."""
_LONGEST_CELL = 300
"""Characters of a cell from which a table is taken for the layout of a page."""


def without_remains(text: str) -> str:
    """The text with blanks, line breaks and bars in place of what a browser does not show."""
    if "<" not in text:
        return text
    code = [fence.span() for fence in _CODE.finditer(text)]
    seen = _outside(text, code)
    shown = list(text)
    for start, end in _hidden(seen):
        shown[start:end] = _blank(text[start:end])
    seen = _outside("".join(shown), code)
    tables = list(_tables(seen))
    for start, end in tables:
        shown[start:end] = _told_as_rows(seen[start:end])
    for tag in _BLOCK.finditer(_outside("".join(shown), [*code, *tables])):
        shown[tag.start() : tag.start() + 2] = "\n\n"
        shown[tag.start() + 2 : tag.end()] = " " * (tag.end() - tag.start() - 2)
    return "".join(shown)


def _outside(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with blanks in place of the spans, in which nothing is to be found."""
    parts = list(text)
    for start, end in spans:
        parts[start:end] = _blank(text[start:end])
    return "".join(parts)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


# --- what is not shown ------------------------------------------------------------------------------------------------


def _hidden(text: str) -> Iterator[tuple[int, int]]:
    """Comments, the bodies of scripts and the like, navigation, and the links of a page's header and footer."""
    place = linked = 0
    ends: dict[str, dict[int, int]] = {}
    last = text.rfind("-->")
    while opening := _OPENS.search(text, place):
        start, place = opening.span()
        if opening[0] == "<!--":
            if place <= last:
                place = text.find("-->", place) + 3
                yield start, place
            continue
        name = (opening[1] or opening[2]).lower()
        if name not in ends:
            ends[name] = _ends(text, name)
        end = ends[name].get(start)
        if end is None:  # a mark that nothing closes hides nothing
            continue
        if name not in ("header", "footer"):
            place = end
            yield start, end
        elif end > linked:
            linked = end
            yield from (link.span() for link in _LINK.finditer(text, place, end))


def _ends(text: str, name: str) -> dict[int, int]:
    """Where each element of a name ends, by where it begins; scripts and styles hold no others."""
    begun: list[int] = []
    ends = {}
    for mark in re.finditer(rf"<(/?){name}\b[^<>]*>", text, re.I):
        if not mark[1] and not (begun and name in ("script", "style")):
            begun.append(mark.start())
        elif mark[1] and begun:
            ends[begun.pop()] = mark.end()
    return ends


# --- tables -----------------------------------------------------------------------------------------------------------


def _tables(text: str) -> Iterator[tuple[int, int]]:
    """The tables that hold no other, without those that lay out a page."""
    begins: int | None = None
    for mark in _TABLE.finditer(text):
        if not mark[1]:
            begins = mark.start()
        elif begins is not None:
            table = text[begins : mark.end()]
            if _ROW.search(table) and max(map(len, _CELL.split(table)[2::2]), default=0) <= _LONGEST_CELL:
                yield begins, mark.end()
            begins = None


def _told_as_rows(table: str) -> str:
    """A table of HTML as one of Markdown; where its first row is no header, with an empty one."""
    first = [row.start() for row in _ROW.finditer(table)]
    head = table[first[0] : first[1] if first[1:] else len(table)]
    shown = list(table.replace("\n", " ").replace("|", "/"))
    for pattern, mark in _MARKS:
        for tag in pattern.finditer(table):
            shown[tag.start() : tag.end()] = mark.ljust(tag.end() - tag.start())
    caption = re.search(r"</caption\s*>", table[: first[0]], re.I)
    begins = caption.start() if caption else 0
    headed = {cell[1].lower() for cell in _CELL.finditer(head)} == {"h"}
    shown[begins : begins + 6] = "\n\n    " if headed else "\n\n| | "
    return "".join(shown)
