"""Plan, choose, pretrain: from candidates to a menu of measured checkpoints."""

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shoptalk import decide
from shoptalk.artifact import Artifact, create, digest, key_of, open_artifact, write_text
from shoptalk.config import Budget, Config, did_you_mean
from shoptalk.errors import ConfigError
from shoptalk.evaluate.menu import Measured, load_measured, measure, save_measured
from shoptalk.nn.encoder import Product, save_encoder
from shoptalk.nn.machine import prepare
from shoptalk.nn.precision import Precision
from shoptalk.objective import Spec, Targets
from shoptalk.objectives import OBJECTIVES, make_spec
from shoptalk.objectives.masked.mlm import MaskedLanguageModel
from shoptalk.probes.masked_bits import masked_bits
from shoptalk.stages.data import Baseline, Curated, base_digest
from shoptalk.stages.world import World, best_device, matmul_rates, open_product, usual_precision
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise_to
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.forecast import Forecast, Timed, peak_memory, peak_to_come, time_training
from shoptalk.training.loop import LoopConfig, observing
from shoptalk.training.plan import Cost, Plan, make_plan

NONE = "none"
PREPARE_SHARE = 0.15
"""Of a time budget, at most this much goes into embedding the corpus for targets; a larger corpus is sampled."""
PREFERENCE = ("neighbours", "turns", "mlm", "simcse")
"""Who is tried where not all can be, and who is trained where there are neither labels nor conversations to compare on.
`neighbours` gained on both labelled sets in benchmarks/README.md; the pilots of `mlm` and `simcse` lost there, in this
order; `turns`, which those sets cannot train, stands second by judgement."""


@dataclass(frozen=True)
class Candidate:
    """A pretext task ready to train, with what it knows of the whole corpus."""

    name: str
    spec: Spec
    targets: Targets | None


@dataclass(frozen=True)
class Prepared:
    """What training needs: the corpus that the budget can afford, its tokens, the candidates and the plan."""

    corpus: Corpus
    tokens: Tokenised
    candidates: dict[str, Candidate]
    plan: Plan
    forecast: Forecast
    key: str
    skipped: dict[str, str]
    """Candidates that cannot train here, and why."""


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


def plan_stage(world: World, curated: Curated, baseline: Baseline, *, spent: float) -> Prepared | None:
    """Prepare targets, time each candidate on this machine, fix `RUN/plan.json`. None where nothing can train.

    `spent` is what the run has taken of a time budget so far, in seconds.
    """
    config, budget = world.config, world.config.limits()
    begun = time.perf_counter()
    corpus = curated.train
    if any(_prepares(name) for name in config.candidates):
        corpus = _affordable(corpus, budget, baseline, seed=config.seed)
    if len(corpus) < len(curated.train):
        world.report.say(f"plan: the budget pays for {len(corpus):,} of {len(curated.train):,} texts; taking a sample")
    specs, skipped = _specs(config, corpus)
    if baseline.bench.labelled is None and not baseline.bench.pairs and len(specs) > 1:
        first = next(name for name in PREFERENCE if name in specs)
        skipped |= {name: "no labels and no conversations to compare it on" for name in specs if name != first}
        specs = {first: specs[first]}
    if not specs:
        world.report.say(f"plan: nothing to train ({_reasons(skipped)})")
        return None
    product = open_product(config)
    tokens = tokenise_to(
        world.run / "tokens", product.tokenizer, corpus.texts, max_length=product.max_length, digest=corpus.digest
    )
    candidates = {
        name: Candidate(name, spec, prepare_targets(world, name, spec, corpus, product, config.base))
        for name, spec in specs.items()
    }
    settings = {
        "budget": {"seconds": budget.time, "tokens": budget.tokens},
        "train": config.train.model_dump(exclude={"snapshot_seconds"}),  # changes no result
        "seed": config.seed,
        "specs": {name: spec.model_dump() for name, spec in specs.items()},
    }
    key = key_of(kind="plan", config=settings, parents={"baseline": baseline.artifact.content, "corpus": corpus.digest})
    path = world.run / "plan.json"
    plan = _read_plan(path, key)
    if plan is None:
        world.report.say("plan: timing each candidate on this machine")
        precision, rates = usual_precision(config), matmul_rates()
        order = sorted(candidates, key=lambda name: PREFERENCE.index(name) if name in PREFERENCE else len(PREFERENCE))
        timings = {name: time_candidate(candidates[name], corpus, tokens, config, precision) for name in order}
        targets = [part for one in candidates.values() for part in (one.targets or {}).values()]
        judging = _judging_seconds(baseline, seed=config.seed)
        plan = make_plan(
            {name: timing.cost for name, timing in timings.items()},
            budget=budget,
            look_seconds=baseline.seconds + judging + max(timing.entry_seconds for timing in timings.values()),
            end_seconds=judging + _verdict_looks(curated, candidates) * baseline.seconds,
            memory_bytes=peak_to_come(best_device(), [timing.timed for timing in timings.values()], targets),
            before_seconds=spent + time.perf_counter() - begun,
            precision=precision,
            rates=rates,
            seed=config.seed,
        )
        machine = prepare(best_device()).model_dump()
        write_text(path, json.dumps({"key": key, "machine": machine} | plan.model_dump(), indent=1))
    steps = ", ".join(f"{name} up to {candidate.steps} steps" for name, candidate in plan.candidates.items())
    forecast = plan.forecast(budget)
    world.report.say(f"plan: {steps}; {plan.precision}, {prepare(best_device())}")
    world.report.say(f"plan: {forecast}")
    skipped |= {name: "the budget is too small for it" for name in candidates if name not in plan.candidates}
    if skipped:
        world.report.say(f"plan: left out {_reasons(skipped)}")
    chosen = {name: candidates[name] for name in plan.candidates}
    return Prepared(corpus, tokens, chosen, plan, forecast, digest([key, plan.model_dump()]), skipped)


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
    return entries, survivors[0]


