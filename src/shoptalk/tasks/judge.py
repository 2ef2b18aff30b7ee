"""What a verdict is about: a judge scores a model on examples, draw by draw (DESIGN, sections 4 and 5).

A task is one file, which makes a judge of what a run has (`Ground`), and a line in `tasks/__init__.py`. Whatever it
judges, the stages choose, guard and decide by its scores alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from shoptalk.decide import FOLDS
from shoptalk.nn.heads.kind_answers import Seen, load_seen, save_seen
from shoptalk.nn.product import Kind
from shoptalk.records import Example, Measure, Pair
from shoptalk.tasks.compressor import Compressed
from shoptalk.text.corpus import Corpus

LOOKS = 20
"""Draws of a look, at most; the verdict's scores take more."""
LOOKED = 46_200
"""Examples times draws that a look needs: 2,310 examples on 20 draws tell BANKING77's gains apart to 0.3 points, and a
draw of twice as many takes twice as long. Many examples have fewer draws, in whole rounds of the five-fold splits."""
Score = Bool[np.ndarray, "R N"] | Float[np.ndarray, "R N"]
"""Of each draw and example: whether the answer is right, or a number of which more is better."""


@dataclass(frozen=True)
class Ground:
    """What a run has that a task may judge by."""

    kind: Kind
    """Of the product."""
    examples: tuple[Example, ...]
    """Labelled ones; none where there are no labels."""
    tests: tuple[Example, ...]
    """Of a supplied test set."""
    train: Corpus
    held_out: Corpus
    """Conversations that training never sees."""
    pool: tuple[Any, ...]
    """Unlabelled items that heads may learn from."""
    n_draws: int
    seed: int
    pairs: tuple[Pair, ...] = ()
    """Questions and the passages of `train` that answer them, given or mined."""
    random: bool = False
    """Whether weights of the base, or a part of them, are random."""
    young: bool = False
    """Whether they were when it began, however much it has been trained since."""


@dataclass(frozen=True)
class Classes:
    """Labelled examples in the order of a judge's examples, where what it asks for is their labels."""

    items: tuple[Any, ...]
    labels: Int[np.ndarray, " N"]
    """As numbers of `names`."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class Rung:
    """What a model would score if fewer steps were taken than are shipped."""

    step: str
    """The last step that was taken: `PLAIN_HEAD`, `NAMES` or `UNLABELLED` of `decide/ladder.py`."""
    scores: Score
    """On the same draws as `Final.scores`."""


@dataclass(frozen=True)
class Final:
    """A model as it would be shipped: with the head, or the decoding, that serves it best."""

    scores: Score
    """On the first R of the judge's draws: as many as time was given for."""
    way: str = ""
    """In a word, which head or decoding that is; empty where there is but one."""
    tried: int = 0
    """Draws on which the ways were compared."""
    answers: Int32[np.ndarray, "R N"] | None = None
    """Where the judge asks for labels, those that are answered that way, as numbers."""
    seen: Seen | None = None
    """Where heads answer, the vectors that they see."""
    step: str = ""
    """The last step on the ladder that `scores` take, as in `Rung.step`; empty where no heads answer."""
    rungs: tuple[Rung, ...] = ()
    """The steps before `step`, in the order of the ladder: each adds one thing to the one before, and `scores` add
    the last. So the gains from rung to rung and from the last rung to `scores` add up to what heads bring in all.
    A step that is not shipped (unlabelled text, where a head without it answers best) is no rung."""
    crossed: Score | None = None
    """Where heads were chosen and halves of the examples disagree about the choice: the scores where each half is
    answered by the kind that is best on the other half. A gain over a rung, of which one side chose and the other did
    not, is that of these; where both sides choose on all examples, neither is favoured, and `scores` are compared."""

    def save(self, folder: Path) -> None:
        """As files in a new folder; `load_final` reads them."""
        folder.mkdir(parents=True)
        parts = {"answers": self.answers, "crossed": self.crossed}
        np.savez_compressed(
            folder / "final.npz",
            allow_pickle=False,
            scores=self.scores,
            way=np.array(self.way),
            tried=np.array(self.tried),
            step=np.array(self.step),
            rungs=np.array([rung.step for rung in self.rungs], dtype=np.str_),
            **{f"rung{i}": rung.scores for i, rung in enumerate(self.rungs)},
            **{name: part for name, part in parts.items() if part is not None},
        )
        if self.seen is not None:
            save_seen(folder, self.seen)


def load_final(folder: Path) -> Final:
    """What `Final.save` wrote; vectors are mapped into memory, not read."""
    with np.load(folder / "final.npz", allow_pickle=False) as file:
        return Final(
            file["scores"],
            str(file["way"]),
            int(file["tried"]),
            file.get("answers"),
            load_seen(folder),
            str(file["step"]),
            tuple(Rung(str(step), file[f"rung{i}"]) for i, step in enumerate(file["rungs"])),
            file.get("crossed"),
        )


