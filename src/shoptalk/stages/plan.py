"""Plan: what can train here, what a step of it costs on this machine, and so how long each may train."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shoptalk import decide
from shoptalk.artifact import create, digest, key_of, open_artifact, write_text
from shoptalk.config import Budget, Config, did_you_mean
from shoptalk.errors import ConfigError
from shoptalk.evaluate import projection, shot_gains
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import Product, save_encoder
from shoptalk.nn.heads.kinds import KINDS
from shoptalk.nn.machine import prepare
from shoptalk.nn.precision import Precision
from shoptalk.objective import Spec, Targets
from shoptalk.objectives import OBJECTIVES, phases_of
from shoptalk.objectives.mixture import parts_of
from shoptalk.quantities import Forecast
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.curriculum import joint_cost, phase_specs
from shoptalk.stages.world import World, best_device, matmul_rates, open_product, usual_precision
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise, tokenise_to
from shoptalk.training.advance import Training
from shoptalk.training.forecast import Timed, peak_to_come, time_training
from shoptalk.training.loop import LoopConfig
from shoptalk.training.plan import Cost, Plan, make_plan

NONE = "none"
PREPARE_SHARE = 0.15
"""Of a time budget, at most this much goes into embedding the corpus for targets; a larger corpus is sampled."""
PREPARE_SHARE_OF_MANY = 0.07
"""The same where several candidates are compared, any of which may lose: with a pilot of 8 % it makes the 15 % of
`training.plan.LOSER_MOST`; timing and looking shorten the pilot. It is an estimate, and was low on a busy machine: 77 s
taken where 54 s were foreseen (BANKING77, one thread of an AVX2 core shared with others)."""
PREFERENCE = ("neighbours", "turns", "mlm", "simcse")
"""Who is tried where not all can be, and who is trained where there are neither labels nor conversations to compare on.
`neighbours` gained on both labelled sets in benchmarks/README.md; the pilots of `mlm` and `simcse` lost there, in this
order; `turns`, which those sets cannot train, stands second by judgement."""
STAND_IN = 1_000
"""Texts on which the second phase of a curriculum is timed where it has targets to prepare: those that it will train on
need the encoder that its first phase leaves."""


@dataclass(frozen=True)
class PreparedCandidate:
    """A pretext task ready to train, with what it knows of the whole corpus."""

    name: str
    spec: Spec
    """Of a curriculum, the first phase's."""
    targets: Targets | None
    then: Spec | None = None
    """Of a curriculum, the second phase's, whose targets come from the encoder that the first one leaves."""

    def learns_from(self, corpus: Corpus) -> bool:
        """Whether every phase finds something to learn from."""
        return all(len(spec.examples(corpus)) for spec in (self.spec, self.then) if spec is not None)


@dataclass(frozen=True)
class Prepared:
    """What training needs: the corpus that the budget can afford, its tokens, the candidates and the plan."""

    corpus: Corpus
    tokens: Tokenised
    candidates: dict[str, PreparedCandidate]
    plan: Plan
    forecast: Forecast
    key: str
    skipped: dict[str, str]
    """Candidates that cannot train here, and why."""


