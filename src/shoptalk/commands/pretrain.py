"""Training with one objective on one encoder, without measuring it: what `shoptalk pretrain` does."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.commands.single_plan import SinglePlan, single_plan
from shoptalk.curate.sources import source_fingerprint
from shoptalk.errors import ArtifactError, ConfigError, SourceError
from shoptalk.nn import gather
from shoptalk.nn.bases import kind_of, open_model
from shoptalk.nn.digests import base_digest
from shoptalk.nn.product import Kind, Product, folder_of
from shoptalk.objective import Spec
from shoptalk.objectives.recipe import Recipe
from shoptalk.quantities import Forecast, Spending, compared
from shoptalk.question import Question, claim, withdraw
from shoptalk.readback import read_record, read_text
from shoptalk.stages.candidate import PreparedCandidate, open_targets, prepare_targets, unable
from shoptalk.stages.curate import curate_stage, open_curated, with_general
from shoptalk.stages.curriculum import Phase, first_budget, phase_specs, turn_of
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.world import World, best_device, open_product
from shoptalk.telling.cards import plain_card
from shoptalk.telling.origin import base_of
from shoptalk.text.corpus import Corpus
from shoptalk.training import launch, snapshot
from shoptalk.training.advance import Training, advance, read_log, refuse_diverged
from shoptalk.training.forecast import peak_memory
from shoptalk.training.loop import loop_config
from shoptalk.training.pace import watched
from shoptalk.training.replay import refuse_unfit, replay_digest, replayed


class Texts(NamedTuple):
    """What a training reads."""

    corpus: Corpus
    general: Corpus | None = None
    """Replayed beside it, against forgetting."""


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
    refuse_unfit(world.config, {objective: specs})
    launch.agree(lambda: claim(world.run, _question(world, sources, objective, steps), force=force))
    turn = None if steps is None else turn_of(objective, steps, world.config)
    curated = launch.shared(
        world.run / "corpus",
        make=lambda: curate_stage(world, sources, None, None, reads=kind_of(world.config.base)),
        read=lambda: open_curated(world),
    )
    curated = with_general(world, curated)
    world = base_stage(world, curated)
    texts = Texts(curated.train, curated.general)
    if len(specs) == 1:
        return train_on(world, texts, specs[0], objective=objective, steps=steps, card=card, begun=begun)
    first, second = (phase.name for phase in Recipe.parse(objective).phases)
    kind = kind_of(world.config.base)
    _refuse_nothing(texts.corpus, specs[1], second, kind)  # before the first phase is trained for nothing
    world.report.say(f"pretrain: phase 1 of 2, {first}")
    second_world, phase_done = _first_phase(world, texts, specs[0], first, steps=turn, begun=begun)
    world.report.say(f"pretrain: phase 2 of 2, {second}")
    left = None if steps is None or turn is None else steps - turn
    begun = time.perf_counter() - phase_done.seconds  # the first phase may have been another process's work
    return train_on(
        second_world, texts, specs[1], objective=second, steps=left, card=card, begun=begun, after=phase_done
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
    files = source_fingerprint(sources, config.curate, out=world.run)
    general = replay_digest(config, sources=files, out=world.run)
    return Question.of("pretrain", settings, sources=files, base=base_digest(config.base), general=general)


def _first_phase(
    world: World, texts: Texts, spec: Spec, objective: str, *, steps: int | None, begun: float
) -> tuple[World, Phase]:
    """Train the first phase of a curriculum. Returns a world with its result as the base, and what it took."""
    config, name = world.config, f"phases/1-{objective}"
    inside = replace(
        world, run=world.run / name, config=config.model_copy(update={"budget": str(first_budget(config))})
    )
    about = "The first phase of two; not measured, so not proven."
    card = plain_card(base_of(world.base_name), f"trained with {objective}", about)
    train_on(inside, texts, spec, objective=objective, steps=steps, card=card, begun=begun)

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
    texts: Texts,
    spec: Spec,
    *,
    objective: str,
    steps: int | None,
    card: str,
    begun: float,
    after: Phase | None = None,
) -> Artifact:
    """Train `config.base` on texts by the objective of `spec`; the results are those of `pretrain`.

    `begun` is when the run began (`time.perf_counter`): the work since then is paid from the budget too. `after` is the
    first phase of a curriculum, where this training is the second; forecast and fact include it.

    Raises:
        SourceError: the corpus has nothing that this objective can learn from.
    """
    config, folder, budget, corpus = world.config, world.run, world.config.limits(), texts.corpus
    settings = {
        "objective": objective,
        "spec": spec.model_dump(),
        "train": config.train.of_results(),
        "seed": config.seed,
        "steps": steps,
        "budget": None if steps else {"seconds": budget.time, "tokens": budget.tokens},
    }
    parents = {"corpus": corpus.digest, "base": base_digest(config.base)}
    parents |= {"general": texts.general.digest} if texts.general is not None else {}
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
        candidate = PreparedCandidate(objective, spec, targets, general=replayed(folder, texts.general, product))
        plan = single_plan(world, key, candidate, corpus, inputs, steps, begun=begun, after=after)
        forecast = plan.priced(budget.price_per_hour)
        world.report.say(
            f"plan: {plan.steps} steps, learning rate {plan.lr:g}; {plan.precision}, {plan.machine}; {forecast}"
        )
        launch.agree(lambda: _forget_other_runs(folder, key))
        earlier = sum(row["seconds"] for row in read_log(folder))
        training = _training(world, candidate, plan, corpus, inputs, product)
        _train(world, training, plan)
        sharded = gather.sharded(training.objective)

        def finish() -> None:
            trained = training.objective.product
            whole = _from_snapshot(world, training, candidate, plan, corpus, inputs) if sharded else trained
            withdraw(folder)
            with create(folder / shipped, kind="encoder", config=settings, parents=parents) as inside:
                whole.save(inside, card=card)
            snapshot.keep_only(folder, None)
            _account(world, plan, forecast, seconds=earlier + time.perf_counter() - begun)

        launch.agree(finish)
    return launch.arrived(folder / shipped, key)


def _training(
    world: World, candidate: PreparedCandidate, plan: SinglePlan, corpus: Corpus, inputs: Any, product: Product
) -> Training:
    """The training of a product that the plan foresees."""
    name, spec = candidate.name, candidate.spec
    return Training.build(
        spec,
        corpus=corpus,
        inputs=inputs,
        product=product,
        targets=candidate.targets,
        config=loop_config(spec, world.config, name=name, steps=plan.steps, precision=plan.precision),
        folder=world.run,
        snapshot_seconds=world.config.train.snapshot_seconds,
        general=candidate.general,
    )


def _train(world: World, training: Training, plan: SinglePlan) -> None:
    name, report = training.config.name, world.report
    steps_taken = watched(
        advance(training, until=plan.steps), expected=plan.step_seconds, total=plan.steps, name=name, say=report.say
    )
    for _ in report.track(steps_taken, done=0, total=plan.steps, name=name):
        pass
    refuse_diverged(training)


def _account(world: World, plan: SinglePlan, forecast: Forecast, *, seconds: float) -> None:
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
    world: World, training: Training, candidate: PreparedCandidate, plan: SinglePlan, corpus: Corpus, inputs: Any
) -> Product:
    """The whole trained product, where each process holds a part of it: read from the training's last snapshot."""
    copy = _training(world, candidate, plan, corpus, inputs, open_model(world.config.base))
    newest = snapshot.newest(training.folder, most=training.config.steps)
    assert newest is not None  # `advance` leaves one
    snapshot.load_module(newest, copy.objective)
    trained: Product = copy.objective.product
    return trained


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
