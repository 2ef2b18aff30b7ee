"""Decide: `adopt`, `keep_base` or `inconclusive`, and what that rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shoptalk import decide
from shoptalk.artifact import append_json
from shoptalk.evaluate import bench, labelfree
from shoptalk.evaluate.base_choice import MeasuredBase, base_rows, bases_sentence, best_of, looks_over_best
from shoptalk.evaluate.climb import climb, heads_facts, ladder_facts
from shoptalk.evaluate.other_tasks import forgotten, general_change, other_changes, other_finals
from shoptalk.objectives.recipe import replay_sentence
from shoptalk.probes import retrieval
from shoptalk.records import ACCURACY
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.entry import Entry
from shoptalk.stages.world import World, open_product
from shoptalk.tasks import needs_of, unjudged
from shoptalk.tasks.judge import Final, Judge, Score


@dataclass(frozen=True)
class Compared:
    """The base and the challenger, each as it would be shipped."""

    scores: decide.Scores
    base: Final
    adapted: Final
    c: float
    """How many standard errors an interval takes that pays for the choice of the challenger."""
    others: Sequence[dict[str, Any]] = ()
    """Rows of the tasks beside the one that must gain."""
    general: Mapping[str, Any] | None = None
    """What the challenger's training changed of the cloze on general text, where that is asked."""
    on_test: Score | None = None
    """The challenger's, where there is a supplied test."""


@dataclass(frozen=True)
class Judged:
    """The verdict and what it rests on."""

    choice: str
    entry: Entry | None
    """The best challenger, whatever was decided; None where nothing was trained."""
    facts: dict[str, Any]
    """The keys of `verdict.json` (DESIGN, section 8) but `spent`."""
    per_class: list[dict[str, Any]]
    base: MeasuredBase
    """The base that the verdict compares with, and that is shipped where `entry` is not."""
    compared: Compared | None = None
    """Where there is a judge, what the verdict compares: the base and `entry`."""


def all_bases(world: World, baseline: Baseline) -> list[MeasuredBase]:
    """The base that is adapted, then the others."""
    first = MeasuredBase(
        name=world.base_name,
        model=world.config.base,
        measured=baseline.measured,
        final=baseline.final,
        seconds=baseline.seconds,
        final_seconds=baseline.final_seconds,
        price=baseline.price,
        other_tasks=baseline.other_tasks,
    )
    return [first, *baseline.others.values()]


def guarded(baseline: Baseline, entries: Sequence[Entry]) -> dict[str, str]:
    """The entries outside their guards, and why."""
    reasons = {}
    for entry in entries:
        reason = bench.outside(baseline.bench.guards, baseline.measured, entry.measured, kind=baseline.kind)
        if reason is None and entry.alarm is not None and entry.alarm.fires:
            measure = baseline.bench.judge.measure if baseline.bench.judge else ACCURACY
            change = f"{measure.change(entry.alarm.change)} {measure.difference}"
            reason = f"it over-fits: {change} against {entry.alarm.better}"
        if reason is not None:
            reasons[entry.name] = reason
    return reasons


def decide_stage(
    world: World,
    baseline: Baseline,
    entries: Sequence[Entry],
    *,
    left_out: Mapping[str, str] | None = None,
) -> Judged:
    """`adopt`, `keep_base` or `inconclusive`, by the rules of `decide`. `left_out` are candidates that could not train,
    and why.
    """
    outside, judge = guarded(baseline, entries), baseline.bench.judge
    if judge is None:
        judged = _unjudged(world, baseline, entries, outside)
    else:
        judged = _judged(world, baseline, judge, entries, outside)
    if not left_out:
        return judged
    facts = judged.facts | {"left_out": dict(left_out)}
    if not entries:
        reasons = "; ".join(f"{name}: {why.rstrip('.')}" for name, why in left_out.items())
        facts["sentence"] += f" Left out were {reasons}."
    return replace(judged, facts=facts)


