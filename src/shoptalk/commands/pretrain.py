"""Training with one objective on one encoder, without measuring it: what `shoptalk pretrain` does."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.curate.sources import source_fingerprint
from shoptalk.errors import ArtifactError, ConfigError, SourceError
from shoptalk.nn import gather
from shoptalk.nn.bases import kind_of, open_model
from shoptalk.nn.digests import base_digest
from shoptalk.nn.machine import Machine, prepare
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import Kind, Product, folder_of
from shoptalk.objective import Spec, Targets
from shoptalk.objectives.recipe import Recipe
from shoptalk.quantities import Forecast, Spending, compared
from shoptalk.question import Question, claim, withdraw
from shoptalk.readback import read_record, read_text
from shoptalk.records import Frozen
from shoptalk.stages.candidate import PreparedCandidate, open_targets, prepare_targets, unable
from shoptalk.stages.candidate_costs import CandidateTiming, time_candidate
from shoptalk.stages.curate import curate_stage, open_curated
from shoptalk.stages.curriculum import Phase, first_budget, phase_specs, turn_of
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.world import World, best_device, matmul_rates, open_product, usual_precision
from shoptalk.telling.cards import plain_card
from shoptalk.telling.origin import base_of
from shoptalk.text.corpus import Corpus
from shoptalk.training import launch, snapshot
from shoptalk.training.advance import Training, advance, read_log, refuse_diverged
from shoptalk.training.forecast import peak_memory, peak_to_come
from shoptalk.training.loop import loop_config
from shoptalk.training.pace import watched


def pretrain(
    world: World, sources: Sequence[Path], *, objective: str, steps: int | None, card: str, force: bool = False
) -> Artifact:
    """Train `config.base` on the sources; leaves `DIR/encoder` and `DIR/log.jsonl` in the world's folder.

    Where several processes call this together (`training/launch.py`), the first one reads the sources, makes the files
    that all of them open, and writes the results.

    Without `steps` the budget decides how many, once, in `DIR/plan.json`, which also forecasts what the run will take
    and afterwards holds what it took. The same call resumes, or returns at once where all is done.

    The first phase of a curriculum is such a training too, in `DIR/phases/1-NAME`; `DIR/plan.json` lists it under
    `earlier`, and `DIR/log.jsonl` is the log of the second phase. The first phase gets `train.curriculum_share` of
    `steps` or of the budget, and the second the rest.

    Raises:
        ConfigError: no such objective, or another setting is wrong.
        SourceError: the sources have nothing that this objective can learn from.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    begun = time.perf_counter()
    specs = phase_specs(world.config, objective)
    launch.agree(lambda: claim(world.run, _question(world, sources, objective, steps), force=force))
    turn = None if steps is None else turn_of(objective, steps, world.config)
    curated = launch.shared(
        world.run / "corpus",
        make=lambda: curate_stage(world, sources, None, None, reads=kind_of(world.config.base)),
        read=lambda: open_curated(world),
    )
    world = base_stage(world, curated)
    if len(specs) == 1:
        return train_on(world, curated.train, specs[0], objective=objective, steps=steps, card=card, begun=begun)
    first, second = (phase.name for phase in Recipe.parse(objective).phases)
    kind = kind_of(world.config.base)
    _refuse_nothing(curated.train, specs[1], second, kind)  # before the first phase is trained for nothing
    world.report.say(f"pretrain: phase 1 of 2, {first}")
    second_world, phase_done = _first_phase(world, curated.train, specs[0], first, steps=turn, begun=begun)
    world.report.say(f"pretrain: phase 2 of 2, {second}")
    left = None if steps is None or turn is None else steps - turn
    begun = time.perf_counter() - phase_done.seconds  # the first phase may have been another process's work
    return train_on(
        second_world, curated.train, specs[1], objective=second, steps=left, card=card, begun=begun, after=phase_done
    )


