"""What training changed: which texts changed sides, how far their vectors moved, and which of the weights moved.

Pure functions of arrays. The report shows them as they are; none of them decides anything.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BLOCK = 1 << 20
_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)\.")


class Sides(NamedTuple):
    """Of N texts: the share of draws whose head got it right, and what the heads said most often.

    A share is NaN where no draw tests the text. `gained` are the positions of texts that most draws get right with the
    adapted encoder and did not with the base, largest change of share first; `lost` the other way round.
    """

    base_share: Float[np.ndarray, " N"]
    adapted_share: Float[np.ndarray, " N"]
    base_says: Int[np.ndarray, " N"]
    adapted_says: Int[np.ndarray, " N"]
    gained: Int[np.ndarray, " G"]
    lost: Int[np.ndarray, " L"]


def sides(
    base: Int[np.ndarray, "R N"],
    adapted: Int[np.ndarray, "R N"],
    labels: Int[np.ndarray, " N"],
    tested: Bool[np.ndarray, "R N"],
) -> Sides:
    """Compare two encoders' answers (label numbers) on the draws that test a text."""
    times = tested.sum(axis=0)
    with np.errstate(invalid="ignore"):
        before, after = (((found == labels) & tested).sum(axis=0) / times for found in (base, adapted))
    change = after - before
    gained, lost = (before <= 0.5) & (after > 0.5), (before > 0.5) & (after <= 0.5)
    return Sides(
        before,
        after,
        _most_often(base, tested),
        _most_often(adapted, tested),
        np.flatnonzero(gained)[np.argsort(-change[gained], kind="stable")],
        np.flatnonzero(lost)[np.argsort(change[lost], kind="stable")],
    )


def nearest(
    vectors: Float[np.ndarray, "N D"], which: Int[np.ndarray, " Q"], cluster: Int[np.ndarray, " N"], k: int
) -> list[list[tuple[int, float]]]:
    """The position and cosine of the k texts nearest to each one asked for, of other clusters than its own."""
    cosines = np.asarray(vectors[which] @ vectors.T, dtype=np.float64)
    cosines[cluster[which][:, None] == cluster[None, :]] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return [
        [(int(j), float(row[j])) for j in places if np.isfinite(row[j])]
        for row, places in zip(cosines, order, strict=True)
    ]


def moved(before: Float[np.ndarray, "N D"], after: Float[np.ndarray, "N D"]) -> dict[str, Any] | None:
    """How far N texts' unit vectors moved: the cosine of each with itself before, its mean and quantiles.

    None where there is no text or a vector is not finite.
    """
    cosines = np.einsum("nd,nd->n", before, after, dtype=np.float64)
    if not len(cosines) or not np.isfinite(cosines).all():
        return None
    quantiles = {f"{q:g}": float(np.quantile(cosines, q)) for q in QUANTILES}
    return {"n": len(cosines), "mean": float(cosines.mean()), "quantiles": quantiles}


def relative_changes(weights: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    """||after - before|| / ||before|| (Frobenius) of each part of a network: its embeddings, each layer, the rest.

    `weights` are parameters: name, value before, value after. Those of another shape than before are passed over; a
    change that is not finite, of a training that broke down, is None.
    """
    squares: dict[str, list[float]] = {}
    for name, before, after in weights:
        if before.shape != after.shape:
            continue
        of = squares.setdefault(_part(name), [0.0, 0.0])
        one, other = before.ravel(), after.ravel()
        for begin in range(0, len(one), _BLOCK):  # in blocks: in float64 a large vocabulary would take gigabytes
            part = slice(begin, begin + _BLOCK)
            was, change = one[part].astype(np.float64), other[part].astype(np.float64) - one[part]
            of[0] += float(change @ change)
            of[1] += float(was @ was)
    changes = {part: (squares[part][0] / max(squares[part][1], 1e-24)) ** 0.5 for part in sorted(squares, key=_place)}
    return [{"name": part, "change": change if np.isfinite(change) else None} for part, change in changes.items()]


def _most_often(answers: Int[np.ndarray, "R N"], tested: Bool[np.ndarray, "R N"]) -> Int[np.ndarray, " N"]:
    """The label that most tests of a text were answered with; of equals the first in order."""
    n = answers.shape[1]
    counts = np.zeros((n, int(answers.max()) + 1), dtype=np.int32)
    draw, text = np.nonzero(tested)
    np.add.at(counts, (text, answers[draw, text]), 1)
    return np.asarray(counts.argmax(axis=1))


def _part(name: str) -> str:
    layer = _LAYER.search(name)
    if layer is not None:
        return f"layer {int(layer[1]) + 1}"
    return "embeddings" if "embed" in name else "other weights"


def _place(part: str) -> tuple[int, int]:
    """From the bottom of the network to its top."""
    if part.startswith("layer "):
        return 1, int(part.removeprefix("layer "))
    return (0 if part == "embeddings" else 2), 0
