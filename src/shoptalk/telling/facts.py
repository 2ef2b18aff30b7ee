"""Everything the report tells, gathered from the run's artifacts."""

import collections
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shoptalk import decide
from shoptalk.artifact import Artifact, open_artifact, write_text
from shoptalk.errors import AbsentError
from shoptalk.evaluate.bench import Bench, Measured
from shoptalk.nn.product import Kind
from shoptalk.objectives import make_spec, pretexts_for
from shoptalk.probes import knn
from shoptalk.quantities import Spending
from shoptalk.readback import as_written, read_json, read_text
from shoptalk.report import render
from shoptalk.report.evidence_json import Evidence
from shoptalk.report.facts_json import (
    Ceiling,
    ClassGain,
    CostFacts,
    CurvePoint,
    DropRow,
    DropSample,
    GainCurve,
    GuardRow,
    Kept,
    LabelFreeRow,
    LossCurve,
    PartTime,
    Reproduction,
    RunFacts,
    StageTime,
    TraceFacts,
)
from shoptalk.report.nouns import nouns_for
from shoptalk.report.reading import read_dose, read_facts, read_verdict
from shoptalk.report.verdict_json import CandidateRow, CandidateShare, Share, Spent, Verdict
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Judged
from shoptalk.stages.entry import Entry
from shoptalk.stages.legs import work_folder
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World, best_device
from shoptalk.telling.advice import advise, rates_of
from shoptalk.telling.curve_start import from_start
from shoptalk.telling.settled import asked_of, joined
from shoptalk.telling.trace import trace
from shoptalk.text.corpus import Corpus
from shoptalk.training.advance import read_log
from shoptalk.training.forecast import peak_memory
from shoptalk.training.profile import Profile

SAMPLES = 5
"""Dropped texts shown for each reason."""
_SHORTEST = 0.05


def spent(world: World, entries: Sequence[Entry], prepared: Prepared | None, seconds: float) -> Spent:
    """What the run took up to the verdict and its evidence: wall-clock seconds, real training tokens, peak memory, and
    euros where an hour has a price; beside the forecast, and fact divided by forecast. `candidates` and `losers` tell
    whose it was.

    `seconds` is this process's account and that of interrupted ones' logs. The entries keep another: what had gone by
    when the plan was made, and what each of them took. After an interruption, or where finished entries are judged
    again, either may miss something; so the larger is told.
    """
    names = dict.fromkeys(entry.candidate for entry in entries)
    names |= dict.fromkeys(prepared.candidates) if prepared is not None else {}
    trained = {name: _trained(world, prepared, name, entries) for name in names}
    kept = prepared.forecast.before + sum(entry.seconds for entry in entries) if prepared and entries else 0.0
    fact = Spending(
        seconds=round(max(seconds, kept), 1),
        tokens=sum(tokens for _, tokens in trained.values()),
        memory_bytes=max([peak_memory(best_device()), *(entry.memory_bytes for entry in entries)]),
    )
    candidates, losers = _shares(entries, prepared, trained, fact)
    if prepared is not None and entries:
        account = prepared.forecast.against(fact)
    else:
        account = fact.model_dump() | {"price_per_hour": None, "forecast": None, "ratio": None}
    stages = {name: round(value, 1) for name, value in world.profile.stages.items()}
    return Spent.model_validate(account | {"candidates": candidates, "losers": losers, "stages": stages})


def _trained(world: World, prepared: Prepared | None, name: str, entries: Sequence[Entry]) -> tuple[float, int]:
    """Seconds and tokens of a candidate: of its entries, and of the steps after the last of them, which a training that
    diverged or could not go on has left in its log. (A curriculum's second phase counts in its entries alone.)
    """
    mine = [entry for entry in entries if entry.candidate == name]
    seconds, tokens = sum(entry.seconds for entry in mine), max((entry.tokens for entry in mine), default=0)
    if prepared is not None and name in prepared.candidates and prepared.candidates[name].then is None:
        done = max((entry.step for entry in mine), default=0)
        after = [row for row in read_log(work_folder(world, prepared, name)) if row["step"] > done]
        seconds, tokens = seconds + sum(row["seconds"] for row in after), tokens + sum(row["tokens"] for row in after)
    return seconds, tokens