def _question(world: World, sources: Sequence[Path], objective: str, steps: int | None) -> Question:
    config = world.config
    settings = {
        "objective": objective,
        "objectives": config.objectives,
        "train": config.train.of_results() | {"curriculum_share": config.train.curriculum_share},
        "curate": config.curate.model_dump(),
        "vocabulary": config.vocabulary,
        "seed": config.seed,
        "steps": steps,
        "budget": None if steps else config.budget,
    }
    return Question.of(
        "pretrain",
        settings,
        sources=source_fingerprint(sources, config.curate, out=world.run),
        base=base_digest(config.base),
    )


def _first_phase(
    world: World, corpus: Corpus, spec: Spec, objective: str, *, steps: int | None, begun: float
) -> tuple[World, Phase]:
    """Train the first phase of a curriculum. Returns a world with its result as the base, and what it took."""
    config, name = world.config, f"phases/1-{objective}"
    inside = replace(
        world, run=world.run / name, config=config.model_copy(update={"budget": str(first_budget(config))})
    )
    about = "The first phase of two; not measured, so not proven."
    card = plain_card(base_of(world.base_name), f"trained with {objective}", about)
    train_on(inside, corpus, spec, objective=objective, steps=steps, card=card, begun=begun)

    def work() -> dict[str, Any]:
        try:
            plan = read_record(inside.run / "plan.json", SinglePlan)
        except ArtifactError as error:  # the encoder is there, so a plan would not be made again
            raise ArtifactError(f"{error} To train this phase anew, delete {inside.run}.") from error
        rows = read_log(inside.run)
        seconds = plan.spent["seconds"] if plan.spent else plan.before_seconds + sum(row["seconds"] for row in rows)
        tokens = sum(row["tokens"] for row in rows)
        return Phase(objective=objective, folder=name, steps=plan.steps, seconds=seconds, tokens=tokens).model_dump()

    phase = Phase.model_validate(launch.agree(work))
    budget = config.limits()
    changed = {"base": str(inside.run / folder_of(kind_of(world.config.base)))}
    if budget.tokens is not None:
        changed["budget"] = str(budget.model_copy(update={"tokens": max(1, budget.tokens - phase.tokens)}))
    return replace(world, config=config.model_copy(update=changed), asked_base=world.base_name), phase


def train_on(
    world: World,
    corpus: Corpus,
    spec: Spec,
    *,
    objective: str,
    steps: int | None,
    card: str,
    begun: float,
    after: Phase | None = None,
) -> Artifact:
    """Train `config.base` on a corpus by the objective of `spec`; the results are those of `pretrain`.

    `begun` is when the run began (`time.perf_counter`): the work since then is paid from the budget too. `after` is the
    first phase of a curriculum, where this training is the second; forecast and fact include it.

    Raises:
        SourceError: the corpus has nothing that this objective can learn from.
    """
    config, folder, budget = world.config, world.run, world.config.limits()
    settings = {
        "objective": objective,
        "spec": spec.model_dump(),
        "train": config.train.of_results(),
        "seed": config.seed,
        "steps": steps,
        "budget": None if steps else {"seconds": budget.time, "tokens": budget.tokens},
    }
    parents = {"corpus": corpus.digest, "base": base_digest(config.base)}
    key = key_of(kind="encoder", config=settings, parents=parents)
    shipped = folder_of(kind_of(config.base))
    if not launch.agree(lambda: open_artifact(folder / shipped, key=key) is not None):
        product = open_product(config)
        _refuse_nothing(corpus, spec, objective, product.kind)
        inputs = launch.shared(
            folder / "tokens",
            make=lambda: product.inputs(corpus, folder / "tokens"),
            read=lambda: product.inputs(corpus, folder / "tokens"),
        )
        targets = launch.shared(
            folder / "targets" / objective,
            make=lambda: prepare_targets(world, objective, spec, corpus, product, config.base),
            read=lambda: open_targets(folder / "targets" / objective),
        )
        candidate = PreparedCandidate(objective, spec, targets)
        plan = _plan(world, key, candidate, corpus, inputs, steps, begun=begun, after=after)
        forecast = plan.priced(budget.price_per_hour)
        world.report.say(
            f"plan: {plan.steps} steps, learning rate {plan.lr:g}; {plan.precision}, {plan.machine}; {forecast}"
        )
        launch.agree(lambda: _forget_other_runs(folder, key))
        earlier = sum(row["seconds"] for row in read_log(folder))
        training = _trained(world, candidate, plan, corpus, inputs, product)
        sharded = gather.sharded(training.objective)

        def finish() -> None:
            trained = training.objective.product
            whole = _from_snapshot(training, spec, config, corpus, inputs, targets) if sharded else trained
            withdraw(folder)
            with create(folder / shipped, kind="encoder", config=settings, parents=parents) as inside:
                whole.save(inside, card=card)
            snapshot.keep_only(folder, None)
            _account(world, plan, forecast, seconds=earlier + time.perf_counter() - begun)

        launch.agree(finish)
    return launch.arrived(folder / shipped, key)


