"""Baseline: the number that everything is compared with."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.evaluate.base_choice import MeasuredBase, Price, price_of
from shoptalk.evaluate.base_folder import load_base, save_base
from shoptalk.evaluate.bench import OF_GENERAL_TEXT, SAMPLE, Bench, Measured, finite, make_bench, measure
from shoptalk.evaluate.other_tasks import other_finals, read_beside
from shoptalk.evaluate.pools import pool_of, sampled
from shoptalk.nn.bases import began_as, from_seed
from shoptalk.nn.digests import base_digest
from shoptalk.nn.heads.names import EXAMPLES
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.product import Embedder, Kind, Product
from shoptalk.nn.scratch_lm import lm_size_of
from shoptalk.probes.once import Once
from shoptalk.readback import as_written, read_record
from shoptalk.records import Reading
from shoptalk.stages.curate import Curated
from shoptalk.stages.other_bases import measure_others
from shoptalk.stages.world import World, open_product
from shoptalk.tasks import READ_AT_LOOKS, make_judges
from shoptalk.tasks.cloze import EACH
from shoptalk.tasks.judge import Final, Ground, Judge


@dataclass(frozen=True)
class Baseline:
    """The unadapted base's measurements; nothing later is believed without them."""

    artifact: Artifact
    kind: Kind
    """Of the base."""
    bench: Bench
    measured: Measured
    seconds: float
    """What measuring took: the forecast of every later look."""
    tokens_per_second: float
    """Of measuring, real tokens."""
    final: Final | None
    """The base as it would be shipped, where there is a judge."""
    final_seconds: float
    """What that took: the forecast of the same for the challenger."""
    other_tasks: Mapping[str, Final] = field(default_factory=dict)
    """As it would be shipped, at tasks beside the one that must gain and in general text (`read_beside`)."""
    other_seconds: float = 0.0
    """What those took, and will take of the challenger."""
    price: Price | None = None
    """What using the base takes."""
    others: Mapping[str, MeasuredBase] = field(default_factory=dict)
    """Further bases, as they are, by their references; nothing of them is trained. Empty without a judge."""
    pool_tokens: int = 0
    """Of the unlabelled items that heads may learn from; 0 where the product gives no vectors."""


