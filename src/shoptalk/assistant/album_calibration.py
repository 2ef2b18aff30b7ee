"""When a visitor's picture is near enough to one of the album's: fitted to distorted copies of the album's pictures.

A trial draws a picture of the album at random and one of `image/distort.py`'s copies of it. In half of the trials the
picture stays in the album: its document ought to be found. In the other half it is taken out, so that the copy is a
foreign picture: whatever is found is wrong. Half of the trials fit the confidence and propose thresholds, the others
test them (`decide/selective.py`). Trials are drawn independently, with replacement, so the promise is exact for what
they are drawn from: such copies of these pictures, and as many foreign pictures of the same sort. No label is needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from shoptalk.decide.selective import ERROR, fewest_answers, promised_threshold, proposed_thresholds
from shoptalk.image.distort import DISTORTIONS, distort
from shoptalk.records import Published

TRIALS = 1_200
"""Copies that are tried."""
NEXT = 5
"""Other pictures with which the nearest one is compared."""


class LikenessWeights(Published):
    """A logistic regression on `likeness`."""

    weights: tuple[float, ...]
    """Of the nearest picture's cosine, its lead over the second, and over the mean of the `NEXT` next."""
    bias: float
    """Added to the weighted sum."""

    def __call__(self, features: Float[np.ndarray, "F"]) -> float:
        """The probability that the nearest picture is the one that is shown."""
        return float(1 / (1 + np.exp(-(np.asarray(self.weights) @ features + self.bias))))


class AlbumCalibration(Published):
    """From which confidence on a picture is recognised, and what that promises."""

    weights: LikenessWeights
    """Of the confidence."""
    threshold: float | None
    """Least confidence; None where none can be promised, and nothing is recognised."""
    max_wrong: float
    """The budget: wrong ones among the pictures that are recognised."""
    tested: int
    """Trials that tested thresholds."""
    coverage: float
    """Of the tested copies whose picture is in the album, the share that is recognised and rightly."""
    precision: float
    """Of the tested copies that are recognised, the share for which that is right."""
    foreign_refused: float
    """Of the tested copies whose picture is not in the album, the share that is refused."""
    sentence: str
    """The result in words."""
    reading: str = "encoder"
    """What pictures are compared by: a name of `album_reading.READINGS`."""


@dataclass(frozen=True)
class AlbumTrials:
    """Distorted copies, and what the album makes of each."""

    features: Float[np.ndarray, "N F"]
    known: Bool[np.ndarray, "N"]
    """Whether its picture is in the album."""
    right: Bool[np.ndarray, "N"]
    """Whether the nearest picture is its own."""


def likeness(cosines: Float[np.ndarray, "N"], same: Int[np.ndarray, " N"]) -> Float[np.ndarray, "F"]:
    """What the confidence looks at: how near the nearest picture is, and how far it leads over the next ones of other
    captions (`same` is equal where captions are).
    """
    if not len(cosines):  # all pictures have one caption, and were taken out together
        return np.zeros(3)
    best = int(cosines.argmax())
    others = np.sort(cosines[same != same[best]])[::-1][:NEXT].astype(np.float64)
    second, mean = (float(others[0]), float(others.mean())) if len(others) else (0.0, 0.0)
    nearest = float(cosines[best])
    return np.array([nearest, nearest - second, nearest - mean])


def try_copies(
    pictures: UInt8[np.ndarray, "N S S 3"],
    vectors: Float[np.ndarray, "N D"],
    embed: Callable[[UInt8[np.ndarray, "M S S 3"]], Float[np.ndarray, "M D"]],
    *,
    same: Int[np.ndarray, " N"] | None = None,
    seed: int = 0,
) -> AlbumTrials:
    """What the album makes of `TRIALS` distorted copies of its pictures; at least two pictures are needed.

    Pictures of which `same` is equal have one caption: any of them is right, and they are taken out together.
    """
    rng, of = np.random.default_rng(seed), np.arange(len(pictures)) if same is None else same
    places: Int[np.ndarray, " M"] = rng.integers(len(pictures), size=TRIALS)
    known = rng.random(TRIALS) < 0.5
    copies = np.stack(
        [
            distort(pictures[at], DISTORTIONS[rng.integers(len(DISTORTIONS))], seed=seed + 1 + number)
            for number, at in enumerate(places)
        ]
    )
    features, right = [], []
    for at, stays, vector in zip(places, known, embed(copies), strict=True):
        cosines = vectors @ vector
        there = np.ones(len(of), dtype=bool) if stays else of != of[at]
        features.append(likeness(cosines[there], of[there]))
        right.append(bool(stays) and bool(of[int(cosines.argmax())] == of[at]))
    return AlbumTrials(np.array(features), known, np.array(right))