def _shares(
    entries: Sequence[Entry], prepared: Prepared | None, trained: Mapping[str, tuple[float, int]], fact: Spending
) -> tuple[tuple[CandidateShare, ...], Share]:
    """What each candidate cost, and what was spent on losers: candidates that were prepared and did not go on.

    A candidate's seconds are those of preparing its targets, timing it, training it, and measuring and saving its
    entries; `share` is of the whole run's, of which the rest is nobody's: curating, the baseline, the verdict.
    """
    winner = entries[-1].candidate if entries else None
    preparing = prepared.plan.preparing_seconds if prepared else {}
    rows = []
    for name in dict.fromkeys([*preparing, *(entry.candidate for entry in entries)]):
        training_seconds, tokens = trained.get(name, (0.0, 0))
        seconds = preparing.get(name, 0.0) + training_seconds
        rows.append(
            CandidateShare(
                seconds=round(seconds, 1),
                tokens=tokens,
                share=_share(seconds, fact),
                objective=name,
                went_on=name == winner,
            )
        )
    lost = [row for row in rows if not row.went_on]
    seconds, tokens = sum((row.seconds for row in lost), 0.0), sum(row.tokens for row in lost)
    return tuple(rows), Share(seconds=round(seconds, 1), tokens=tokens, share=_share(seconds, fact))


def _share(seconds: float, whole: Spending) -> float:
    return round(seconds / whole.seconds if whole.seconds else 0.0, 4)


def collect(
    world: World,
    curated: Curated,
    baseline: Baseline,
    prepared: Prepared | None,
    entries: Sequence[Entry],
    judged: Judged,
    *,
    verdict: Verdict,
    best_targets: float | None,
    evidence: Evidence,
    command: str,
    labels: Path | None,
    skipped: Mapping[str, str],
) -> RunFacts:
    """The facts of a run. `skipped` are the candidates that could not train, with the reason of each."""
    nodes = trace(
        world, curated, baseline, prepared, entries, verdict=verdict, verdict_hash=_digest(verdict_text(verdict))
    )
    logs = {entry.candidate: read_log(entry.folder) for entry in entries}  # a later entry carries the longer log
    facts = RunFacts(
        run=world.run.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        curves=from_start(
            tuple(_curve(name, verdict.candidates) for name in logs), world, baseline, entries, judged.base
        ),
        losses=tuple(
            LossCurve(objective=name, points=tuple((row["step"], row["loss"]) for row in log))
            for name, log in logs.items()
        ),
        per_class=tuple(ClassGain.model_validate(row) for row in judged.per_class),
        label_free=_label_free_rows(baseline, entries),
        # Read with the plain head, as the curves are; so is the base that it is compared with.
        ceiling=None
        if best_targets is None
        else Ceiling(accuracy=best_targets, base=next((row.base for row in verdict.candidates), None)),
        guards=(
            *(row for entry in entries for row in _guards(baseline, entry)),
            *_general_cloze(verdict),
            *_compressor(verdict),
            *(_over_fitting(baseline, entry.name, entry.alarm) for entry in entries if entry.alarm is not None),
        ),
        cost=_cost(world.profile, verdict.spent, [row for log in logs.values() for row in log]),
        skipped=dict(skipped),
        drops=_drops(curated),
        remarks=tuple(curated.remarks),
        kept=Kept(documents=curated.n_documents, texts=len(curated.train)),
        **{name: getattr(evidence, name) for name in evidence.model_fields_set},
        trace=TraceFacts(nodes=nodes),
        next=tuple(
            advise(
                verdict,
                skipped=dict(skipped),
                texts=len(curated.train),
                run=world.run,
                command=command,
                labels=labels,
                rates=rates_of(prepared, world.config) if prepared else {},
                pretexts=_learnable(baseline.kind, curated.train),
                nouns=nouns_for(baseline.kind),
                allowed=world.config.limits().time,
            )
        ),
        reproduce=Reproduction(
            command=command,
            versions=baseline.artifact.versions,
            hardware=baseline.artifact.hardware,
            seed=world.config.seed,
        ),
    )
    return facts if baseline.kind == "text" else facts.model_copy(update={"kind": baseline.kind})


