"""One objective, one encoder, no questions asked: what `shoptalk pretrain` does."""

from collections.abc import Sequence
from pathlib import Path

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.config import Budget
from shoptalk.errors import ConfigError, SourceError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import save_encoder
from shoptalk.nn.precision import Precision, choose_precision
from shoptalk.objectives import make_spec
from shoptalk.records import Frozen
from shoptalk.stages.data import base_digest, curate_stage
from shoptalk.stages.learn import Candidate, loop_config, prepare_targets, time_steps
from shoptalk.stages.world import World, best_device
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise
from shoptalk.training import snapshot
from shoptalk.training.advance import Training, advance


def pretrain(world: World, sources: Sequence[Path], *, objective: str, steps: int | None, card: str) -> Artifact:
    """Train `config.base` on the sources; leaves `DIR/encoder` and `DIR/log.jsonl` in the world's folder.

    Without `steps` the budget decides how many, once, in `DIR/plan.json`. The same call resumes, or is instant.

    Raises:
        SourceError: the sources have nothing that this objective can learn from.
    """
    config, folder = world.config, world.run
    spec = make_spec(objective, config.objectives.get(objective, {}))
    curated = curate_stage(world, sources, None, None)
    settings = {
        "objective": objective,
        "spec": spec.model_dump(),
        "train": config.train.model_dump(),
        "seed": config.seed,
        "steps": steps,
        "budget": None if steps else config.budget,
    }
    parents = {"corpus": curated.artifact.content, "base": base_digest(config.base)}
    key = key_of(kind="encoder", config=settings, parents=parents)
    if open_artifact(folder / "encoder", key=key) is None:
        corpus = curated.train
        data = spec.examples(corpus)
        if not data:
            raise SourceError(
                f"{objective!r} finds nothing to learn from in these sources ({len(corpus)} texts). "
                "`shoptalk objectives` says what each objective needs."
            )
        product = open_base(config.base)
        product.encoder.to(best_device())
        tokens = tokenise(product.tokenizer, corpus.texts, max_length=product.max_length)
        candidate = Candidate(objective, spec, prepare_targets(world, objective, spec, corpus, product, config.base))
        plan = _plan(world, key, candidate, corpus, tokens, steps)
        _forget_other_runs(folder, key)
        training = Training.build(
            spec,
            corpus=corpus,
            tokens=tokens,
            product=product,
            targets=candidate.targets,
            config=loop_config(spec, config, steps=plan.steps, precision=plan.precision),
            folder=folder,
            snapshot_seconds=config.train.snapshot_seconds,
        )
        for _ in world.report.track(advance(training, until=plan.steps), done=0, total=plan.steps, name=objective):
            pass
        with create(folder / "encoder", kind="encoder", config=settings, parents=parents) as inside:
            save_encoder(product, inside, card=card)
        snapshot.keep_only(folder, None)
    artifact = open_artifact(folder / "encoder")
    assert artifact is not None
    return artifact


class SinglePlan(Frozen):
    """How long and in which arithmetic, for the training that `key` names."""

    key: str
    steps: int
    precision: Precision
    rates: dict[str, float]
    seed: int


def _plan(
    world: World, key: str, candidate: Candidate, corpus: Corpus, tokens: Tokenised, steps: int | None
) -> SinglePlan:
    """Steps and precision, decided once and kept in `DIR/plan.json`."""
    path, config = world.run / "plan.json", world.config
    if path.exists():
        found = SinglePlan.model_validate_json(path.read_text(encoding="utf-8"))
        if found.key == key:
            return found
    precision: Precision
    precision, rates = choose_precision(best_device())
    if config.train.precision != "auto":
        precision = config.train.precision
    if steps is None:
        budget = Budget.parse(config.budget)
        cost = time_steps(candidate, corpus, tokens, config, precision)
        affordable = (budget.seconds or 0) / cost.seconds if budget.seconds else (budget.tokens or 0) / cost.tokens
        steps = min(int(affordable), cost.most_steps)
        if steps < 1:
            raise ConfigError(f"The budget {config.budget} does not pay for one step of {candidate.name!r}; give more.")
    plan = SinglePlan(key=key, steps=steps, precision=precision, rates=rates, seed=config.seed)
    write_text(path, plan.model_dump_json(indent=1))
    return plan


def _forget_other_runs(folder: Path, key: str) -> None:
    """Snapshots and log of a training with other settings would be resumed by mistake; `key` marks whose they are."""
    mark = folder / ".training"
    if not mark.exists() or mark.read_text(encoding="utf-8") != key:
        snapshot.keep_only(folder, None)
        (folder / "log.jsonl").unlink(missing_ok=True)
        write_text(mark, key)
