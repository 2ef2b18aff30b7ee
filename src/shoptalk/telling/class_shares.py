"""Whether labels have the shares of the traffic, for the report: numbers, and the sentence about them."""

import numpy as np

from shoptalk.evaluate import traffic
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.kind_answers import Seen
from shoptalk.nn.product import Embedder, Product
from shoptalk.report.evidence_json import ClassShare, Traffic
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Compared
from shoptalk.stages.world import World

SHOWN = 3
"""Classes in the sentence."""


def traffic_of(
    world: World,
    curated: Curated,
    baseline: Baseline,
    compared: Compared | None,
    seen: Seen | None,
    base: Product,
) -> Traffic | None:
    """The shares of the classes in a sample of unlabelled messages, as the base sees them; None without labels, or
    where too few messages fit a label. `seen` are the base's vectors of the labelled texts.
    """
    judge, seed = baseline.bench.judge, world.config.seed
    if baseline.kind != "text" or judge is None or judge.classes is None or compared is None:
        return None
    if seen is None or not len(seen.texts) or not isinstance(base, Embedder):
        return None
    every, kind = traffic.messages(curated.train)
    which = np.random.default_rng(seed).permutation(every)[: traffic.MOST]
    if len(which) < traffic.FEWEST:
        return None
    labels, vectors = judge.classes.labels, embed(base, [curated.train.texts[i] for i in which.tolist()])
    shares = traffic.class_shares(
        np.asarray(seen.texts), labels, judge.cluster, vectors, judge.classes.names, seed=seed
    )
    if shares is None:
        return None
    gain, interval = None, None
    if shares.differ and judge.test is None:
        estimate = traffic.weighted_gain(compared.scores, shares.weights(labels), c=compared.c, seed=seed)
        gain, interval = float(estimate.gain[0]), (float(estimate.low[0]), float(estimate.high[0]))
    sentence = _sentence(shares, kind, len(which))
    if gain is not None and interval is not None:
        measure = judge.measure
        low, high = (measure.change(end) for end in interval)
        sentence += (
            f" Weighted by these shares, and taking them as known, the gain of training is {measure.change(gain)} "
            f"{measure.difference} ({low} to {high})."
        )
    largest_first = np.argsort(-np.abs(shares.traffic - shares.labels), kind="stable")
    return Traffic(
        texts=len(which),
        fitting=shares.fitting,
        kind=kind,
        accuracy=shares.accuracy,
        distance=round(shares.distance, 4),
        differs=shares.differ,
        classes=tuple(_class(shares, i) for i in largest_first.tolist()),
        gain=gain,
        interval=interval,
        sentence=sentence,
    )


def _class(shares: traffic.Shares, i: int) -> ClassShare:
    low, high = _ends(shares, i)
    return ClassShare(
        label=shares.names[i],
        labels=round(float(shares.labels[i]), 4),
        traffic=round(float(shares.traffic[i]), 4),
        interval=(round(low, 4), round(high, 4)),
    )


def _ends(shares: traffic.Shares, i: int) -> tuple[float, float]:
    half = traffic.ERRORS * float(shares.error[i])
    return max(0.0, float(shares.traffic[i]) - half), min(1.0, float(shares.traffic[i]) + half)


def _sentence(shares: traffic.Shares, kind: str, n: int) -> str:
    how = (
        f"estimated from {shares.fitting:,} of {n:,} {kind} that fit a label, by plain logistic regression on the base "
        f"({shares.accuracy:.0f} % right on labelled texts that it had not seen), corrected for its mistakes"
    )
    if not shares.differ:
        return f"Your labels have about the shares of your traffic, {how}."
    clear = [i for i in np.argsort(-np.abs(shares.traffic - shares.labels)).tolist() if shares.clear[i]]
    parts = []
    for i in clear[:SHOWN]:
        low, high = (100 * end for end in _ends(shares, i))
        share, of_labels = 100 * float(shares.traffic[i]), 100 * float(shares.labels[i])
        parts.append(
            f"{of_labels:.0f} % {shares.names[i]} where your traffic has about {share:.0f} % ({low:.0f} to {high:.0f})"
        )
    return f"Your labels hold {', '.join(parts)}; {how}."
