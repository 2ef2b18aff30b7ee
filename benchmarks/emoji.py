"""Emoji by two vendors learn their names in MiniLM's space, which is frozen; then a third vendor's are named.

LiT (Zhai et al. 2022) with a small picture tower: `benchmarks/pictures.py` runs it as the part `lit`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import picture_sets
from benchmarks.picture_training import SEED, Options, row, train_for
from benchmarks.timing import Row
from shoptalk.nn.bases import open_base

VENDORS, UNSEEN_VENDOR = ("noto", "twemoji"), "fluent_3d"


def lit(options: Options) -> Iterator[Row]:
    """Two vendors' emoji and their names; then the third vendor's, of concepts that were seen and of others."""
    concepts = picture_sets.emoji((*VENDORS, UNSEEN_VENDOR))
    seen = [concept for concept in concepts if concept.split == "train"]
    unseen = [concept for concept in concepts if concept.split == "test"]
    if options.quick:
        seen = seen[:200]
    product: Any = open_base(options.base or "scratch:resnet-mini@64+minilm", seed=SEED)
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
    glyphs = nearest_glyphs(open_base("pixels@64"), seen)
    first, _ = named(product, seen, (1, 10))
    yield row(
        f"emoji of {UNSEEN_VENDOR}, seen concepts: image to name, R@1",
        first,
        "%",
        at_least=glyphs + 10,
        note=f"nearest raw-pixel glyph {glyphs:.1f} %; {trained.steps:,} steps of {trained.batch} in "
        f"{trained.seconds / 60:.1f} min; making batches {trained.input_share:.1f} % of a step",
    )
    yield row(
        f"emoji of {UNSEEN_VENDOR}, seen concepts: the name of the nearest training picture in the tower's space, R@1",
        nearest_glyphs(product, seen),
        "%",
        note="pictures' vectors alone; the row above compares them with those of names",
    )
    first, tenth = named(product, unseen, (1, 10))
    count = sum(UNSEEN_VENDOR in concept.drawn for concept in unseen)
    yield row(
        f"emoji of {UNSEEN_VENDOR}, unseen concepts among themselves: R@10",
        tenth,
        "%",
        at_least=20.0,
        note=f"R@1 {first:.1f} %; {count} concepts, chance {1000 / max(1, count):.1f} %",
    )


def named(product: Any, concepts: list[picture_sets.Emoji], ranks: tuple[int, int]) -> tuple[float, float]:
    """Per cent of the third vendor's pictures whose name is among the first so many of these concepts' names."""
    asked = [concept for concept in concepts if UNSEEN_VENDOR in concept.drawn]
    names = list(dict.fromkeys(concept.name for concept in asked))
    pictures = product.embed([concept.drawn[UNSEEN_VENDOR] for concept in asked])
    similarities = pictures @ product.embed(names).T
    right = similarities[np.arange(len(asked)), [names.index(concept.name) for concept in asked]]
    place = (similarities >= right[:, None]).sum(axis=1) - 1  # equals count against it: vectors may have collapsed
    low, high = (100 * float((place < rank).mean()) for rank in ranks)
    return low, high


def nearest_glyphs(product: Any, concepts: list[picture_sets.Emoji]) -> float:
    """R@1 in per cent of the name that the nearest training picture has, by the cosine of their vectors."""
    asked = [concept for concept in concepts if UNSEEN_VENDOR in concept.drawn]
    known = [
        (concept.name, concept.drawn[vendor]) for concept in asked for vendor in VENDORS if vendor in concept.drawn
    ]
    similarities = (
        product.embed([concept.drawn[UNSEEN_VENDOR] for concept in asked])
        @ product.embed([picture for _, picture in known]).T
    )
    names = [known[place][0] for place in similarities.argmax(axis=1)]
    return 100 * float(np.mean([name == concept.name for name, concept in zip(names, asked, strict=True)]))
