"""Emoji by two vendors learn their names in MiniLM's space, which is frozen; then a third vendor's are named.

LiT (Zhai et al. 2022) with a small picture tower: `benchmarks/pictures.py` runs it as the part `lit`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import picture_sets
from benchmarks.picture_training import SEED, Options, row, train_for
from benchmarks.timing import Row
from shoptalk.assistant.album_reading import BesideFeatures
from shoptalk.image.pixels import square_of
from shoptalk.nn.bases import open_base
from shoptalk.records import Picture

BASE = "scratch:resnet-mini@64+minilm"
VENDORS, UNSEEN_VENDOR = ("noto", "twemoji"), "fluent_3d"
Concepts = list[picture_sets.Emoji]


def lit(options: Options) -> Iterator[Row]:
    """Two vendors' emoji and their names; then the third vendor's, of concepts that were seen and of others."""
    concepts = picture_sets.emoji((*VENDORS, UNSEEN_VENDOR))
    seen = [concept for concept in concepts if concept.split == "train"]
    unseen = [concept for concept in concepts if concept.split == "test"]
    if options.quick:
        seen = seen[:200]
    product: Any = open_base(options.base or BASE, seed=SEED)
    corpus = picture_sets.captioned(seen, VENDORS)
    trained = train_for(
        product,
        "clip",
        {"frozen": "text"} | options.settings,
        corpus,
        product.inputs(corpus),
        precision=options.precision,
        minutes=options.minutes,
    )
    pixels = recall(1, against_glyphs(open_base("pixels@64"), seen), seen)
    yield row(
        f"emoji of {UNSEEN_VENDOR}, seen concepts: image to name, R@1",
        recall(1, against_names(product, seen), seen),
        "%",
        at_least=pixels + 10,
        note=f"nearest raw-pixel glyph {pixels:.1f} %; {trained.steps:,} steps of {trained.batch} in "
        f"{trained.seconds / 60:.1f} min; making batches {trained.input_share:.1f} % of a step",
    )
    yield row(
        f"emoji of {UNSEEN_VENDOR}, seen concepts: the name of the nearest training picture in the tower's space, R@1",
        recall(1, against_glyphs(product, seen), seen),
        "%",
        note="pictures' vectors alone, as the album of the assistant reads them",
    )
    yield row(
        f"emoji of {UNSEEN_VENDOR}, seen concepts: the name of the nearest training picture, coarse pixels and edges "
        "read beside the tower, R@1",
        recall(1, against_glyphs(Beside(product), seen), seen),
        "%",
        at_least=pixels + 10,
        note="as the album reads them where that recognises more",
    )
    count = len(asked(unseen))
    similarities = against_names(product, unseen)
    yield row(
        f"emoji of {UNSEEN_VENDOR}, unseen concepts among themselves: R@10",
        recall(10, similarities, unseen),
        "%",
        at_least=20.0,
        note=f"R@1 {recall(1, similarities, unseen):.1f} %; {count} concepts, chance {1000 / max(1, count):.1f} %",
    )


class Beside:
    """The tower with plain features beside it, as an album may read pictures; of files."""

    def __init__(self, product: Any) -> None:
        self._reading = BesideFeatures(product)

    def embed(self, pictures: list[Picture]) -> np.ndarray:
        """Unit vectors."""
        return self._reading.embed_pixels(np.stack([square_of(picture, self._reading.size) for picture in pictures]))


def asked(concepts: Concepts) -> Concepts:
    """The concepts that the third vendor has drawn: what is to be named."""
    return [concept for concept in concepts if UNSEEN_VENDOR in concept.drawn]


def names_of(concepts: Concepts) -> list[str]:
    """What may be answered: each name of the asked concepts once."""
    return list(dict.fromkeys(concept.name for concept in asked(concepts)))


def against_names(product: Any, concepts: Concepts) -> np.ndarray:
    """The cosine of each asked picture of the third vendor (rows) and each name (columns)."""
    pictures = product.embed([concept.drawn[UNSEEN_VENDOR] for concept in asked(concepts)])
    similarities: np.ndarray = pictures @ product.embed(names_of(concepts)).T
    return similarities


def against_glyphs(product: Any, concepts: Concepts) -> np.ndarray:
    """The cosine of each asked picture and the nearest of the pictures of each name that were trained on."""
    names = names_of(concepts)
    known = [
        (names.index(concept.name), concept.drawn[vendor])
        for concept in asked(concepts)
        for vendor in VENDORS
        if vendor in concept.drawn
    ]
    pictures = product.embed([concept.drawn[UNSEEN_VENDOR] for concept in asked(concepts)])
    similarities = pictures @ product.embed([picture for _, picture in known]).T
    nearest = np.full((len(pictures), len(names)), -1.0, similarities.dtype)
    for column, (name, _) in enumerate(known):
        np.maximum(nearest[:, name], similarities[:, column], out=nearest[:, name])
    return nearest


def recall(rank: int, similarities: np.ndarray, concepts: Concepts) -> float:
    """R@rank: per cent of the asked pictures whose own name is among so many nearest ones."""
    names = names_of(concepts)
    own = [names.index(concept.name) for concept in asked(concepts)]
    right = similarities[np.arange(len(own)), own]
    place = (similarities >= right[:, None]).sum(axis=1) - 1  # equals count against it: vectors may have collapsed
    return 100 * float((place < rank).mean())
