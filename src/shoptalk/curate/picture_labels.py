"""Labelled pictures: a table with the columns image,label, or a zip whose folders are the labels.

rows = zip_rows(Path("train.zip"), "image", CurateConfig())       # train.zip holds cat/1.jpg, dog/2.jpg
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable
from shoptalk.curate.files import Bad, RefusedFile, Row
from shoptalk.curate.picture_looks import LookTable, look_clusters, look_of
from shoptalk.curate.readers.pictures import beside, members, name_problem, named_picture, picture_at
from shoptalk.image.decode import SUFFIXES, RefusedPicture
from shoptalk.records import Picture


def labelled_rows(path: Path, rows: Iterable[Row | Bad], column: str, config: CurateConfig) -> Iterator[Row | Bad]:
    """The rows of a table whose pictures can be read, in which the picture stands under `column`; the others as what is
    wrong with them.
    """
    for row in rows:
        if isinstance(row, Bad):
            yield row
            continue
        name = named_picture(row, column)
        if isinstance(name, Bad):
            yield name
            continue
        try:
            picture = picture_at(beside(path, name), config)
        except RefusedPicture as refusal:
            yield Bad(row.number, refusal.reason, refusal.detail, printable(name))
            continue
        yield Row(row.number, {**row.value, column: picture})


def zip_rows(path: Path, column: str, config: CurateConfig) -> Iterator[Row | Bad]:
    """The pictures of a zip as rows with the label that their folder's name is.

    Raises:
        RefusedFile: it cannot be read, or holds no pictures in folders.
    """
    names = sorted(
        info.filename
        for info in members(path)
        if not info.is_dir()
        and name_problem(info.filename) is None
        and info.filename.lower().endswith(SUFFIXES)
        and len(PurePosixPath(info.filename).parts) > 1
        and not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(info.filename).parts)
    )
    if not names:
        raise RefusedFile("no-label", "it holds no pictures in folders, whose names would be the labels")
    for number, name in enumerate(names, start=1):
        try:
            picture = picture_at(f"{path.absolute()}/{name}", config)
        except RefusedPicture as refusal:
            yield Bad(number, refusal.reason, refusal.detail, printable(name))
            continue
        yield Row(number, {column: picture, config.label_column: PurePosixPath(name).parts[-2]})


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
