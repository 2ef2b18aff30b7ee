"""Is training stopped at saturation, and not before? `python -m benchmarks.saturation [--trials 40]`

Curves of gain whose truth is known, measured at a plan's checkpoints with the noise of labels (checkpoints share most
of it) and of training, and asked `decide.saturation` after each. "Stopped early": of curves that rise by more than the
smallest gain after the second look, the share that was stopped while more than it was still to come. "Trained": where
next to nothing is to come after the second look, the share of the planned steps that was taken. Beside it the rule
until issue 17, which stopped where the latest checkpoint was not 0.2 points above the best earlier one. Prints
Markdown.
"""

import argparse
from collections.abc import Callable

import numpy as np

from shoptalk.decide.saturation import SURE, WOBBLE, to_come

WORTH = 0.5
SHARED = 0.75
"""Correlation of two checkpoints' errors; 0.85 to 0.89 on BANKING77 with 30 labels per class."""
PLANS = {"pilot with a heat": (0.07, 0.41, 0.52, 0.62, 0.73, 1.0), "six looks": (0.17, 0.33, 0.5, 0.67, 0.8, 1.0)}
ERRORS = {2_310: 0.13, 385: 0.4, 100: 1.2}
"""Standard error in points of a gain at 5-shot, by labels: the first measured, the others by 1 / sqrt(n), and more."""
Curve = Callable[[np.ndarray], np.ndarray]


def rising() -> dict[str, Curve]:
    """Shapes from nought to 1 over the training; the last two are none that the rule knows."""
    levels = {f"1 - exp(-s / {h})": lambda s, h=h: -np.expm1(-s / h) for h in (0.05, 0.1, 0.2, 0.4, 1.0)}
    levels |= {f"s / (s + {h})": lambda s, h=h: s / (s + h) for h in (0.05, 0.2, 1.0, 3.0)}
    levels |= {f"s^{p}": lambda s, p=p: s**p for p in (0.3, 0.5, 0.7, 1.0)}
    levels |= {"straight to a third, then flat": lambda s: np.minimum(1, 3 * s)}
    levels |= {f"late, at {m}": lambda s, m=m: 1 / (1 + np.exp((m - s) / 0.1)) for m in (0.2, 0.4)}
    return {name: lambda s, f=f: f(s) / f(np.array(1.0)) for name, f in levels.items()}


def by_margin(progress: np.ndarray, gains: np.ndarray, covariance: np.ndarray) -> bool:
    return bool(gains[-1] - gains[:-1].max() <= 0.2)


def by_what_is_to_come(progress: np.ndarray, gains: np.ndarray, covariance: np.ndarray) -> bool:
    return to_come(progress, gains, covariance, end=1.0, worth=WORTH).chance < 1 - SURE


def shares(rule: Callable[..., bool], plan: tuple[float, ...], error: float, *, trials: int) -> tuple[float, float]:
    """The share of rising curves that are stopped early, and how much is trained of those that have levelled off."""
    rng, places = np.random.default_rng(0), np.array(plan)
    covariance = error**2 * (SHARED + (1 - SHARED) * np.eye(len(plan)))
    early, trained = [], []
    for curve in rising().values():
        for gain in (0.6, 1.0, 2.0, 4.0):
            truth = gain * curve(places)
            for _ in range(trials):
                seen = truth + rng.multivariate_normal(np.zeros(len(plan)), covariance)
                seen += rng.normal(scale=WOBBLE, size=len(plan))
                looks = range(2, len(plan))
                stop = next(
                    (n for n in looks if rule(places[:n], seen[:n], covariance[:n, :n])),
                    len(plan),
                )
                if truth[-1] - truth[1] > WORTH:
                    early.append(truth[-1] - truth[stop - 1] > WORTH)
                if truth[-1] - truth[1] < 0.15:
                    trained.append(places[stop - 1])
    return float(np.mean(early)), float(np.mean(trained))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    given = parser.parse_args()
    print(
        "| labels | looks | stopped early: by margin | by what is to come | trained: by margin | by what is to come |"
    )
    print("|---|---|---|---|---|---|")
    for labels, error in ERRORS.items():
        for name, plan in PLANS.items():
            stopped = [shares(rule, plan, error, trials=given.trials) for rule in (by_margin, by_what_is_to_come)]
            cells = [f"{100 * row[part]:.1f} %" for part in (0, 1) for row in stopped]
            print(f"| {labels:,} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
