"""Everything the report tells, gathered from the run's artifacts as plain JSON."""

import collections
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shoptalk.artifact import Artifact, open_artifact, write_text
from shoptalk.errors import AbsentError
from shoptalk.evaluate.bench import Bench, Measured
from shoptalk.probes import knn
from shoptalk.quantities import Spending
from shoptalk.readback import as_written, damaged, read_json
from shoptalk.records import Drop
from shoptalk.report import render, render_markdown
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Judged
from shoptalk.stages.entry import Entry
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World, best_device
from shoptalk.telling.advice import advise
from shoptalk.telling.trace import trace
from shoptalk.telling.verdict_json import Verdict
from shoptalk.training.advance import read_log
from shoptalk.training.forecast import peak_memory

SAMPLES = 5
"""Dropped texts shown for each reason."""


def spent(entries: Sequence[Entry], prepared: Prepared | None, seconds: float) -> dict[str, Any]:
    """What the run took up to the verdict and its evidence: wall-clock seconds, real training tokens, peak memory, and
    euros where an hour has a price; beside the forecast, and fact divided by forecast. `candidates` and `losers` tell
    whose it was.

    `seconds` is this process's account and that of interrupted ones' logs. The entries keep another: what had gone by
    when the plan was made, and what each of them took. After an interruption, or where finished entries are judged
    again, either may miss something; so the larger is told.
    """
    longest: dict[str, int] = {}
    for entry in entries:
        longest[entry.candidate] = max(longest.get(entry.candidate, 0), entry.tokens)
    kept = prepared.forecast.before + sum(entry.seconds for entry in entries) if prepared and entries else 0.0
    fact = Spending(
        seconds=round(max(seconds, kept), 1),
        tokens=sum(longest.values()),
        memory_bytes=max([peak_memory(best_device()), *(entry.memory_bytes for entry in entries)]),
    )
    shares = _shares(entries, prepared, fact)
    if prepared is not None and entries:
        return prepared.forecast.against(fact) | shares
    return fact.model_dump() | {"price_per_hour": None, "forecast": None, "ratio": None} | shares


def _shares(entries: Sequence[Entry], prepared: Prepared | None, fact: Spending) -> dict[str, Any]:
    """What each candidate cost, and what was spent on losers: candidates that were prepared and did not go on.

    A candidate's seconds are those of preparing its targets, timing it, training it, and measuring and saving its
    entries; `share` is of the whole run's, of which the rest is nobody's: curating, the baseline, the verdict.
    """
    winner = entries[-1].candidate if entries else None
    preparing = prepared.plan.preparing_seconds if prepared else {}
    rows = []
    for name in dict.fromkeys([*preparing, *(entry.candidate for entry in entries)]):
        mine = [entry for entry in entries if entry.candidate == name]
        seconds = preparing.get(name, 0.0) + sum(entry.seconds for entry in mine)
        tokens = max((entry.tokens for entry in mine), default=0)
        rows.append(_cost(seconds, tokens, fact) | {"objective": name, "went_on": name == winner})
    lost = [row for row in rows if not row["went_on"]]
    losers = _cost(sum((row["seconds"] for row in lost), 0.0), sum(row["tokens"] for row in lost), fact)
    return {"candidates": rows, "losers": losers}


