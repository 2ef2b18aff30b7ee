"""Pairs of a question and what answers it: JSON Lines with `question`, and `passage` or `document` or both.

    pairs, drops = read_pairs(Path("questions.jsonl"), CurateConfig())

A passage is the text itself, a document is named by its id, its file or its title; `answers.py` finds both among the
sources. Whatever else a row holds is not read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.columns import column_named
from shoptalk.curate.encodings import UTF8
from shoptalk.curate.files import Bad, RefusedFile, Row, encoding_of, json_rows, suffix_of
from shoptalk.curate.limits import refuse_oversized
from shoptalk.curate.readers.shared import left_out
from shoptalk.curate.sources import count_by_reason, first_left_out, read_as
from shoptalk.errors import SourceError
from shoptalk.records import Drop

_EXPECTED = 'one row a question: {"question": "...", "passage": "..."} or {"question": "...", "document": "..."}'


@dataclass(frozen=True)
class GivenPair:
    """A question, and what is said to answer it; at least one of `passage` and `document` is filled."""

    id: str
    question: str
    passage: str
    document: str

    @property
    def named(self) -> str:
        """What is said to answer it, for people."""
        return f"passage “{sample(self.passage)}”" if self.passage else f"document {printable(self.document)}"


def read_pairs(path: Path, config: CurateConfig, *, say: Callable[[str], None]) -> tuple[list[GivenPair], list[Drop]]:
    """The pairs of a file in file order, and the rows left out; a row that says again what one before it says is a drop
    ("duplicate").

    Raises:
        SourceError: the file is missing, unreadable, too large or no JSON Lines, or has no usable rows.
    """
    refuse_missing_pairs(path)
    name = printable(path.name)
    pairs: dict[tuple[str, str, str], GivenPair] = {}
    drops = []
    try:
        refuse_oversized(path, config, labels=True)
        encoding = encoding_of(path)
        if encoding != UTF8:
            say(read_as(name, encoding))
        for row in json_rows(path, encoding):
            item = row if isinstance(row, Bad) else _pair(row, name)
            if isinstance(item, GivenPair):
                first = pairs.setdefault((item.question, item.passage, item.document), item)
                if first is item:
                    continue
                item = Bad(row.number, "duplicate", f"same question and answer as {first.id}", sample(item.question))
            drops.append(left_out(name, item))
    except RefusedFile as refused:
        raise SourceError(f"Cannot read the pairs in {path}: {refused.reason} ({refused.detail}).") from refused
    if not pairs:
        raise SourceError(
            f"{path} has no usable pairs: {count_by_reason(drops) if drops else 'it is empty'}.{first_left_out(drops)} "
            f"Give {_EXPECTED}."
        )
    return list(pairs.values()), drops


def refuse_missing_pairs(path: Path) -> None:
    """Refuse a file of pairs that is not there, is a folder or is no JSON Lines.

    Raises:
        SourceError: it says which.
    """
    if path.is_dir():
        raise SourceError(f"The pairs file {path} is a folder; expected one .jsonl file, gzip or not, {_EXPECTED}.")
    if not path.is_file():
        raise SourceError(f"The pairs file {path} does not exist. Give a .jsonl file, gzip or not, {_EXPECTED}.")
    if suffix_of(path) != ".jsonl":
        raise SourceError(f"The pairs file {path} is no .jsonl file. Give a .jsonl file, gzip or not, {_EXPECTED}.")


def _pair(row: Row, name: str) -> GivenPair | Bad:
    cells: dict[str, str] = {}
    for key in ("question", "passage", "document"):
        column = column_named(key, row.value)
        value = None if column is None else row.value[column]
        if isinstance(value, int) and not isinstance(value, bool) and key == "document":
            value = str(value)  # ids are often numbers
        if value is not None and not isinstance(value, str):
            detail = f"{key!r} is {type(value).__name__}, expected a string"
            return Bad(row.number, "wrong-type", detail, sample(str(row.value)))
        cells[key] = repair(value or "")
    if not cells["question"]:
        return Bad(row.number, "no-question", "no 'question'", sample(str(row.value)))
    if not (cells["passage"] or cells["document"]):
        detail = "neither a 'passage' nor a 'document' that answers the question"
        return Bad(row.number, "no-answer", detail, sample(cells["question"]))
    return GivenPair(f"{name}#{row.number}", **cells)
