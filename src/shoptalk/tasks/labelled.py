"""A judge by labels: four fifths of all labels teach a head, the rest test it, in repeated 80/20 splits.

What is asked is what would be shipped: a head on all labels. A look fits plain logistic regression. The final scores
are those of the kind of head that serves an encoder best by its answers on texts held out (`nn/heads/kinds.py`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int32

from shoptalk import decide
from shoptalk.decide.ladder import NAMES, PLAIN_HEAD, UNLABELLED
from shoptalk.errors import InputError
from shoptalk.nn.heads.kind_answers import HeadFits, Seen, kind_answers, kinds_for, right
from shoptalk.nn.heads.kinds import KINDS, PLAIN, chosen_kinds
from shoptalk.nn.product import Embedder
from shoptalk.records import Example, Measure
from shoptalk.tasks.judge import Classes, Final, Ground, Judge, Rung

TRIED = 10
"""Draws on which kinds of heads are compared: each text is answered twice."""
TRIED_SHARE = 0.15
"""Of a time budget, at most this much goes into trying kinds of heads, on half as many draws if need be."""
REST_SHARE = 0.15
"""Of a time budget, at most this much goes into the other draws."""
FEWEST = decide.FOLDS


@dataclass(frozen=True)
class LabelTest:
    """A supplied test set of the labels that were learned."""

    learned: Classes
    items: tuple[Any, ...]
    labels: Int[np.ndarray, " M"]
    cluster: Int[np.ndarray, " M"]
    pool: tuple[Any, ...]
    named: tuple[str, ...]

    @classmethod
    def of(
        cls, tests: Sequence[Example], learned: Classes, *, pool: tuple[Any, ...], named: tuple[str, ...]
    ) -> "LabelTest":
        """Of the test's examples those whose labels are learned.

        Raises:
            InputError: none has such a label.
        """
        known = [example for example in tests if example.label in learned.names]
        if not known:
            given = ", ".join(sorted({example.label for example in tests})[:5])
            raise InputError(
                f"The test file has labels such as {given}, and none of them is in the labels file "
                f"({learned.names[0]}, ...). Give a test of the same labels."
            )
        labels = np.array([learned.names.index(example.label) for example in known])
        cluster = np.array([example.cluster for example in known])
        return cls(learned, tuple(example.item for example in known), labels, cluster, pool, named)

    def scores(self, product: Embedder, final: Final) -> Bool[np.ndarray, "one M"]:
        """Whether the head that ships, of the final kind on all labels, gives each test example its label."""
        items = [*self.learned.items, *self.items]
        labels = np.concatenate([self.learned.labels, self.labels])
        seen = Seen.by(product, items, self.pool, labels=self.named)
        taught = np.arange(len(labels))[None] < len(self.learned.labels)
        answers = kind_answers(seen, labels, taught, only=final.way)[final.way]
        return right(answers, labels)[:, len(self.learned.labels) :]


@dataclass(frozen=True, kw_only=True)
class LabelJudge(Judge):
    """The label set with its splits, drawn once and used for every entry."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "R N"]
    cluster: Int[np.ndarray, " N"]
    classes: Classes
    items: tuple[Any, ...]
    pool: tuple[Any, ...]
    """Unlabelled items that heads may learn from."""
    named: tuple[str, ...]
    """The labels as texts that heads may learn from; none where the product does not read texts."""
    seed: int
    test: LabelTest | None = None

    @classmethod
    def draw(cls, key: str, measure: Measure, ground: Ground) -> "LabelJudge":
        """Draw the label sets.

        Raises:
            InputError: a label has too few independent examples to hold one out, or the test has none of the labels.
        """
        given, labels = np.unique([example.label for example in ground.examples], return_inverse=True)
        cluster = np.array([example.cluster for example in ground.examples])
        tested = decide.splits(given[labels], cluster, n_draws=ground.n_draws, seed=ground.seed)
        names = tuple(str(name) for name in given)
        named = names if ground.kind == "text" else ()
        classes = Classes(tuple(example.item for example in ground.examples), labels, names)
        return cls(
            key=key,
            measure=measure,
            tested=tested,
            cluster=cluster,
            classes=classes,
            items=classes.items,
            pool=ground.pool,
            named=named,
            seed=ground.seed,
            test=LabelTest.of(ground.tests, classes, pool=ground.pool, named=named) if ground.tests else None,
        )

    def look(self, product: Embedder) -> Bool[np.ndarray, "L N"]:
        """Whether plain heads on the encoder's vectors are right."""
        seen = Seen.of_texts(product.embed(self.classes.items))
        return right(
            kind_answers(seen, self.classes.labels, ~self.tested_by_looks, only=PLAIN)[PLAIN], self.classes.labels
        )

    def final(self, product: Embedder, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The outcomes of the kind of head that is best on all texts held out.

        Kinds are chosen by what they answer on the first draws; the one that is chosen answers the other draws too.
        """
        seen = Seen.by(product, self.classes.items, self.pool, labels=self.named)
        begun = time.perf_counter()
        trial = self._trial(seen, 0, min(FEWEST, len(self.tested)) if beside is None else beside.tried)
        took = time.perf_counter() - begun
        if beside is None and (n_tried := _tried(seconds, took, most=len(self.tested))) > FEWEST:
            trial = trial.and_then(self._trial(seen, FEWEST, n_tried))
        n_tried = len(next(iter(trial.answers.values())))
        outcomes = {kind: right(answered, self.classes.labels) for kind, answered in trial.answers.items()}
        chosen = chosen_kinds(outcomes, self.tested[:n_tried], self.cluster, seed=self.seed)
        step = UNLABELLED if KINDS[chosen.best].smoothed else NAMES if seen.named is not None else PLAIN_HEAD
        if beside is not None:
            answers = self._answers(seen, chosen.best, trial.answers[chosen.best], len(beside.scores))
            return Final(right(answers, self.classes.labels), chosen.best, n_tried, answers, seen, step)
        kinds = sorted({chosen.best, chosen.first, chosen.second})
        a_draw = (sum(trial.seconds[kind] for kind in kinds) + 2 * trial.seconds[PLAIN]) / n_tried
        n_draws = _draws_for(seconds, a_draw, n_tried, most=len(self.tested))
        known = {kind: self._answers(seen, kind, trial.answers[kind], n_draws) for kind in kinds}
        scores = {kind: right(answered, self.classes.labels) for kind, answered in known.items()}
        return Final(
            scores[chosen.best],
            chosen.best,
            n_tried,
            known[chosen.best],
            seen,
            step,
            self._rungs(seen, n_draws, step, names=scores.get(PLAIN)),
            chosen.outcomes(scores) if len(kinds) > 1 else None,
        )

    def _trial(self, seen: Seen, first: int, end: int) -> "_Trial":
        """Every kind's answers on some of the draws."""
        fits = HeadFits(seen, self.classes.labels, ~self.tested[first:end])
        return _Trial({kind: fits.answers(kind) for kind in kinds_for(seen)}, fits.seconds)

    def _answers(
        self, seen: Seen, kind: str, tried: Int32[np.ndarray, "T N"], n_draws: int
    ) -> Int32[np.ndarray, "R N"]:
        """The answers of a kind on all draws, of which those on the first are known."""
        if len(tried) >= n_draws:
            return tried[:n_draws]
        rest = kind_answers(seen, self.classes.labels, ~self.tested[len(tried) : n_draws], only=kind)[kind]
        return np.concatenate([tried, rest])

    def _rungs(self, seen: Seen, n_draws: int, step: str, *, names: Bool[np.ndarray, "R N"] | None) -> tuple[Rung, ...]:
        """What plain heads score without names, and with them, as far as these are steps before the last.

        `names` is what the latter score, where that is known.
        """
        labels, taught = self.classes.labels, ~self.tested[:n_draws]
        rungs = []
        if step != PLAIN_HEAD:
            bare = kind_answers(replace(seen, named=None), labels, taught, only=PLAIN)[PLAIN]
            rungs.append(Rung(PLAIN_HEAD, right(bare, labels)))
        if seen.named is not None and step != NAMES:
            if names is None:
                names = right(kind_answers(seen, labels, taught, only=PLAIN)[PLAIN], labels)
            rungs.append(Rung(NAMES, names))
        return tuple(rungs)


@dataclass(frozen=True)
class _Trial:
    """What kinds of heads answer on the draws on which they are compared, and the seconds that took."""

    answers: dict[str, Int32[np.ndarray, "T N"]]
    seconds: dict[str, float]

    def and_then(self, later: "_Trial") -> "_Trial":
        """The same on the draws of both."""
        answers = {kind: np.concatenate([answered, later.answers[kind]]) for kind, answered in self.answers.items()}
        return _Trial(answers, {kind: seconds + later.seconds[kind] for kind, seconds in self.seconds.items()})


def _tried(seconds: float | None, took: float, *, most: int) -> int:
    """On how many draws kinds are compared, where the first five took so long.

    Kinds are compared three times in a run: on the base, on the challenger, and for what is shipped.
    """
    first, all_of_them = min(FEWEST, most), min(TRIED, most)
    return all_of_them if seconds is None or 3 * took * TRIED / FEWEST <= TRIED_SHARE * seconds else first


def _draws_for(seconds: float | None, a_draw: float, n_tried: int, *, most: int) -> int:
    """On how many draws in all the chosen kind answers, where one draw more takes `a_draw` seconds.

    Whole rounds of five, so that every text is tested equally often; the base and the challenger take as many.
    """
    if seconds is None:
        return most
    more = int(REST_SHARE * seconds / (2 * a_draw)) // decide.FOLDS * decide.FOLDS
    return min(most, n_tried + more)
