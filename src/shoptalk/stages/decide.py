"""Decide: `adopt`, `keep_base` or `inconclusive`, and what that rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shoptalk import decide
from shoptalk.artifact import append_json
from shoptalk.evaluate import bench, compressor, labelfree
from shoptalk.evaluate.base_choice import MeasuredBase, base_rows, best_of, looks_over_best
from shoptalk.evaluate.climb import climb, heads_facts
from shoptalk.evaluate.other_tasks import forgotten, general_change, other_changes, other_finals, told_beside
from shoptalk.evaluate.verdict_facts import judged_facts, judged_sentence, unjudged_facts
from shoptalk.probes import retrieval
from shoptalk.records import ACCURACY
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.entry import Entry
from shoptalk.stages.world import World, open_product
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
    config, bases = world.config, all_bases(world, baseline)
    base = best_of(bases, baseline.bench)
    looks = looks_over_best(base, bases, judge, {entry.name: entry.measured for entry in entries})
    looked = decide.estimate(looks, seed=config.seed)
    beside = base_rows(base, bases, judge, c=looked.c if entries else None, seed=config.seed) if bases[1:] else []
    best, compared, estimate, unasked, heads = None, None, looked, False, None
    if entries:
        inside = [i for i, entry in enumerate(entries) if entry.name not in outside]
        place = max(inside or range(len(entries)), key=lambda i: looked.gain[i])
        best = entries[place]
        compared = _compared(world, baseline, judge, base, best, c=looked.c)
        estimate = _as_shipped(world, judge, base, best, compared)
        heads = heads_facts(compared.base, compared.adapted, float(looked.gain[place]), judge)
        late = forgotten(compared.general, entry=best.name) | compressor.behind(judge, compared.adapted, best.name)
        outside, unasked = late | outside, bool(late) and len(inside) > 1  # what looks have seen is told first
    ruling = decide.verdict(
        estimate,
        guarded={name: why for name, why in outside.items() if name in estimate.entries},
        smallest_gain=config.smallest_gain * judge.measure.point,
        settle_gain=config.settle_gain * judge.measure.point,
        n_clusters=estimate.n_clusters,
        others_unasked=unasked,
    )
    candidate = best.candidate if best else None
    ladder = _ladder(baseline, base, compared, judge, adopted=ruling.decision.choice == "adopt", seed=config.seed)
    others, general = (compared.others, compared.general) if compared else ((), None)
    sentence = judged_sentence(
        judge,
        ruling,
        ladder,
        base=base.name,
        candidate=candidate,
        trained=[entry.candidate for entry in entries],
        guarded=best is not None and best.name in outside,
        bases=beside,
        others=[*others, *([general] if general else [])],
    )
    facts = judged_facts(judge, estimate, ruling, ladder, candidate=candidate) | {
        "base_model": base.name,
        "sentence": sentence,
        "smallest_gain": config.smallest_gain * judge.measure.point,
        "heads": heads,
        "candidates": _candidate_rows(baseline, entries, outside, looked),
        **({"bases": beside} if beside else {}),
        **({"other_tasks": list(others)} if others else {}),
        **({"general_cloze": dict(general)} if general else {}),
        **compressor.beside(judge, compared.adapted if compared else None),
    }
    return Judged(ruling.decision.choice, best, facts, _parts(judge, compared), base, compared)


def _as_shipped(world: World, judge: Judge, base: MeasuredBase, entry: Entry, compared: Compared) -> decide.Estimate:
    """What the entry brings as it would be shipped; on the supplied test where there is one."""
    if judge.test is not None:
        return decide.estimate_on_test(_read_test(world, judge, base, entry, compared), seed=world.config.seed)
    return decide.estimate_chosen(compared.scores, c=compared.c, seed=world.config.seed)


def _parts(judge: Judge, compared: Compared | None) -> list[dict[str, Any]]:
    """The rows of each class, where the judge knows classes and something was trained."""
    if compared is None or judge.classes is None:
        return []
    shown = compared.scores
    return bench.per_class(judge.classes, shown.tested, shown.values[0], shown.values[1])


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
    if beside := told_beside(baseline.bench):
        world.report.say(f"decide: measuring it at {beside}")
    with world.profile.part("other tasks"):
        after = other_finals(baseline.bench, challenger)
    if judge.test is not None:
        with world.profile.part("test"):
            on_test = judge.test.scores(challenger, adapted)
    others = other_changes(baseline.bench, base.other_tasks, after, base=base.name, entry=entry.name, seed=config.seed)
    general = general_change(
        baseline.bench, baseline.other_tasks, after, base=world.base_name, entry=entry.name, seed=config.seed
    )
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
    facts = unjudged_facts(
        world.config.task,
        world.config.candidates,
        candidate=best.candidate if best else None,
        entry=best.name if best else None,
        ranking=ranking,
        known=bool(known),
        finding=finding,
    ) | {"base_model": world.base_name, "candidates": _candidate_rows(baseline, entries, outside, None)}
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