def plan_stage(world: World, curated: Curated, baseline: Baseline, *, spent: float) -> Prepared | None:
    """Prepare targets, time each candidate on this machine, fix `RUN/plan.json`. None where nothing can train.

    `spent` is what the run has taken of a time budget so far, in seconds.
    """
    config, budget = world.config, world.config.limits()
    begun = time.perf_counter()
    corpus = curated.train
    if any(_prepares(name) for name in config.candidates):
        one = len(set(config.candidates) - {NONE}) == 1
        corpus = _affordable(
            corpus, budget, baseline, share=PREPARE_SHARE if one else PREPARE_SHARE_OF_MANY, seed=config.seed
        )
    if len(corpus) < len(curated.train):
        world.report.say(f"plan: the budget pays for {len(corpus):,} of {len(curated.train):,} texts; taking a sample")
    specs, skipped = _specs(config, corpus)
    if baseline.bench.labelled is None and not baseline.bench.pairs and len(specs) > 1:
        first = min(specs, key=_preference)
        skipped |= {name: "no labels and no conversations to compare it on" for name in specs if name != first}
        specs = {first: specs[first]}
    if not specs:
        world.report.say(f"plan: nothing to train ({_reasons(skipped)})")
        return None
    product = open_product(config)
    tokens = tokenise_to(
        world.run / "tokens", product.tokenizer, corpus.texts, max_length=product.max_length, digest=corpus.digest
    )
    candidates, preparing = {}, {}
    for name, phases in specs.items():
        started = time.perf_counter()
        targets = prepare_targets(world, phases_of(name)[0], phases[0], corpus, product, config.base)
        candidates[name] = PreparedCandidate(name, phases[0], targets, *phases[1:])
        preparing[name] = time.perf_counter() - started
    settings = {
        "budget": {"seconds": budget.time, "tokens": budget.tokens},
        "train": config.train.of_results(),
        "seed": config.seed,
        "specs": {name: _told(phases, config) for name, phases in specs.items()},
    }
    key = key_of(kind="plan", config=settings, parents={"baseline": baseline.artifact.content, "corpus": corpus.digest})
    path = world.run / "plan.json"
    plan = _read_plan(path, key)
    if plan is None:
        world.report.say("plan: timing each candidate on this machine")
        precision, rates = usual_precision(config), matmul_rates()
        order = sorted(candidates, key=_preference)
        costs: dict[str, Cost] = {}
        timings: list[CandidateTiming] = []
        later = 0.0  # what the second phase of a curriculum takes to prepare
        for name in order:
            started = time.perf_counter()
            timed = [time_candidate(candidates[name], corpus, tokens, config, precision)]
            if candidates[name].then is not None:
                second, seconds = _time_second(candidates[name], corpus, tokens, product, config, precision)
                timed.append(second)
                later = max(later, seconds)
            timings += timed
            gone = preparing[name] + time.perf_counter() - started
            cost = joint_cost([one.cost for one in timed], config)
            costs[name] = cost.model_copy(update={"before_seconds": gone})
        arrays = [part for one in candidates.values() for part in (one.targets or {}).values()]
        judging = _judging_seconds(baseline, seed=config.seed)
        plan = make_plan(
            costs,
            budget=budget,
            look_seconds=baseline.seconds + judging + max(timing.entry_seconds for timing in timings),
            # The kinds of heads are tried on the challenger, and again on all labels for the head that is shipped.
            end_seconds=later
            + judging
            + 2 * baseline.kinds_seconds
            + _evidence_seconds(baseline, judging=judging)
            + _verdict_looks(curated, candidates) * baseline.seconds,
            memory_bytes=peak_to_come(best_device(), [timing.timed for timing in timings], arrays),
            before_seconds=spent + time.perf_counter() - begun,
            precision=precision,
            rates=rates,
            machine=prepare(best_device()),
            seed=config.seed,
        )
        write_text(path, json.dumps({"key": key, "specs": settings["specs"]} | plan.model_dump(), indent=1))
    steps = ", ".join(f"{name} up to {candidate.steps} steps" for name, candidate in plan.candidates.items())
    forecast = plan.forecast(budget)
    world.report.say(f"plan: {steps}; {plan.precision}, {plan.machine}")
    world.report.say(f"plan: {forecast}")
    world.report.planned(
        list(plan.candidates), seconds=forecast.expected.seconds, before=forecast.before, budget=budget
    )
    skipped |= {name: "the budget is too small for it" for name in candidates if name not in plan.candidates}
    if skipped:
        world.report.say(f"plan: left out {_reasons(skipped)}")
    chosen = {name: candidates[name] for name in plan.candidates}
    return Prepared(corpus, tokens, chosen, plan, forecast, digest([key, plan.model_dump()]), skipped)


def prepare_targets(world: World, name: str, spec: Spec, corpus: Corpus, product: Product, base: str) -> Targets | None:
    """What the objective must know of the whole corpus, from `RUN/targets/<name>` where it is there already."""
    settings, parents = spec.model_dump(), {"corpus": corpus.digest, "base": base_digest(base)}
    folder, key = world.run / "targets" / name, key_of(kind="targets", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        if spec.prepares:
            world.report.say(f"plan: preparing {name}")
        found = spec.prepare(corpus, product)
        if found is None:
            return None
        with create(folder, kind="targets", config=settings, parents=parents) as inside:
            for part, array in found.items():
                np.save(inside / f"{part}.npy", array)
    return open_targets(folder)


def open_targets(folder: Path) -> Targets | None:
    """What `prepare_targets` has left in a folder; None where it left none."""
    if open_artifact(folder) is None:
        return None
    # Mapped into memory, not read: a large corpus's targets need not fit.
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}


