"""Which of several encoders is likely to help, asked of unlabelled texts only; and how often that is wrong.

A base and its challengers embed the same N texts. What is compared is the graph of each text's K nearest others, which
a rotation of the vectors leaves as it is, and each feature is the challenger's value minus the base's:

- `cliques`: of all ordered pairs among a text's neighbours, the share where one is among the other's own K (the local
  clustering coefficient of Watts and Strogatz, "Collective dynamics of small-world networks", 1998, of directed edges);
- `mutual`: the share of neighbours that have the text among theirs;
- `strength`: do k-means clusters of one half of the texts foretell those of the other half (Tibshirani and Walther,
  "Cluster validation by prediction strength", 2005)? Theirs is the worst cluster's share of pairs kept together; this
  is Jaccard's index of the pairs that the two clusterings put together, a mean over several halvings, and steadier;
- `kept`: the overlap with the base's graph minus 1, which is no part of the score but bounds where it holds.

The score is a fixed linear rule, in points of 5-shot accuracy that a challenger is expected to gain; the base's is 0.
Its weights were fitted offline by the command in `JUDGED`, none of them against its feature's sense (more is better).
What was tried and got next to no weight beside these: the change of general similarity, the overlap with the base's
smoothed neighbourhoods. RankMe, uniformity, stability under word drops and the contrast of near and far texts told
little or the wrong way round: a harmful SimCSE raises RankMe, and helpful neighbourhoods lower it. Next-turn retrieval
could not be judged, because no labelled set of the benchmark has conversations.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from shoptalk.index import neighbours
from shoptalk.nn.product import Embedder, Kind
from shoptalk.records import Reading

KEY, NAME = "label_free_score", "label-free score"
"""By which code and people know the reading."""
K = 10
"""Neighbours of a text."""
FEWEST = 100
"""Texts below which the features are noise and nothing is said."""
MARGIN = 0.5
"""Points of accuracy by which an encoder helps or harms. A challenger ranks before the base past it only."""
MOST_MOVED = 0.5
"""Of a text's neighbours, the share that training may change. Past it an encoder is another one, of which a rule that
was fitted near the base knows nothing; a collapsed one has perfect cliques and clusters."""
LOST = -3.0
"""The score of such a one, in points: the largest loss that the fit distinguishes."""
_MOST_SCALES = 4.0  # far outside of what was fitted, more says no more
_HALVINGS = 6

Suggestion = Literal["likely helps", "cannot tell", "likely harms"]


@dataclass(frozen=True)
class Rule:
    """A linear score in points: each feature's scale, and the points that one scale of it is worth."""

    weights: Mapping[str, tuple[float, float]]

    def terms(self, found: Mapping[str, float]) -> dict[str, float]:
        """What each feature adds, in points."""
        return {
            name: weight * float(np.clip(found[name] / scale, -_MOST_SCALES, _MOST_SCALES))
            for name, (scale, weight) in self.weights.items()
        }

    def score(self, found: Mapping[str, float]) -> float:
        """The gain that is expected of a challenger with these features; `LOST` where it is another encoder."""
        return sum(self.terms(found).values()) if found["kept"] >= -MOST_MOVED else LOST


RULE = Rule({"cliques": (0.0168, 0.389), "mutual": (0.0164, 0.099), "strength": (0.0273, 0.181)})
JUDGED: Mapping[str, Any] = {
    "sets": 11,
    "picks": 307,
    "harmful": 0.0,
    "at_most": 0.26,
    "date": "2026-11-23",
    "command": "python -m benchmarks.labelfree --work FOLDER",
}
"""How often the rule was wrong on labelled sets that it was not fitted on: of menus of one to three trained encoders
and the base, the share where what it picked harms by more than `MARGIN` points. Menus of a set share encoders, so
`at_most` counts sets: the upper end of Wilson's 95 % interval for none of 11."""


def label_free_score(vectors: Float[np.ndarray, "N D"], base: Float[np.ndarray, "N E"]) -> Reading:
    """What the rule says of a challenger's unit vectors beside the base's of the same texts, at least `FEWEST`.

    `detail` has the features, and in `suggestion` the words.
    """
    if not np.isfinite(vectors).all():
        found, score = {}, LOST
    else:
        found = features(vectors, base)
        score = RULE.score(found)
    detail = found | {"suggestion": suggestion(score)}
    return Reading(
        key=KEY, name=NAME, value=score, unit="expected points at 5 labels per class", n=len(base), detail=detail
    )


def beside(items: Sequence[Any], base: Float[np.ndarray, "N E"]) -> Callable[[Embedder], Reading]:
    """A probe: `label_free_score` of a challenger's vectors of the items, of which `base` are the base's.

    Raises:
        ValueError: there are fewer than `FEWEST` items.
    """
    if len(base) < FEWEST:
        raise ValueError(f"The label-free score of {len(base)} items is noise; give at least {FEWEST}.")

    def probe(product: Embedder) -> Reading:
        return label_free_score(product.embed(items), base)

    return probe


