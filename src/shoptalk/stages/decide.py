"""Decide: `adopt`, `keep_base` or `inconclusive`, and what that rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from shoptalk import decide
from shoptalk.artifact import append_json
from shoptalk.errors import InputError
from shoptalk.evaluate import labelfree
from shoptalk.evaluate.best_head import Seen, kind_answers, kind_outcomes, served_best
from shoptalk.evaluate.menu import Labelled, per_class
from shoptalk.index import build, search
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.pool import smooth
from shoptalk.nn.product import Embedder
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.entry import Entry, outcomes
from shoptalk.stages.world import World, open_product

FORGETTING = "general_similarity"
"""The reading that the forgetting guard compares."""


@dataclass(frozen=True)
class Judged:
    """The verdict and what it rests on."""

    choice: str
    entry: Entry | None
    """The best challenger, whatever was decided; None where nothing was trained."""
    facts: dict[str, Any]
    """The keys of `verdict.json` (DESIGN, section 8) but `spent`."""
    per_class: list[dict[str, Any]]
    heads: "Heads | None" = None
    """With labels, the heads of the base and of `entry` that the verdict compares."""


def guarded(world: World, baseline: Baseline, entries: Sequence[Entry]) -> dict[str, str]:
    """The entries outside their guards, and why."""
    before, limit, found = baseline.measured.values()[FORGETTING], world.config.guards.forgetting, {}
    for entry in entries:
        readings = entry.measured.values()
        change = readings[FORGETTING] - before
        if readings.get("collapsed"):
            found[entry.name] = "its vectors have collapsed: texts of different meaning lie in one place"
        elif change < limit:
            found[entry.name] = f"it forgets: general similarity changed by {change:.1f} points (guard {limit:g})"
        elif entry.alarm is not None and entry.alarm.fires:
            found[entry.name] = f"it over-fits: {entry.alarm.change:+.1f} points against {entry.alarm.better}"
    return found


def decide_stage(
    world: World,
    curated: Curated,
    baseline: Baseline,
    entries: Sequence[Entry],
    *,
    left_out: Mapping[str, str] | None = None,
) -> Judged:
    """`adopt`, `keep_base` or `inconclusive`, by the rules of `decide`. `left_out` are candidates that could not train,
    and why.
    """
    outside = guarded(world, baseline, entries)
    if baseline.bench.labelled is None:
        judged = _judge_unlabelled(world, baseline, entries, outside)
    else:
        judged = _judge_labelled(world, curated, baseline, entries, outside)
    if not left_out:
        return judged
    facts = judged.facts | {"left_out": dict(left_out)}
    if not entries:
        reasons = "; ".join(f"{name}: {why.rstrip('.')}" for name, why in left_out.items())
        facts["sentence"] += f" Left out were {reasons}."
    return replace(judged, facts=facts)


def _judge_labelled(
    world: World, curated: Curated, baseline: Baseline, entries: Sequence[Entry], outside: dict[str, str]
) -> Judged:
    config = world.config
    labelled = baseline.bench.labelled
    assert labelled is not None
    measured = outcomes(baseline, entries)
    estimate = decide.estimate(measured, seed=config.seed)
    rows = _candidate_rows(baseline, entries, outside, estimate)
    told, tuned, correct = None, None, measured.correct
    if entries:
        inside = [i for i, entry in enumerate(entries) if entry.name not in outside] or range(len(entries))
        place = max(inside, key=lambda i: estimate.gain[i])
        best, plain_gain = entries[place], float(estimate.gain[place])
        tuned = _with_heads(world, baseline, baseline.judged, best, c=estimate.c)
        told, correct = _heads_facts(tuned, plain_gain, crossed=not curated.tests), tuned.outcomes.correct
        if curated.tests:
            on_test = _read_test(world, curated, baseline, baseline.judged, best, tuned)
            estimate = decide.estimate_on_test(on_test, seed=config.seed)
        else:
            estimate = decide.estimate_chosen(tuned.outcomes, c=estimate.c, seed=config.seed)
        outside = {name: why for name, why in outside.items() if name == best.name}
    verdict = decide.verdict(
        estimate,
        guarded=outside,
        smallest_gain=config.smallest_gain,
        settle_gain=config.settle_gain,
        n_clusters=estimate.n_clusters,
    )
    chosen = next((entry for entry in entries if entry.name == verdict.entry), None)
    fewer = labelled.fewer_shots(config.shots)
    facts = {
        "choice": verdict.decision.choice,
        "objective": chosen.candidate if chosen else None,
        "entry": chosen.name if chosen else None,
        "metric": config.metric,
        "base": verdict.base,
        "adapted": verdict.adapted,
        "gain": verdict.gain,
        "interval": None if verdict.interval is None else list(verdict.interval),
        "confidence": decide.CONFIDENCE,
        "n_examples": estimate.n_examples,
        "n_draws": estimate.n_draws,
        "shots": labelled.shots,
        "labels_needed": verdict.labels_needed,
        "sentence": verdict.decision.sentence + (f" {fewer}" if fewer else ""),
        "rule": verdict.decision.rule,
        "smallest_gain": config.smallest_gain,
        "heads": told,
        "on_test": bool(curated.tests and entries),
        "candidates": rows,
    }
    changed = per_class(baseline.judged, correct[0], correct[1]) if chosen else []
    return Judged(verdict.decision.choice, chosen, facts, changed, tuned if chosen else None)


def ceiling(baseline: Baseline, targets: Mapping[str, np.ndarray], product: Embedder) -> float | None:
    """Accuracy of the neighbours' *targets* of the labelled texts: what the student could reach, at the price of an
    index at hand whenever a text is read. None without labels.
    """
    labelled = baseline.bench.labelled
    if labelled is None:
        return None
    corpus = np.asarray(targets["vectors"])
    vectors = embed(product, labelled.texts)
    _, positions = search(build(corpus), vectors, targets["neighbours"].shape[1])
    correct = kshot_outcomes(smooth(vectors, corpus, positions), labelled.labels, labelled.draws.training)
    return 100 * float(correct[labelled.draws.tested].mean())


@dataclass(frozen=True)
class Heads:
    """The base and the challenger, each with the kind of head that serves it best."""

    outcomes: decide.Outcomes
    base: str
    adapted: str
    answers: tuple[Int[np.ndarray, "R N"], Int[np.ndarray, "R N"]]
    """What a head of that kind answers on each draw, as label numbers: base and challenger."""
    seen: Seen
    """The vectors that the challenger's heads saw."""
    c: float
    """How many standard errors an interval takes that pays for the choice of the challenger."""


