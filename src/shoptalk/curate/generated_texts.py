"""Texts that a system has generated, a row each, in CSV or JSON Lines: what is measured, and what people compare.

    read_generated(Path("new.jsonl"), needs=("candidate", "reference"))

| column                     | what it is                                                             |
|----------------------------|------------------------------------------------------------------------|
| `candidate` or `text`      | what the system has written; empty where it wrote nothing              |
| `reference`                | what a person has written                                              |
| `source` or `passages`     | what it was written from: a text, or a list of passages                |
| or `turns`                 | a conversation: a list of texts, or of objects with `role` and `text`  |
| `prompt`                   | what the system was asked                                              |

Of several columns of a row that mean the same, the first counts that says something. Systems are compared row by row,
so that no row may be left out: one that cannot be read refuses the file.

Texts are taken as they were written, quotation marks and misread letters too, for those are measured. Only what nobody
can read is not: control characters go, and whatever ends a line is a line feed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, sample
from shoptalk.curate.columns import column_named
from shoptalk.curate.files import Bad, RefusedFile, Row, encoding_of, json_rows, suffix_of
from shoptalk.curate.limits import refuse_oversized
from shoptalk.curate.tables import csv_rows, csv_table
from shoptalk.errors import SourceError
from shoptalk.records import Frozen, Turn

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "candidate": ("candidate", "text"),
    "reference": ("reference",),
    "source": ("source", "passages", "turns"),
    "prompt": ("prompt",),
}
"""The names that each column may have, by the first of them."""
_SPOKEN = re.compile(r"([^\s:][^:\n]{0,39}):[ \t]+(\S.*)")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


class GeneratedText(Frozen):
    """A row."""

    line: int
    candidate: str
    reference: str = ""
    passages: tuple[str, ...] = ()
    """Of its source; of a conversation the turns."""
    spoken: bool = False
    """Whether its source is a conversation."""
    prompt: str = ""
    context: tuple[Turn, ...] = ()
    """The turns of a conversation with their roles."""


def read_generated(path: Path, *, needs: Sequence[str]) -> list[GeneratedText]:
    """The rows of a file in their order; `needs` are the columns without which a row means nothing.

    Raises:
        SourceError: the file is missing, of another format, cannot be read, is empty or lacks a column; or a row
            cannot be read or lacks what is needed.
    """
    if not path.is_file():
        raise SourceError(
            f"{path} {'is a folder' if path.is_dir() else 'is not there, or no file'}. "
            f"Give a .jsonl or .csv file with {_wanted(needs)} in each row."
        )
    if suffix_of(path) not in (".jsonl", ".csv"):
        raise SourceError(f"{path} is no .jsonl or .csv file. Give one with {_wanted(needs)} in each row.")
    try:
        refuse_oversized(path, CurateConfig(), labels=True)
        rows = [_generated(row, path, needs) for row in _rows(path, needs)]
    except RefusedFile as refused:
        raise SourceError(f"Cannot read {path}: {refused.reason} ({refused.detail}).") from refused
    if not rows:
        raise SourceError(f"{path} has no rows. Expected {_wanted(needs)} in each.")
    return rows


def same_rows(new: Sequence[GeneratedText], old: Sequence[GeneratedText], names: tuple[str, str]) -> None:
    """Refuse two systems' rows that are not about the same things in the same order.

    Raises:
        SourceError: their numbers differ, or a prompt, a reference or a source does.
    """
    one, other = names
    if len(new) != len(old):
        raise SourceError(
            f"{one} has {len(new):,} rows and {other} {len(old):,}. Expected the same texts in the same order, a row "
            "for each in both files."
        )
    for mine, theirs in zip(new, old, strict=True):
        for what in ("prompt", "reference", "passages"):
            first, second = getattr(mine, what), getattr(theirs, what)
            if first and second and first != second:
                raise SourceError(
                    f"Line {mine.line} of {one} has another {what.removesuffix('s')} than line {theirs.line} of "
                    f"{other}: {_shown(first)!r} and {_shown(second)!r}. Expected the same texts in the same order in "
                    "both files."
                )


def _shown(value: str | tuple[str, ...]) -> str:
    return sample(value if isinstance(value, str) else " ".join(value))


def _wanted(needs: Sequence[str]) -> str:
    return " and ".join(
        f"a {name!r}" + "".join(f" (or {other!r})" for other in COLUMNS[name] if other != name) for name in needs
    )


def _rows(path: Path, needs: Sequence[str]) -> Iterator[Row | Bad]:
    encoding = encoding_of(path)
    if suffix_of(path) == ".jsonl":
        yield from json_rows(path, encoding)
        return
    table = csv_table(path, encoding, [COLUMNS[name] for name in needs])
    absent = [name for name in needs if _column(name, table.columns) is None]
    if absent:
        listed = ", ".join(map(printable, table.columns)) or "none"
        raise SourceError(
            f"{path} has no column {' and no column '.join(map(repr, absent))}. Its columns: {listed}. Expected "
            f"{_wanted(needs)} in each row.{table.hint and f' {table.hint}'}"
        )
    if table.refusal is not None:
        raise SourceError(f"{path} {table.refusal}")
    yield from csv_rows(table)


def _column(name: str, columns: Sequence[str]) -> str | None:
    hits = (column_named(wanted, columns) for wanted in COLUMNS[name])
    return next((hit for hit in hits if hit is not None), None)


def _telling_column(name: str, row: Mapping[str, Any]) -> str | None:
    """Of the row's columns of that name the first that says something; of candidates even that nothing was written."""
    hits = [hit for wanted in COLUMNS[name] if (hit := column_named(wanted, row)) is not None]
    silent: tuple[object, ...] = (None,) if name == "candidate" else (None, "", [])
    telling = (hit for hit in hits if row[hit] not in silent)
    return next(telling, hits[0] if hits else None)