def suggestion(score: float) -> Suggestion:
    """In words what a score says: a gain or a loss that is worth the name, or neither."""
    if score > MARGIN:
        return "likely helps"
    return "likely harms" if score < -MARGIN else "cannot tell"


def ranked(scores: Mapping[str, float], *, base: str = "base") -> tuple[str, ...]:
    """The challengers by name and the base, likely best first: only what likely helps stands before the base."""
    order = sorted(scores, key=lambda name: -scores[name])
    place = sum(score > MARGIN for score in scores.values())
    return (*order[:place], base, *order[place:])


def told(name: str, score: float) -> str:
    """What the rule says about the best challenger, and how often what it picked was wrong."""
    found = {
        "likely helps": f"find that {name} likely helps (about {score:+.1f} points at 5 labels per class)",
        "cannot tell": f"cannot tell {name}, the best challenger, from the base, and rank the base first",
        "likely harms": f"find that even {name}, the best challenger, likely harms, and rank the base first",
    }[suggestion(score)]
    return (
        f"Measures that need no labels {found}. On {JUDGED['sets']} labelled sets that their rule was not fitted on, "
        f"{100 * JUDGED['harmful']:.0f} % of its {JUDGED['picks']} picks were encoders that harm by more than "
        f"{MARGIN:g} points; so few sets do not exclude {100 * JUDGED['at_most']:.0f} %."
    )


def unranked(kind: Kind, *, probed: bool) -> str:
    """Why the rule ranks no challenger; `probed` where these products give vectors of texts."""
    if kind in ("image", "pair"):
        return "measures that need no labels were tried on texts alone, so nothing ranks it"
    if probed:
        return f"there are fewer than {FEWEST} texts, too few for the measures that need no labels"
    return "its products give no vectors, which the measures that need no labels are taken of"


# --- the features -------------------------------------------------------------------------------------------------


def features(vectors: Float[np.ndarray, "M D"], base: Float[np.ndarray, "N E"]) -> dict[str, float]:
    """What tells a challenger's unit vectors from the base's of the same texts; all 0 for the base itself.

    Raises:
        ValueError: the two are not of the same texts, or there are no more than `K` of them.
    """
    if len(vectors) != len(base) or len(base) <= K:
        raise ValueError(
            f"Got {len(vectors)} vectors of a challenger and {len(base)} of the base; give both of the same texts, "
            f"more than {K}."
        )
    mine, theirs = neighbours(vectors, K)[1], neighbours(base, K)[1]
    return {
        "cliques": cliques(mine) - cliques(theirs),
        "mutual": mutual(mine) - mutual(theirs),
        "strength": strength(vectors) - strength(base),
        "kept": overlap(mine, theirs) - 1.0,
    }


def cliques(graph: Int[np.ndarray, "N K"]) -> float:
    """Of the ordered pairs (a, b) among a text's neighbours, the share where b is a neighbour of a."""
    edges, k = _edges(graph), graph.shape[1]
    return float(edges[graph[:, :, None], graph[:, None, :]].sum() / (len(graph) * k * (k - 1)))


def mutual(graph: Int[np.ndarray, "N K"]) -> float:
    """The share of edges that go both ways."""
    edges = _edges(graph)
    return float((edges & edges.T).sum() / edges.sum())


def overlap(left: Int[np.ndarray, "N K"], right: Int[np.ndarray, "N K"]) -> float:
    """The mean share of a text's neighbours in the one graph that it has in the other, too."""
    return float((left[:, :, None] == right[:, None, :]).any(axis=2).mean())


def strength(vectors: Float[np.ndarray, "N D"]) -> float:
    """Mean Jaccard index of the pairs that one half's own clusters, and those of the other half, put together.

    A half of n texts has about sqrt(n) clusters.
    """
    found = []
    for seed in range(_HALVINGS):
        order = np.random.default_rng(seed).permutation(len(vectors))
        first, second = vectors[order[: len(order) // 2]], vectors[order[len(order) // 2 :]]
        foretold, own = _clusters(first, seed).predict(second), _clusters(second, seed).labels_
        found.append(together(foretold, own))
    return float(np.mean(found))


def together(left: Int[np.ndarray, " N"], right: Int[np.ndarray, " N"]) -> float:
    """Of the pairs that either clustering puts together, the share that both do; 0 where there is none."""
    pairs = np.triu_indices(len(left), k=1)
    one, other = (np.equal.outer(labels, labels)[pairs] for labels in (left, right))
    return float((one & other).sum() / max(1, (one | other).sum()))


def _clusters(vectors: Float[np.ndarray, "N D"], seed: int) -> KMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than clusters: a collapse
        return KMeans(round(len(vectors) ** 0.5), n_init=1, max_iter=30, random_state=seed).fit(vectors)


def _edges(graph: Int[np.ndarray, "N K"]) -> Bool[np.ndarray, "N N"]:
    edges = np.zeros((len(graph), len(graph)), dtype=bool)
    np.put_along_axis(edges, graph, True, axis=1)
    return edges