def _trained(
    world: World, candidate: PreparedCandidate, plan: "SinglePlan", corpus: Corpus, inputs: Any, product: Product
) -> Training:
    """The training that the plan foresees, done."""
    name, spec, report = candidate.name, candidate.spec, world.report
    training = Training.build(
        spec,
        corpus=corpus,
        inputs=inputs,
        product=product,
        targets=candidate.targets,
        config=loop_config(spec, world.config, name=name, steps=plan.steps, precision=plan.precision),
        folder=world.run,
        snapshot_seconds=world.config.train.snapshot_seconds,
    )
    steps_taken = watched(
        advance(training, until=plan.steps), expected=plan.step_seconds, total=plan.steps, name=name, say=report.say
    )
    for _ in report.track(steps_taken, done=0, total=plan.steps, name=name):
        pass
    refuse_diverged(training)
    return training


def _account(world: World, plan: "SinglePlan", forecast: Forecast, *, seconds: float) -> None:
    """Write into the plan what the training took, and tell it beside the forecast.

    `seconds` are those in the logs of earlier processes and on this one's clock. The plan and the whole log are another
    estimate; either may miss some work, so the larger is told.
    """
    rows = read_log(world.run)
    logged = plan.before_seconds + sum(row["seconds"] for row in rows)
    fact = Spending(
        seconds=round(max(seconds, logged), 1),
        tokens=sum(row["tokens"] for row in rows) + sum(phase.tokens for phase in plan.earlier),
        memory_bytes=peak_memory(best_device()),
    ).priced(world.config.limits().price_per_hour)
    finished_plan = plan.model_copy(update={"spent": forecast.against(fact)})
    write_text(world.run / "plan.json", finished_plan.model_dump_json(indent=1))
    world.report.say(f"pretrain: took {compared(fact, forecast.expected)}")


def _refuse_nothing(corpus: Corpus, spec: Spec, objective: str, kind: Kind) -> None:
    if not spec.accepts(kind):
        raise ConfigError(
            f"{objective!r} cannot train this base: {unable(spec, corpus, kind)}. Give another --base "
            "(`shoptalk models` lists them), or another objective (`shoptalk objectives`)."
        )
    if not len(spec.examples(corpus)):
        raise SourceError(
            f"{objective!r} finds nothing to learn from in these sources ({len(corpus)} texts): it needs "
            f"{spec.needs}. Give other sources, or another objective; `shoptalk objectives` lists them."
        )


def _from_snapshot(
    training: Training, spec: Spec, config: Config, corpus: Corpus, inputs: Any, targets: Targets | None
) -> Product:
    """The whole trained product, where each process holds a part of it: read from the training's last snapshot."""
    copy = Training.build(
        spec,
        corpus=corpus,
        inputs=inputs,
        product=open_model(config.base),
        targets=targets,
        config=training.config,
        folder=training.folder,
        snapshot_seconds=training.snapshot_seconds,
    )
    newest = snapshot.newest(training.folder, most=training.config.steps)
    assert newest is not None  # `advance` leaves one
    snapshot.load_module(newest, copy.objective)
    trained: Product = copy.objective.product
    return trained