def _judged(
    world: World, baseline: Baseline, judge: Judge, entries: Sequence[Entry], outside: dict[str, str]
) -> Judged:
    config = world.config
    bases = all_bases(world, baseline)
    base = best_of(bases, baseline.bench)
    looks = looks_over_best(base, bases, judge, {entry.name: entry.measured for entry in entries})
    estimate = decide.estimate(looks, seed=config.seed)
    beside = base_rows(base, bases, judge, c=estimate.c if entries else None, seed=config.seed) if bases[1:] else []
    heads, compared, shown, looked = None, None, looks, estimate
    if entries:
        inside = [i for i, entry in enumerate(entries) if entry.name not in outside] or range(len(entries))
        place = max(inside, key=lambda i: estimate.gain[i])
        best, plain_gain = entries[place], float(estimate.gain[place])
        compared = _compared(world, baseline, judge, base, best, c=estimate.c)
        outside = forgotten(compared.general, entry=best.name) | outside  # what looks have seen is told first
        heads, shown = heads_facts(compared.base, compared.adapted, plain_gain, judge), compared.scores
        if judge.test is not None:
            estimate = decide.estimate_on_test(_read_test(world, judge, base, best, compared), seed=config.seed)
        else:
            estimate = decide.estimate_chosen(compared.scores, c=estimate.c, seed=config.seed)
    rows = _candidate_rows(baseline, entries, outside, looked)
    outside = {name: why for name, why in outside.items() if name in estimate.entries}
    others, general = (compared.others, compared.general) if compared else ((), None)
    verdict = decide.verdict(
        estimate,
        guarded=outside,
        smallest_gain=config.smallest_gain * judge.measure.point,
        settle_gain=config.settle_gain * judge.measure.point,
        n_clusters=estimate.n_clusters,
    )
    chosen = next((entry for entry in entries if entry.name == verdict.entry), None)
    adopted, on_test = verdict.decision.choice == "adopt", bool(judge.test and entries)
    ladder = _ladder(baseline, base, compared, judge, adopted=adopted, seed=config.seed)
    candidate = chosen.candidate if chosen else None
    sentences = [
        decide.brought(ladder, verdict, candidate=candidate, guarded=bool(outside), on_test=on_test, base=base.name),
        verdict.conclusion,
        bases_sentence(beside, judge, adopted=adopted).strip() if beside else "",
        replay_sentence((entry.candidate for entry in entries), candidate),
        *(row["sentence"] for row in (*others, general) if row),
        judge.remark,
    ]
    facts = {
        "choice": verdict.decision.choice,
        "objective": chosen.candidate if chosen else None,
        "entry": chosen.name if chosen else None,
        "task": judge.key,
        "metric": judge.measure.name,
        "measure": judge.measure.told(),
        "base_model": base.name,
        "base": verdict.base,
        "adapted": verdict.adapted,
        "gain": verdict.gain,
        "interval": None if verdict.interval is None else list(verdict.interval),
        "confidence": decide.CONFIDENCE,
        "n_examples": estimate.n_examples,
        "n_draws": estimate.n_draws,
        "shots": None,  # heads learn from all labels but those that a draw tests
        "labels_needed": verdict.labels_needed,
        "sentence": " ".join(filter(None, sentences)),
        "rule": verdict.decision.rule,
        "smallest_gain": config.smallest_gain * judge.measure.point,
        "heads": heads,
        **ladder_facts(ladder),
        "on_test": on_test,
        "candidates": rows,
        **({"bases": beside} if beside else {}),
        **({"other_tasks": list(others)} if others else {}),
        **({"general_cloze": dict(general)} if general else {}),
    }
    parts: list[dict[str, Any]] = []
    if chosen and judge.classes is not None:
        parts = bench.per_class(judge.classes, shown.tested, shown.values[0], shown.values[1])
    return Judged(verdict.decision.choice, chosen, facts, parts, base, compared if chosen else None)


def _ladder(
    baseline: Baseline, base: MeasuredBase, compared: Compared | None, judge: Judge, *, adopted: bool, seed: int
) -> decide.Ladder:
    """The steps from the first base's plain head to the challenger; `base` is the best of the bases."""
    first = baseline.final
    assert first is not None
    other = base.final if base.final is not first else None
    adapted, c = (compared.adapted, compared.c) if compared else (None, None)
    return climb(first, other, adapted, judge, adopted=adopted, chosen_c=c, seed=seed)


def _compared(
    world: World, baseline: Baseline, judge: Judge, base: MeasuredBase, entry: Entry, *, c: float
) -> Compared:
    """Base and entry as they would be shipped, on the draws that the first base was scored on. The entry is opened once
    for all that the verdict reads of it; the base was read by the baseline stage, but for a supplied test.
    """
    world.report.say(f"decide: measuring {entry.name} as it would be shipped")
    assert baseline.final is not None and base.final is not None
    config, on_test = world.config, None
    challenger = open_product(config, str(entry.folder / "encoder"))
    with world.profile.part("heads"):
        adapted = judge.final(challenger, beside=baseline.final)
    bench.finite(adapted.scores, judge)
    if base.other_tasks:
        world.report.say(f"decide: measuring it at {', '.join(base.other_tasks)}")
    with world.profile.part("other tasks"):
        after = other_finals(baseline.bench, challenger)
    if judge.test is not None:
        with world.profile.part("test"):
            on_test = judge.test.scores(challenger, adapted)
    read, name, seed = baseline.bench, entry.name, config.seed
    others = other_changes(read, base.other_tasks, after, base=base.name, entry=name, seed=seed)
    general = general_change(read, baseline.other_tasks, after, base=world.base_name, entry=name, seed=seed)
    scores = bench.shipped_over(base.final, entry.name, adapted, judge)
    return Compared(scores, base.final, adapted, c, others, general, on_test)