def _cost(seconds: float, tokens: int, whole: Spending) -> dict[str, Any]:
    share = seconds / whole.seconds if whole.seconds else 0.0
    return {"seconds": round(seconds, 1), "tokens": tokens, "share": round(share, 4)}


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
    evidence: Mapping[str, Any],
    command: str,
    labels: Path | None,
    stage_seconds: Mapping[str, float],
    skipped: Mapping[str, str],
) -> dict[str, Any]:
    """The facts of a run, in the shape that `report.render` documents. `stage_seconds` are what each stage took, and
    `skipped` the candidates that could not train, with the reason of each.
    """
    told = verdict.told()
    nodes = trace(
        world, curated, baseline, prepared, entries, verdict=told, verdict_hash=_digest(verdict_text(verdict))
    )
    logs = {}
    for entry in entries:  # later entries of a candidate carry its longer log
        logs[entry.candidate] = read_log(entry.folder)
    rows = [row for log in logs.values() for row in log]
    tokens, cells = sum(row["tokens"] for row in rows), sum(row["cells"] for row in rows)
    training = sum(row["seconds"] for row in rows)
    return {
        "run": world.run.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": told,
        "curves": [_curve(name, told["candidates"]) for name in logs],
        "losses": [{"objective": name, "points": [[r["step"], r["loss"]] for r in log]} for name, log in logs.items()],
        "per_class": judged.per_class,
        "label_free": [
            {"entry": name, "values": _label_free(measured, baseline.bench)}
            for name, measured in [("base", baseline.measured), *((entry.name, entry.measured) for entry in entries)]
        ],
        # Read with the plain head, as the curves are; so is the base that it is compared with.
        "ceiling": None
        if best_targets is None
        else {"accuracy": best_targets, "base": next((row["base"] for row in told["candidates"]), None)},
        "guards": [row for entry in entries for row in _guards(baseline, entry)]
        + [
            {
                "entry": entry.name,
                "name": "over-fitting",
                "value": entry.alarm.change,
                "limit": entry.alarm.change - entry.alarm.interval[1],
                "inside": not entry.alarm.fires,
            }
            for entry in entries
            if entry.alarm is not None
        ],
        "cost": {
            "stages": [{"stage": name, "seconds": round(value, 1)} for name, value in stage_seconds.items()],
            "seconds": told["spent"]["seconds"],
            "tokens": told["spent"]["tokens"],
            "waste": 1 - tokens / cells if cells else 0.0,
            "tokens_per_second": tokens / training if training else 0.0,
            "candidates": told["spent"]["candidates"],
            "losers": told["spent"]["losers"],
        },
        "skipped": dict(skipped),
        "drops": _drops(curated),
        "remarks": list(curated.remarks),
        "kept": {"documents": curated.n_documents, "texts": len(curated.train)},
        **evidence,
        "trace": {"nodes": nodes},
        "next": advise(
            told,
            skipped=dict(skipped),
            texts=len(curated.train),
            run=world.run,
            command=command,
            labels=labels,
            rates={name: (one.then or one.spec).lr for name, one in prepared.candidates.items()} if prepared else {},
        ),
        "reproduce": {
            "command": command,
            "versions": baseline.artifact.versions,
            "hardware": baseline.artifact.hardware,
            "seed": world.config.seed,
        },
    }


def verdict_text(verdict: Verdict) -> str:
    """What `verdict.json` holds."""
    return json.dumps(verdict.told(), indent=1, ensure_ascii=False)


def facts_of(run: Path) -> Path:
    """Where a run's facts are."""
    return run / "decision" / "facts.json"


def open_facts(run: Path) -> dict[str, Any]:
    """The facts of a finished run, with the dose curves where they were measured for the verdict that stands.

    Raises:
        ArtifactError: the facts are missing, or one of the two files is damaged.
    """
    facts = read_json(facts_of(run), dict)
    if not isinstance(facts.get("verdict"), dict):
        raise damaged(facts_of(run), "it has no verdict")
    try:
        dose = read_json(run / "dose.json", dict)
    except AbsentError:
        return facts
    decision = open_artifact(run / "decision")
    if decision is None or dose.get("of") != of_decision(decision):
        return facts
    with as_written(run / "dose.json"):
        render_markdown({"dose": dose})
        render({"dose": dose})
    return facts | {"dose": dose}


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


def _guards(baseline: Baseline, entry: Entry) -> list[dict[str, Any]]:
    """An entry beside the guards' limits; one that has collapsed is inside none."""
    before, after = baseline.measured.values(), entry.measured.values()
    rows = []
    for guard in baseline.bench.guards.values():
        change = guard.change(before, after)
        inside = change >= guard.limit and not entry.measured.collapsed
        rows.append({"entry": entry.name, "name": guard.name, "value": change, "limit": guard.limit, "inside": inside})
    return rows


def _curve(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mine = [row for row in rows if row["objective"] == name and row["gain"] is not None]
    points = [
        {
            "entry": row["entry"],
            "step": row["step"],
            "tokens": row["tokens"],
            "gain": row["gain"],
            "low": row["interval"][0],
            "high": row["interval"][1],
        }
        for row in mine
    ]
    return {"objective": name, "eliminated": any(row["eliminated"] for row in mine), "points": points}


def _label_free(measured: Measured, bench: Bench) -> dict[str, float]:
    """The readings that need no labels, by the names that people know them by."""
    labelled = {*bench.judges, knn.KEY}
    every = (*measured.readings, *((measured.pretext,) if measured.pretext else ()))
    return {reading.name: reading.value for reading in every if reading.key not in labelled}


def _drops(curated: Curated) -> list[dict[str, Any]]:
    counts = collections.Counter[str]()
    samples = collections.defaultdict[str, list[Drop]](list)
    for drop in curated.drops:
        counts[drop.reason] += 1
        if len(samples[drop.reason]) < SAMPLES:
            samples[drop.reason].append(drop)
    return [
        {
            "reason": reason,
            "count": count,
            "samples": [{"id": d.id, "detail": d.detail, "sample": d.sample[:200]} for d in samples[reason]],
        }
        for reason, count in sorted(counts.items(), key=lambda item: -item[1])
    ]
