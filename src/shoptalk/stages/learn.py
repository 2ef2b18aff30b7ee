"""Plan, choose, pretrain: from candidates to a menu of measured checkpoints."""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shoptalk import decide
from shoptalk.artifact import Artifact, create, digest, key_of, open_artifact, write_text
from shoptalk.config import Budget, Config, did_you_mean
from shoptalk.errors import ConfigError
from shoptalk.evaluate.menu import Measured, load_measured, measure, save_measured
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Product, save_encoder
from shoptalk.nn.precision import Precision, choose_precision
from shoptalk.objective import Spec, Targets
from shoptalk.objectives import OBJECTIVES, make_spec
from shoptalk.objectives.masked.mlm import MaskedLanguageModel
from shoptalk.probes.masked_bits import masked_bits
from shoptalk.stages.data import Baseline, Curated, base_digest
from shoptalk.stages.world import World, best_device
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.loop import LoopConfig, observing, train
from shoptalk.training.plan import Cost, Plan, make_plan

NONE = "none"
PREPARE_SHARE = 0.15
"""Of a time budget, at most this much goes into embedding the corpus for targets; a larger corpus is sampled."""
TIMED_STEPS, TIMED_FRACTION = 4, 4
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


def plan_stage(world: World, curated: Curated, baseline: Baseline, *, spent: float) -> Prepared | None:
    """Prepare targets, time each candidate on this machine, fix `RUN/plan.json`. None where nothing can train.

    `spent` is what the run has taken of a time budget so far, in seconds.
    """
    config, budget = world.config, Budget.parse(world.config.budget)
    begun = time.perf_counter()
    corpus = _affordable(curated.train, budget, baseline, seed=config.seed)
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
    product = open_base(config.base)
    product.encoder.to(best_device())
    tokens = tokenise(product.tokenizer, corpus.texts, max_length=product.max_length)
    candidates = {
        name: Candidate(name, spec, prepare_targets(world, name, spec, corpus, product, config.base))
        for name, spec in specs.items()
    }
    settings = {
        "budget": config.budget,
        "train": config.train.model_dump(),
        "seed": config.seed,
        "specs": {name: spec.model_dump() for name, spec in specs.items()},
    }
    key = key_of(kind="plan", config=settings, parents={"baseline": baseline.artifact.content, "corpus": corpus.digest})
    path = world.run / "plan.json"
    plan = _read_plan(path, key)
    if plan is None:
        world.report.say("plan: timing each candidate on this machine")
        precision, rates = choose_precision(best_device())
        if config.train.precision != "auto":
            precision = config.train.precision
        order = sorted(candidates, key=lambda name: PREFERENCE.index(name) if name in PREFERENCE else len(PREFERENCE))
        costs = {name: time_steps(candidates[name], corpus, tokens, config, precision) for name in order}
        plan = make_plan(
            costs,
            budget=config.budget,
            seconds=None if budget.seconds is None else budget.seconds - spent - (time.perf_counter() - begun),
            tokens=budget.tokens,
            probe_seconds=baseline.seconds,
            precision=precision,
            rates=rates,
            seed=config.seed,
        )
        write_text(path, json.dumps({"key": key} | plan.model_dump(), indent=1))
    steps = ", ".join(f"{name} up to {candidate.steps} steps" for name, candidate in plan.candidates.items())
    world.report.say(
        f"plan: {steps}; {plan.precision}; "
        f"about {plan.forecast_seconds / 60:.1f} min and {plan.forecast_tokens / 1e6:.2f} M tokens"
    )
    skipped |= {name: "the budget is too small for it" for name in candidates if name not in plan.candidates}
    if skipped:
        world.report.say(f"plan: left out {_reasons(skipped)}")
    chosen = {name: candidates[name] for name in plan.candidates}
    return Prepared(corpus, tokens, chosen, plan, digest([key, plan.model_dump()]), skipped)


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
        candidate = prepared.candidates[name]
        product = open_base(world.config.base)
        product.encoder.to(best_device())
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
        for _ in world.report.track(steps, done=done, total=step, name=name):
            pass
        rows = read_log(training.folder)
        with observing(training.objective) as observed:
            measured = measure(observed, baseline.bench)
            if isinstance(training.objective, MaskedLanguageModel) and baseline.bench.held_out:
                # The pretext task's own loss on unseen text: no base to compare with, whose head is random.
                bits = masked_bits(baseline.bench.held_out, seed=world.config.seed, head=training.objective.logits)
                measured = replace(measured, readings=(*measured.readings, bits(observed)))
        progress = {"step": rows[-1]["step"], "tokens": sum(row["tokens"] for row in rows)}
        with create(folder, kind="entry", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            write_text(inside / "progress.json", json.dumps(progress))
            shutil.copyfile(training.folder / "log.jsonl", inside / "log.jsonl")
            save_encoder(
                product, inside / "encoder", card=f"# {name}, step {step}\n\nA checkpoint of a Shoptalk run.\n"
            )
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
    )


def _affordable(corpus: Corpus, budget: Budget, baseline: Baseline, *, seed: int) -> Corpus:
    """A sample that can be embedded within its share of the budget; the whole corpus where it can be."""
    if not len(corpus):
        return corpus
    tokens = PREPARE_SHARE * budget.seconds * baseline.tokens_per_second if budget.seconds else 3 * (budget.tokens or 0)
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
        if spec.examples(corpus):
            specs[name] = spec
        else:
            skipped[name] = "the corpus has no consecutive turns" if name == "turns" else "the corpus is too small"
    return specs, skipped


def time_steps(candidate: Candidate, corpus: Corpus, tokens: Tokenised, config: Config, precision: Precision) -> Cost:
    """Time a few real steps on a copy that is thrown away; the first one warms up and does not count.

    The steps are taken with a fraction of the batch: time grows with tokens, and the budget is for training.
    """
    product = open_base(config.base)
    product.encoder.to(best_device())
    full = min(candidate.spec.batch, len(candidate.spec.examples(corpus)))
    part = max(min(full, 16), full // TIMED_FRACTION)
    with tempfile.TemporaryDirectory() as folder:
        training = Training.build(
            candidate.spec,
            corpus=corpus,
            tokens=tokens,
            product=product,
            targets=candidate.targets,
            config=replace(loop_config(candidate.spec, config, steps=TIMED_STEPS, precision=precision), batch=part),
            folder=Path(folder),
            snapshot_seconds=float("inf"),
        )
        counted = list(train(training.objective, training.data, training.collate, training.config))[1:]
    scale = full / part
    return Cost(
        seconds=scale * float(np.mean([step.seconds for step in counted])),
        tokens=scale * float(np.mean([step.tokens for step in counted])),
        most_steps=max(1, round(candidate.spec.passes * len(training.data) / full)),
    )


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
    return Plan.model_validate(tree)


def _reasons(skipped: dict[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in skipped.items())
