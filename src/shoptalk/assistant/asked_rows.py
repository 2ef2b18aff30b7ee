"""Rows of a file that somebody wrote to try the assistant: questions, or messages for the rules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoptalk.curate.files import Bad, RefusedFile, encoding_of, json_rows, suffix_of
from shoptalk.curate.tables import csv_rows, csv_table
from shoptalk.errors import InputError


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a JSONL or CSV file by column, with the line that each begins on.

    Raises:
        InputError: the file cannot be read, or a row is none.
    """
    suffix = suffix_of(path)
    if suffix not in (".jsonl", ".csv") or not path.is_file():
        raise InputError(f"{path} is no file of rows. Give a .jsonl or a .csv that is there.")
    try:
        encoding = encoding_of(path)
        listed = json_rows(path, encoding) if suffix == ".jsonl" else csv_rows(csv_table(path, encoding, ()))
        for row in listed:
            if isinstance(row, Bad):
                raise InputError(f"{path}, line {row.number}: {row.detail}. Mend the row and run again.")
            yield row.number, row.value
    except RefusedFile as refused:
        raise InputError(f"{path} cannot be read: {refused.detail}.") from refused