def loop_config(spec: Spec, config: Config, *, steps: int, precision: Precision) -> LoopConfig:
    """The loop's settings for a spec."""
    return LoopConfig(
        steps=steps,
        batch=spec.batch,
        lr=spec.lr,
        seed=config.seed,
        warmup=config.train.warmup,
        decay=config.train.decay,
        weight_decay=config.train.weight_decay,
        clip=config.train.clip,
        precision=precision,
        shard=config.train.shard,
    )


def _preference(name: str) -> int:
    """A candidate's place in `PREFERENCE`; the others come after all of these, in the order they were given."""
    return PREFERENCE.index(name) if name in PREFERENCE else len(PREFERENCE)


def _prepares(name: str) -> bool:
    """Whether a candidate has targets to prepare, which takes the longer the larger the corpus is."""
    parts = [part for phase in phases_of(name) for part in parts_of(phase)]
    return any(part in OBJECTIVES and OBJECTIVES[part].prepare is not Spec.prepare for part in parts)


def _affordable(corpus: Corpus, budget: Budget, baseline: Baseline, *, share: float, seed: int) -> Corpus:
    """A sample that can be embedded within `share` of the budget; the whole corpus where it can be."""
    if not len(corpus):
        return corpus
    tokens = share * budget.time * baseline.tokens_per_second if budget.time else 3 * (budget.tokens or 0)
    mean = float(np.mean([len(text) for text in corpus.texts[:1000]])) / 4 + 2  # about four characters a token
    return corpus.sample(max(1000, int(tokens / mean)), seed=seed)


def _specs(config: Config, corpus: Corpus) -> tuple[dict[str, tuple[Spec, ...]], dict[str, str]]:
    """The specs of each candidate's phases, and why the others cannot train here."""
    for name in (*config.candidates, *config.objectives):
        for part in (part for phase in phases_of(name) for part in parts_of(phase)):
            if part not in OBJECTIVES and name != NONE:
                known = [*OBJECTIVES, NONE] if part == name else OBJECTIVES
                raise ConfigError(f"No candidate {part!r}. {did_you_mean(part, known)}")
    specs, skipped = {}, {}
    for name in dict.fromkeys(config.candidates):
        if name == NONE:
            continue
        phases = phase_specs(config, name)
        lacking = next((spec for spec in phases if not len(spec.examples(corpus))), None)
        if lacking is None:
            specs[name] = phases
        else:
            skipped[name] = f"it needs {lacking.needs}"
    return specs, skipped


def _told(phases: tuple[Spec, ...], config: Config) -> dict[str, Any]:
    """A candidate's settings as the plan has them."""
    if len(phases) == 1:
        return phases[0].model_dump()
    return {"phases": [spec.model_dump() for spec in phases], "share": config.train.curriculum_share}


@dataclass(frozen=True)
class CandidateTiming:
    """What a candidate's steps cost, and what each of its menu entries costs besides training and measuring."""

    cost: Cost
    entry_seconds: float
    """Opening the base, writing and reading a snapshot, writing the encoder."""
    timed: Timed


def time_candidate(
    candidate: PreparedCandidate, corpus: Corpus, tokens: Tokenised, config: Config, precision: Precision
) -> CandidateTiming:
    """Time a few real steps of a candidate on a copy of the base that is thrown away, and what saving takes."""
    begun = time.perf_counter()
    product = open_product(config)
    opening = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        save_encoder(product, Path(folder) / "encoder", card="")
        saving = time.perf_counter() - begun
        training = Training.build(
            candidate.spec,
            corpus=corpus,
            tokens=tokens,
            product=product,
            targets=candidate.targets,
            config=loop_config(candidate.spec, config, steps=1, precision=precision),
            folder=Path(folder),
            snapshot_seconds=float("inf"),
        )
        timed = time_training(training)
    # A step's share of the snapshots that are written while training goes on.
    snapshots = timed.save_seconds * min(1.0, timed.seconds / config.train.snapshot_seconds)
    cost = Cost(
        seconds=timed.seconds + snapshots,
        tokens=timed.tokens,
        most_steps=_most_steps(candidate.spec, len(training.data)),
    )
    return CandidateTiming(cost, entry_seconds=opening + 2 * timed.save_seconds + saving, timed=timed)


