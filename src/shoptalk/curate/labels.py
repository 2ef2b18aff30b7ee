"""Labelled examples from a CSV or JSONL file, or from pictures in folders, with the near-duplicate cluster of each."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from shoptalk.artifact import digest, file_digest
from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, repair, sample
from shoptalk.curate.columns import column_named, column_problem
from shoptalk.curate.consistency import one_spelling, sets_added_up, without_conflicts
from shoptalk.curate.dedup import clusters
from shoptalk.curate.encodings import UTF8
from shoptalk.curate.files import Bad, RefusedFile, Row, encoding_of, json_rows, suffix_of
from shoptalk.curate.groups import AUTO, group_columns, independent_ones, together
from shoptalk.curate.limits import refuse_oversized
from shoptalk.curate.named_files import content_of, pictures_named
from shoptalk.curate.picture_labels import (
    PICTURE,
    class_rows,
    give_another_class,
    has_classes,
    labelled_rows,
    names_pictures,
    picture_clusters,
    what_labelled,
)
from shoptalk.curate.picture_looks import look_of
from shoptalk.curate.readers import READERS, format_of
from shoptalk.curate.readers.shared import left_out
from shoptalk.curate.sources import count_by_reason, first_left_out, read_as
from shoptalk.curate.tables import csv_rows, csv_table
from shoptalk.errors import SourceError
from shoptalk.readback import walk
from shoptalk.records import Drop, Example, LabelSet

_CONVERSATIONS = ("turns", "messages")
"""Keys of rows that are conversations."""


def nobody(sentence: str) -> None:
    """Where nobody is there to be told."""


def refuse_missing(path: Path, role: str = "labels") -> None:
    """Refuse a file of labels, or of a test, that is not there, or is a folder without pictures in sub-folders.

    Raises:
        SourceError: it says which.
    """
    if path.is_dir():
        if has_classes(path):
            return
        raise SourceError(
            f"The {role} file {path} is a folder; expected one .csv or .jsonl file, gzip or not, or a folder whose "
            "sub-folders are the labels of the pictures in them. Text to learn from is "
            f"given as a source: `shoptalk adapt {path} --labels FILE --out RUN`."
        )
    if not path.is_file():
        raise SourceError(f"The {role} file {path} does not exist. Give a .csv or .jsonl file, gzip or not.")


def labels_digest(path: Path, config: CurateConfig) -> str:
    """One hash of a file of labels, or of a folder whose sub-folders are the labels, and of the pictures that it names.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_dir():
        named = pictures_named(path, config)
        return digest([file_digest(path), named]) if named else file_digest(path)
    files = [root / name for root, _, names in walk(path) for name in names]
    return digest({str(file.relative_to(path)): content_of(file) for file in files})


def read_labels(
    path: Path,
    config: CurateConfig,
    *,
    like: Iterable[str] = (),
    say: Callable[[str], None] = nobody,
    pictures: bool = False,
) -> tuple[list[Example], list[Drop]]:
    """The examples of a labelled file in file order, and the rows left out.

    Spellings of one label become one label. A text that repeats an earlier one with the same label is a drop
    ("duplicate"); with another label, all rows of that text are ("contradiction"). Both as the settings have it:
    `consistency.py`. Near duplicates, and rows with one value in a column of groups, share a cluster: `groups.py`.

    Args:
        path: the file.
        config: the columns, and what to do about inconsistent labels.
        like: labels of the training file, where this is a test file; they decide how labels are spelled.
        say: is told of inconsistent labels, with examples, and of an encoding that is not UTF-8.
        pictures: whether pictures are asked for: a table that has texts beside them is then one of pictures.

    Raises:
        SourceError: the file is missing, unreadable, too large or of unknown format, lacks a column, has more cells
            than columns in many rows, has no usable rows, or has only one class; its labels are inconsistent and the
            settings refuse that; or its groups join nearly everything.
    """
    refuse_missing(path)
    known = tuple(like)
    try:
        refuse_oversized(path, config, labels=True)
        rows = _rows(path, config, say, is_test=bool(known), pictures=pictures)
        examples, drops = _examples(rows, printable(path.name), config)
    except RefusedFile as refused:
        raise SourceError(f"Cannot read the labels in {path}: {refused.reason} ({refused.detail}).") from refused
    spellings = {example.label for example in examples}
    examples, more = _consistent(examples, printable(path.name), config, known, say)
    drops = sorted([*drops, *more], key=_line)
    if not examples:
        give = f"rows with {what_labelled(config, pictures=pictures)} and a {config.label_column!r}"
        if path.is_dir() or path.suffix.lower() == ".zip":
            give = "pictures in folders that are called as their labels"
        raise SourceError(
            f"{path} has no usable labelled rows: {count_by_reason(drops)}.{first_left_out(drops)} Give {give}."
        )
    _refuse_one_class(path, examples, spellings, drops)
    numbers = independent_ones(
        _alike(examples, config), [example.groups for example in examples], printable(path.name), say
    )
    clustered = [
        example.model_copy(update={"cluster": int(number)}) for example, number in zip(examples, numbers, strict=True)
    ]
    return clustered, drops


