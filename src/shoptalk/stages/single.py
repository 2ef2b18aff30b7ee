"""One objective, one encoder, no questions asked: what `shoptalk pretrain` does."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.errors import ConfigError, SourceError
from shoptalk.nn import gather
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Product, save_encoder
from shoptalk.nn.machine import Machine, prepare
from shoptalk.nn.precision import Precision
from shoptalk.objective import Spec, Targets
from shoptalk.objectives import make_spec
from shoptalk.records import Frozen
from shoptalk.stages.data import base_digest, curate_stage, open_curated
from shoptalk.stages.planning import (
    Candidate,
    CandidateTiming,
    loop_config,
    open_targets,
    prepare_targets,
    time_candidate,
)
from shoptalk.stages.world import World, best_device, matmul_rates, open_product, usual_precision
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, open_tokens, tokenise_to
from shoptalk.training import launch, snapshot
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.forecast import Forecast, Spending, compared, peak_memory, peak_to_come


def pretrain(world: World, sources: Sequence[Path], *, objective: str, steps: int | None, card: str) -> Artifact:
    """Train `config.base` on the sources; leaves `DIR/encoder` and `DIR/log.jsonl` in the world's folder.

    Where several processes call this together (`training/launch.py`) the first one reads the sources, makes what all
    of them open, and writes.

    Without `steps` the budget decides how many, once, in `DIR/plan.json`, which also forecasts what the run will take
    and afterwards holds what it took. The same call resumes, or is instant.

    Raises:
        SourceError: the sources have nothing that this objective can learn from.
    """
    begun = time.perf_counter()
    config, folder, budget = world.config, world.run, world.config.limits()
    spec = make_spec(objective, config.objectives.get(objective, {}))
    curated = launch.shared(
        folder / "corpus",
        make=lambda: curate_stage(world, sources, None, None),
        read=lambda: open_curated(world),
    )
    settings = {
        "objective": objective,
        "spec": spec.model_dump(),
        "train": config.train.of_results(),
        "seed": config.seed,
        "steps": steps,
        "budget": None if steps else {"seconds": budget.time, "tokens": budget.tokens},
    }
    parents = {"corpus": curated.artifact.content, "base": base_digest(config.base)}
    key = key_of(kind="encoder", config=settings, parents=parents)
    if not launch.agree(lambda: open_artifact(folder / "encoder", key=key) is not None):
        corpus = curated.train
        data = spec.examples(corpus)
        if not len(data):
            raise SourceError(
                f"{objective!r} finds nothing to learn from in these sources ({len(corpus)} texts). "
                "`shoptalk objectives` says what each objective needs."
            )
        product = open_product(config)
        tokens = launch.shared(
            folder / "tokens",
            make=lambda: tokenise_to(
                folder / "tokens", product.tokenizer, corpus.texts, max_length=product.max_length, digest=corpus.digest
            ),
            read=lambda: open_tokens(folder / "tokens"),
        )

        targets = launch.shared(
            folder / "targets" / objective,
            make=lambda: prepare_targets(world, objective, spec, corpus, product, config.base),
            read=lambda: open_targets(folder / "targets" / objective),
        )
        plan = _plan(world, key, Candidate(objective, spec, targets), corpus, tokens, steps, begun=begun)
        forecast = Forecast(
            expected=plan.forecast.priced(budget.price_per_hour),
            before=plan.before_seconds,
            price_per_hour=budget.price_per_hour,
        )
        world.report.say(f"plan: {plan.steps} steps; {plan.precision}, {plan.machine}; {forecast}")
        launch.agree(lambda: _forget_other_runs(folder, key))
        earlier = sum(row["seconds"] for row in read_log(folder))
        training = Training.build(
            spec,
            corpus=corpus,
            tokens=tokens,
            product=product,
            targets=targets,
            config=loop_config(spec, config, steps=plan.steps, precision=plan.precision),
            folder=folder,
            snapshot_seconds=config.train.snapshot_seconds,
        )
        for _ in world.report.track(advance(training, until=plan.steps), done=0, total=plan.steps, name=objective):
            pass
        sharded = gather.sharded(training.objective)

        def finish() -> None:
            whole = _from_snapshot(training, spec, config, corpus, tokens, targets) if sharded else product
            with create(folder / "encoder", kind="encoder", config=settings, parents=parents) as inside:
                save_encoder(whole, inside, card=card)
            snapshot.keep_only(folder, None)
            rows = read_log(folder)
            # By this process's clock and earlier ones' log, or by the plan and the whole log: each may miss some work.
            seconds = max(
                earlier + time.perf_counter() - begun, plan.before_seconds + sum(row["seconds"] for row in rows)
            )
            fact = Spending(
                seconds=round(seconds, 1),
                tokens=sum(row["tokens"] for row in rows),
                memory_bytes=peak_memory(best_device()),
            )
            fact = fact.priced(budget.price_per_hour)
            done = plan.model_copy(update={"spent": forecast.against(fact)})
            write_text(folder / "plan.json", done.model_dump_json(indent=1))
            world.report.say(f"pretrain: took {compared(fact, forecast.expected)}")

        launch.agree(finish)
    return launch.arrived(folder / "encoder", key)


def _from_snapshot(
    training: Training, spec: Spec, config: Config, corpus: Corpus, tokens: Tokenised, targets: Targets | None
) -> Product:
    """The trained product whole, where each process holds a part of it: from the snapshot at the training's end."""
    product = open_base(config.base)
    copy = Training.build(
        spec,
        corpus=corpus,
        tokens=tokens,
        product=product,
        targets=targets,
        config=training.config,
        folder=training.folder,
        snapshot_seconds=training.snapshot_seconds,
    )
    newest = snapshot.newest(training.folder, most=training.config.steps)
    assert newest is not None  # `advance` leaves one
    snapshot.load_module(newest, copy.objective)
    return product


