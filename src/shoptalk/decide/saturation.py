"""Saturation: what more training may still bring, told from the gains at the checkpoints so far.

A gain grows with training as one of a few shapes does that rise from nought and flatten: s / (s + h) and
1 - exp(-s / h), which level off at h, and s^p, which never quite does. Each shape gets the weight with which it
explains the gains (a flat prior on the gain at the end of training; the marginal likelihood), and predicts how much
more there will be at the end. Domhan, Springenberg & Hutter 2015, "Speeding up automatic hyperparameter optimization
of deep neural networks by extrapolation of learning curves", stop by such a mixture; theirs has eleven families.

`s` is the sum of the learning rates of the steps so far: warming up counts for what it is.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SURE = 0.95
"""Training goes on unless the chance that it brings a gain worth having is below 1 - SURE. On planted curves
(`python -m benchmarks.saturation`) so few rising ones are stopped early that what is lost is seldom worth having."""
WOBBLE = 0.1
"""How far, in points, a checkpoint's true gain lies off a smooth curve, as a standard deviation: batches are random."""
_HALVES = np.geomspace(0.02, 50, 24)
_POWERS = np.linspace(0.1, 1.0, 10)


class ToCome(NamedTuple):
    """What the rest of the training is expected to add to the latest checkpoint's gain."""

    mean: float
    chance: float
    """That it is more than what is worth having."""


def to_come(
    progress: Float[np.ndarray, " E"],
    gains: Float[np.ndarray, " E"],
    covariance: Float[np.ndarray, "E E"],
    *,
    end: float,
    worth: float,
    wobble: float = WOBBLE,
) -> ToCome:
    """The expectation from the gains at E checkpoints. `progress` is above nought and grows, at most to `end`."""
    if not (np.diff(progress, prepend=0.0) > 0).all() or progress[-1] > end * (1 + 1e-9):
        raise ValueError(f"progress {progress.tolist()} does not rise from nought to at most {end:g}.")
    shapes = _shapes(np.append(progress / end, 1.0))
    shapes = shapes[:, :-1] / shapes[:, -1:]  # of the gain at the end, what is there at each checkpoint
    factor = np.linalg.cholesky(covariance + np.eye(len(gains)) * wobble**2)
    white, seen = np.linalg.solve(factor, shapes.T).T, np.linalg.solve(factor, gains)
    precision = (white**2).sum(axis=1)
    final = white @ seen / precision
    misfit = ((seen - final[:, None] * white) ** 2).sum(axis=1)
    weight = -0.5 * (misfit + np.log(precision))
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    left = np.maximum(1 - shapes[:, -1], 1e-12)
    mean, spread = final * left, left / np.sqrt(precision)
    return ToCome(float(weight @ mean), float(weight @ _above((worth - mean) / spread)))


def _shapes(share: Float[np.ndarray, " E"]) -> Float[np.ndarray, "H E"]:
    """Each shape at shares of the training; the three families weigh alike."""
    level = share / (share + _HALVES[:, None]), -np.expm1(-share / _HALVES[:, None])
    return np.concatenate([*level, np.repeat(share ** _POWERS[:, None], 2, axis=0)])


def _above(deviates: Float[np.ndarray, " H"]) -> Float[np.ndarray, " H"]:
    """The chance that a normal variable is above each number: erfc as Abramowitz & Stegun 7.1.26, good to 2e-7."""
    x = np.abs(deviates) / np.sqrt(2)
    t = 1 / (1 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * series * np.exp(-(x**2))
    return np.asarray(np.where(deviates > 0, tail, 1 - tail))