def _alike(examples: list[Example], config: CurateConfig) -> Int[np.ndarray, " N"]:
    """The near-duplicate cluster of each."""
    if pictures := [example.picture for example in examples if example.picture is not None]:
        return picture_clusters(pictures, config)  # a file of labels holds one kind
    return clusters([example.text for example in examples], config.near_duplicate)


def _consistent(
    examples: list[Example], name: str, config: CurateConfig, like: Iterable[str], say: Callable[[str], None]
) -> tuple[list[Example], list[Drop]]:
    """Each label in one spelling, each text and label once, and no text with several labels."""
    names, sentences = one_spelling((example.label for example in examples), name, config, like=like)
    distinct: dict[tuple[str, str], Example] = {}
    drops = []
    for example in examples:
        label = names[example.label]
        which = example.text if example.picture is None else look_of(example.picture).pixels.hex()
        first = distinct.setdefault((which, label), example.model_copy(update={"label": label}))
        if first.id != example.id:
            groups = tuple(dict.fromkeys((*first.groups, *example.groups)))
            distinct[which, label] = first.model_copy(update={"groups": groups})
            detail = f"same {'text' if example.picture is None else 'picture'} and label as {first.id}"
            drops.append(
                Drop(id=example.id, source=name, reason="duplicate", detail=detail, sample=sample(example.text))
            )
    kept, contradictions, more = without_conflicts(list(distinct.values()), name, config)
    for sentence in (*sentences, *more):
        say(sentence)
    return kept, [*drops, *contradictions]


def _refuse_one_class(path: Path, examples: list[Example], spellings: set[str], drops: list[Drop]) -> None:
    classes = {example.label for example in examples}
    if len(classes) > 1:
        return
    others = ", ".join(map(repr, sorted(spellings - classes)))
    before = f" {others} are other spellings of it, or all their texts were left out." if others else ""
    raise SourceError(
        f"{path} has one class only, {classes.pop()!r}; telling classes apart needs at least two.{before} "
        f"{count_by_reason(drops).capitalize() + '. ' if drops else ''}{give_another_class(path)}"
    )


def _line(drop: Drop) -> int:
    """The line that a drop is about; 0 for a whole file."""
    line = drop.id.rpartition("#")[2]
    return int(line) if line.isdecimal() else 0


def read_label_sets(
    path: Path, config: CurateConfig, *, like: Iterable[str] = (), say: Callable[[str], None] = nobody
) -> tuple[list[LabelSet], list[Drop]]:
    """As `read_labels`, for texts with any number of labels: a JSON list, or in one string parted by "|"; none at all
    where it is empty. The column is the label column, or the same with an s (`labels`).

    A text of several rows has the labels of all of them.

    Raises:
        SourceError: the file is missing, unreadable, too large or of unknown format, lacks a column, or has no usable
            rows; or its labels are inconsistent and the settings refuse that.
    """
    refuse_missing(path)
    name, drops, known = printable(path.name), list[Drop](), tuple(like)
    rows: list[LabelSet] = []
    try:
        refuse_oversized(path, config, labels=True)
        for row in _rows(path, config, say, several=True, is_test=bool(known)):
            item = row if isinstance(row, Bad) else _label_set(row, name, config)
            if isinstance(item, LabelSet):
                rows.append(item)
                continue
            drops.append(left_out(name, item))
    except RefusedFile as refused:
        raise SourceError(f"Cannot read the labels in {path}: {refused.reason} ({refused.detail}).") from refused
    if not any(item.labels for item in rows):
        column = config.label_column
        raise SourceError(
            f"{path} has no usable labelled rows: {count_by_reason(drops)}.{first_left_out(drops)} "
            f"Give rows with {config.text_column!r} and {column!r} or {column + 's'!r}: a list of labels, or labels "
            "parted by |."
        )
    sets, more = _consistent_sets(rows, name, config, known, say)
    texts, groups = [item.text for item in sets], [item.groups for item in sets]
    numbers = independent_ones(clusters(texts, config.near_duplicate), groups, name, say)
    return [
        item.model_copy(update={"cluster": int(number)}) for item, number in zip(sets, numbers, strict=True)
    ], sorted([*drops, *more], key=_line)