class SinglePlan(Frozen):
    """How long and in which arithmetic, for the training that `key` names."""

    key: str
    steps: int
    precision: Precision
    rates: dict[str, float]
    machine: Machine
    seed: int
    before_seconds: float
    """What had gone by when the plan was made."""
    forecast: Spending
    """Of the whole run, what had gone by included; without a price, which may be stated otherwise the next time."""
    spent: dict[str, Any] | None = None
    """Once it is trained: fact, forecast and their ratio."""


def _plan(
    world: World, key: str, candidate: Candidate, corpus: Corpus, tokens: Tokenised, steps: int | None, *, begun: float
) -> SinglePlan:
    """Steps and precision, decided once and kept in `DIR/plan.json`; `begun` is when the run began (`perf_counter`)."""
    path = world.run / "plan.json"
    found = launch.agree(lambda: None if (plan := _read_plan(path, key)) is None else plan.model_dump(mode="json"))
    if found is not None:
        return SinglePlan.model_validate(found)
    precision, rates = usual_precision(world.config), matmul_rates()
    timing = time_candidate(candidate, corpus, tokens, world.config, precision)  # of steps that all processes take

    def decide() -> dict[str, Any]:
        plan = _decided(world, key, candidate, timing, precision, rates, steps, begun=begun)
        write_text(path, plan.model_dump_json(indent=1))
        return plan.model_dump(mode="json")

    return SinglePlan.model_validate(launch.agree(decide))


def _decided(
    world: World,
    key: str,
    candidate: Candidate,
    timing: CandidateTiming,
    precision: Precision,
    rates: dict[str, float],
    steps: int | None,
    *,
    begun: float,
) -> SinglePlan:
    config, budget, before = world.config, world.config.limits(), time.perf_counter() - begun
    if steps is None:
        left = None if budget.time is None else budget.time - before - timing.entry_seconds
        affordable = (budget.tokens or 0) / timing.cost.tokens if left is None else left / timing.cost.seconds
        steps = min(int(affordable), timing.cost.most_steps)
        if steps < 1:
            raise ConfigError(f"The budget {config.budget} does not pay for one step of {candidate.name!r}; give more.")
    forecast = Spending(
        seconds=round(before + steps * timing.cost.seconds + timing.entry_seconds, 1),
        tokens=round(steps * timing.cost.tokens),
        memory_bytes=peak_to_come(best_device(), [timing.timed], (candidate.targets or {}).values()),
    )
    return SinglePlan(
        key=key,
        steps=steps,
        precision=precision,
        rates=rates,
        machine=prepare(best_device()),
        seed=config.seed,
        before_seconds=round(before, 1),
        forecast=forecast,
    )


def _read_plan(path: Path, key: str) -> SinglePlan | None:
    """The plan that is there, where it is that of `key`; one in another version's form belongs to another key."""
    try:
        found = SinglePlan.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
    return found if found.key == key else None


def _forget_other_runs(folder: Path, key: str) -> None:
    """Snapshots and log of a training with other settings would be resumed by mistake; `key` marks whose they are."""
    mark = folder / ".training"
    if not mark.exists() or mark.read_text(encoding="utf-8") != key:
        snapshot.keep_only(folder, None)
        (folder / "log.jsonl").unlink(missing_ok=True)
        write_text(mark, key)