class SinglePlan(Frozen):
    """The steps, precision and forecast of the training that `key` identifies."""

    key: str
    steps: int
    lr: float
    precision: Precision
    rates: dict[str, float]
    machine: Machine
    seed: int
    before_seconds: float
    """The time before the plan was made."""
    forecast: Spending
    """Of the whole run, the time before the plan included. It has no price, which the next call may change."""
    earlier: tuple[Phase, ...] = ()
    """The phases that were trained before; `forecast` and `spent` include them."""
    spent: dict[str, Any] | None = None
    """Once it is trained: fact, forecast and their ratio."""

    @property
    def step_seconds(self) -> float:
        """The forecast seconds of a step, including its share of the time to save the encoder."""
        return (self.forecast.seconds - self.before_seconds) / self.steps

    def priced(self, price_per_hour: float | None) -> Forecast:
        """The forecast at a price."""
        expected = self.forecast.priced(price_per_hour)
        return Forecast(expected=expected, before=self.before_seconds, price_per_hour=price_per_hour)


def _plan(
    world: World,
    key: str,
    candidate: PreparedCandidate,
    corpus: Corpus,
    inputs: Any,
    steps: int | None,
    *,
    begun: float,
    after: Phase | None,
) -> SinglePlan:
    """Steps and precision, decided once and kept in `DIR/plan.json`; `begun` is when the run began (`perf_counter`)."""
    path = world.run / "plan.json"
    stored = launch.agree(lambda: None if (plan := _read_plan(path, key)) is None else plan.model_dump(mode="json"))
    if stored is not None:
        return SinglePlan.model_validate(stored)
    precision, rates = usual_precision(world.config), matmul_rates()
    timing = time_candidate(candidate, corpus, inputs, world.config, precision)  # of steps that all processes take

    def decide() -> dict[str, Any]:
        plan = _decided(world, key, candidate, timing, precision, rates, steps, begun=begun, after=after)
        write_text(path, plan.model_dump_json(indent=1))
        return plan.model_dump(mode="json")

    return SinglePlan.model_validate(launch.agree(decide))


def _decided(
    world: World,
    key: str,
    candidate: PreparedCandidate,
    timing: CandidateTiming,
    precision: Precision,
    rates: dict[str, float],
    steps: int | None,
    *,
    begun: float,
    after: Phase | None,
) -> SinglePlan:
    config, budget, before = world.config, world.config.limits(), time.perf_counter() - begun
    if steps is None:
        left = None if budget.time is None else budget.time - before - timing.entry_seconds
        affordable = (budget.tokens or 0) / timing.cost.tokens if left is None else left / timing.cost.seconds
        steps = min(int(affordable), timing.cost.most_steps)
        if steps < 1:
            raise ConfigError(
                f"The budget {config.budget} does not pay for one step of {candidate.name!r}. Give a larger --budget."
            )
    forecast = Spending(
        seconds=round(before + steps * timing.cost.seconds + timing.entry_seconds, 1),
        tokens=round(steps * timing.cost.tokens) + (after.tokens if after else 0),
        memory_bytes=peak_to_come(best_device(), [timing.timed], (candidate.targets or {}).values()),
    )
    return SinglePlan(
        key=key,
        steps=steps,
        lr=candidate.spec.lr,
        precision=precision,
        rates=rates,
        machine=prepare(best_device()),
        seed=config.seed,
        before_seconds=round(before, 1),
        forecast=forecast,
        earlier=() if after is None else (after,),
    )


def _read_plan(path: Path, key: str) -> SinglePlan | None:
    """The plan that is stored, if it is that of `key`; one that is damaged, or in another version's form, is made
    anew.
    """
    try:
        plan = read_record(path, SinglePlan)
    except ArtifactError:
        return None
    return plan if plan.key == key else None


def _forget_other_runs(folder: Path, key: str) -> None:
    """Delete snapshots and log of a training with other settings, which would otherwise be resumed. A file with the
    `key` marks whose they are.
    """
    mark = folder / ".training"
    try:
        known = read_text(mark)
    except ArtifactError:
        known = None
    if known != key:
        snapshot.keep_only(folder, None)
        (folder / "log.jsonl").unlink(missing_ok=True)
        write_text(mark, key)