def _consistent_sets(
    rows: list[LabelSet], name: str, config: CurateConfig, like: Iterable[str], say: Callable[[str], None]
) -> tuple[list[LabelSet], list[Drop]]:
    """Each label in one spelling, and each text once, with the labels of all its rows."""
    names, sentences = one_spelling((label for row in rows for label in row.labels), name, config, like=like)
    sets: dict[str, LabelSet] = {}
    drops, repeats = [], Counter[str]()
    differing = dict[str, int]()
    for row in rows:
        labels = tuple(dict.fromkeys(names[label] for label in row.labels))
        first = sets.setdefault(row.text, row.model_copy(update={"labels": labels}))
        repeats[row.text] += 1
        if first.id == row.id:
            continue
        groups = tuple(dict.fromkeys((*first.groups, *row.groups)))
        sets[row.text] = first = first.model_copy(update={"groups": groups})
        detail = f"the text came before, in {first.id}"
        if set(labels) != set(first.labels) or row.text in differing:
            differing[row.text] = repeats[row.text]
            sets[row.text] = first.model_copy(update={"labels": tuple(dict.fromkeys((*first.labels, *labels)))})
            detail += ", and has these labels too now"
        drops.append(Drop(id=row.id, source=name, reason="duplicate", detail=detail, sample=sample(row.text)))
    for sentence in (*sentences, *sets_added_up(differing, name, config)):
        say(sentence)
    return list(sets.values()), drops


def _label_set(row: Row, name: str, config: CurateConfig) -> LabelSet | Bad:
    text = row.value.get(config.text_column)
    if not isinstance(text, str) or not (repaired := repair(text)):
        return Bad(row.number, "no-text", f"no {config.text_column!r}", sample(str(row.value)))
    value = row.value.get(config.label_column, row.value.get(f"{config.label_column}s"))
    if value is None:
        return Bad(row.number, "no-label", f"no {config.label_column!r}", sample(repaired))
    parts = value if isinstance(value, list) else value.split("|") if isinstance(value, str) else [value]
    for part in parts:
        if not _label(part) and not (isinstance(part, str) and not part.strip()):
            detail = f"a label is {part!r}; expected strings, integers, true or false"
            return Bad(row.number, "wrong-type", detail, sample(repaired))
    labels = tuple(dict.fromkeys(label for part in parts if (label := _label(part))))
    groups = _groups(row, config, repaired)
    if isinstance(groups, Bad):
        return groups
    return LabelSet(id=f"{name}#{row.number}", text=repaired, labels=labels, groups=groups)


def _groups(row: Row, config: CurateConfig, text: str) -> tuple[str, ...] | Bad:
    """What a row belongs to."""
    try:
        return together(row.value, config)
    except ValueError as error:
        return Bad(row.number, "wrong-type", str(error), sample(text))