def _generated(row: Row | Bad, path: Path, needs: Sequence[str]) -> GeneratedText:
    if isinstance(row, Bad):
        raise SourceError(
            f"Line {row.number} of {path} cannot be read: {row.reason} ({row.detail}). Systems are compared row by "
            "row, so none is left out: correct it, or take it out of every file."
        )
    keys = list(row.value)
    columns = {name: _telling_column(name, row.value) for name in COLUMNS}
    cells = {name: row.value[column] for name, column in columns.items() if column is not None}
    for name in needs:
        value = cells.get(name)
        if not isinstance(value, str) or (name != "candidate" and not value.strip()):
            holds = "no" if value is None or value == "" else f"{sample(str(value))!r} as"
            raise SourceError(
                f"Line {row.number} of {path} has {holds} {name!r}; its keys: "
                f"{', '.join(map(printable, keys)) or 'none'}. Expected {_wanted(needs)}, texts, in each row."
            )
    passages, context = _source(cells.get("source"), columns["source"], row.number, path)
    texts = {
        name: _whole(cells[name]) for name in ("candidate", "reference", "prompt") if isinstance(cells.get(name), str)
    }
    return GeneratedText(line=row.number, passages=passages, spoken=bool(context), context=context, **texts)


def _source(value: Any, column: str | None, number: int, path: Path) -> tuple[tuple[str, ...], tuple[Turn, ...]]:
    """The passages of a source, or its turns with their roles."""
    if value is None or value == "":
        return (), ()
    if isinstance(value, str):
        lines = [line for line in _whole(value).splitlines() if line.strip()]
        spoken = [_SPOKEN.fullmatch(line.strip()) for line in lines]
        if len(lines) > 1 and all(spoken):  # as published collections write conversations
            turns = tuple(Turn(role=match[1], text=match[2]) for match in spoken if match is not None)
            return tuple(lines), turns
        return (_whole(value),), ()
    parts = value if isinstance(value, list) else [None]
    if all(isinstance(part, str) for part in parts):
        texts = tuple(map(_whole, parts))
        turns = (
            tuple(Turn(role="", text=text) for text in texts) if column and column.strip().casefold() == "turns" else ()
        )
        return texts, turns
    read = [_turn(part) for part in parts]
    turns = tuple(turn for turn in read if turn is not None)
    if len(turns) == len(read):
        return tuple(f"{turn.role}: {turn.text}" if turn.role else turn.text for turn in turns), turns
    raise SourceError(
        f"Line {number} of {path} has a {column!r} that is neither a text, nor a list of texts, nor a list of turns "
        "with 'role' and 'text'."
    )


def _turn(part: Any) -> Turn | None:
    text = part.get("text", part.get("content")) if isinstance(part, dict) else None
    return Turn(role=_whole(str(part.get("role", ""))), text=_whole(text)) if isinstance(text, str) else None


def _whole(text: str) -> str:
    """Without half characters, which cannot be written, control characters, which cannot be read, and white space
    around it.
    """
    return _CONTROL.sub("", _LINE_END.sub("\n", _HALF_CHARACTER.sub("\ufffd", text))).strip()