def _read_test(world: World, judge: Judge, base: MeasuredBase, entry: Entry, compared: Compared) -> decide.Scores:
    """Base and entry on the supplied test, as they would be shipped; the read is counted."""
    assert judge.test is not None and compared.on_test is not None
    with world.profile.part("test"):
        on_test = judge.test.scores(open_product(world.config, base.model), compared.base)
    read = {"entry": entry.name, "examples": len(judge.test.cluster)}
    if judge.classes is not None:
        read["label_set"] = len(judge.classes.items)
    append_json(world.run / "test_reads.jsonl", read)
    values = np.stack([on_test, compared.on_test])
    return decide.Scores(
        entries=(entry.name,),
        values=values,
        tested=np.ones(values.shape[1:], dtype=bool),
        cluster=judge.test.cluster,
        measure=judge.measure,
    )


def _unjudged(world: World, baseline: Baseline, entries: Sequence[Entry], outside: Mapping[str, str]) -> Judged:
    """Without a judge: always inconclusive, with what the label-free measures suggest and what they cannot show."""
    inside = [entry for entry in entries if entry.name not in outside]
    # Of equal scores the one that was trained longer comes first.
    scores = {entry.name: entry.measured.values().get(labelfree.KEY) for entry in reversed(inside)}
    known = {name: score for name, score in scores.items() if score is not None}
    ranking = labelfree.ranked(known)
    by_name = {entry.name: entry for entry in entries}
    best = (inside or list(entries))[-1] if entries else None
    if known:
        best = next(by_name[name] for name in ranking if name in known)
    if best and best.name in known:
        finding = labelfree.told(best.candidate, known[best.name]) + retrieval.told(
            best.candidate, *(one.measured.values() for one in (baseline, best)), n=len(baseline.bench.pairs)
        )
    elif inside and best:
        why = labelfree.unranked(baseline.kind, probed=bool(baseline.bench.probes))
        finding = f"{best.candidate} was trained and stayed within its guards, and {why}."
    else:
        finding = "Nothing that was trained stayed within its guards."
    sentence = unjudged(world.config.task, world.config.candidates, finding, trained=bool(entries))
    facts = {
        "choice": "inconclusive",
        "objective": best.candidate if best else None,
        "entry": best.name if best else None,
        "task": world.config.task,
        "metric": labelfree.NAME if known else None,
        "ranking": list(ranking),
        "base_model": world.base_name,
        "base": None,
        "adapted": None,
        "gain": None,
        "interval": None,
        "confidence": None,
        "n_examples": 0,
        "n_draws": 0,
        "shots": None,
        "labels_needed": needs_of(world.config.task).labels,
        "sentence": sentence,
        "rule": "nothing to judge by, no verdict (DESIGN, section 1)",
        "candidates": _candidate_rows(baseline, entries, outside, None),
    }
    return Judged("inconclusive", best, facts, [], all_bases(world, baseline)[0])


def _candidate_rows(
    baseline: Baseline, entries: Sequence[Entry], outside: Mapping[str, str], estimate: decide.Estimate | None
) -> list[dict[str, Any]]:
    before, forgets = baseline.measured.values(), baseline.bench.guards.get("forgetting")
    winner = entries[-1].candidate if entries else None
    rows = []
    for i, entry in enumerate(entries):
        readings = entry.measured.values()
        row: dict[str, Any] = {
            "entry": entry.name,
            "objective": entry.candidate,
            "step": entry.step,
            "tokens": entry.tokens,
            **({} if entry.merge is None else {"merge": entry.merge}),
            "base": estimate.base if estimate else None,
            "adapted": float(estimate.adapted[i]) if estimate else None,
            "gain": float(estimate.gain[i]) if estimate else None,
            "interval": [float(estimate.low[i]), float(estimate.high[i])] if estimate else None,
            "forgetting": forgets.change(before, readings) if forgets else None,
            "inside_guards": entry.name not in outside,
            "why_not": outside.get(entry.name, ""),
            "seconds": entry.seconds,
            "over_fitting": entry.alarm.decision.sentence if entry.alarm else None,
            "eliminated": entry.candidate != winner,
            "readings": readings,
        }
        rows.append(row)
    return rows
