"""An encoder that is tuned for its labels, beside the same one left as it is: which of the two to ship.

Both learn from four fifths of the labels and answer the other fifth. Where the tuned one is ahead by more than a
standard error of their difference (or the user accepts it unproven), it is trained once more, on all labels and for as
many steps as did best, and that is shipped. What says how sure it is, its temperature and its gate, are the first
one's: they need texts that no part of it has seen.

With unlabelled text `classify` also learns what the frozen encoder's classifier says of it: self-training (Yarowsky
1995) with a student that is a whole network under noise (Xie et al. 2020, "Noisy Student", section 2). A head of the
same kind is then fitted on the tuned vectors, which answers better than the student's own (docs/log.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from shoptalk.commands.tune import Method, Tuned, tune
from shoptalk.decide import deal_folds
from shoptalk.errors import InputError
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import classifier, names
from shoptalk.nn.heads.classifier import Classifier
from shoptalk.nn.heads.kind_answers import Seen
from shoptalk.nn.heads.kinds import FEWEST_IN_POOL, KINDS, fit_kind, views_of
from shoptalk.nn.heads.logistic import log_softmax, one_hot
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.heads.scope import energy_of, fit_gate
from shoptalk.nn.heads.selftrain import sharpened
from shoptalk.nn.product import Embedder
from shoptalk.records import Example
from shoptalk.stages.world import World

FROZEN = "frozen"
LABELLED_SHARE = 0.2
"""Of the examples that a tuning on unlabelled text sees, about so many are labelled; they are repeated for it."""
PASSES = 1.0
"""Through a head's opinions of unlabelled text: a second pass learns their mistakes (docs/log.md)."""


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from: N labelled texts, and M without labels."""

    texts: tuple[str, ...]
    labels: Shaped[np.ndarray, " C"]
    codes: Int[np.ndarray, " N"]
    cluster: Int[np.ndarray, " N"]
    pool: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[Example], pool: Sequence[str]) -> "Lesson":
        """From labelled examples and unlabelled texts."""
        labels, codes = np.unique([example.label for example in examples], return_inverse=True)
        cluster = np.array([example.cluster for example in examples])
        return cls(tuple(example.text for example in examples), labels, codes, cluster, tuple(pool))

    def seen_by(self, product: Embedder) -> Seen:
        """All of it as an encoder sees it."""
        return Seen.by(product, self.texts, self.pool, labels=self.labels.tolist())

    def texts_of(self, part: Bool[np.ndarray, " N"]) -> list[str]:
        """The labelled texts of a part."""
        return [text for text, inside in zip(self.texts, part, strict=True) if inside]

    def targets_of(self, part: Bool[np.ndarray, " N"]) -> Float[np.ndarray, "n C"]:
        """Their labels, one-hot."""
        return one_hot(self.codes[part], len(self.labels))

    def classifier(self, seen: Seen, part: Bool[np.ndarray, " N"] | None = None, **choices: Any) -> Classifier:
        """The classifier that the labels, or a part of them, make on an encoder as it is; `choices` go to `train`."""
        part = np.ones(len(self.codes), dtype=bool) if part is None else part
        labels, cluster = self.labels[self.codes[part]].tolist(), self.cluster[part]
        return classifier.train(seen.texts[part], labels, cluster, unlabelled=seen.pool, named=seen.named, **choices)


def tuned_or_none(
    world: World,
    product: Embedder,
    lesson: Lesson,
    before: Seen,
    *,
    method: Method,
    scope_loss: float,
    accept_unproven: bool,
) -> tuple[Embedder, Classifier] | None:
    """The tuned encoder with its classifier; None where it is not to be shipped.

    `before` is the lesson as the untouched encoder sees it; `scope_loss` are points of accuracy that abstaining may
    cost.

    Raises:
        InputError: a label has too few distinct texts for one to be held out.
        ConfigError: half of the budget does not pay for one step.
    """
    seed, report = world.config.seed, world.report
    dev = deal_folds(lesson.codes, lesson.cluster, seed=seed) == 0
    rest, every = ~dev, np.ones(len(dev), dtype=bool)
    if not dev.any() or len(np.unique(lesson.codes[rest])) < len(lesson.labels):
        raise InputError(
            "Tuning holds a fifth of the labels out: give at least two distinct examples of each label, or leave "
            "labels with fewer out with --set curate.rare_labels=drop."
        )
    truth = lesson.codes[dev]
    frozen = lesson.classifier(before, rest, seed=seed)
    trial = learn(world, product, lesson, before, frozen, rest, method, dev=dev)
    head = headed(lesson, trial, frozen.kind, rest)
    scores = head.head.scores(head.see(embed(trial.product, lesson.texts_of(dev))))
    better = scores.argmax(axis=1) == truth
    worse = frozen.head.scores(frozen.see(before.texts[dev])).argmax(axis=1) == truth
    says = f"{100 * better.mean():.1f} % against the frozen encoder's {100 * worse.mean():.1f} % on {len(truth)} texts"
    if not (_clearly(better, worse) or accept_unproven):
        report.say(
            f"finetune: {method} reaches {says}: not clearly better, so the encoder stays as it is "
            "(--accept-unproven ships it all the same)"
        )
        return None
    report.say(f"finetune: {method} reaches {says}; now it learns from all labels")
    teacher = lesson.classifier(before, seed=seed)
    final = learn(world, product, lesson, before, teacher, every, method, most_steps=max(1, trial.steps))
    gate = None
    if len(truth) >= classifier.FEWEST_FOR_GATE and better.any():
        gate = fit_gate(energy_of(scores), better, None, loss=scope_loss)
    return final.product, replace(
        headed(lesson, final, teacher.kind, every),
        temperature=classifier.temperature_of(scores, truth),
        named=teacher.named,
        gate=gate,
        dev={method: 100 * float(better.mean()), FROZEN: 100 * float(worse.mean())},
    )


def examples_for(
    lesson: Lesson, seen: Seen, teacher: Classifier, part: Bool[np.ndarray, " N"], method: Method
) -> tuple[list[str], Float[np.ndarray, "n C"], Float[np.ndarray, " n"]]:
    """Texts, targets and weights of a tuning on a part of the labels.

    Labels' names are texts too, where the teacher, a classifier on the frozen encoder, believes them. With unlabelled
    text `classify` also learns what the teacher says of it, sharpened; each text counts as that is sure.
    """
    texts, targets = lesson.texts_of(part), lesson.targets_of(part)
    weights = np.ones(len(texts))
    if teacher.named:
        texts += [names.spoken(label) for label in lesson.labels.tolist()]
        targets = np.concatenate([targets, np.eye(len(lesson.labels), dtype=np.float32)])
        weights = np.concatenate([weights, np.full(len(lesson.labels), names.EXAMPLES)])
    if _takes_opinions(lesson, method):
        # Seen as any other text, one of the pool would be its own nearest neighbour.
        view = teacher.pool.smoothed if teacher.pool is not None else seen.pool
        guesses = sharpened(np.exp(log_softmax(teacher.head.scores(view))))
        times = max(1, round(LABELLED_SHARE / (1 - LABELLED_SHARE) * len(lesson.pool) / len(texts)))
        texts = [*texts * times, *lesson.pool]
        targets = np.concatenate([*[targets] * times, guesses]).astype(np.float32)
        weights = np.concatenate([*[weights] * times, guesses.max(axis=1)])
    return texts, targets, weights


def learn(
    world: World,
    product: Embedder,
    lesson: Lesson,
    seen: Seen,
    teacher: Classifier,
    part: Bool[np.ndarray, " N"],
    method: Method,
    *,
    dev: Bool[np.ndarray, " N"] | None = None,
    most_steps: int | None = None,
) -> Tuned:
    """The encoder tuned on a part of the labels, in half of the budget's time.

    `seen` and `teacher` are the lesson and a classifier of that part on the encoder as it was. With a `dev` part the
    best look at it is what counts, without one the last of at most `most_steps` steps.
    """
    texts, targets, weights = examples_for(lesson, seen, teacher, part, method)
    settings = dict(world.config.objectives.get(method, {}))
    if _takes_opinions(lesson, method):
        settings = {"passes": PASSES} | settings
    seconds = world.config.limits().time
    return tune(
        product,
        texts,
        targets,
        method=method,
        dev=(lesson.texts_of(dev), lesson.targets_of(dev)) if dev is not None else None,
        multi_label=False,
        seed=world.config.seed,
        settings=settings,
        most_steps=most_steps,
        seconds=seconds / 2 if seconds is not None else None,
        folder=world.run / "work" / ("all" if dev is None else "trial"),
        weights=weights,
        report=world.report,
    )


def headed(lesson: Lesson, tuned: Tuned, kind: str, part: Bool[np.ndarray, " N"]) -> Classifier:
    """A tuned encoder with a head: its own, or with unlabelled text one of a kind; not calibrated, without a gate."""
    if len(lesson.pool) < FEWEST_IN_POOL:
        return Classifier("linear", replace(tuned.head, labels=lesson.labels), temperature=1.0)
    seen = lesson.seen_by(tuned.product)
    pool = Pool.of(seen.pool)
    views, codes, smoothed = views_of(seen.texts[part], pool), lesson.codes[part], KINDS[kind].smoothed
    named = views_of(seen.named, pool)[smoothed] if seen.named is not None else None
    head = fit_kind(KINDS[kind], views[smoothed], codes, lesson.labels, pool, named)
    return Classifier(kind, head, temperature=1.0, pool=pool if smoothed else None)


def _takes_opinions(lesson: Lesson, method: Method) -> bool:
    return method == "classify" and len(lesson.pool) >= FEWEST_IN_POOL


def _clearly(better: Bool[np.ndarray, " n"], worse: Bool[np.ndarray, " n"]) -> bool:
    """Whether outcomes of the same texts differ by more than a standard error of the difference's mean."""
    difference = better.astype(float) - worse
    return len(difference) > 1 and bool(difference.mean() > difference.std(ddof=1) / len(difference) ** 0.5)
