"""A finished run, opened again so that its winner can be trained and measured further."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shoptalk import decide
from shoptalk.artifact import Artifact, handed_out, open_artifact, write_text
from shoptalk.commands.finished_settings import settings_of
from shoptalk.errors import AbsentError, ArtifactError, SourceError
from shoptalk.readback import read_text
from shoptalk.report.verdict_json import Verdict
from shoptalk.stages.baseline import Baseline, baseline_stage
from shoptalk.stages.curate import open_curated
from shoptalk.stages.entry import Entry, open_entry, scores
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.plan import Prepared, plan_stage
from shoptalk.stages.world import World
from shoptalk.tasks import needs_of
from shoptalk.tasks.judge import Judge
from shoptalk.telling.facts import decided
from shoptalk.training.replay import kept_general
from shoptalk.training.reporter import Reporter, Silent


@dataclass(frozen=True)
class DosedRun:
    """A finished run, opened again."""

    world: World
    baseline: Baseline
    judge: Judge
    prepared: Prepared
    entries: tuple[Entry, ...]
    """The winner's, in the order of training."""
    best: Entry
    """The one that the verdict describes."""
    decision: Artifact

    def gains(self, entries: Sequence[Entry]) -> decide.Band:
        """The entries' gains over the base by what looks have seen of them, in the measure's units."""
        points = decide.Points.of(scores(self.baseline, self.judge, entries))
        return decide.band(points, seed=self.world.config.seed)


def verdict_to_dose(run: Path) -> Verdict:
    """The verdict of a run that can be dosed.

    Raises:
        SourceError: this is not a finished run, it had nothing to judge by, or nothing was trained in it.
        ArtifactError: the verdict was changed.
    """
    decision = run / "decision"
    if open_artifact(decision) is None:
        raise SourceError(
            f"{run} is not a finished run: it has no decision. `shoptalk adapt SOURCE... --out {run}` makes one, with "
            "--labels FILE where the task needs labels."
        )
    handed_out(decision)
    verdict = decided(run)
    if verdict.objective is None:
        raise SourceError(
            f"Nothing was trained in {run}, so there is no dose of it. Run `shoptalk adapt` with --candidates other "
            "than none, or with a larger --budget."
        )
    if verdict.gain is None:
        needs = needs_of(verdict.task or "intent")
        option = "--labels FILE " if needs.labels else ""
        raise SourceError(
            f"{run} had nothing to judge by, and a dose curve is made of gains. {needs.bring} and run `shoptalk adapt "
            f"... {option}--out {run}` first."
        )
    return verdict


def open_dosed(run: Path, verdict: Verdict, report: Reporter) -> DosedRun:
    """The run's stages again, all of which are done.

    Raises:
        ArtifactError: what the run has left does not belong together any more.
    """
    artifact = open_artifact(run / "decision")
    assert artifact is not None
    world = World(run=run, config=settings_of(run, artifact), report=Silent())
    curated = replace(open_curated(world), general=kept_general(run, world.config))
    world = base_stage(world, curated)
    plan_file = run / "plan.json"
    planned = _plan_text(plan_file)
    baseline = baseline_stage(world, curated)
    prepared, _ = plan_stage(world, curated, baseline, spent=0.0)
    kept = _plan_text(plan_file)
    names = [row.entry for row in verdict.candidates if row.objective == verdict.objective and row.merge is None]
    entries = _entries(run, prepared, verdict.objective or "") if prepared is not None else {}
    merges = {row.entry for row in verdict.candidates if row.merge is not None}
    # A merge was made of the last entry, and is no amount of training by itself.
    best = entries.get(names[-1] if names and verdict.entry in merges else verdict.entry or "")
    judge = baseline.bench.judge
    if prepared is None or judge is None or planned != kept or best is None or not {*names} <= set(entries):
        if planned is not None:
            write_text(plan_file, planned)
        raise ArtifactError(
            f"What {run} was planned with has changed since (another version, another base, or files were deleted), so "
            "no training of it can be repeated. Run the same `shoptalk adapt` again, then this."
        )
    mine = tuple(entries[name] for name in names)
    return DosedRun(replace(world, report=report), baseline, judge, prepared, mine, best, artifact)


def _plan_text(path: Path) -> str | None:
    """What the plan's file holds; None where there is none."""
    try:
        return read_text(path)
    except AbsentError:
        return None


def _entries(run: Path, prepared: Prepared, candidate: str) -> dict[str, Entry]:
    """The candidate's finished entries of this plan, by name; the menu may also hold those of earlier plans."""
    entries = {}
    for folder in sorted((run / "menu").glob("*")):
        artifact = open_artifact(folder)
        if (
            artifact is None
            or artifact.parents.get("plan") != prepared.key
            or artifact.config.get("candidate") != candidate
        ):
            continue
        entry = open_entry(folder, candidate)
        entries[entry.name] = entry
    return entries