def calibrated_album(
    pictures: UInt8[np.ndarray, "N S S 3"],
    vectors: Float[np.ndarray, "N D"],
    embed: Callable[[UInt8[np.ndarray, "M S S 3"]], Float[np.ndarray, "M D"]],
    *,
    max_wrong: float,
    same: Int[np.ndarray, " N"] | None = None,
    error: float = ERROR,
    seed: int = 0,
) -> AlbumCalibration:
    """Try the copies (`try_copies`), fit the confidence to half of them, and test thresholds on the others."""
    trials = try_copies(pictures, vectors, embed, same=same, seed=seed)
    return album_calibration(trials, max_wrong=max_wrong, error=error)


def album_calibration(trials: AlbumTrials, *, max_wrong: float, error: float = ERROR) -> AlbumCalibration:
    """The same from trials."""
    fits = np.arange(len(trials.right)) % 2 == 0
    weights = _fitted(trials.features[fits], trials.right[fits])
    confidence = np.array([weights(row) for row in trials.features])
    tests = ~fits
    thresholds = proposed_thresholds(confidence[fits], int(tests.sum()), max_wrong=max_wrong, error=error)
    promise = promised_threshold(confidence[tests], trials.right[tests], thresholds, max_wrong=max_wrong, error=error)
    given = tests & (confidence >= (np.inf if promise.threshold is None else promise.threshold))
    known, foreign = tests & trials.known, tests & ~trials.known
    coverage = float((given & trials.right).sum() / max(1, known.sum()))
    precision = float(trials.right[given].mean()) if given.any() else 0.0
    refused = float((~given & foreign).sum() / max(1, foreign.sum()))
    return AlbumCalibration(
        weights=weights,
        threshold=promise.threshold,
        max_wrong=max_wrong,
        tested=int(tests.sum()),
        coverage=coverage,
        precision=precision,
        foreign_refused=refused,
        sentence=_sentence(
            promise.threshold,
            [point.answered for point in promise.points],
            coverage,
            precision,
            refused,
            max_wrong,
            error,
        ),
    )


def _sentence(
    threshold: float | None,
    answered: Sequence[int],
    coverage: float,
    precision: float,
    refused: float,
    max_wrong: float,
    error: float,
) -> str:
    if threshold is not None:
        return (
            f"Of distorted copies of its pictures {coverage:.0%} are recognised, {precision:.1%} of what is recognised "
            f"is right (at most {max_wrong:.0%} wrong, with {1 - error:.0%} certainty), and {refused:.0%} of foreign "
            "pictures are refused."
        )
    needed = fewest_answers(max_wrong, error=error)
    why = (
        f"a promise needs {needed} tested copies recognised without a mistake, and there were "
        f"{answered[0] if answered else 0}"
        if not answered or answered[0] < needed
        else "too many copies are taken for other pictures"
    )
    return f"No picture is recognised, since at most {max_wrong:.0%} wrong cannot be promised: {why}."


def _fitted(features: Float[np.ndarray, "N F"], right: Bool[np.ndarray, "N"]) -> LikenessWeights:
    """By few trials, or trials of one kind alone, the plain lead over the next picture decides."""
    if len(right) < 20 or right.all() or not right.any():
        return LikenessWeights(weights=(0.0, 10.0, 0.0), bias=0.0)
    from sklearn.linear_model import LogisticRegression

    # Differences of cosines are of the order of 0.1: on that scale the usual penalty of 1 would flatten them.
    scale = features.std(axis=0) + 1e-9
    fitted = LogisticRegression().fit(features / scale, right)
    return LikenessWeights(
        weights=tuple(float(weight) for weight in fitted.coef_[0] / scale), bias=float(fitted.intercept_[0])
    )
