"""An encoder that is tuned for its labels, beside the same one left as it is: which of the two to ship.

In each of three trials both learn from about half of the labels, and another part chooses after how many steps the
tuned one is best. A third of the labels, from which neither learned and which chose nothing, is answered by both. Where
over all three thirds the 95 % interval of the tuned one's gain is above 0 (or the user accepts it unproven), it is
trained once more, on all labels and for as many steps as did best in the middle one of the trials, and that is shipped.
What says how sure it is, its temperature and its gate, come from the trials: they need texts that no part of it has
seen.

With unlabelled text `classify` also learns what the frozen encoder's classifier says of it: self-training (Yarowsky
1995) with a student that is a whole network under noise (Xie et al. 2020, "Noisy Student", section 2). A head of the
same kind is then fitted on the tuned vectors, which answers better than the student's own (docs/log.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from shoptalk import decide
from shoptalk.commands.tune import Method, Tuned, tune
from shoptalk.decide import Advantage
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
class Outcome:
    """What a tuning came to."""

    method: Method
    advantage: Advantage | None
    """None where labels were too few for any trial."""
    sentence: str
    shipped: tuple[Embedder, Classifier] | None = None
    """The encoder trained on all labels, with its classifier; None where the frozen encoder ships."""

    def facts(self) -> dict[str, Any]:
        """For `result.json`: gains in points."""
        facts: dict[str, Any] = {"method": self.method, "shipped": self.shipped is not None, "sentence": self.sentence}
        if self.advantage is None:
            return facts | {"gain": None, "interval": None, "n_examples": 0}
        measured = self.advantage
        return facts | {
            "gain": measured.gain,
            "interval": [measured.low, measured.high],
            "n_examples": measured.n_examples,
        }


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


def tune_or_keep(
    world: World,
    product: Embedder,
    lesson: Lesson,
    before: Seen,
    *,
    method: Method,
    scope_loss: float,
    accept_unproven: bool,
) -> Outcome:
    """Tune the encoder in three trials, and once more on all labels where they prove that it helps.

    `before` is the lesson as the untouched encoder sees it; `scope_loss` are points of accuracy that abstaining may
    cost. Trials end early where the tuned encoder is not ahead, unless it is to be shipped all the same.

    Raises:
        InputError: labels are too few to hold any out, and the tuned encoder is to be shipped all the same.
        ConfigError: a quarter of the budget does not pay for one step.
    """
    seed, report = world.config.seed, world.report
    trials = decide.trials(lesson.codes, lesson.cluster, seed=seed)
    if not trials:
        return _too_few(lesson, method, accept_unproven=accept_unproven, say=report.say)
    decided = np.zeros(len(lesson.codes), dtype=bool)
    frozen_right, scores = decided.copy(), np.zeros((len(decided), len(lesson.labels)), dtype=np.float32)
    steps: list[int] = []
    for number, trial in enumerate(trials, 1):
        frozen = lesson.classifier(before, trial.learns, seed=seed)
        tuned = learn(
            world, product, lesson, before, frozen, trial.learns, method, dev=trial.looks, name=f"trial-{number}"
        )
        head = headed(lesson, tuned, frozen.kind, trial.learns)
        part, truth = trial.decides, lesson.codes[trial.decides]
        scores[part] = head.head.scores(head.see(embed(tuned.product, lesson.texts_of(part))))
        frozen_right[part] = frozen.head.scores(frozen.see(before.texts[part])).argmax(axis=1) == truth
        decided |= part
        steps.append(tuned.steps)
        tuned_right = scores.argmax(axis=1) == lesson.codes
        advantage = decide.advantage(tuned_right[decided], frozen_right[decided], lesson.cluster[decided])
        report.say(f"finetune: {method}, trial {number} of {len(trials)}: {_measured(advantage)}")
        if advantage.gain <= 0 and not accept_unproven:
            break
    ships = advantage.proven or accept_unproven
    outcome = Outcome(method, advantage, _sentence(advantage, accept_unproven=accept_unproven))
    report.say(f"finetune: {outcome.sentence}")
    if not ships:
        return outcome
    every, most_steps = np.ones(len(decided), dtype=bool), max(1, int(np.median(steps)))
    teacher = lesson.classifier(before, seed=seed)
    final = learn(world, product, lesson, before, teacher, every, method, most_steps=most_steps)
    gate = None
    if decided.sum() >= classifier.FEWEST_FOR_GATE and tuned_right[decided].any():
        gate = fit_gate(energy_of(scores[decided]), tuned_right[decided], None, loss=scope_loss)
    head = replace(
        headed(lesson, final, teacher.kind, every),
        temperature=classifier.temperature_of(scores[decided], lesson.codes[decided]),
        named=teacher.named,
        gate=gate,
        dev={method: advantage.tuned, FROZEN: advantage.frozen},
    )
    return replace(outcome, shipped=(final.product, head))


def _too_few(lesson: Lesson, method: Method, *, accept_unproven: bool, say: Callable[[str], None]) -> Outcome:
    """What becomes of a tuning that nothing could be held out from."""
    clusters = len(np.unique(lesson.cluster))
    given = f"{clusters:,} distinct examples of {len(lesson.labels):,} labels"
    needed = "give at least three distinct examples of each label"
    if accept_unproven:
        raise InputError(
            f"Tuning holds labels out to see when to stop, and {given} are too few for it: {needed}, or leave --method "
            "and --accept-unproven out."
        )
    sentence = f"{given} are too few to hold any out and prove that tuning helps, so the frozen encoder ships: {needed}"
    say(f"finetune: {sentence}")
    return Outcome(method, None, sentence)


def _measured(advantage: Advantage) -> str:
    """The gain on the texts that chose nothing."""
    one = advantage.n_examples == 1
    texts = "1 text that chose nothing" if one else f"{advantage.n_examples:,} texts that chose nothing"
    direction = (
        f"{advantage.gain:.1f} points better than"
        if advantage.gain > 0
        else f"{-advantage.gain:.1f} points worse than"
        if advantage.gain < 0
        else "as good as"
    )
    return (
        f"the tuned encoder was {direction} the frozen one on {texts} ({advantage.frozen:.1f} -> "
        f"{advantage.tuned:.1f} % right; 95 % interval {advantage.low:+.1f} to {advantage.high:+.1f} points)"
    )


def _sentence(advantage: Advantage, *, accept_unproven: bool) -> str:
    if advantage.proven:
        return f"{_measured(advantage)}: proven, so the tuned one ships, trained on all labels"
    if accept_unproven:
        return f"{_measured(advantage)}: not proven; the tuned one ships, as --accept-unproven asks"
    return f"{_measured(advantage)}: not proven, so the frozen one ships (--accept-unproven ships the tuned one)"


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
    name: str = "all",
) -> Tuned:
    """The encoder tuned on a part of the labels, in a quarter of the budget's time: there are three trials and a last
    training.

    `seen` and `teacher` are the lesson and a classifier of that part on the encoder as it was. With a `dev` part the
    best look at it is what counts, without one the last of at most `most_steps` steps. Snapshots are kept under `name`.
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
        seconds=seconds / (decide.TRIALS + 1) if seconds is not None else None,
        folder=world.run / "work" / name,
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