def pretrain_stage(
    world: World, prepared: Prepared, baseline: Baseline, winner: str, pilots: Sequence[Entry]
) -> list[Entry]:
    """Train the winner from checkpoint to checkpoint while the evidence says that more pays."""
    plan = prepared.plan.candidates[winner]
    earlier = [entry for entry in pilots if entry.candidate == winner]
    entries: list[Entry] = []
    decay_from: int | None = None
    for step in (step for step in plan.checkpoints if step > (earlier[0].step if earlier else 0)):
        entry = train_to(world, prepared, baseline, winner, step, earlier=[*earlier, *entries], decay_from=decay_from)
        entries.append(entry)
        if decay_from is not None or step == plan.checkpoints[-1]:
            break
        if baseline.bench.labelled is None:
            continue
        decision = decide.continue_training(outcomes(baseline, [*earlier, *entries]))
        if decision.choice != "continue":
            world.report.say(f"pretrain: {decision.sentence}")
        if decision.choice == "stop":
            break
        decay_from = entry.step if decision.choice == "decay" else None
    return entries


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
        candidate = prepared.candidates[name]
        product = open_product(world.config)
        training = Training.build(
            candidate.spec,
            corpus=prepared.corpus,
            tokens=prepared.tokens,
            product=product,
            targets=candidate.targets,
            config=loop_config(
                candidate.spec,
                world.config,
                steps=prepared.plan.candidates[name].steps,
                precision=prepared.plan.precision,
            ),
            folder=world.run / "work" / f"{name}-{prepared.key[:12]}",
            snapshot_seconds=world.config.train.snapshot_seconds,
        )
        steps = advance(training, until=step, decay_from=decay_from)
        done = earlier[-1].step if earlier else 0
        training_seconds = sum(one.seconds for one in world.report.track(steps, done=done, total=step, name=name))
        rows = read_log(training.folder)
        with observing(training.objective) as observed:
            measured = measure(observed, baseline.bench)
            if isinstance(training.objective, MaskedLanguageModel) and baseline.bench.held_out:
                # The pretext task's own loss on unseen text: no base to compare with, whose head is random.
                bits = masked_bits(baseline.bench.held_out, seed=world.config.seed, head=training.objective.logits)
                measured = replace(measured, readings=(*measured.readings, bits(observed)))
        with create(folder, kind="entry", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            shutil.copyfile(training.folder / "log.jsonl", inside / "log.jsonl")
            save_encoder(
                product, inside / "encoder", card=f"# {name}, step {step}\n\nA checkpoint of a Shoptalk run.\n"
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
        forecast=prepared.forecast,
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


def prepare_targets(world: World, name: str, spec: Spec, corpus: Corpus, product: Product, base: str) -> Targets | None:
    """What the objective must know of the whole corpus, from `RUN/targets/<name>` where it is there already."""
    settings, parents = spec.model_dump(), {"corpus": corpus.digest, "base": base_digest(base)}
    folder, key = world.run / "targets" / name, key_of(kind="targets", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
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


def _prepares(name: str) -> bool:
    """Whether a candidate has targets to prepare, which takes the longer the larger the corpus is."""
    return name in OBJECTIVES and OBJECTIVES[name].prepare is not Spec.prepare


def _affordable(corpus: Corpus, budget: Budget, baseline: Baseline, *, seed: int) -> Corpus:
    """A sample that can be embedded within its share of the budget; the whole corpus where it can be."""
    if not len(corpus):
        return corpus
    tokens = PREPARE_SHARE * budget.time * baseline.tokens_per_second if budget.time else 3 * (budget.tokens or 0)
    mean = float(np.mean([len(text) for text in corpus.texts[:1000]])) / 4 + 2  # about four characters a token
    return corpus.sample(max(1000, int(tokens / mean)), seed=seed)


def _specs(config: Config, corpus: Corpus) -> tuple[dict[str, Spec], dict[str, str]]:
    known = [*OBJECTIVES, NONE]
    for name in (*config.candidates, *config.objectives):
        if name not in known:
            raise ConfigError(f"No candidate {name!r}. {did_you_mean(name, known)}")
    specs, skipped = {}, {}
    for name in dict.fromkeys(config.candidates):
        if name == NONE:
            continue
        spec = make_spec(name, config.objectives.get(name, {}))
        if len(spec.examples(corpus)):
            specs[name] = spec
        else:
            skipped[name] = "the corpus has no consecutive turns" if name == "turns" else "the corpus is too small"
    return specs, skipped


@dataclass(frozen=True)
class CandidateTiming:
    """What a candidate's steps cost, and what each of its menu entries costs besides training and measuring."""

    cost: Cost
    entry_seconds: float
    """Opening the base, writing and reading a snapshot, writing the encoder."""
    timed: Timed


def time_candidate(
    candidate: Candidate, corpus: Corpus, tokens: Tokenised, config: Config, precision: Precision
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
    full = min(candidate.spec.batch, len(training.data))
    # A step's share of the snapshots that are written while training goes on.
    snapshots = timed.save_seconds * min(1.0, timed.seconds / config.train.snapshot_seconds)
    cost = Cost(
        seconds=timed.seconds + snapshots,
        tokens=timed.tokens,
        most_steps=max(1, round(candidate.spec.passes * len(training.data) / full)),
    )
    return CandidateTiming(cost, entry_seconds=opening + 2 * timed.save_seconds + saving, timed=timed)


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


def _verdict_looks(curated: Curated, candidates: Mapping[str, Candidate]) -> float:
    """How many measurements of the labelled texts the verdict takes: two for a supplied test, one for the ceiling."""
    if not curated.examples:
        return 0.0
    return 2 * (1 + len(curated.tests) / len(curated.examples)) * bool(curated.tests) + ("neighbours" in candidates)


def _score(measured: Measured, baseline: Baseline) -> float:
    """The gain that pilots are ranked by: k-shot accuracy in points, or without labels next-turn retrieval (x 100)."""
    before, after = baseline.measured.values(), measured.values()
    if baseline.bench.labelled is not None:
        name = f"{baseline.bench.labelled.shots}-shot accuracy"
        return after[name] - before[name]
    return 100 * (after["next-turn MRR"] - before["next-turn MRR"])


def _read_plan(path: Path, key: str) -> Plan | None:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if tree.pop("key", None) != key:
        return None
    tree.pop("machine", None)
    return Plan.model_validate(tree)


def _reasons(skipped: dict[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in skipped.items())