def _time_second(
    candidate: PreparedCandidate,
    corpus: Corpus,
    tokens: Tokenised,
    product: Product,
    config: Config,
    precision: Precision,
) -> tuple[CandidateTiming, float]:
    """What the second phase of a curriculum costs a step, and an estimate of the seconds that its targets take.

    Both are timed with targets that `product`, the base, makes of a part of the corpus, and that are thrown away.
    """
    spec = candidate.then
    assert spec is not None
    part = corpus.sample(max(STAND_IN, 4 * spec.batch), seed=config.seed)
    if not _prepares(phases_of(candidate.name)[1]) or not len(spec.examples(part)):
        part = corpus
    begun = time.perf_counter()
    targets = spec.prepare(part, product)
    seconds = (time.perf_counter() - begun) * len(corpus) / len(part)
    if len(part) < len(corpus):
        tokens = tokenise(product.tokenizer, part.texts, max_length=product.max_length)
    timing = time_candidate(PreparedCandidate(candidate.name, spec, targets), part, tokens, config, precision)
    most = _most_steps(spec, len(spec.examples(corpus)))
    return replace(timing, cost=timing.cost.model_copy(update={"most_steps": most})), seconds


def _most_steps(spec: Spec, examples: int) -> int:
    """The most steps that are worth taking on so many examples."""
    return max(1, round(spec.passes * examples / min(spec.batch, examples)))


def _judging_seconds(baseline: Baseline, *, seed: int) -> float:
    """What one estimate of gains takes: timed on stand-ins, four entries that differ from the base here and there."""
    if baseline.bench.labelled is None or baseline.measured.correct is None:
        return 0.0
    base, rng = baseline.measured.correct, np.random.default_rng(seed)
    rows = np.stack([base, *(base ^ (rng.random(base.shape) < 0.05) for _ in range(4))])
    labelled = baseline.bench.labelled
    begun = time.perf_counter()
    decide.estimate(decide.Outcomes(("a", "b", "c", "d"), rows, labelled.draws.tested, labelled.cluster), seed=seed)
    return time.perf_counter() - begun


def _verdict_looks(curated: Curated, candidates: Mapping[str, PreparedCandidate]) -> float:
    """How many measurements of the labelled texts the verdict takes: two for a supplied test, one for the ceiling."""
    if not curated.examples:
        return 0.0
    return 2 * (1 + len(curated.tests) / len(curated.examples)) * bool(curated.tests) + ("neighbours" in candidates)


def _evidence_seconds(baseline: Baseline, *, judging: float) -> float:
    """What gathering the evidence takes (`stages/evidence.py`), estimated and not timed.

    Fitting a head is taken to cost as much for each example that it learns from as the baseline's heads did, of which
    those of self-training learned from the pool again and again. `judging` is what one estimate of gains takes.
    """
    labelled, pool = baseline.bench.labelled, baseline.bench.pool
    if labelled is None:
        tokens = 2 * sum(map(len, pool)) / 4  # about four characters a token, once with each encoder
        return tokens / max(1.0, baseline.tokens_per_second) + projection.SECONDS_A_POINT * min(
            len(pool), projection.MOST
        )
    n, n_classes = len(labelled.texts), len(labelled.names)
    draws, size = labelled.draws.training.shape
    rounds = [KINDS[kind].rounds for kind in baseline.kinds]
    seconds = baseline.kinds_seconds / (draws * sum((1 + more) * size + more * len(pool) for more in rounds))
    shots = [k for k in shot_gains.SHOTS if k * n_classes <= 0.8 * n]
    learned = draws * n_classes * sum(shots) + (decide.FOLDS - 1) * n
    points = min(n + len(pool), projection.MOST)
    return float(2 * learned * seconds + (len(shots) + 1) * judging + projection.SECONDS_A_POINT * points)


def _read_plan(path: Path, key: str) -> Plan | None:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if tree.pop("key", None) != key:
        return None
    tree.pop("specs", None)  # for people; they are part of the key
    return Plan.model_validate(tree)


def _reasons(skipped: dict[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in skipped.items())
