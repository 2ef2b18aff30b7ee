"""The sentences of a passage without its markup: what a reply may say of it.

    sentences("A bicycle costs **4 crowns**. Dogs ride free.")     # ("A bicycle costs 4 crowns.", "Dogs ride free.")

A row of a Markdown table is one sentence, told with its header's cells where the passage has them. Headings are left
out unless they are asked for, and so are rules and what has no letter or digit.
"""

import re

_ENDS = re.compile(r"(?<=[.!?…])[\"'”’»)\]*_]*\s+(?=[\"'“„«(]?[A-ZÀ-ÞĀ-Ž0-9])|(?<=[。！？])")
_ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|approx|incl|no|nr|st|dr|mr|mrs|ms|prof|z\.b|d\.h|bzw|ca|tel|fig|inkl|zzgl|evtl|ggf)"
    r"|\b[A-Z])\.$",
    re.I,
)
_PERHAPS_ABBREVIATED = re.compile(r"\b(?:min|max|std|sek|usw|u\.a|p\.a|a\.m|p\.m)\.$", re.I)
"""What may end a sentence as well: it does not where a small letter follows."""
_LONGEST_ABBREVIATION = 12
_ORDINAL = re.compile(r"(?<!\S)\d{1,2}\.$")
GERMAN_MONTH = (
    r"(?:Jan(?:uar)?|Feb(?:ruar)?|März|Apr(?:il)?|Mai|Juni?|Juli?|Aug(?:ust)?|Sept?(?:ember)?|Okt(?:ober)?|"
    r"Nov(?:ember)?|Dez(?:ember)?)\b"
)
"""As a pattern: what may follow the full stop of a day, "3. Juli"."""
_MONTH = re.compile(rf"\s*{GERMAN_MONTH}")
_MARKS = re.compile(r"\*\*|__|``?|~~|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")
_LINK = re.compile(r"!?\[([^\]]{0,300})\]\([^)]{0,2000}\)")
_ITEM = re.compile(r"[ \t]*(?:[-*+•>]|\d{1,3}[.)])[ \t]+")
_RULE = re.compile(r"[|:\-=\s]+")


def sentences(passage: str, *, headings: bool = False) -> tuple[str, ...]:
    """The sentences, in their order; `headings` too, which a reply does not say but may rest on."""
    parts: list[str] = []
    paragraph: list[str] = []
    header: list[str] | None = None
    for line in [*passage.splitlines(), ""]:
        row = line.strip()
        is_row = row.startswith("|") and row.count("|") > 1
        starts = not row or is_row or row.startswith("#") or _ITEM.match(line) is not None
        if starts and paragraph:
            parts += _split(_plain(" ".join(paragraph)))
            paragraph = []
        if not is_row:
            header = None
            if headings and row.startswith("#"):
                parts.append(_plain(row.strip("# ")))
            elif row and not row.startswith("#"):
                paragraph.append(row[item.end() :] if (item := _ITEM.match(row)) else row)
            continue
        cells = [_plain(cell) for cell in row.strip("|").split("|")]
        if header is None:
            header = cells
        elif not _RULE.fullmatch(row):
            parts.append(_told(header, cells))
    return tuple(part for part in parts if any(character.isalnum() for character in part))


def is_abbreviated(text: str, following: str = "") -> bool:
    """Whether it ends in an abbreviation, or in the day of a German date, so that the sentence goes on with what is
    `following`.
    """
    end = text[-_LONGEST_ABBREVIATION:]
    if _ABBREVIATED.search(end) is not None:
        return True
    if _PERHAPS_ABBREVIATED.search(end) is not None:
        return following.lstrip()[:1].islower()
    return _ORDINAL.search(end) is not None and _MONTH.match(following) is not None


def _told(header: list[str], cells: list[str]) -> str:
    """A row in words: its first cell, then each other cell with its column's name."""
    names = [*header[1:], *[""] * len(cells)]
    pairs = [f"{name}: {cell}" if name else cell for name, cell in zip(names, cells[1:], strict=False) if cell]
    return f"{cells[0]} – {'; '.join(pairs)}" if pairs else cells[0]


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub("", _LINK.sub(r"\1", text)).split())


def _split(text: str) -> list[str]:
    """Sentences of one paragraph; one that ends in an abbreviation goes on."""
    parts: list[str] = []
    for piece in _ENDS.split(text):
        if parts and is_abbreviated(parts[-1], piece):
            parts[-1] = f"{parts[-1]} {piece.strip()}"
        elif piece.strip():
            parts.append(piece.strip())
    return parts