def _with_heads(world: World, baseline: Baseline, labelled: Labelled, entry: Entry, *, c: float) -> Heads:
    world.report.say(f"decide: trying each kind of head on {entry.name}")
    product = open_product(world.config, str(entry.folder / "encoder"))
    seen = Seen.by(product, labelled.texts, baseline.bench.pool, labels=labelled.names)
    mine = kind_answers(seen, labelled.labels, baseline.tried.draws.training)
    assert baseline.seen is not None
    base = served_best(baseline.seen, baseline.kinds, labelled, seed=world.config.seed)
    adapted = served_best(seen, mine, labelled, seed=world.config.seed)
    rows = np.stack([base.correct, adapted.correct])
    found = decide.Outcomes((entry.name,), rows, tested=labelled.draws.tested, cluster=labelled.cluster)
    return Heads(found, base.kind, adapted.kind, (base.answers, adapted.answers), seen, c)


def _heads_facts(heads: Heads, plain_gain: float, *, crossed: bool) -> dict[str, Any]:
    """`crossed`: the verdict's answers are cross-fitted. A supplied test is answered by what is best on all labels."""
    same = heads.base == heads.adapted
    which = f"{heads.base} for both" if same else f"base {heads.base}, adapted {heads.adapted}"
    how = f"chosen for each half of the messages on the other half; on all of them {which}" if crossed else which
    return {
        "base": heads.base,
        "adapted": heads.adapted,
        "plain_gain": plain_gain,
        "sentence": f"Each encoder answers with the head that serves it best ({how}); with plain logistic regression "
        f"on both the gain is {plain_gain:+.1f} points.",
    }


def _read_test(
    world: World, curated: Curated, baseline: Baseline, labelled: Labelled, entry: Entry, heads: Heads
) -> decide.Outcomes:
    """Base and entry on the supplied test, with heads fitted on the same draws from the labels; the read is counted.

    Raises:
        InputError: none of the test's labels is among those that were learned.
    """
    known = [i for i, example in enumerate(curated.tests) if example.label in labelled.names]
    if not known:
        given = ", ".join(sorted({example.label for example in curated.tests})[:5])
        raise InputError(
            f"The test file has labels such as {given}, and none of them is in the labels file ({labelled.names[0]}, "
            "...). Give a test of the same labels."
        )
    truth = np.array([labelled.names.index(curated.tests[i].label) for i in known])
    texts = [*labelled.texts, *(curated.tests[i].text for i in known)]
    labels = np.concatenate([labelled.labels, truth])
    rows = []
    for model, kind in ((world.config.base, heads.base), (str(entry.folder / "encoder"), heads.adapted)):
        product = open_product(world.config, model)
        found = kind_outcomes(
            product, texts, labels, labelled.draws.training, baseline.bench.pool, named=labelled.names, only=kind
        )
        rows.append(found[kind][:, len(labelled.labels) :])
    chosen = np.unique(labelled.draws.training)
    append_json(world.run / "test_reads.jsonl", {"entry": entry.name, "examples": len(known), "label_set": len(chosen)})
    return decide.Outcomes(
        entries=(entry.name,),
        correct=np.stack(rows),
        tested=np.ones((len(labelled.draws.training), len(known)), dtype=bool),
        cluster=np.array([curated.tests[i].cluster for i in known]),
    )


