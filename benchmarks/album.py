"""What an album recognises: `python -m benchmarks.album [--only clothes,emoji] [--encoder hog] [--quick]`

Needs SHOPTALK_DATA. An album is made of the pictures as an assistant makes it (`assistant/album.py`): it chooses what
to compare them by, and fits the confidence and the threshold to distorted copies, half of which are foreign, since
their picture is out of the album. Then other copies, of another seed, are held against it.

- `clothes`: the training photographs of `images/clothing96`, each a thing of its own.
- `emoji`: those of two vendors; pictures with one name are one thing.

`--encoder` is a trained encoder of pictures, or of pictures and texts (a folder such as runs/emoji/encoder), or
features without training (`hog`, `pixels@64`). Progress goes to standard error, the table to standard output.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from benchmarks import data, picture_sets, table
from benchmarks.timing import Row
from shoptalk.assistant.album import MAX_WRONG
from shoptalk.assistant.album_calibration import AlbumCalibration, AlbumTrials, calibrated_album, try_copies
from shoptalk.assistant.album_reading import SeesPictures, chosen_reading, embedded, reading_of
from shoptalk.image.pixels import decode_all
from shoptalk.nn.bases import open_base
from shoptalk.records import Picture

VENDORS = ("noto", "twemoji")
OTHER_SEED = 77
"""Of the copies that are tried after the calibration, which draws others."""
FEW = 100
"""Pictures of a quick round."""


class Collection(NamedTuple):
    """The pictures of an album, and one number for all that show the same."""

    pictures: list[Picture]
    same: Int[np.ndarray, " N"]


def clothes() -> Collection:
    """Photographs, each of another thing."""
    pictures = picture_sets.labelled("images/clothing96/train.zip").pictures
    return Collection(list(pictures), np.arange(len(pictures)))


def emoji() -> Collection:
    """Each concept by two vendors."""
    number: dict[str, int] = {}
    drawn = [
        (number.setdefault(concept.name, len(number)), picture)
        for concept in picture_sets.emoji(VENDORS)
        for picture in concept.drawn.values()
    ]
    return Collection([picture for _, picture in drawn], np.array([name for name, _ in drawn], dtype=np.int64))


COLLECTIONS: dict[str, Callable[[], Collection]] = {"clothes": clothes, "emoji": emoji}


class Told(NamedTuple):
    """Shares in per cent."""

    coverage: float
    """Of copies whose picture is in the album, those that are recognised, and rightly."""
    precision: float
    """Of what is recognised, what is right."""
    refused: float
    """Of foreign pictures, those that are not recognised."""


def told(calibration: AlbumCalibration, trials: AlbumTrials) -> Told:
    """What a calibrated album says to copies."""
    least = np.inf if calibration.threshold is None else calibration.threshold
    given = np.array([calibration.weights(row) for row in trials.features]) >= least
    known, right = trials.known, trials.right
    return Told(
        100 * float((given & right).sum() / max(1, known.sum())),
        100 * float(right[given].mean()) if given.any() else 0.0,
        100 * float((~given & ~known).sum() / max(1, (~known).sum())),
    )


def measured(name: str, encoder: SeesPictures, ref: str, *, quick: bool) -> Iterator[Row]:
    """The rows of one collection."""
    collection, begun = COLLECTIONS[name](), time.perf_counter()
    chosen = np.random.default_rng(0).permutation(len(collection.pictures))[: FEW if quick else None]
    shown = [collection.pictures[i] for i in np.sort(chosen).tolist()]
    same, pixels = collection.same[np.sort(chosen)], squares(shown, encoder.size)
    by = chosen_reading(encoder, pixels, same=same, max_wrong=MAX_WRONG, tell=lambda line: print(line, file=sys.stderr))
    reading = reading_of(by, encoder)
    vectors = embedded(reading, pixels)
    result = calibrated_album(pixels, vectors, lambda some: embedded(reading, some), max_wrong=MAX_WRONG, same=same)
    seconds = time.perf_counter() - begun
    trials = try_copies(pixels, vectors, lambda some: embedded(reading, some), same=same, seed=OTHER_SEED)
    fresh = told(result, trials)
    promised = 100 * (1 - MAX_WRONG)
    note = f"{ref}, compared by {by}; {len(pixels):,} pictures, made in {seconds:.0f} s"
    yield Row("album", f"{name}: copies recognised", 100 * result.coverage, "%", note=note)
    yield Row("album", f"{name}: right of what is recognised", 100 * result.precision, "%", note=result.sentence)
    yield Row("album", f"{name}: foreign pictures refused", 100 * result.foreign_refused, "%")
    yield Row(
        "album",
        f"{name}: right of what is recognised, other copies",
        fresh.precision,
        "%",
        at_least=promised if result.threshold is not None else None,
        note=f"{fresh.coverage:.1f} % of copies recognised, {fresh.refused:.1f} % of foreign pictures refused",
    )


def squares(pictures: list[Picture], size: int) -> UInt8[np.ndarray, "N S S 3"]:
    """In memory, as an album reads them."""
    return decode_all(pictures, size=size).take(np.arange(len(pictures)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(COLLECTIONS), help="collections separated by commas (all)")
    parser.add_argument("--encoder", default="hog", help="what reads the pictures (hog)")
    parser.add_argument("--quick", action="store_true", help=f"{FEW} pictures of each: does it run?")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in COLLECTIONS]:
        raise SystemExit(f"No collection {unknown[0]!r}. There is: {', '.join(COLLECTIONS)}.")
    data.pack()
    encoder = open_base(given.encoder)
    if not isinstance(encoder, SeesPictures):
        raise SystemExit(f"{given.encoder} reads no pictures. Give an encoder that does, such as hog.")
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.album {' '.join(sys.argv[1:])}`\n")
    table.printed(row for name in names for row in measured(name, encoder, given.encoder, quick=given.quick))


if __name__ == "__main__":
    main()