def _learnable(kind: Kind, corpus: Corpus) -> tuple[str, ...]:
    """The pretexts for a kind of products that find something to learn from in a corpus."""
    return tuple(name for name in pretexts_for(kind) if len(make_spec(name, {}).examples(corpus)))


def _cost(profile: Profile, spent: Spent, log: Sequence[Mapping[str, Any]]) -> CostFacts:
    """What the run took; how much of training was padding, and how fast it went, are of the steps in its log."""
    tokens, cells, seconds = (sum(row[key] for row in log) for key in ("tokens", "cells", "seconds"))
    return CostFacts(
        stages=_stage_times(profile),
        seconds=spent.seconds,
        tokens=spent.tokens,
        waste=1 - tokens / cells if cells else 0.0,
        tokens_per_second=tokens / seconds if seconds else 0.0,
        candidates=spent.candidates,
        losers=spent.losers,
    )


def _stage_times(profile: Profile) -> tuple[StageTime, ...]:
    """The stages with their parts, longest first; parts of less than a twentieth of a second say nothing."""
    rows = []
    for stage, seconds in profile.stages.items():
        parts = sorted(profile.parts.get(stage, {}).items(), key=lambda item: -item[1])
        shown = tuple(PartTime(part=name, seconds=round(value, 1)) for name, value in parts if value >= _SHORTEST)
        rows.append(StageTime(stage=stage, seconds=round(seconds, 1), parts=shown))
    return tuple(rows)


def verdict_text(verdict: Verdict) -> str:
    """What `verdict.json` holds."""
    return json.dumps(verdict.told(), indent=1, ensure_ascii=False)


def facts_of(run: Path) -> Path:
    """Where a run's facts are."""
    return run / "decision" / "facts.json"


def decided(run: Path) -> Verdict:
    """What a finished run has decided by itself.

    Raises:
        ArtifactError: it is missing, damaged, or not in the form that this version reads.
    """
    path = run / "decision" / "verdict.json"
    return read_verdict(read_json(path, dict), where=path)


def verdict_of(run: Path) -> Verdict:
    """The same joined by what people have answered: what `RUN/verdict.json` holds; it raises as `decided` does."""
    verdict = decided(run)
    return joined(verdict, asked_of(run, verdict))


def published_text(run: Path) -> str:
    """What `RUN/verdict.json` holds, byte for byte; it raises as `decided` does."""
    verdict = decided(run)
    asked = asked_of(run, verdict)
    return read_text(run / "decision" / "verdict.json") if asked is None else verdict_text(joined(verdict, asked))


def open_facts(run: Path) -> RunFacts:
    """The facts of a finished run, with what people have answered, and the dose curves where they were measured for the
    verdict that stands.

    Raises:
        ArtifactError: the facts are missing, or one of the two files is damaged or not in the form that this version
            reads.
    """
    facts = read_facts(read_json(facts_of(run), dict), where=facts_of(run))
    facts = facts.model_copy(update={"verdict": joined(facts.verdict, asked_of(run, facts.verdict))})
    try:
        dose = read_dose(read_json(run / "dose.json", dict), where=run / "dose.json")
    except AbsentError:
        return facts
    decision = open_artifact(run / "decision")
    stands = decision is not None and dose.of == of_decision(decision)
    return facts.model_copy(update={"dose": dose}) if stands else facts


def write_page(run: Path) -> None:
    """Leave `RUN/report.html`, from the facts of a finished run; it raises as `open_facts` does."""
    facts = open_facts(run)
    with as_written(facts_of(run)):
        page = render(facts)
    write_text(run / "report.html", page)