def _judge_unlabelled(world: World, baseline: Baseline, entries: Sequence[Entry], outside: Mapping[str, str]) -> Judged:
    """Without labels: always inconclusive, with what the label-free measures suggest and what they cannot show."""
    inside = [entry for entry in entries if entry.name not in outside]
    # Of equal scores the one that was trained longer comes first.
    scores = {entry.name: entry.measured.values().get(labelfree.NAME) for entry in reversed(inside)}
    known = {name: score for name, score in scores.items() if score is not None}
    ranking = labelfree.ranked(known)
    by_name = {entry.name: entry for entry in entries}
    best = (inside or list(entries))[-1] if entries else None
    if known:
        best = next(by_name[name] for name in ranking if name in known)
    if best and best.name in known:
        finding = labelfree.told(best.candidate, known[best.name]) + _next_turn(baseline, best)
    elif inside and best:
        finding = (
            f"{best.candidate} was trained and stayed within its guards, and there are fewer than {labelfree.FEWEST} "
            "texts, too few for the measures that need no labels."
        )
    else:
        finding = f"{'Nothing that was trained stayed within its guards' if entries else 'Nothing could be trained'}."
    sentence = (
        "Inconclusive: there are no labelled messages, so nothing here shows whether the assistant gets better. "
        f"{finding} "
        "Label about 400 messages to measure it, or pass --accept-unproven to serve it as it is."
    )
    facts = {
        "choice": "inconclusive",
        "objective": best.candidate if best else None,
        "entry": best.name if best else None,
        "metric": labelfree.NAME if known else None,
        "ranking": list(ranking),
        "base": None,
        "adapted": None,
        "gain": None,
        "interval": None,
        "confidence": None,
        "n_examples": 0,
        "n_draws": 0,
        "shots": None,
        "labels_needed": 400,
        "sentence": sentence,
        "rule": "no labels, no verdict (DESIGN, section 1)",
        "candidates": _candidate_rows(baseline, entries, outside, None),
    }
    return Judged("inconclusive", best, facts, [])


def _next_turn(baseline: Baseline, entry: Entry) -> str:
    """A further sentence, where there are conversations: how well it finds the reply that was given."""
    name = "next-turn MRR"
    before, after = baseline.measured.values().get(name), entry.measured.values().get(name)
    if before is None or after is None:
        return ""
    found = "finds" if after > before else "does not find"
    return (
        f" {entry.candidate} {found} the true reply among {len(baseline.bench.pairs)} held-out ones better than the "
        f"base (mean reciprocal rank {after:.3f} against {before:.3f})."
    )


def _candidate_rows(
    baseline: Baseline, entries: Sequence[Entry], outside: Mapping[str, str], estimate: decide.Estimate | None
) -> list[dict[str, Any]]:
    before = baseline.measured.values()
    winner = entries[-1].candidate if entries else None
    rows = []
    for i, entry in enumerate(entries):
        readings = entry.measured.values()
        row: dict[str, Any] = {
            "entry": entry.name,
            "objective": entry.candidate,
            "step": entry.step,
            "tokens": entry.tokens,
            "base": estimate.base if estimate else None,
            "adapted": float(estimate.adapted[i]) if estimate else None,
            "gain": float(estimate.gain[i]) if estimate else None,
            "interval": [float(estimate.low[i]), float(estimate.high[i])] if estimate else None,
            "forgetting": readings[FORGETTING] - before[FORGETTING],
            "inside_guards": entry.name not in outside,
            "why_not": outside.get(entry.name, ""),
            "seconds": entry.seconds,
            "over_fitting": entry.alarm.decision.sentence if entry.alarm else None,
            "eliminated": entry.candidate != winner,
            "readings": readings,
        }
        rows.append(row)
    return rows
