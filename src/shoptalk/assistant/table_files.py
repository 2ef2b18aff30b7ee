"""CSV files of the knowledge: texts in a column, as elsewhere, or a table that is known row by row, such as a tariff.

Only a file that is named by itself is read as a table. Of those that happen to lie in a folder some are lists of
customers, which no visitor must be told.
"""

from collections.abc import Iterator, Sequence

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair
from shoptalk.curate.columns import column_named
from shoptalk.curate.files import Bad, RefusedFile, SourceFile
from shoptalk.curate.readers import READERS, Reader
from shoptalk.curate.readers.csv import read_csv
from shoptalk.curate.readers.shared import left_out
from shoptalk.curate.tables import csv_rows, csv_table
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop


def read_table(file: SourceFile, encoding: str, config: CurateConfig) -> Iterator[Document | Drop]:
    """The texts of a CSV file with a text column; of any other, named by itself, one document that is its table.

    Raises:
        RefusedFile: as `csv_table`.
        SourceError: the user has named this file, and many of its rows have more cells than columns.
    """
    table = csv_table(file.path, encoding, ((config.text_column,),))
    if column_named(config.text_column, table.columns) is not None:
        yield from read_csv(file, encoding, config)
        return
    if not file.given:
        columns = ", ".join(map(printable, table.columns))
        detail = f"no column {config.text_column!r} among {columns}. Name the file by itself to have it read as a table"
        yield Drop(id=file.name, source=file.name, reason="no-text", detail=detail)
        return
    if table.refusal is not None:
        raise SourceError(f"{file.path} {table.refusal}")
    rows = [_row(table.columns), _row(["---"] * len(table.columns))]
    for row in csv_rows(table):
        if isinstance(row, Bad):
            yield left_out(file.name, row)
        else:
            rows.append(_row([row.value.get(column, "") for column in table.columns]))
    if len(rows) < 3:
        raise RefusedFile("empty", "a header and no rows")
    yield Document(id=file.name, source=file.name, text="\n".join(rows))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(repair(cell).split()).replace("|", "\\|") for cell in cells) + " |"


KNOWLEDGE_READERS: dict[str, Reader] = {**READERS, ".csv": read_table}
"""How the knowledge reads each kind of file."""
