"""An entry of the menu: a candidate trained to a checkpoint, and measured there."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shoptalk import decide
from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.evaluate import labelfree
from shoptalk.evaluate.bench import Measured, load_measured, looks_over, measure, refuse_other, save_measured
from shoptalk.readback import as_written, read_record
from shoptalk.records import Frozen, Look
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.legs import leg_to, train_leg
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World, best_device
from shoptalk.tasks.judge import Judge
from shoptalk.training.advance import refuse_diverged
from shoptalk.training.forecast import peak_memory
from shoptalk.training.loop import observing


class EntryProgress(Frozen):
    """`progress.json`: how far an entry was trained, and what that took."""

    step: int
    tokens: int
    seconds: float
    memory_bytes: int
    merge: float | None = None
    """Of an average with the base's weights, the share of the trained ones."""


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
    alarm: decide.Alarm | None = None
    """Whether the candidate over-fits here; None where that was not asked: before its third entry, without labels."""
    merge: float | None = None
    """Of an average with the base's weights, the share of the trained ones."""


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

    With `decay_from` the schedule decays from that step on, and `step` is where that decay ends (`decay_end`).
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
        refuse_diverged(training)
        rows = leg.log()
        with world.profile.part("looks"), observing(training.objective) as observed:
            measured = measure(observed, baseline.bench, base=baseline.measured)
            # The pretext task's own loss on unseen text: no base to compare with, whose head is random.
            unseen = training.objective.unseen(baseline.bench.held_out, seed=world.config.seed)
            if unseen is not None:
                measured = replace(measured, pretext=unseen(observed))
        saved = create(folder, kind="entry", config=settings, parents=parents, readings=measured.values())
        with world.profile.part("saving"), saved as inside:
            save_measured(inside, measured)
            write_text(inside / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            training.objective.product.save(
                inside / "encoder", card=f"# {name}, step {step}\n\nA checkpoint of a Shoptalk run.\n"
            )
            # Steps that an earlier process took count too; they are in the log.
            logged = sum(row["seconds"] for row in rows if row["step"] > done)
            progress = EntryProgress(
                step=rows[-1]["step"],
                tokens=sum(row["tokens"] for row in rows),
                seconds=round(time.perf_counter() - begun - training_seconds + logged, 3),
                memory_bytes=peak_memory(best_device()),
            )
            write_text(inside / "progress.json", progress.model_dump_json())
    entry = open_entry(folder, name)
    with as_written(folder):
        refuse_other(entry.measured, baseline.bench)
    report_look(world, entry, baseline)
    return entry


def report_look(world: World, entry: Entry, baseline: Baseline) -> None:
    """Tell an entry's gain in what looks measure; without a judge, what the label-free rule expects."""
    interval, judge = None, baseline.bench.judge
    if judge is None:
        gain, measure, unit = entry.measured.values().get(labelfree.KEY), labelfree.NAME, "points"
    else:
        gain, interval = decide.so_far(scores(baseline, judge, [entry]))
        measure, unit = judge.looked, judge.measure.difference
    look = Look(
        candidate=entry.candidate,
        step=entry.step,
        tokens=entry.tokens,
        seconds=entry.seconds,
        gain=gain,
        interval=interval,
        measure=measure,
        unit=unit,
        decimals=1 if judge is None else judge.measure.decimals,
        merge=entry.merge,
        base=world.base_name if baseline.others else None,
    )
    world.report.looked(look)


def open_entry(folder: Path, name: str) -> Entry:
    """What `train_to` has left in a folder of the menu; `name` is its candidate's."""
    artifact = open_artifact(folder)
    assert artifact is not None
    progress = read_record(folder / "progress.json", EntryProgress)
    with as_written(folder):
        measured = load_measured(folder)
    return Entry(
        name=f"{name}@{progress.step}" + ("" if progress.merge is None else f"x{progress.merge:g}"),
        candidate=name,
        step=progress.step,
        tokens=progress.tokens,
        folder=folder,
        artifact=artifact,
        measured=measured,
        seconds=progress.seconds,
        memory_bytes=progress.memory_bytes,
        merge=progress.merge,
    )


def scores(baseline: Baseline, judge: Judge, entries: Sequence[Entry]) -> decide.Scores:
    """What looks have seen of the base and of the entries, on the same draws."""
    return looks_over(baseline.measured, [(entry.name, entry.measured) for entry in entries], judge)