def baseline_stage(world: World, curated: Curated) -> Baseline:
    """Measure the base on everything that entries will be measured on; leaves `RUN/baseline`."""
    config = world.config
    product = open_product(config)
    ground = ground_of(world, curated, product.kind)
    bench = bench_for(world, ground, make_judges((config.task, *config.other_tasks), ground))
    if not isinstance(product, LanguageModel):  # another scorer cannot tell how probable what stands in a gap is
        bench = replace(bench, general=None)
    if bench.judge is not None and bench.judge.remark is not None:
        world.report.say(f"baseline: {bench.judge.remark}")
    parents = {"corpus": curated.artifact.content, "base": base_digest(config.base)}
    bench = _as_earlier(world, bench, product.kind, parents)
    settings = _settings(world, bench, product.kind)
    folder, key = world.run / "baseline", key_of(kind="baseline", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        world.report.say(f"baseline: measuring {world.base_name} as it is")
        measured, final, other_tasks, timing = _measured(world, bench, product)
        with create(folder, kind="baseline", config=settings, parents=parents, readings=measured.values()) as inside:
            save_base(inside, measured, final, other_tasks)
            write_text(inside / "timing.json", timing.model_dump_json())
    artifact = open_artifact(folder)
    assert artifact is not None
    timing = read_record(folder / "timing.json", Reading)
    with as_written(folder):
        measured, final, other_tasks = load_base(folder, bench)
        first = Baseline(
            artifact,
            product.kind,
            bench,
            measured,
            timing.value,
            float(timing.detail["tokens_per_second"]),
            final=final,
            final_seconds=float(timing.detail["final_seconds"]),
            other_tasks=other_tasks,
            other_seconds=float(timing.detail.get("other_seconds", 0.0)),
            price=Price.model_validate(timing.detail["price"]) if "price" in timing.detail else None,
            pool_tokens=int(timing.detail["pool_tokens"]),
        )
    return replace(first, others=measure_others(world, bench, product.kind, beside=final))


def _as_earlier(world: World, bench: Bench, kind: Kind, parents: Mapping[str, str]) -> Bench:
    """The bench without general text where the run's baseline is one of a version that did not ask it, so that such a
    run goes on as it began; a guard that is set by hand is asked all the same.
    """
    earlier = replace(bench, general=None)
    key = key_of(kind="baseline", config=_settings(world, earlier, kind), parents=parents)
    asks = bench.general is not None and bench.judge is not None  # else it is no part of the key
    began = asks and open_artifact(world.run / "baseline", key=key) is not None
    if not began or world.config.guards.sets_cloze():
        return bench
    world.report.say("baseline: general text was not asked when this run began, and is not asked now")
    return earlier


def _settings(world: World, bench: Bench, kind: Kind) -> dict[str, Any]:
    """What the base's readings depend on beside the base and the corpus."""
    config = world.config
    settings: dict[str, Any] = {
        "draws": config.draws,
        "seed": config.seed,
        "base": world.base_name,
        "tasks": [config.task, *bench.judges],
        "precision": config.train.precision,
    }
    if kind == "lm":
        settings |= {"bits": "after the first token", "looks": READ_AT_LOOKS}
    if bench.judge is None:
        settings["vectors"] = len(bench.sample)  # kept beside the readings, so a baseline without them is another
        return settings
    settings["answers"] = len(bench.pool)  # and the heads' vectors likewise
    settings["names"] = EXAMPLES  # what a label's name counts as
    if "cloze" in bench.judges:
        settings["gaps"] = ["probability", EACH]  # the score, and how many of a document a verdict asks
    if beside := read_beside(bench):
        settings["beside"] = [judge.key for judge in beside]  # read as for a verdict
    if config.limits().time is not None:
        settings["seconds"] = config.limits().time  # as many draws as it pays for
    return settings


def _measured(
    world: World, bench: Bench, product: Product
) -> tuple[Measured, Final | None, Mapping[str, Final], Reading]:
    """The base as a look reads it, as the verdict does, at the tasks beside, and what each of these took."""
    begun = time.perf_counter()
    observed = Once(product) if isinstance(product, Embedder) else product  # what a look embeds, heads see again
    with world.profile.part("looks"):
        measured = measure(observed, bench)
    seconds = time.perf_counter() - begun
    embedding = seconds / max(1, len(bench.items)) if isinstance(product, Embedder) else 0.0
    begun, final = time.perf_counter(), None
    if bench.judge is not None:
        with world.profile.part("heads"):
            final = bench.judge.final(observed, seconds=world.config.limits().time)
        finite(final.scores, bench.judge)
        begun -= embedding * len(bench.judge.items)  # a challenger's are embedded for it
    final_seconds, begun = time.perf_counter() - begun, time.perf_counter()
    with world.profile.part("other tasks"):
        other_tasks = other_finals(bench, observed)
    begun -= embedding * sum(len(judge.items) for judge in read_beside(bench))
    detail = {
        "pool_tokens": product.units(bench.pool) if isinstance(product, Embedder) else 0,
        "final_seconds": final_seconds,
        "other_seconds": time.perf_counter() - begun,
        "tokens_per_second": product.units(bench.items or bench.sample) / seconds,
        "price": price_of(product, bench.sample).model_dump(),
    }
    timing = Reading(key="baseline", name="measuring the base", value=seconds, unit="s", n=1, detail=detail)
    return measured, final, other_tasks, timing


def ground_of(world: World, curated: Curated, kind: Kind) -> Ground:
    """What the run has that its tasks may judge by."""
    return Ground(
        kind=kind,
        examples=curated.examples,
        tests=curated.tests,
        train=curated.train,
        held_out=curated.held_out,
        pool=pool_of(curated.train, seed=world.config.seed),
        n_draws=world.config.draws,
        seed=world.config.seed,
        pairs=curated.pairs,
        random=lm_size_of(world.base_name) is not None or from_seed(world.base_name),
        young=began_as(world.config.base) is not None,
    )


def bench_for(world: World, ground: Ground, judges: Mapping[str, Judge]) -> Bench:
    """The run's bench, with a random sample of its training items."""
    sample = tuple(ground.train.items[i] for i in sampled(ground.train, SAMPLE, seed=world.config.seed, epoch=0))
    limits = world.config.guards.model_dump(exclude=OF_GENERAL_TEXT if ground.young else set())
    return make_bench(ground, judges, goal=world.config.task, sample=sample, limits=limits)
