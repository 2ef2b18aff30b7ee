"""The columns of a table, and the keys of JSON's objects, by the names that the settings give them.

column_named("text", ["Text", "when"])                               # "Text"
column_problem({"curate.text_column": ["text"]}, ["body", "when"])   # "has no column 'text'. ..."
"""

from collections.abc import Collection, Mapping, Sequence

from shoptalk.curate.clean import printable


def column_named(wanted: str, columns: Collection[str]) -> str | None:
    """The column of that name, or else the only one of that name in another case; None where there is none."""
    if wanted in columns:
        return wanted
    alike = _alike(wanted, columns)
    return alike[0] if len(alike) == 1 else None


def column_problem(wanted: Mapping[str, Sequence[str]], columns: Sequence[str]) -> str | None:
    """What to say of a table that lacks wanted columns, all of them at once, or has more than one of the same name.

    Args:
        wanted: by setting, the names that its column may have; the first is the setting's own.
        columns: the table's.
    """
    missing = {}
    listed = ", ".join(printable(column) for column in columns) or "none"
    for setting, names in wanted.items():
        if any(columns.count(name) == 1 or len(_alike(name, columns)) == 1 for name in names):
            continue
        if alike := _alike(names[0], columns):
            return f"has {len(alike)} columns named {names[0]!r}. Its columns: {listed}. Rename all but one of them."
        missing[setting] = names[0]
    if not missing:
        return None
    absent = "no column " + " and no column ".join(map(repr, missing.values()))
    ones = "the right one" if len(missing) == 1 else "the right ones"
    named = " ".join(f"--set {setting}=NAME" for setting in missing)
    return f"has {absent}. Its columns: {listed}. Name {ones} with {named}."


def _alike(wanted: str, columns: Collection[str]) -> list[str]:
    """The columns of that name in whatever case."""
    return [column for column in columns if column.strip().casefold() == wanted.strip().casefold()]
