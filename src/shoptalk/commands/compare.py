"""Probe one encoder, or compare two, on a labels file and a test file: the k-shot linear probe with intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from shoptalk import decide
from shoptalk.errors import InputError
from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.probes.linear import probe_outcomes
from shoptalk.records import Example

FULL = "full"


def parse_shots(text: str) -> list[int | None]:
    """ "1,5,full" as numbers; None is the full set.

    Raises:
        InputError: something else is in the list.
    """
    shots: list[int | None] = []
    for part in text.split(","):
        word = part.strip()
        if word == FULL:
            shots.append(None)
        elif word.isdigit() and int(word) > 0:
            shots.append(int(word))
        else:
            raise InputError(f"--shots {text!r}: {word!r} is not a number of labels per class. Write e.g. 1,5,10,full.")
    return shots


def outcomes_by_shots(
    product: Embedder,
    labels: Sequence[Example],
    tests: Sequence[Example],
    *,
    shots: Sequence[int | None],
    draws: int,
    seed: int,
) -> list[Bool[np.ndarray, "R M"]]:
    """For each number of shots, which test examples each draw's head got right; every encoder has the same draws."""
    train_vectors = embed(product, [example.item for example in labels])
    test_vectors = embed(product, [example.item for example in tests])
    train_labels = np.array([example.label for example in labels])
    test_labels = np.array([example.label for example in tests])
    return [
        probe_outcomes(train_vectors, train_labels, test_vectors, test_labels, shots=k, draws=draws, seed=seed)
        for k in shots
    ]


def compare(
    base: Embedder,
    adapted: Embedder,
    labels: Sequence[Example],
    tests: Sequence[Example],
    *,
    shots: Sequence[int | None],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracies, gain and its 95 % interval at each number of shots (`compare --json`, DESIGN section 8).

    The interval resamples test clusters and draws, as the verdict on a supplied test set does (c = 1.96).
    """
    settings: dict[str, Any] = {"shots": shots, "draws": draws, "seed": seed}
    before = outcomes_by_shots(base, labels, tests, **settings)
    after = outcomes_by_shots(adapted, labels, tests, **settings)
    clusters = np.array([example.cluster for example in tests])
    rows = {}
    for k, old, new in zip(shots, before, after, strict=True):
        outcomes = decide.Scores(
            entries=(adapted.name,), values=np.stack([old, new]), tested=np.ones_like(old), cluster=clusters
        )
        estimate = decide.estimate_on_test(outcomes, seed=seed)
        rows[FULL if k is None else str(k)] = {
            "base": estimate.base,
            "adapted": float(estimate.adapted[0]),
            "gain": float(estimate.gain[0]),
            "interval": [float(estimate.low[0]), float(estimate.high[0])],
            "draws": len(old),
        }
    return {"shots": rows, "sentence": _sentence(rows)}


def _sentence(rows: dict[str, Any]) -> str:
    better = [k for k, row in rows.items() if row["interval"][0] > 0]
    worse = [k for k, row in rows.items() if row["interval"][1] < 0]
    parts = []
    for words, shots in (("better", better), ("worse", worse)):
        if shots:
            gains = ", ".join(f"{rows[k]['gain']:+.1f} points at {_shots(k)}" for k in shots)
            parts.append(f"The adapted encoder is {words}: {gains}.")
    open_cases = [k for k in rows if k not in better and k not in worse]
    if open_cases:
        parts.append(f"No difference is shown at {', '.join(_shots(k) for k in open_cases)}.")
    return " ".join(parts)


def _shots(k: str) -> str:
    return "the full label set" if k == FULL else f"{k} label{'s' if k != '1' else ''} per class"
