"""chrF2: how far translations agree with references in runs of characters (Popović 2015, 2017), with its interval.

    statistics = chrf_statistics(["Zwei Hunde rennen."], ["Zwei Hunde laufen."])
    chrf(statistics)                 # of all together, 0 to 100
    chrf_interval(statistics)        # 95 %, over resampled texts (Koehn 2004)

For n from 1 to 6, precision and recall of the runs of n characters, white space left out, over all texts together;
their means over n, weighted so that recall counts twice. The values are those of sacrebleu's CHRF with its defaults,
which the tests compare. Unlike BLEU it needs no words, so that it holds for languages that write them together.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from shoptalk.decide.intervals import in_blocks

ORDERS = 6
BETA = 2
RESAMPLES = 1_000


def chrf_statistics(written: Sequence[str], references: Sequence[str]) -> Int[np.ndarray, "N 3 n"]:
    """Of each pair the runs of every length that the text has, that its reference has, and that both have."""
    rows = [_counts(text, reference) for text, reference in zip(written, references, strict=True)]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 3, ORDERS)


def chrf(statistics: Int[np.ndarray, "N 3 n"]) -> float:
    """The score of all pairs together."""
    return float(_scores(statistics.sum(axis=0)[None])[0])


def chrf_interval(statistics: Int[np.ndarray, "N 3 n"], *, seed: int = 0) -> tuple[float, float]:
    """Where 95 % of the scores of resampled pairs lie."""
    low, high = np.quantile(resampled_chrf(statistics, seed=seed), [0.025, 0.975])
    return float(low), float(high)


def resampled_chrf(statistics: Int[np.ndarray, "N 3 n"], *, seed: int = 0) -> Float[np.ndarray, " R"]:
    """The scores of resampled pairs; the same resamples for every system of as many pairs and the same seed."""
    return _scores(resampled_sums(statistics, seed=seed))


def resampled_sums(statistics: Int[np.ndarray, "N *dims"], *, seed: int = 0) -> Int[np.ndarray, "R *dims"]:
    """The sums of the statistics over each resample of the texts."""
    n, rng = len(statistics), np.random.default_rng(seed)

    def sums(rows: int) -> Int[np.ndarray, "r *dims"]:
        counts = rng.multinomial(n, np.full(n, 1 / n), size=rows)
        return np.asarray(np.einsum("rn,n...->r...", counts, statistics))

    return np.concatenate([sums(rows) for rows in in_blocks(n, RESAMPLES)])


def _counts(text: str, reference: str) -> list[list[int]]:
    one, other = "".join(text.split()), "".join(reference.split())
    columns = []
    for n in range(1, ORDERS + 1):
        runs, of_reference = (Counter(line[i : i + n] for i in range(len(line) - n + 1)) for line in (one, other))
        # A reference that is too short for runs of n says nothing of the text's.
        columns.append((runs.total() * bool(of_reference), of_reference.total(), (runs & of_reference).total()))
    return [list(row) for row in zip(*columns, strict=True)]


def _scores(totals: Int[np.ndarray, "R 3 n"]) -> Float[np.ndarray, " R"]:
    """F of the mean precision and the mean recall, over the lengths of which both sides have runs."""
    texts, references, both = (totals[:, row].astype(np.float64) for row in range(3))
    there = (texts > 0) & (references > 0)
    lengths = np.maximum(there.sum(axis=1), 1)
    precision, recall = (
        np.where(there, both / np.maximum(side, 1), 0.0).sum(axis=1) / lengths for side in (texts, references)
    )
    weighted = BETA**2 * precision + recall
    scores: Float[np.ndarray, " R"] = 100 * (1 + BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1.0)
    return scores
