"""A judge by labels: k-shot label sets teach a head, the other examples test it.

A look fits plain logistic regression. The final scores are those of the kind of head that serves an encoder best,
chosen on other clusters than it is scored on (`nn/heads/kinds.py`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from shoptalk import decide
from shoptalk.errors import InputError
from shoptalk.nn.heads.kind_answers import Seen, kind_answers, right
from shoptalk.nn.heads.kinds import KINDS, PLAIN, chosen_kinds
from shoptalk.nn.product import Embedder
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.records import Example, Measure
from shoptalk.tasks.judge import NAMES, PLAIN_HEAD, UNLABELLED, Classes, Final, Ground, Judge, Rung

TRIED_SHARE = 0.3
"""Of a time budget, at most this much goes into trying kinds of heads; they are then tried on the first draws alone."""
REST_SHARE = 0.25
"""Of a time budget, at most this much goes into the other draws with the kinds that were chosen."""
TIMED_DRAWS, FEWEST_DRAWS = 2, 5


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
        return cls(learned, tuple(example.text for example in known), labels, cluster, pool, named)

    def scores(self, product: Embedder, final: Final) -> Bool[np.ndarray, "R M"]:
        """Whether heads of the final kind, fitted on the same draws, give each test example its label."""
        items = [*self.learned.items, *self.items]
        labels = np.concatenate([self.learned.labels, self.labels])
        seen = Seen.by(product, items, self.pool, labels=self.named)
        training = self.learned.training[: len(final.scores)]
        answers = kind_answers(seen, labels, training, only=final.way)[final.way]
        return right(answers, labels)[:, len(self.learned.labels) :]


@dataclass(frozen=True, kw_only=True)
class LabelJudge(Judge):
    """The label set with its k-shot draws, drawn once and used for every entry."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "R N"]
    cluster: Int[np.ndarray, " N"]
    shots: int
    classes: Classes
    items: tuple[Any, ...]
    pool: tuple[Any, ...]
    """Unlabelled items that heads may learn from."""
    named: tuple[str, ...]
    """The labels as texts that heads may learn from; none where the product does not read texts."""
    seed: int
    test: LabelTest | None = None
    remark: str | None = None
    """Which labels make a draw smaller than is asked for, and what to do."""

    @classmethod
    def draw(cls, key: str, measure: Measure, ground: Ground) -> "LabelJudge":
        """Draw the label sets.

        Raises:
            InputError: a label has too few independent examples to hold one out, or the test has none of the labels.
        """
        given, labels = np.unique([example.label for example in ground.examples], return_inverse=True)
        cluster = np.array([example.cluster for example in ground.examples])
        drawn = decide.draws(given[labels], cluster, shots=ground.shots, n_draws=ground.n_draws, seed=ground.seed)
        names = tuple(str(name) for name in given)
        named = names if ground.kind == "text" else ()
        classes = Classes(tuple(example.text for example in ground.examples), labels, names, drawn.training)
        test = LabelTest.of(ground.tests, classes, pool=ground.pool, named=named) if ground.tests else None
        shots = int(drawn.training.shape[1]) // len(names)
        return cls(
            key=key,
            measure=measure,
            tested=drawn.tested,
            cluster=cluster,
            shots=shots,
            classes=classes,
            items=classes.items,
            pool=ground.pool,
            named=named,
            seed=ground.seed,
            test=test,
            remark=decide.fewer_shots(given[labels], cluster, shots=ground.shots),
        )

    def look(self, product: Embedder) -> Bool[np.ndarray, "R N"]:
        """Whether plain heads on the encoder's vectors are right."""
        return kshot_outcomes(product.embed(self.classes.items), self.classes.labels, self.classes.training)

    def final(self, product: Embedder, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The outcomes of kinds of heads that were chosen on other clusters than they are scored on; the answers are of
        the kind that is best on all.

        Kinds are chosen by what they answer on the first draws; those that are chosen, and no others, answer the other
        draws too. Of limited time two draws are timed first.
        """
        seen = Seen.by(product, self.classes.items, self.pool, labels=self.named)
        labels, training = self.classes.labels, self.classes.training
        timed = min(TIMED_DRAWS, len(training))
        begun = time.perf_counter()
        answers = kind_answers(seen, labels, training[:timed])
        if beside is not None:
            n_tried, n_draws = beside.tried, len(beside.scores)
        else:
            n_tried, n_draws = _draws_for(seconds, (time.perf_counter() - begun) / timed, most=len(training))
        more = kind_answers(seen, labels, training[timed:n_tried])
        answers = {kind: np.concatenate([first, more[kind]])[:n_tried] for kind, first in answers.items()}
        outcomes = {kind: right(answered, labels) for kind, answered in answers.items()}
        chosen = chosen_kinds(outcomes, self.tested[:n_tried], self.cluster, seed=self.seed)
        kept = {kind: answers[kind] for kind in (chosen.first, chosen.second, chosen.best)}
        if n_tried < n_draws:
            rest = {kind: kind_answers(seen, labels, training[n_tried:n_draws], only=kind)[kind] for kind in kept}
            kept = {kind: np.concatenate([first, rest[kind]]) for kind, first in kept.items()}
        scores = chosen.outcomes({kind: right(answered, labels) for kind, answered in kept.items()})
        step = UNLABELLED if KINDS[chosen.best].smoothed else NAMES if seen.named is not None else PLAIN_HEAD
        return Final(scores, chosen.best, n_tried, kept[chosen.best], seen, step, self._rungs(seen, n_draws, step))

    def _rungs(self, seen: Seen, n_draws: int, step: str) -> tuple[Rung, ...]:
        """What plain heads score without names, and with them, as far as these are steps before the last."""
        labels, training = self.classes.labels, self.classes.training[:n_draws]
        steps = {PLAIN_HEAD: replace(seen, named=None)} | ({NAMES: seen} if seen.named is not None else {})
        return tuple(
            Rung(name, right(kind_answers(view, labels, training, only=PLAIN)[PLAIN], labels))
            for name, view in steps.items()
            if name != step
        )


def _draws_for(seconds: float | None, a_draw: float, *, most: int) -> tuple[int, int]:
    """On how many draws kinds are tried and on how many the chosen ones answer, where a draw takes `a_draw` seconds.

    Kinds are tried three times in a run: on the base, on the challenger, and for what is shipped.
    """
    if seconds is None:
        return most, most
    n_tried = min(most, max(FEWEST_DRAWS, int(TRIED_SHARE * seconds / (3 * a_draw))))
    return n_tried, min(most, n_tried + int(REST_SHARE * seconds / (2 * a_draw)))
