"""Choose and pretrain: from a plan to a menu of measured checkpoints."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shoptalk import decide
from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.evaluate import labelfree
from shoptalk.evaluate.menu import Measured, load_measured, measure, save_measured
from shoptalk.nn.encoder import save_encoder
from shoptalk.objectives.masked.mlm import MaskedLanguageModel
from shoptalk.probes.masked_bits import masked_bits
from shoptalk.records import Look
from shoptalk.stages.curriculum import turn_of
from shoptalk.stages.data import Baseline
from shoptalk.stages.legs import leg_to, train_leg
from shoptalk.stages.planning import Prepared
from shoptalk.stages.world import World, best_device
from shoptalk.training.advance import read_log
from shoptalk.training.forecast import Forecast, peak_memory
from shoptalk.training.loop import observing


@dataclass(frozen=True)
class Entry:
    """A place on the menu: a candidate after some steps, measured; its encoder is `folder/encoder`."""

    name: str
    candidate: str
    step: int
    tokens: int
    folder: Path
    artifact: Artifact
    measured: Measured
    seconds: float
    """Training since the entry before it, measuring and saving."""
    memory_bytes: int
    """Peak memory of the process that made it, so far."""
    forecast: Forecast
    """Of the whole run that it is part of."""
    alarm: decide.Alarm | None = None
    """Whether the candidate over-fits here; None where that was not asked: before its third entry, without labels."""


def choose_stage(world: World, prepared: Prepared, baseline: Baseline) -> tuple[list[Entry], str]:
    """Successive halving over the candidates' pilots: every measured entry, and the candidate that goes on."""
    names = list(prepared.plan.candidates)
    if len(names) == 1:
        return [], names[0]
    world.report.say(f"choose: a short pilot of {', '.join(names)}")
    entries = [
        train_to(world, prepared, baseline, name, prepared.plan.candidates[name].pilot, earlier=[]) for name in names
    ]
    scores = {entry.candidate: _score(entry.measured, baseline) for entry in entries}
    survivors: Sequence[str] = names
    for keep in prepared.plan.keep:
        survivors = decide.halve({name: scores[name] for name in survivors}, keep)
    ranking = ", ".join(f"{name} {score:+.2f}" for name, score in sorted(scores.items(), key=lambda item: -item[1]))
    world.report.say(f"choose: {survivors[0]} goes on (against the base: {ranking})")
    world.report.chosen(survivors[0])
    return entries, survivors[0]


def pretrain_stage(
    world: World, prepared: Prepared, baseline: Baseline, winner: str, pilots: Sequence[Entry]
) -> list[Entry]:
    """Train the winner from checkpoint to checkpoint while the evidence says that more pays.

    A curriculum is not judged in its first phase, which need not help by itself; its second is judged by itself.
    """
    plan = prepared.plan.candidates[winner]
    turn = turn_of(winner, plan.steps, world.config)
    earlier = [entry for entry in pilots if entry.candidate == winner]
    entries: list[Entry] = []
    decay_from: int | None = None
    for step in (step for step in plan.checkpoints if step > (earlier[0].step if earlier else 0)):
        entry = train_to(world, prepared, baseline, winner, step, earlier=[*earlier, *entries], decay_from=decay_from)
        if step <= turn:
            entries.append(entry)
            continue
        later = [one for one in (*earlier, *entries) if one.step > turn]
        entries.append(_watched(world, baseline, [*later, entry], after=turn))
        alarm = entries[-1].alarm
        if alarm is not None and alarm.fires:
            world.report.say(f"pretrain: {alarm.decision.sentence} Training stops here.")
            break
        if decay_from is not None or step == plan.checkpoints[-1]:
            break
        if baseline.bench.labelled is None:
            continue
        decision = decide.continue_training(outcomes(baseline, [*later, entry]))
        if decision.choice != "continue":
            world.report.say(f"pretrain: {decision.sentence}")
        if decision.choice == "stop":
            break
        decay_from = entry.step if decision.choice == "decay" else None
    return entries


def _watched(world: World, baseline: Baseline, entries: Sequence[Entry], *, after: int) -> Entry:
    """The last of a candidate's entries, asked whether the candidate over-fits; two entries are too few to tell.

    `after` is the step after which their training began.
    """
    if baseline.bench.labelled is None or len(entries) < 3:
        return entries[-1]
    log = read_log(entries[-1].folder)
    begins = [after, *(entry.step for entry in entries[:-1])]
    losses = [
        [row["loss"] for row in log if begin < row["step"] <= entry.step]
        for begin, entry in zip(begins, entries, strict=True)
    ]
    bits = [entry.measured.values().get("masked_bits") for entry in entries]
    held_out = [value for value in bits if value is not None]
    alarm = decide.overfitting(
        outcomes(baseline, entries),
        losses,
        held_out=held_out if len(held_out) == len(entries) else None,
        seed=world.config.seed,
    )
    return replace(entries[-1], alarm=alarm)


