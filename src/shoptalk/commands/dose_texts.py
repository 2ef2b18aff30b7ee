"""How much text: the winner's training again on parts of the run's corpus, documents whole."""

from dataclasses import replace

import numpy as np

from shoptalk.artifact import key_of
from shoptalk.commands.dose_curves import told_curve
from shoptalk.commands.dosed_run import DosedRun
from shoptalk.config import Budget
from shoptalk.objectives.recipe import Recipe
from shoptalk.quantities import span
from shoptalk.report.dose_json import TextsCurve
from shoptalk.report.nouns import counted_by_document, dosed_nouns
from shoptalk.stages.candidate import PreparedCandidate, prepare_targets
from shoptalk.stages.entry import Entry, train_to
from shoptalk.stages.world import open_product
from shoptalk.text.corpus import Corpus
from shoptalk.text.stored import runs

FRACTIONS = (0.25, 0.5, 0.125)
"""Of the run's corpus, in the order in which a budget buys them: the first tells most about the shape, and with the
second a law can be checked."""
FEWEST_TEXTS = 32
"""A fraction of fewer texts is left out."""


def texts_curve(done: DosedRun, budget: Budget | None) -> TextsCurve:
    """Gain against unlabelled texts, the training's steps held fixed: fewer texts are each seen more often.

    Language models learn from documents and pairs from pictures with their captions: these are what is counted then.
    """
    whole, many = done.prepared.corpus, _nouns(done)
    parts = parts_of(whole, done.prepared.candidates[done.best.candidate], seed=done.world.config.seed)
    seconds, tokens = _cost(done)
    chosen = list(parts)[: _affordable(len(parts), budget, seconds, tokens)]
    if chosen:
        sizes = ", ".join(f"{_size(done, parts[fraction]):,}" for fraction in sorted(chosen))
        done.world.report.say(
            f"dose: {done.best.step} steps of {done.best.candidate} on {sizes} of {_size(done, whole):,} {many}, "
            f"about {span(len(chosen) * seconds)}"
        )
    entries = {_size(done, parts[fraction]): _train_on(done, parts[fraction], fraction) for fraction in chosen}
    entries[_size(done, whole)] = done.best
    band = done.gains([entries[size] for size in sorted(entries)])
    curve = told_curve(sorted(entries), band, f"unlabelled {many}", measure=done.judge.measure)
    left_out = tuple(f"{fraction:.1%}" for fraction in parts if fraction not in chosen)
    return TextsCurve(**dict(curve), left_out=left_out, steps=done.best.step)


def parts_of(whole: Corpus, candidate: PreparedCandidate, *, seed: int) -> dict[float, Corpus]:
    """The parts of a corpus that a candidate can be trained on, by their share of it: documents whole, each part with
    more of them than the smaller ones, which lie in it.
    """
    parts: dict[float, Corpus] = {}
    sizes = {len(whole)}
    for fraction in FRACTIONS:
        part = whole.sample(int(fraction * len(whole)), seed=seed)
        if len(part) >= FEWEST_TEXTS and len(part) not in sizes and candidate.learns_from(part):
            parts[fraction] = part
            sizes.add(len(part))
    return parts


def _nouns(done: DosedRun) -> str:
    """What is counted, in the plural: the documents that a language model learns from may all be conversations."""
    talks = done.baseline.kind == "lm" and bool((np.asarray(done.prepared.corpus.turn) >= 0).all())
    return "conversations" if talks else dosed_nouns(done.baseline.kind)


def _size(done: DosedRun, corpus: Corpus) -> int:
    """How many texts a corpus has, or documents where these are what is counted."""
    return len(runs(np.asarray(corpus.conversation))) if counted_by_document(done.baseline.kind) else len(corpus)


def _cost(done: DosedRun) -> tuple[float, float]:
    """Seconds and tokens of one training on a part of the corpus: as the plan has them, so a resumed call agrees."""
    plan = done.prepared.plan
    one = plan.candidates[done.best.candidate]
    preparing = plan.preparing_seconds.get(done.best.candidate, 0.0) * sum(FRACTIONS) / len(FRACTIONS)
    seconds = done.best.step * one.seconds_per_step + done.baseline.seconds + preparing
    return seconds, done.best.step * one.tokens_per_step


def _affordable(wanted: int, budget: Budget | None, seconds: float, tokens: float) -> int:
    """How many trainings the budget pays for."""
    if budget is None:
        return wanted
    paid = budget.time / seconds if budget.time is not None else (budget.tokens or 0) / tokens
    return min(wanted, int(paid))


def _train_on(done: DosedRun, part: Corpus, fraction: float) -> Entry:
    """The best entry's training again, on a part of the corpus; leaves `RUN/dose/texts-FRACTION/menu/...`."""
    name, whole = done.best.candidate, done.prepared
    world = replace(done.world, run=done.world.run / "dose" / f"texts-{fraction:g}")
    product = open_product(world.config)
    inputs = product.inputs(part, world.run / "tokens")
    candidate = whole.candidates[name]
    targets = prepare_targets(
        world, Recipe.parse(name).phases[0].name, candidate.spec, part, product, world.config.base
    )
    prepared = replace(
        whole,
        corpus=part,
        inputs=inputs,
        candidates={name: replace(candidate, targets=targets)},
        key=key_of(kind="dose", config={"plan": whole.key}, parents={"corpus": part.digest}),
    )
    best = done.best.artifact.config
    return train_to(world, prepared, done.baseline, name, best["step"], earlier=[], decay_from=best["decay_from"])