def of_decision(decision: Artifact) -> str | None:
    """What dose curves keep of the verdict that they belong to."""
    return decision.files.get("verdict.json")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _guards(baseline: Baseline, entry: Entry) -> list[GuardRow]:
    """An entry beside the guards' limits; one that has collapsed is inside none."""
    before, after = baseline.measured.values(), entry.measured.values()
    rows = []
    for guard in baseline.bench.guards.values():
        change = guard.change(before, after)
        inside = change >= guard.limit and not entry.measured.collapsed
        row = GuardRow(entry=entry.name, name=guard.name, change=change, limit=guard.limit, inside=inside)
        rows.append(_in_unit(row, guard.unit))
    return rows


def _general_cloze(verdict: Verdict) -> list[GuardRow]:
    """The challenger beside how low its change may be with an interval that wide."""
    read = verdict.general_cloze
    if read is None or verdict.entry is None:
        return []
    limit = read.limit - (read.interval[1] - read.gain)
    return [GuardRow(entry=verdict.entry, name="forgetting (cloze)", change=read.gain, limit=limit, inside=read.inside)]


def _compressor(verdict: Verdict) -> list[GuardRow]:
    """How many bits per byte the challenger takes less than a general compressor."""
    read = verdict.compressor
    if read is None or verdict.entry is None:
        return []
    name, saved = f"bits fewer than {read.name}", read.value - read.adapted
    return [GuardRow(entry=verdict.entry, name=name, change=saved, limit=0.0, inside=read.inside, unit="bits")]


def _in_unit(row: GuardRow, unit: str) -> GuardRow:
    """The row with its unit, where that is not points."""
    return row if unit == "points" else row.model_copy(update={"unit": unit})


def _over_fitting(baseline: Baseline, entry: str, alarm: decide.Alarm) -> GuardRow:
    limit, judge = alarm.change - alarm.interval[1], baseline.bench.judge
    row = GuardRow(entry=entry, name="over-fitting", change=alarm.change, limit=limit, inside=not alarm.fires)
    return _in_unit(row, judge.measure.difference if judge is not None else "points")


def _curve(name: str, rows: Sequence[CandidateRow]) -> GainCurve:
    mine = [row for row in rows if row.objective == name and row.merge is None]  # a merge is no step of training
    points = [
        CurvePoint(
            entry=row.entry,
            step=row.step,
            tokens=row.tokens,
            gain=row.gain,
            low=row.interval[0],
            high=row.interval[1],
        )
        for row in mine
        if row.gain is not None and row.interval is not None
    ]
    eliminated = any(row.eliminated for row in mine if row.gain is not None)
    return GainCurve(objective=name, eliminated=eliminated, points=tuple(points))


def _label_free_rows(baseline: Baseline, entries: Sequence[Entry]) -> tuple[LabelFreeRow, ...]:
    """The base's, then those of other bases and of entries."""
    every = [
        ("base", baseline.measured),
        *((other.name, other.measured) for other in baseline.others.values()),
        *((entry.name, entry.measured) for entry in entries),
    ]
    return tuple(LabelFreeRow(entry=name, values=_label_free(measured, baseline.bench)) for name, measured in every)


def _label_free(measured: Measured, bench: Bench) -> dict[str, float]:
    """The readings that need no labels, by the names that people know them by."""
    labelled = {*bench.judges, knn.KEY}
    every = (*measured.readings, *((measured.pretext,) if measured.pretext else ()))
    return {reading.name: reading.value for reading in every if reading.key not in labelled}


def _drops(curated: Curated) -> tuple[DropRow, ...]:
    counts = collections.Counter[str]()
    samples = collections.defaultdict[str, list[DropSample]](list)
    for drop in curated.drops:
        counts[drop.reason] += 1
        if len(samples[drop.reason]) < SAMPLES:
            samples[drop.reason].append(DropSample(id=drop.id, detail=drop.detail, sample=drop.sample[:200]))
    return tuple(
        DropRow(reason=reason, count=count, samples=tuple(samples[reason]))
        for reason, count in sorted(counts.items(), key=lambda item: -item[1])
    )