def _rows(
    path: Path,
    config: CurateConfig,
    say: Callable[[str], None],
    *,
    several: bool = False,
    is_test: bool = False,
    pictures: bool = False,
) -> Iterator[Row | Bad]:
    """The rows, with the columns named as in the settings whatever their case in the file.

    With `several` labels a text, the label column may have an s at its end. A test may lack the column of groups.
    """
    if (path.is_dir() or format_of(path) == ".zip") and not several:
        yield from class_rows(path, config)
        return
    if format_of(path) not in (".csv", ".jsonl"):
        if format_of(path) is not None:
            what = "plain text" if suffix_of(path) in READERS else "a picture or several"
            raise _swapped(path, f"it is {what}", config)
        raise SourceError(
            f"{path} has an unknown extension. Labels are .csv or .jsonl files, gzip or not; of pictures also a folder "
            "or a .zip whose sub-folders are the labels."
        )
    encoding = encoding_of(path)
    if encoding != UTF8:
        say(read_as(printable(path.name), encoding))
    label = config.label_column
    shown = not several and names_pictures(path, encoding, config, wanted=pictures)
    wanted = {
        "curate.image_column" if shown else "curate.text_column": [
            config.image_column if shown else config.text_column
        ],
        "curate.label_column": [label, f"{label}s"] if several else [label],
    }
    if format_of(path) == ".csv":
        table = csv_table(path, encoding, list(wanted.values()))
        columns, hint = list(table.columns), table.hint
        refusal, rows = table.refusal, csv_rows(table)
    else:
        keys = {key: None for row in json_rows(path, encoding) if isinstance(row, Row) for key in row.value}
        # A key may differ from row to row in its case.
        columns = list({key.strip().casefold(): key for key in keys}.values())
        hint, refusal, rows = "", None, json_rows(path, encoding)
    groups = [name for name in group_columns(config) if column_named(name, columns) is not None]
    if not groups and is_test and config.group_column not in ("", AUTO):
        say(
            f"{printable(path.name)} has no column {config.group_column!r} (curate.group_column); near duplicates "
            "alone count as belonging together there"
        )
    elif config.group_column not in ("", AUTO):
        wanted["curate.group_column"] = [config.group_column]
    # Where there is no object at all, the rows say better what is wrong.
    if columns and (problem := column_problem(wanted, columns)) is not None:
        talk = [key for key in _CONVERSATIONS if key in columns]
        if talk and column_named(config.text_column, columns) is None:
            raise _swapped(path, f"its rows have {talk[0]!r}", config)
        raise SourceError(f"{path} {problem}{hint}")
    if refusal is not None:
        raise SourceError(f"{path} {refusal}")
    names = [*itertools.chain(*wanted.values()), *groups]
    named = (row if isinstance(row, Bad) else Row(row.number, _renamed(row.value, names)) for row in rows)
    yield from labelled_rows(path, named, config) if shown else named


def _swapped(path: Path, sign: str, config: CurateConfig) -> SourceError:
    """What to say of sources that stand in the place of labels."""
    return SourceError(
        f"{path} looks like text to learn from and not like labels: {sign}. Give such text as a source, and "
        f"after --labels or --test a .csv or .jsonl file with the columns {config.text_column},{config.label_column}: "
        f"`shoptalk adapt {path} --labels FILE --out RUN`, or `shoptalk finetune MODEL --labels FILE --unlabelled "
        f"{path} --out DIR`."
    )


def _renamed(value: dict[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    wanted_of = {column_named(name, value): name for name in wanted}
    return {wanted_of.get(key, key): cell for key, cell in value.items()}


def _examples(rows: Iterable[Row | Bad], name: str, config: CurateConfig) -> tuple[list[Example], list[Drop]]:
    """Every usable row as it stands there, and the others."""
    examples: list[Example] = []
    drops: list[Drop] = []
    for row in rows:
        item = row if isinstance(row, Bad) else _example(row, name, config)
        if isinstance(item, Example):
            examples.append(item)
            continue
        drops.append(left_out(name, item))
    return examples, drops


def _example(row: Row, name: str, config: CurateConfig) -> Example | Bad:
    picture = row.value.get(PICTURE)
    text = row.value.get(config.text_column) if picture is None else "/".join(picture.path.split("/")[-2:])
    if text is None:
        return Bad(row.number, "no-text", f"no {config.text_column!r}", sample(str(row.value)))
    if not isinstance(text, str):
        return Bad(row.number, "wrong-type", f"the text is {type(text).__name__}", sample(str(row.value)))
    repaired = repair(text)
    if not repaired:
        return Bad(row.number, "empty", "no text", sample(str(row.value)))
    value = row.value.get(config.label_column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return Bad(row.number, "no-label", f"no {config.label_column!r}", sample(repaired))
    label = _label(value)
    if not label:
        detail = f"the label is {value!r}; expected a string, an integer, true or false"
        return Bad(row.number, "wrong-type", detail, sample(repaired))
    groups = _groups(row, config, repaired)
    if isinstance(groups, Bad):
        return groups
    return Example(id=f"{name}#{row.number}", text=repaired, label=label, groups=groups, picture=picture)


def _label(value: Any) -> str:
    """A label as text, as JSON writes it ("true", "3"); empty where it cannot be one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return repair(value) if isinstance(value, str) else ""
