"""Labelled pictures: a table with the columns image,label, or a folder or zip whose folders are the labels.

examples, drops = read_picture_labels(Path("train.zip"), CurateConfig())      # train.zip holds cat/1.jpg, dog/2.jpg
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable
from shoptalk.curate.columns import column_named
from shoptalk.curate.files import Bad, RefusedFile, Row, json_rows
from shoptalk.curate.picture_looks import LookTable, look_clusters, look_of
from shoptalk.curate.readers import format_of
from shoptalk.curate.readers.nearby import NearbyPictures
from shoptalk.curate.readers.pictures import beside, picture_at, picture_name, pictures_at, with_nearby
from shoptalk.curate.tables import csv_table
from shoptalk.curate.zips import Member, members, parts_of, used_name
from shoptalk.image.decode import SUFFIXES, RefusedPicture
from shoptalk.readback import walk
from shoptalk.records import Picture

_OF_THE_SYSTEM = ("thumbs.db", "desktop.ini")
"""Files that Windows adds to folders of pictures."""
PICTURE = "\0picture"
"""Under which a row has its picture: no column of a file is called so."""


def names_pictures(path: Path, encoding: str, config: CurateConfig, *, wanted: bool = False) -> bool:
    """Whether a table of labels is one of pictures: it has their column and none of texts, or, where pictures are
    `wanted`, at least not texts alone.
    """
    if not config.image_column:
        return False
    if format_of(path) == ".csv":
        columns = list(csv_table(path, encoding, ((config.text_column, config.image_column),)).columns)
    else:
        first = next((row for row in json_rows(path, encoding) if isinstance(row, Row)), None)
        columns = list(first.value) if first is not None else []
    shown, worded = (column_named(name, columns) is not None for name in (config.image_column, config.text_column))
    return (shown or not worded) if wanted else (shown and not worded)


def what_labelled(config: CurateConfig, *, pictures: bool) -> str:
    """What rows must have beside a label, for a message that none has it."""
    if not pictures:
        return f"a {config.text_column!r}"
    where = "by its path from the folder of the table, or from curate.picture_folder"
    return f"an {config.image_column!r} (a picture's file, {where})"


def labelled_rows(path: Path, rows: Iterable[Row | Bad], config: CurateConfig) -> Iterator[Row | Bad]:
    """The rows of a table whose pictures can be read, the picture under `PICTURE`; else what is wrong with them."""
    nearby = NearbyPictures(path.absolute().parent)
    for row in rows:
        name = row if isinstance(row, Bad) else picture_name(row, config.image_column)
        if isinstance(row, Bad):
            yield row
        elif isinstance(name, Bad):
            yield name
        else:
            place = beside(path, name, config)
            try:
                picture = picture_at(place, config)
            except RefusedPicture as refusal:
                yield Bad(row.number, refusal.reason, with_nearby(refusal, place, nearby), printable(name))
            else:
                yield Row(row.number, {**row.value, PICTURE: picture})


def class_rows(path: Path, config: CurateConfig) -> Iterator[Row | Bad]:
    """The pictures of a folder or a zip as rows with the label that their folder's name is: the first below those that
    all of them lie in.

    Raises:
        RefusedFile: it cannot be read, or holds no pictures in folders.
    """
    there = _members_of_folder(path) if path.is_dir() else members(path)
    used = [member.name for member in there if member.refusal is None]
    depth = _shared_folders([parts_of(name)[:-1] for name in used])
    if not any(len(parts_of(name)) > depth + 1 for name in used):
        raise RefusedFile("no-label", "it holds no pictures in folders, whose names would be the labels")
    pictures = pictures_at([f"{path.absolute()}/{name}" for name in used], config)
    for number, member in enumerate(there, start=1):
        name = printable(member.name)
        if member.refusal is not None:
            yield Bad(number, *member.refusal, name)
            continue
        picture, parts = next(pictures), parts_of(member.name)
        if isinstance(picture, RefusedPicture):
            yield Bad(number, picture.reason, picture.detail, name)
        elif len(parts) <= depth + 1:
            yield Bad(number, "no-label", "it lies in no folder, whose name would be its label", name)
        else:
            yield Row(number, {PICTURE: picture, config.label_column: parts[depth]})


def give_another_class(path: Path) -> str:
    """What to do where all labels are one: folders and zips have no columns."""
    if path.is_dir() or format_of(path) == ".zip":
        return "Give pictures of another class in a folder beside it."
    return "Give examples of another class, or name another column with --set curate.label_column=NAME."


def has_classes(folder: Path) -> bool:
    """Whether a folder holds pictures in folders."""
    return any(
        root != folder and any(name.lower().endswith(SUFFIXES) for name in names) for root, _, names in walk(folder)
    )


def _members_of_folder(folder: Path) -> list[Member]:
    """The files of a folder as those of a zip; what the system hides or adds is left out without a word."""
    found = []
    for root, folders, names in walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.startswith(".") or name.lower() in _OF_THE_SYSTEM:
                continue
            inside = (root / name).relative_to(folder).as_posix()
            linked = os.path.islink(root / name)  # noqa: PTH114 (of a path that is too long, Path's raises)
            link = ("link", "a link is not followed among labelled pictures; put the picture itself there")
            found.append(Member(inside, link if linked else used_name(inside, what="folder")))
    return sorted(found, key=lambda member: member.name)


def _shared_folders(folders: Sequence[Sequence[str]]) -> int:
    """How many folders lie around all classes, such as `train` of train/cat and train/dog. A picture of one of them
    itself, such as train/overview.png, has no label.
    """
    depth = 0
    while len({names[depth] for names in folders if len(names) > depth}) == 1:
        if not any(len(names) > depth + 1 for names in folders):  # the only folder is the only label
            break
        depth += 1
    return depth


def picture_clusters(pictures: Sequence[Picture], config: CurateConfig) -> Int[np.ndarray, " N"]:
    """The near-duplicate cluster of each."""
    return look_clusters([look_of(picture) for picture in pictures], most_bits=config.near_pictures)


def pictures_matching(
    pictures: Sequence[Picture], reference: Sequence[Picture], config: CurateConfig
) -> Bool[np.ndarray, " N"]:
    """Which of the pictures are near duplicates of one of the reference."""
    table = LookTable(most_bits=config.near_pictures)
    for picture in reference:
        table.add(look_of(picture))
    return np.array([table.near(look_of(picture)) is not None for picture in pictures], dtype=bool)
