"""What an album compares pictures by: the run's encoder alone, or with plain features beside it.

    name = chosen_reading(encoder, pictures, same=same)            # whichever recognises more distorted copies
    reading_of(name, encoder).embed_pixels(pictures)

Training teaches an encoder what to overlook, and coarse pixels and edges overlook other things: of 1,553 emoji whose
twin was drawn by another vendor, an encoder of few steps named 32.8 %, pixels and edges 38 to 41 %, all three 48.4 %
(docs/log.md, 2026-11-30). Which of them serves an album better is measured, on copies that test no promise.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from shoptalk.assistant.album_calibration import album_calibration, try_copies
from shoptalk.errors import ArtifactError

ALONE, BESIDE = "encoder", "encoder, pixels and edges"
READINGS = (ALONE, BESIDE)
"""The first where two recognise as much."""
_COARSE, _EDGES = 16, 32
"""Sides of the pictures that the features read, in pixels."""
_SEED = 1_000_003
"""Of the copies by which a reading is chosen: the calibration draws others."""
_BATCH = 256


@runtime_checkable
class SeesPictures(Protocol):
    """An encoder that reads pictures."""

    @property
    def size(self) -> int:
        """The side of the squares that it reads, in pixels."""
        ...

    def embed_pixels(self, pictures: UInt8[np.ndarray, "n S S 3"]) -> Float[np.ndarray, "n D"]:
        """Unit vectors."""
        ...


class BesideFeatures:
    """An encoder with features beside it: the cosine of two pictures is the mean of theirs."""

    def __init__(self, encoder: SeesPictures) -> None:
        self._encoder = encoder

    @property
    def size(self) -> int:
        """The encoder's."""
        return self._encoder.size

    @cached_property
    def _features(self) -> Sequence[Any]:
        from shoptalk.nn.features import feature_encoder  # which imports torch

        return [feature_encoder("pixels", _COARSE, name="pixels"), feature_encoder("hog", _EDGES, name="hog")]

    def embed_pixels(self, pictures: UInt8[np.ndarray, "n S S 3"]) -> Float[np.ndarray, "n D"]:
        """Unit vectors."""
        from shoptalk.image.pixels import resized

        parts = [self._encoder.embed_pixels(pictures)]
        parts += [feature.embed_pixels(resized(pictures, feature.size)) for feature in self._features]
        return np.concatenate(parts, axis=1) / math.sqrt(len(parts))


def reading_of(name: str, encoder: SeesPictures) -> SeesPictures:
    """The encoder as a reading of `READINGS` has it.

    Raises:
        ArtifactError: there is no such reading.
    """
    if name not in READINGS:
        raise ArtifactError(f"The album reads pictures by {name!r}, and known is: {', '.join(READINGS)}.")
    return encoder if name == ALONE else BesideFeatures(encoder)


def embedded(encoder: SeesPictures, pictures: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
    """The vectors of many pictures.

    Raises:
        ArtifactError: one of them is not finite.
    """
    parts = [encoder.embed_pixels(pictures[begin : begin + _BATCH]) for begin in range(0, len(pictures), _BATCH)]
    vectors = np.concatenate(parts).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise ArtifactError("The encoder gives pictures vectors that are not finite. Make the run again.")
    return vectors


def chosen_reading(
    encoder: SeesPictures,
    pictures: UInt8[np.ndarray, "N S S 3"],
    *,
    same: Int[np.ndarray, " N"],
    max_wrong: float,
    tell: Callable[[str], None] = lambda line: None,
) -> str:
    """The reading by which most distorted copies are recognised, with at most `max_wrong` wrong ones; where no promise
    can be made by any, the one by which most copies' nearest picture is their own.
    """
    worth: dict[str, tuple[float, float]] = {}
    for name in READINGS:
        reading = reading_of(name, encoder)
        vectors = embedded(reading, pictures)
        trials = try_copies(pictures, vectors, lambda some: embedded(reading, some), same=same, seed=_SEED)  # noqa: B023
        coverage = album_calibration(trials, max_wrong=max_wrong).coverage
        worth[name] = coverage, float(trials.right.sum() / max(1, trials.known.sum()))
    tell(
        "pictures: of distorted copies are recognised "
        + ", ".join(f"{coverage:.0%} by {name} ({found:.0%} are nearest)" for name, (coverage, found) in worth.items())
    )
    return max(READINGS, key=lambda name: worth[name])
