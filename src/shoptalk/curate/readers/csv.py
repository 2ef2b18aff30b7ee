"""CSV: a document a row, from the column `curate.text_column`; the other columns are its metadata.

Where there is a column `curate.image_column`, a document for each picture that rows name (`pictures.py`).
"""

from collections.abc import Iterator

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.columns import column_named, column_problem
from shoptalk.curate.files import Bad, RefusedFile, SourceFile
from shoptalk.curate.readers.pictures import read_rows
from shoptalk.curate.readers.shared import left_out, metadata_of, one_text
from shoptalk.curate.tables import CsvTable, csv_rows, csv_table
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop


def read_csv(file: SourceFile, encoding: str, config: CurateConfig) -> Iterator[Document | Drop]:
    """The rows below the header.

    Raises:
        RefusedFile: as `csv_table`.
        SourceError: the user has named this file, and it lacks the text column or has more cells than columns in many
            rows. Rows of such a file in a folder are drops.
    """
    wanted = {"curate.text_column": (config.text_column,)}
    table = csv_table(file.path, encoding, ((config.text_column, config.image_column),))
    shown = column_named(config.image_column, table.columns)
    if shown is not None and table.refusal is None:
        yield from read_rows(file, csv_rows(table), shown, config, text=column_named(config.text_column, table.columns))
        return
    if (problem := column_problem(wanted, table.columns)) is not None:
        yield from _all_left_out(file, table, "no-text", problem + table.hint)
        return
    if table.refusal is not None:
        yield from _all_left_out(file, table, "too-many-cells", table.refusal)
        return
    if not table.rows:
        raise RefusedFile("empty", "a header and no rows")
    column = column_named(config.text_column, table.columns)
    assert column is not None
    for row in csv_rows(table):
        if isinstance(row, Bad):
            yield left_out(file.name, row)
        elif column not in row.value:
            detail = "the row is too short to reach the text column"
            yield left_out(file.name, Bad(row.number, "no-text", detail, sample(str(row.value))))
        else:
            metadata = metadata_of(row.value, read=(column,), config=config)
            yield one_text(file, row.number, f"{file.name}#{row.number}", row.value[column], metadata)


def _all_left_out(file: SourceFile, table: CsvTable, reason: str, refusal: str) -> Iterator[Drop]:
    """Each row of a file that is refused, for what is counted is texts; the first says why at length."""
    if file.given:
        raise SourceError(f"{file.path} {refusal}")
    if not table.rows:
        raise RefusedFile(reason, refusal)
    detail = f"the file {refusal}"
    for row in csv_rows(table):
        text = row.sample if isinstance(row, Bad) else sample(str(row.value))
        yield left_out(file.name, Bad(row.number, reason, detail, text))
        detail = "the whole file is left out"
