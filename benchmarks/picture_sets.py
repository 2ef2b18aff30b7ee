"""The pictures of the data pack as corpora and labels; nothing of them is kept here."""

import gzip
import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from benchmarks.data import pack
from shoptalk.records import Item, Picture
from shoptalk.text.corpus import Corpus


@dataclass(frozen=True)
class Labelled:
    """Pictures, and the number of each one's class."""

    pictures: tuple[Picture, ...]
    classes: Int[np.ndarray, " N"]
    names: tuple[str, ...]


def pictures_in(archive: Path) -> list[Picture]:
    """The pictures of a zip in the order of their names."""
    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if not name.endswith("/"))
        return [Picture(path=f"{archive}/{name}", sha256=hashlib.sha256(file.read(name)).hexdigest()) for name in names]


def labelled(path: str) -> Labelled:
    """A zip of the pack with a folder for each class."""
    pictures = pictures_in(pack() / path)
    folders = [Path(picture.path).parent.name for picture in pictures]
    names, classes = np.unique(folders, return_inverse=True)
    return Labelled(tuple(pictures), classes.astype(np.int64), tuple(names.tolist()))


def first_of_each(labels: Labelled, most: int) -> Labelled:
    """The first pictures of every class, for a small round."""
    chosen = np.sort(np.concatenate([np.flatnonzero(labels.classes == c)[:most] for c in range(len(labels.names))]))
    return Labelled(tuple(labels.pictures[i] for i in chosen), labels.classes[chosen], labels.names)


def corpus_of(pictures: Sequence[Picture]) -> Corpus:
    """Each picture is a document without words, in an order that says nothing of its class."""
    order = np.random.default_rng(0).permutation(len(pictures))
    count = len(pictures)
    return Corpus(
        items=tuple(pictures[i] for i in order),
        conversation=np.arange(count),
        turn=np.full(count, -1),
        digest="benchmark",
        shown=np.arange(count),
    )


# Emoji --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Emoji:
    """A concept: its name, what else is said of it, and how each vendor draws it."""

    name: str
    keywords: tuple[str, ...]
    split: str
    drawn: dict[str, Picture]


def emoji(vendors: Sequence[str]) -> list[Emoji]:
    """Every concept of the pack with its pictures by these vendors."""
    folder = pack() / "images" / "emoji"
    by_vendor = {
        vendor: {Path(picture.path).stem: picture for picture in pictures_in(folder / f"{vendor}_64.zip")}
        for vendor in vendors
    }
    with gzip.open(folder / "captions.jsonl.gz", "rt", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = [json.loads(line) for line in file]
    return [
        Emoji(
            name=row["name"],
            keywords=tuple(row["keywords"]),
            split=row["concept_split"],
            drawn={vendor: pictures[row["id"]] for vendor, pictures in by_vendor.items() if row["id"] in pictures},
        )
        for row in rows
    ]


def captioned(concepts: Sequence[Emoji], vendors: Sequence[str]) -> Corpus:
    """A document for each picture, with the concept's name, and its keywords in one line, as captions."""
    items: list[Item] = []
    documents: list[int] = []
    turns: list[int] = []
    shown: list[int] = []
    pictures = [
        (concept, concept.drawn[vendor]) for concept in concepts for vendor in vendors if vendor in concept.drawn
    ]
    for number, (concept, picture) in enumerate(pictures):
        shown.append(len(items))
        captions = [concept.name, *([", ".join(concept.keywords)] if concept.keywords else [])]
        items += [picture, *captions]
        documents += [number] * (1 + len(captions))
        turns += range(1 + len(captions))
    return Corpus(
        items=tuple(items),
        conversation=np.array(documents),
        turn=np.array(turns),
        digest="benchmark",
        shown=np.array(shown),
    )
