"""Plan: which candidates can train here, what each costs, and how the budget is shared; leaves `RUN/plan.json`."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shoptalk.artifact import digest, key_of, write_text
from shoptalk.config import Budget, Config, did_you_mean
from shoptalk.errors import ArtifactError, ConfigError
from shoptalk.nn.bases import began_as, kind_of
from shoptalk.nn.machine import prepare
from shoptalk.nn.pair_encoder import PairEncoder
from shoptalk.nn.product import Kind, Product
from shoptalk.objective import Spec
from shoptalk.objectives import OBJECTIVES, preference, spec_for
from shoptalk.objectives.recipe import Recipe
from shoptalk.quantities import Forecast
from shoptalk.readback import read_json
from shoptalk.report.nouns import nouns_for
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.candidate import PreparedCandidate, prepare_targets, unable
from shoptalk.stages.candidate_costs import (
    CandidateTiming,
    evidence_seconds,
    judging_seconds,
    time_candidate,
    time_second,
    verdict_looks,
)
from shoptalk.stages.curate import Curated
from shoptalk.stages.curriculum import decay_share, phase_specs
from shoptalk.stages.other_bases import check_bases
from shoptalk.stages.world import World, best_device, matmul_rates, open_product, usual_precision
from shoptalk.tasks import check_reads, check_tasks
from shoptalk.text.corpus import Corpus
from shoptalk.training.elimination import eliminating
from shoptalk.training.forecast import peak_to_come
from shoptalk.training.plan import Cost, Plan, enough_text, joint_cost, make_plan
from shoptalk.training.replay import refuse_unfit, replayed

NONE = "none"
SAMPLED = 1_000
"""Texts whose tokens tell how many tokens a text has on average."""
PREPARE_SHARE = 0.15
"""Of a time budget, at most this much goes into embedding the corpus for targets; a larger corpus is sampled."""
PREPARE_SHARE_OF_MANY = 0.07
"""The same where several candidates are compared, any of which may lose: with a pilot of 8 % it makes the 15 % of
`training.plan.LOSER_MOST`; timing and looking shorten the pilot. It is an estimate, and was low on a busy machine: 77 s
taken where 54 s were foreseen (BANKING77, one thread of an AVX2 core shared with others)."""


@dataclass(frozen=True)
class Prepared:
    """What training needs: the corpus that the budget can afford, its inputs, the candidates and the plan."""

    corpus: Corpus
    inputs: Any
    """What the base makes of the corpus: token ids."""
    candidates: dict[str, PreparedCandidate]
    plan: Plan
    forecast: Forecast
    key: str


def check_candidates(config: Config) -> None:
    """Refuse what can never train, before anything is read or measured.

    Raises:
        ConfigError: a task, a candidate or an objective's section is unknown, a candidate learns from labels, or has
            impossible settings; or bases cannot be compared.
        BaseModelError: a base cannot be found.
    """
    tasks = (config.task, *config.other_tasks)
    check_tasks(tasks)
    check_reads(tasks, config.base, kind_of(config.base))
    check_bases(config)
    for name in (*config.candidates, *config.objectives):
        for part in Recipe.parse(name).objectives:
            if part not in OBJECTIVES and name != NONE:
                known = [*OBJECTIVES, NONE] if part == name else OBJECTIVES
                raise ConfigError(f"No candidate {part!r}. {did_you_mean(part, known)}")
    refuse_unfit(config, {name: phase_specs(config, name) for name in config.candidates if name != NONE})
    for name in config.objectives:  # a typo in the settings of what is no candidate is a typo all the same
        if len(Recipe.parse(name).phases) == 1:
            spec_for(name, config.objectives)


def plan_stage(
    world: World, curated: Curated, baseline: Baseline, *, spent: float
) -> tuple[Prepared | None, dict[str, str]]:
    """Prepare targets, time each candidate on this machine, fix `RUN/plan.json`. None where nothing can train; and the
    candidates that cannot train here, with the reason of each.

    `spent` is what the run has taken of a time budget so far, in seconds.
    """
    config, begun = world.config, time.perf_counter()
    product = open_product(config)
    corpus = _affordable_corpus(world, curated, baseline, product)
    specs, skipped = _specs(config, corpus, product.kind)
    if baseline.bench.judge is None and not baseline.bench.pairs and len(specs) > 1:
        first = min(specs, key=preference)
        skipped |= {name: "no labels and no conversations to compare it on" for name in specs if name != first}
        specs = {first: specs[first]}
    if not specs:
        world.report.say(f"plan: nothing to train ({_reasons(skipped) or 'no candidate is named'})")
        return None, skipped
    inputs = _inputs(world, corpus, product)
    general = replayed(world.run, curated.general, product)
    candidates: dict[str, PreparedCandidate] = {}
    preparing: dict[str, float] = {}
    for name, phases in specs.items():
        started = time.perf_counter()
        with eliminating(skipped, name), world.profile.part("targets"):
            spec, then = phases[0], phases[1] if phases[1:] else None
            targets = prepare_targets(world, Recipe.parse(name).phases[0].name, spec, corpus, product, config.base)
            candidates[name] = PreparedCandidate(name, spec, targets, then, general)
        preparing[name] = time.perf_counter() - started
    planned = {name: _told(phases, config) for name, phases in specs.items()}
    key = _key(config, baseline, planned, corpus, curated.general)
    path = world.run / "plan.json"
    plan = _read_plan(path, key)
    if plan is None:
        world.report.say("plan: timing each candidate on this machine")
        costs, timings, later, failed = _timed_candidates(world, corpus, inputs, product, candidates, preparing)
        if not costs:
            world.report.say(f"plan: nothing can train here ({_reasons(skipped | failed)})")
            return None, skipped | failed
        arrays = [part for one in candidates.values() for part in (one.targets or {}).values()]
        judging = judging_seconds(baseline, seed=config.seed)
        plan = make_plan(
            costs,
            budget=config.limits(),
            look_seconds=baseline.seconds + judging + max(timing.entry_seconds for timing in timings),
            # The challenger is judged as it would be shipped, and kinds of heads are tried again for the one that is.
            end_seconds=later
            + judging
            + 2 * baseline.final_seconds
            + baseline.other_seconds
            + evidence_seconds(baseline, judging=judging)
            + verdict_looks(curated, candidates) * baseline.seconds,
            memory_bytes=peak_to_come(best_device(), [timing.timed for timing in timings], arrays),
            before_seconds=spent + time.perf_counter() - begun,
            precision=usual_precision(config),
            rates=matmul_rates(),
            machine=prepare(best_device()),
            seed=config.seed,
            decays={name: decay_share(name, config) for name in costs},
            merges=_wanted_merges(config, baseline),
            n_bases=1 + len(baseline.others),
            # Nobody is out by how a curriculum begins, or by gains where general text is replayed to forget less.
            heats=baseline.bench.judge is not None
            and all(one.then is None and one.general is None for one in candidates.values()),
        ).model_copy(update={"eliminated": failed})
        write_text(path, json.dumps({"key": key, "specs": planned} | plan.model_dump(), indent=1))
    skipped |= plan.eliminated | {
        name: "the budget is too small for it"
        for name in candidates
        if name not in plan.candidates and name not in skipped | plan.eliminated
    }
    forecast = plan.forecast(config.limits())
    _tell(world, plan, forecast, skipped)
    chosen = {name: candidates[name] for name in plan.candidates}
    return Prepared(corpus, inputs, chosen, plan, forecast, digest([key, plan.model_dump()])), skipped


def _inputs(world: World, corpus: Corpus, product: Product) -> Any:
    """What batches of the corpus are made from; captions that are read in part are told."""
    inputs = product.inputs(corpus, world.run / "tokens")
    if isinstance(product, PairEncoder) and (full := product.texts_that_fill(inputs)):
        world.report.say(f"plan: {full:,} captions fill the {product.max_length} tokens that are read, and may be cut")
    return inputs


def _wanted_merges(config: Config, baseline: Baseline) -> tuple[float, ...]:
    """None where there is nothing to judge them by, or the base has random weights, whose share would be noise."""
    return config.merges if baseline.bench.judge is not None and began_as(config.base) is None else ()


def _affordable_corpus(world: World, curated: Curated, baseline: Baseline, product: Product) -> Corpus:
    """The texts that targets can be prepared for within the budget; all of them where no candidate prepares any."""
    config, corpus = world.config, curated.train
    names = set(config.candidates) - {NONE}
    if any(spec.prepares for name in names for spec in phase_specs(config, name)):
        share = PREPARE_SHARE if len(names) == 1 else PREPARE_SHARE_OF_MANY
        corpus = _affordable(corpus, config.limits(), baseline, product, share=share, seed=config.seed)
    if len(corpus) < len(curated.train):
        all_of = f"{len(curated.train):,} {nouns_for(product.kind).kept}"
        world.report.say(f"plan: the budget pays for {len(corpus):,} of {all_of}; taking a sample")
    return corpus


def _timed_candidates(
    world: World,
    corpus: Corpus,
    inputs: Any,
    product: Product,
    candidates: Mapping[str, PreparedCandidate],
    preparing: Mapping[str, float],
) -> tuple[dict[str, Cost], list[CandidateTiming], float, dict[str, str]]:
    """What a step of each candidate costs, in order of preference; all timings; the seconds that second phases of
    curricula take to prepare; and which candidates failed, with the reason of each.
    """
    config, precision = world.config, usual_precision(world.config)
    costs: dict[str, Cost] = {}
    timings: list[CandidateTiming] = []
    failed: dict[str, str] = {}
    later = 0.0
    for name in sorted(candidates, key=preference):
        started = time.perf_counter()
        with eliminating(failed, name), world.profile.part("timing"):
            timed = [time_candidate(candidates[name], corpus, inputs, config, precision)]
            if candidates[name].then is not None:
                second, seconds = time_second(candidates[name], corpus, inputs, product, config, precision)
                timed.append(second)
                later = max(later, seconds)
            timings += timed
            gone = preparing[name] + time.perf_counter() - started
            cost = joint_cost([one.cost for one in timed], share=config.train.curriculum_share)
            costs[name] = enough_text(name, cost.model_copy(update={"before_seconds": gone}))
    return costs, timings, later, failed


def _tell(world: World, plan: Plan, forecast: Forecast, skipped: Mapping[str, str]) -> None:
    steps = ", ".join(f"{name} up to {candidate.steps} steps" for name, candidate in plan.candidates.items())
    world.report.say(f"plan: {steps}; {plan.precision}, {plan.machine}")
    world.report.say(f"plan: {forecast}")
    world.report.planned(
        list(plan.candidates),
        seconds=forecast.expected.seconds,
        before=forecast.before,
        budget=world.config.limits(),
    )
    if skipped:
        world.report.say(f"plan: left out {_reasons(skipped)}")


def _affordable(
    corpus: Corpus, budget: Budget, baseline: Baseline, product: Product, *, share: float, seed: int
) -> Corpus:
    """A sample that can be embedded within `share` of the budget; the whole corpus where it can be."""
    if not len(corpus):
        return corpus
    tokens = share * budget.time * baseline.tokens_per_second if budget.time else 3 * (budget.tokens or 0)
    first = corpus.items[:SAMPLED]
    mean = max(1.0, product.units(first) / len(first))
    return corpus.sample(max(1000, int(tokens / mean)), seed=seed)


def _specs(config: Config, corpus: Corpus, kind: Kind) -> tuple[dict[str, tuple[Spec, ...]], dict[str, str]]:
    """The specs of each candidate's phases, and why the others cannot train here."""
    specs, skipped = {}, {}
    for name in dict.fromkeys(config.candidates):
        if name == NONE:
            continue
        phases = phase_specs(config, name)
        reasons = [reason for spec in phases if (reason := unable(spec, corpus, kind)) is not None]
        if reasons:
            skipped[name] = reasons[0]
        else:
            specs[name] = phases
    return specs, skipped