def refuse_other_final(final: Final, judge: "Judge") -> None:
    """Refuse final scores that were read from a folder and are not this judge's.

    Raises:
        ValueError: they are not of its examples on some of its draws, or answers do not belong with them.
    """
    shape, (n_draws, n_examples) = final.scores.shape, judge.tested.shape
    if len(shape) != 2 or not 1 <= shape[0] <= n_draws or shape[1] != n_examples or final.scores.dtype.kind not in "bf":
        expected = f"expected at most {n_draws} draws of {n_examples} examples"
        raise ValueError(f"final scores are {shape} of {final.scores.dtype}, {expected}")
    if not np.isfinite(final.scores).all():
        raise ValueError(f"final scores of {n_draws} draws are not all finite")
    if not 0 <= final.tried <= n_draws:
        raise ValueError(f"{final.tried} draws were tried, expected at most {n_draws}")
    for step, scores in (*((rung.step, rung.scores) for rung in final.rungs), ("crossed", final.crossed)):
        if scores is not None and (scores.shape != shape or not np.isfinite(scores).all()):
            raise ValueError(f"scores of the rung {step!r} are not one finite number for each final score")
    if judge.classes is None:
        return
    answers, n_classes = final.answers, len(judge.classes.names)
    if answers is None or answers.shape != shape or answers.dtype.kind != "i":
        raise ValueError("final answers are missing, or are not one for each final score")
    if answers.min() < 0 or answers.max() >= n_classes:
        raise ValueError(
            f"final answers are {answers.min()} to {answers.max()}, expected numbers of {n_classes} labels"
        )


class ReachedShare(NamedTuple):
    """A further reading of a judge's scores: how many of them reach a bound, in per cent."""

    key: str
    name: str
    """For people: "R@1"."""
    least: float
    of: slice = slice(None)
    """Which examples' scores."""


class Untrained(NamedTuple):
    """What one has without any training."""

    name: str
    """For people, in the plural: "the captions of ..."."""
    scores: Score
    """On the judge's examples, as a look's."""


@runtime_checkable
class SuppliedTest(Protocol):
    """A supplied test set, which nothing is chosen on and which is read once."""

    @property
    def cluster(self) -> Int[np.ndarray, " M"]:
        """Of each test example, as `Judge.cluster`."""

    def scores(self, product: Any, final: Final) -> Score:
        """Of a model as it is shipped (`final.way`), on the draws of `final`: one column per test example."""


class Judge(ABC):
    """What a verdict asks of a model: scores of N examples on R draws of what it may learn from."""

    key: str
    """By which readings and guards know it: the task's name."""
    measure: Measure
    tested: Bool[np.ndarray, "R N"]
    """Which draw asks which examples: all, where the draws teach nothing."""
    cluster: Int[np.ndarray, " N"]
    """Examples that are not independent share a number: near duplicates, turns of a conversation."""
    classes: Classes | None = None
    """Where what is asked for is a label."""
    items: tuple[Any, ...] = ()
    """What a look reads, for its price."""
    test: SuppliedTest | None = None
    shares: tuple[ReachedShare, ...] = ()
    """What else is read off its scores."""
    remark: str | None = None
    """A sentence for people, where the examples are not what was asked for."""
    untrained: Untrained | None = None
    """Where the base is no rival, since its weights are random: what a challenger must not fall below instead."""
    compressor: Compressed | None = None
    """The same of a language model, on the texts that `final` reads: what it must take fewer bits than."""

    @property
    def looked(self) -> str:
        """What a look measures, for people: "accuracy with all labels, 80/20 splits"."""
        return self.measure.name if self.classes is None else f"{self.measure.name} with all labels, 80/20 splits"

    @property
    def tested_by_looks(self) -> Bool[np.ndarray, "L N"]:
        """Of `tested`, the draws of looks: the first, as many as it takes to choose by (`LOOKS`, `LOOKED`)."""
        rounds = round(LOOKED / (FOLDS * self.tested.shape[1]))  # every example is tested once in each
        return self.tested[: min(LOOKS, max(1, rounds) * FOLDS)]

    @abstractmethod
    def look(self, product: Any) -> Score:
        """Scores that are cheap to have, at every checkpoint: of a plain head, say, on `tested_by_looks`."""

    @abstractmethod
    def final(self, product: Any, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """Scores of the model as it would be shipped.

        `beside` is the base's, on whose draws a challenger is scored. Of a whole run's `seconds`, where they are
        limited, the base's takes its share, and fewer draws if they take longer.
        """


Task = Callable[[Ground], Judge | None]
"""Makes a task's judge; None where the run has nothing to judge by."""