def train_to(
    world: World,
    prepared: Prepared,
    baseline: Baseline,
    name: str,
    step: int,
    *,
    earlier: Sequence[Entry],
    decay_from: int | None = None,
) -> Entry:
    """The menu entry of a candidate at `step`, trained and measured unless its artifact is there.

    With `decay_from` the schedule decays from that step on and the entry is what comes out of it, at most `step`.
    """
    settings = {"candidate": name, "step": step, "decay_from": decay_from}
    parents = {"plan": prepared.key, "baseline": baseline.artifact.content}
    folder, key = world.run / "menu" / f"{name}-{step}", key_of(kind="entry", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        begun = time.perf_counter()
        done = earlier[-1].step if earlier else 0
        leg = leg_to(world, prepared, name, step, done=done)
        training, training_seconds = leg.training, leg.before_seconds
        training_seconds += train_leg(world, leg, until=step, done=done, decay_from=decay_from)
        rows = leg.log()
        with observing(training.objective) as observed:
            measured = measure(observed, baseline.bench, base=baseline.measured)
            heads = [part for part in training.objective.modules() if isinstance(part, MaskedLanguageModel)]
            if heads and baseline.bench.held_out:  # alone or in a mixture
                # The pretext task's own loss on unseen text: no base to compare with, whose head is random.
                bits = masked_bits(baseline.bench.held_out, seed=world.config.seed, head=heads[0].logits)
                measured = replace(measured, readings=(*measured.readings, bits(observed)))
        with create(folder, kind="entry", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            write_text(inside / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            save_encoder(
                training.objective.product,
                inside / "encoder",
                card=f"# {name}, step {step}\n\nA checkpoint of a Shoptalk run.\n",
            )
            # Steps that an earlier process took count too; they are in the log.
            logged = sum(row["seconds"] for row in rows if row["step"] > done)
            progress = {
                "step": rows[-1]["step"],
                "tokens": sum(row["tokens"] for row in rows),
                "seconds": round(time.perf_counter() - begun - training_seconds + logged, 3),
                "memory_bytes": peak_memory(best_device()),
            }
            write_text(inside / "progress.json", json.dumps(progress))
    entry = open_entry(folder, name, forecast=prepared.forecast)
    world.report.looked(_look(entry, baseline))
    return entry


def _look(entry: Entry, baseline: Baseline) -> Look:
    """An entry as it is told: its gain in plain k-shot accuracy, without labels what the label-free rule expects."""
    interval, labelled = None, baseline.bench.labelled
    if labelled is None:
        gain, measure = entry.measured.values().get(labelfree.NAME), labelfree.NAME
    else:
        gain, interval = decide.so_far(outcomes(baseline, [entry]))
        measure = f"{labelled.shots}-shot accuracy"
    return Look(
        candidate=entry.candidate,
        step=entry.step,
        tokens=entry.tokens,
        seconds=entry.seconds,
        gain=gain,
        interval=interval,
        measure=measure,
    )


def open_entry(folder: Path, name: str, *, forecast: Forecast) -> Entry:
    """What `train_to` has left in a folder of the menu; `name` is its candidate's."""
    artifact = open_artifact(folder)
    assert artifact is not None
    progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    return Entry(
        name=f"{name}@{progress['step']}",
        candidate=name,
        step=progress["step"],
        tokens=progress["tokens"],
        folder=folder,
        artifact=artifact,
        measured=load_measured(folder),
        seconds=progress["seconds"],
        memory_bytes=progress["memory_bytes"],
        forecast=forecast,
    )


def outcomes(baseline: Baseline, entries: Sequence[Entry]) -> decide.Outcomes:
    """The base's and the entries' outcomes on the same draws."""
    labelled = baseline.bench.labelled
    assert labelled is not None
    rows = [baseline.measured.correct, *(entry.measured.correct for entry in entries)]
    return decide.Outcomes(
        entries=tuple(entry.name for entry in entries),
        correct=np.stack([row for row in rows if row is not None]),
        tested=labelled.draws.tested,
        cluster=labelled.cluster,
    )


def _score(measured: Measured, baseline: Baseline) -> float:
    """The gain that pilots are ranked by: k-shot accuracy in points, without labels what the label-free rule expects.

    Of too few texts the rule says nothing, and all are alike: the candidate that was named first goes on.
    """
    before, after = baseline.measured.values(), measured.values()
    if baseline.bench.labelled is not None:
        name = f"{baseline.bench.labelled.shots}-shot accuracy"
        return after[name] - before[name]
    return after.get(labelfree.NAME, 0.0)
