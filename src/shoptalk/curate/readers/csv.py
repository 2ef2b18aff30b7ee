"""CSV: a document a row, from the column `curate.text_column`; the other columns are its metadata.

Where there is a column `curate.image_column`, the rows that name a picture's file in it become a document for each
picture, after those of the other rows (`pictures.py`).
"""

from collections.abc import Iterator

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.columns import column_named, column_problem
from shoptalk.curate.files import Bad, RefusedFile, SourceFile
from shoptalk.curate.readers.pictures import NamedPictures
from shoptalk.curate.readers.shared import left_out, metadata_of, one_text
from shoptalk.curate.tables import CsvTable, csv_rows, csv_table
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop

_IMAGE_SETTING = "--set curate.image_column"


def read_csv(file: SourceFile, encoding: str, config: CurateConfig) -> Iterator[Document | Drop]:
    """The rows below the header.

    Raises:
        RefusedFile: as `csv_table`.
        SourceError: the user has named this file, and it lacks the text column or has more cells than columns in many
            rows. Rows of such a file in a folder are drops.
    """
    wanted = {"curate.text_column": (config.text_column,)}
    table = csv_table(file.path, encoding, ((config.text_column, config.image_column),))
    shown = column_named(config.image_column, table.columns) if config.image_column else None
    column = column_named(config.text_column, table.columns)
    if shown is None and (problem := column_problem(wanted, table.columns)) is not None:
        if config.image_column:
            problem += f" If its rows name pictures, name the column of their files with {_IMAGE_SETTING}=NAME."
        yield from _all_left_out(file, table, "no-text", problem + table.hint)
        return
    if table.refusal is not None:
        yield from _all_left_out(file, table, "too-many-cells", table.refusal)
        return
    if not table.rows:
        raise RefusedFile("empty", "a header and no rows")
    named = None if shown is None else NamedPictures(file, shown, column, config)
    for row in csv_rows(table):
        if isinstance(row, Bad):
            yield left_out(file.name, row)
            continue
        nameless = None if named is None else named.add(row)
        if named is not None and nameless is None:
            continue
        if column is None or (nameless is not None and not row.value.get(column, "").strip()):
            assert nameless is not None
            yield left_out(file.name, nameless)
        elif column not in row.value:
            detail = "the row is too short to reach the text column"
            yield left_out(file.name, Bad(row.number, "no-text", detail, sample(str(row.value))))
        else:
            metadata = metadata_of(row.value, read=(column,), config=config)
            yield one_text(file, row.number, f"{file.name}#{row.number}", row.value[column], metadata)
    if named is not None:
        yield from named.documents()


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
