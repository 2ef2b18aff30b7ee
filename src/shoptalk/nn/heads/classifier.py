"""The classifier that is shipped on top of an encoder: a head, its temperature, its gate, and the pool it may need.

classifier = train(vectors, labels, cluster, unlabelled=vectors_of_text, seed=0)
classifier.answers(vectors)         # label, probability, and whether the text is in scope at all
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from shoptalk.decide import FOLDS, deal_folds
from shoptalk.errors import InputError
from shoptalk.index import Index, build
from shoptalk.nn.heads.kinds import INVERSE_PENALTY, KINDS, Kind, fit_kind, usable, views_of
from shoptalk.nn.heads.logistic import LinearHead, fit_multi, fit_soft, log_softmax, one_hot
from shoptalk.nn.heads.names import speak
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.heads.scope import Gate, energy_of, features_of, fit_gate, nearest

FEWEST_FOR_GATE = 50
"""Texts in scope below which no threshold is chosen: half a point of 50 is less than one text."""


@dataclass(frozen=True)
class Answer:
    """The prediction for one text. `labels` holds one label, or any number where a text may have several."""

    labels: tuple[str, ...]
    probability: float
    """Of the likeliest label, calibrated."""
    in_scope: bool


@dataclass(frozen=True)
class Classifier:
    """A head with calibrated probabilities and a gate, by which it abstains."""

    kind: str
    head: LinearHead
    temperature: float
    multi_label: bool = False
    threshold: float = 0.5
    """With several labels per text: the probability from which a label is given."""
    pool: Pool | None = field(default=None, repr=False)
    named: bool = False
    """Whether it learned from the labels' names too, as its kind sees them."""
    gate: Gate | None = None
    examples: Float[np.ndarray, "N D"] | None = field(default=None, repr=False)
    """The labelled texts' vectors, which the gate compares with."""
    none: LinearHead | None = field(default=None, repr=False)
    """A head that also has the class "none of them", where such texts were given."""
    dev: Mapping[str, float] = field(default_factory=dict)
    """What each kind scored on labelled texts left out of its training: per cent right, or micro-F1 x 100; empty where
    no label has two examples."""

    def see(self, vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        """Texts' unit vectors as the head sees them."""
        return vectors if self.pool is None else self.pool.smooth(vectors)

    def probabilities(self, vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N C"]:
        """Each label's calibrated probability; rows add up to 1 unless a text may have several labels."""
        scores = self.head.scores(self.see(vectors)) / self.temperature
        return np.asarray(1 / (1 + np.exp(-scores)) if self.multi_label else np.exp(log_softmax(scores)))

    def answers(self, vectors: Float[np.ndarray, "N D"]) -> list[Answer]:
        """The prediction for each text."""
        chances, admitted = self.probabilities(vectors), self.admits(vectors)
        names = [str(label) for label in self.head.labels]
        answers = []
        for row, inside in zip(chances, admitted, strict=True):
            best = int(row.argmax())
            labels = (
                tuple(names[c] for c in np.flatnonzero(row >= self.threshold)) if self.multi_label else (names[best],)
            )
            answers.append(Answer(labels, float(row[best]), bool(inside)))
        return answers

    def admits(self, vectors: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which texts are in scope; all of them where there is no gate."""
        if self.gate is None:
            return np.ones(len(vectors), dtype=bool)
        if self.none is None or self._index is None:
            return self.gate.admits(energy_of(self.head.scores(self.see(vectors))))
        return self.gate.admits(features_of(self.none.scores(vectors), nearest(self._index, vectors)))

    @cached_property
    def _index(self) -> Index | None:
        return None if self.examples is None else build(self.examples)


def train(
    vectors: Float[np.ndarray, "N D"],
    labels: Sequence[str],
    cluster: Int[np.ndarray, " N"],
    *,
    unlabelled: Float[np.ndarray, "M D"] | None = None,
    named: Float[np.ndarray, "C D"] | None = None,
    outside: Float[np.ndarray, "O D"] | None = None,
    scope_loss: float = 0.5,
    kinds: Sequence[str] | None = None,
    seed: int = 0,
) -> Classifier:
    """The classifier for texts with one label each; which kind of head is chosen by five-fold cross-validation.

    Args:
        vectors: unit vectors of the labelled texts.
        labels: their labels.
        cluster: near-duplicates have the same number and share a fold.
        unlabelled: unit vectors of unlabelled texts of the same domain, without which only the linear kind is there.
        named: unit vectors of the labels' names in their sorted order, which are examples too where they say anything.
        outside: unit vectors of texts that are out of scope.
        scope_loss: points of accuracy in scope that abstaining may cost.
        kinds: those to choose among; all that can be fitted by default.
        seed: of the folds.

    Raises:
        InputError: there are fewer than two labels, or a kind is unknown or needs unlabelled texts that are not there.
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"A classifier needs at least two labels, and was given {list(map(str, names))}. Add examples of another."
        )
    pool = Pool.of(unlabelled) if unlabelled is not None and len(unlabelled) > 1 else None
    chosen = _known(kinds, pool) if kinds is not None else usable(pool)
    views = views_of(vectors, pool)
    spoken = views_of(named, pool) if named is not None else {}
    fold = deal_folds(codes, cluster, seed=seed)
    held = {kind: _held_out(KINDS[kind], views, codes, fold, names, pool, spoken) for kind in chosen}
    speaking = named is not None and speak(named, vectors, codes)
    several = _judged(codes, fold)
    judged = np.ones(len(codes), dtype=bool) if speaking else several
    dev = {
        kind: 100 * float((scores.argmax(axis=1) == codes)[judged].mean())
        for kind, scores in held.items()
        if judged.any()
    }
    # With one example per label a choice would rest on names alone; on public sets the last kind is best
    # (benchmarks/README.md).
    kind = max(chosen, key=lambda name: dev[name]) if several.any() else chosen[-1]
    smoothed = KINDS[kind].smoothed
    head = fit_kind(KINDS[kind], views[smoothed], codes, names, pool, spoken.get(smoothed))
    gate, none = _gate(vectors, codes, fold, held[kind], outside, scope_loss)
    return Classifier(
        kind=kind,
        head=head,
        temperature=temperature_of(held[kind][judged], codes[judged]) if judged.any() else 1.0,
        pool=pool if smoothed else None,
        named=named is not None and speak(spoken[smoothed], views[smoothed], codes),
        gate=gate,
        examples=vectors if none is not None else None,
        none=none,
        dev=dev,
    )


def train_multi(
    vectors: Float[np.ndarray, "N D"],
    labels: Sequence[Sequence[str]],
    cluster: Int[np.ndarray, " N"],
    *,
    seed: int = 0,
) -> Classifier:
    """The classifier for texts with any number of labels, or none: one regression per label, and one threshold.

    The threshold is the one with the best micro-F1 on texts left out of training.

    Raises:
        InputError: no text has a label.
    """
    names = np.array(sorted({label for row in labels for label in row}))
    if not len(names):
        raise InputError("None of the labelled texts has a label. Give a file whose label column is filled.")
    targets = np.array([[name in row for name in names] for row in labels], dtype=np.float32)
    penalty = 1 / (INVERSE_PENALTY * len(vectors))
    fold = deal_folds(targets.argmax(axis=1), cluster, seed=seed)
    held = np.zeros_like(targets)
    for part in range(FOLDS):
        rest = fold != part
        if rest.any() and not rest.all():
            held[~rest] = fit_multi(vectors[rest], targets[rest], names, penalty=penalty).scores(vectors[~rest])
    chances = 1 / (1 + np.exp(-held))
    steps = np.linspace(0.05, 0.95, 37)
    reached = np.array([micro_f1(chances >= level, targets > 0) for level in steps])
    best = np.flatnonzero(reached == reached.max())
    threshold = float(steps[best[len(best) // 2]])  # where many do equally well, not the edge of them
    head = fit_multi(vectors, targets, names, penalty=penalty)
    score = 100 * micro_f1(chances >= threshold, targets > 0)
    return Classifier("linear", head, 1.0, multi_label=True, threshold=threshold, dev={"linear": score})


def micro_f1(predicted: Bool[np.ndarray, "N C"], true: Bool[np.ndarray, "N C"]) -> float:
    """2 TP / (2 TP + FP + FN) over all texts and labels; 1 where no label is true and none was predicted."""
    hits = 2 * float((predicted & true).sum())
    total = float(predicted.sum() + true.sum())
    return hits / total if total else 1.0


def temperature_of(scores: Float[np.ndarray, "N C"], codes: Int[np.ndarray, " N"]) -> float:
    """The temperature of least cross-entropy on texts that the head was not trained on (Guo et al. 2017).

    Unlike there, its logarithm has a normal prior, which a hundred texts outweigh: without it, a few texts that were
    all answered correctly would give probabilities of 1.
    """

    from scipy.optimize import minimize_scalar  # here, because answering needs no scipy

    def loss(log_temperature: float) -> float:
        log = log_softmax(scores / np.exp(log_temperature))
        return log_temperature**2 / 2 - float(log[np.arange(len(codes)), codes].sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))


def described(classifier: Classifier) -> str:
    """One line for people: the kind that was chosen, what each scored, and whether it abstains."""
    measure = "micro-F1" if classifier.multi_label else "% right"
    scores = ", ".join(f"{kind} {score:.1f}" for kind, score in classifier.dev.items()) or "no label has two examples"
    names = "; reads the labels' names too" if classifier.named else ""
    scope = "abstains out of scope" if classifier.gate is not None else "never abstains"
    return f"{classifier.kind} head ({measure} on labels left out: {scores}){names}; {scope}"


def _known(kinds: Sequence[str], pool: Pool | None) -> tuple[str, ...]:
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"There is no kind of head {kind!r}. Give one of: {', '.join(KINDS)}.")
        if pool is None and KINDS[kind].smoothed:
            raise InputError(f"A {kind!r} head needs at least two unlabelled texts. Give them, or another kind.")
    return tuple(kinds)


def _judged(codes: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Which texts have a label that another fold has too: no head can predict a label that it was not fitted on."""
    taught = np.zeros((int(codes.max()) + 1, FOLDS), dtype=bool)
    taught[codes, fold] = True
    return np.asarray(taught.sum(axis=1)[codes] > 1)


def _held_out(
    kind: Kind,
    views: Mapping[bool, Float[np.ndarray, "N D"]],
    codes: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    names: Shaped[np.ndarray, " C"],
    pool: Pool | None,
    spoken: Mapping[bool, Float[np.ndarray, "C D"]],
) -> Float[np.ndarray, "N C"]:
    """Each text's scores by a head that was fitted on the other folds, and on the labels' names where they help."""
    vectors, scores = views[kind.smoothed], np.zeros((len(codes), len(names)), dtype=np.float32)
    for part in range(FOLDS):
        rest = fold != part
        if rest.any() and not rest.all():
            head = fit_kind(kind, vectors[rest], codes[rest], names, pool, spoken.get(kind.smoothed))
            scores[~rest] = head.scores(vectors[~rest])
    return scores


def _gate(
    vectors: Float[np.ndarray, "N D"],
    codes: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    held: Float[np.ndarray, "N C"],
    outside: Float[np.ndarray, "O D"] | None,
    loss: float,
) -> tuple[Gate | None, LinearHead | None]:
    """The gate, and the head with "none of them" that it needs where there are texts out of scope.

    Those are split into folds too: each is judged by heads that have not seen it.
    """
    right = held.argmax(axis=1) == codes
    if len(vectors) < FEWEST_FOR_GATE or not right.any():
        return None, None
    if outside is None or len(outside) < FOLDS:
        return fit_gate(energy_of(held), right, None, loss=loss), None
    classes = held.shape[1]
    names, other = np.arange(classes + 1), np.arange(len(outside)) % FOLDS
    points, numbers = np.concatenate([vectors, outside]), np.concatenate([codes, np.full(len(outside), classes)])
    where, targets = np.concatenate([fold, other]), one_hot(numbers, classes + 1)
    features = np.zeros((len(points), 6))
    for part in range(FOLDS):
        rest, apart = where != part, where == part
        head = fit_soft(points[rest], targets[rest], names, penalty=1 / (INVERSE_PENALTY * int(rest.sum())))
        near = nearest(build(vectors[rest[: len(vectors)]]), points[apart])
        features[apart] = features_of(head.scores(points[apart]), near)
    none = fit_soft(points, targets, names, penalty=1 / (INVERSE_PENALTY * len(points)))
    return fit_gate(features[: len(vectors)], right, features[len(vectors) :], loss=loss), none