def _key(config: Config, baseline: Baseline, specs: Mapping[str, Any], corpus: Corpus, general: Corpus | None) -> str:
    """What a plan holds for."""
    settings = {
        "budget": {"seconds": config.limits().time, "tokens": config.limits().tokens},
        "train": config.train.of_results(),
        "seed": config.seed,
        "merges": _wanted_merges(config, baseline),
        "bases": 1 + len(baseline.others),
        "specs": specs,
    }
    replayed_text = {} if general is None else {"general": general.digest}
    parents = {"baseline": baseline.artifact.content, "corpus": corpus.digest} | replayed_text
    return key_of(kind="plan", config=settings, parents=parents)


def _told(phases: tuple[Spec, ...], config: Config) -> dict[str, Any]:
    """A candidate's settings as the plan has them."""
    if len(phases) == 1:
        return phases[0].model_dump()
    return {"phases": [spec.model_dump() for spec in phases], "share": config.train.curriculum_share}


def _read_plan(path: Path, key: str) -> Plan | None:
    """The plan that is there, where it is that of `key`; one that is damaged, or in another version's form, is made
    anew.
    """
    try:
        tree = read_json(path, dict)
        if tree.pop("key", None) != key:
            return None
        tree.pop("specs", None)  # for people; they are part of the key
        return Plan.model_validate(tree)
    except (ArtifactError, ValidationError):
        return None


def _reasons(skipped: Mapping[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in skipped.items())
