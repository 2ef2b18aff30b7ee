"""Legs: what to train so that a candidate of `adapt` comes to a given step.

An ordinary candidate has one leg, all its steps. A curriculum has one a phase, on one axis of steps: the second begins
where the first ends, from the encoder that the first has left in `RUN/phases/NAME`, which also prepares its targets.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoptalk.artifact import create, key_of, open_artifact
from shoptalk.nn.product import Product
from shoptalk.objectives.recipe import Recipe
from shoptalk.stages.candidate import PreparedCandidate, prepare_targets
from shoptalk.stages.curriculum import turn_of
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World, open_product
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.loop import loop_config
from shoptalk.training.pace import watched
from shoptalk.training.schedule import Schedule


@dataclass(frozen=True)
class Leg:
    """A training on a candidate's axis of steps."""

    name: str
    """As progress is told: the candidate's, with the phase of a curriculum."""
    training: Training
    begin: int = 0
    """The candidate's steps before this training's first."""
    before: tuple[dict[str, Any], ...] = ()
    """The log of those."""
    step_seconds: float | None = None
    """What a step was forecast to take; None where the plan knows only what a step of all phases takes on average."""
    before_seconds: float = 0.0
    """Of `before`, what this process has spent on training them for this leg."""

    def log(self) -> list[dict[str, Any]]:
        """The rows of the candidate's log so far, of earlier legs too, by its own steps."""
        rows = read_log(self.training.folder)
        return [*self.before, *(row | {"step": self.begin + row["step"]} for row in rows)]


def leg_to(world: World, prepared: Prepared, name: str, step: int, *, done: int) -> Leg:
    """The leg of a candidate in which `step` lies; `done` are the steps that it has been taken to so far.

    A step in the second phase of a curriculum has the first one trained to its end, unless that is done.
    """
    candidate, steps = prepared.candidates[name], prepared.plan.candidates[name].steps
    turn = turn_of(name, steps, world.config)
    work = work_folder(world, prepared, name)
    if candidate.then is None:
        product = open_product(world.config)
        training = _training(world, prepared, name, candidate, product, steps, work)
        return Leg(name, training, step_seconds=prepared.plan.candidates[name].seconds_per_step)
    phases = Recipe.parse(name).phases
    if step > turn:
        folder, seconds = _first_phase(world, prepared, name, turn, done=done)
        base = str(folder / "encoder")
        product = open_product(world.config, base)
        targets = prepare_targets(world, name, candidate.then, prepared.corpus, product, base)
        second = replace(candidate, spec=candidate.then, targets=targets)
        training = _training(world, prepared, phases[1].name, second, product, steps - turn, work)
        before = tuple(read_log(folder))
        return Leg(f"{name}, phase 2 ({phases[1].name})", training, turn, before, before_seconds=seconds)
    work = work.with_name(f"{work.name}.1")
    product = open_product(world.config)
    training = _training(world, prepared, phases[0].name, candidate, product, turn, work)
    return Leg(f"{name}, phase 1 ({phases[0].name})", training)


def work_folder(world: World, prepared: Prepared, name: str) -> Path:
    """Where a candidate's training keeps its log and its newest snapshot; gone when the run is finished."""
    return world.run / "work" / f"{name}-{prepared.key[:12]}"


def decay_end(world: World, prepared: Prepared, name: str, begin: int) -> int:
    """The candidate's last step where its decay begins after step `begin`: the decay keeps its share of the steps."""
    steps = prepared.plan.candidates[name].steps
    turn = turn_of(name, steps, world.config)
    schedule = Schedule.plan(steps - turn, warmup=world.config.train.warmup, decay=world.config.train.decay)
    return turn + schedule.decaying_from(begin - turn).steps


def train_leg(world: World, leg: Leg, *, until: int, done: int, decay_from: int | None = None) -> float:
    """Take a leg to the candidate's step `until`, showing it: the seconds of training that this took this process."""
    total = until - leg.begin
    steps = advance(leg.training, until=total, decay_from=None if decay_from is None else decay_from - leg.begin)
    pace = watched(steps, expected=leg.step_seconds, total=total, name=leg.name, say=world.report.say)
    tracked = world.report.track(pace, done=max(0, done - leg.begin), total=total, name=leg.name)
    with world.profile.part("snapshots"):  # and opening: all that the steps themselves do not take
        seconds = sum(step.seconds for step in tracked)
        world.profile.add("training", seconds)
    return seconds


def _first_phase(world: World, prepared: Prepared, name: str, turn: int, *, done: int) -> tuple[Path, float]:
    """`RUN/phases/NAME`, the encoder and the log that the first phase of a curriculum leaves at its end; and what
    training it has taken now.
    """
    folder, settings, parents = world.run / "phases" / name, {"candidate": name, "step": turn}, {"plan": prepared.key}
    seconds = 0.0
    if open_artifact(folder, key=key_of(kind="phase", config=settings, parents=parents)) is None:
        leg = leg_to(world, prepared, name, turn, done=done)
        seconds = train_leg(world, leg, until=turn, done=done)
        card = f"# {name}, after its first phase\n\nWhat the second phase of a Shoptalk run began from.\n"
        with create(folder, kind="phase", config=settings, parents=parents) as inside:
            shutil.copyfile(leg.training.folder / "log.jsonl", inside / "log.jsonl")
            leg.training.objective.product.save(inside / "encoder", card=card)
    return folder, seconds


def _training(
    world: World,
    prepared: Prepared,
    objective: str,
    candidate: PreparedCandidate,
    product: Product,
    steps: int,
    folder: Path,
) -> Training:
    """The training by a candidate's first spec, on its targets."""
    precision = prepared.plan.precision
    return Training.build(
        candidate.spec,
        corpus=prepared.corpus,
        inputs=prepared.inputs,
        product=product,
        targets=candidate.targets,
        config=loop_config(candidate.spec, world.config, name=objective, steps=steps, precision=precision),
        folder=folder,
        snapshot_seconds=world.config.train.snapshot_seconds,
        general=candidate.general,
    )
