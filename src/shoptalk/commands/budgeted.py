"""Training on a corpus for as many steps as the budget pays for, outside the story's stages."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoptalk.artifact import key_of, write_text
from shoptalk.config import Config
from shoptalk.errors import ConfigError, SourceError
from shoptalk.nn.product import Product
from shoptalk.objective import Objective, Spec
from shoptalk.readback import read_json
from shoptalk.text.corpus import Corpus
from shoptalk.training.advance import Training, advance, refuse_diverged
from shoptalk.training.forecast import time_training
from shoptalk.training.loop import loop_config
from shoptalk.training.pace import watched
from shoptalk.training.reporter import Reporter


def trained_within_budget(
    product: Product,
    corpus: Corpus,
    spec: Spec,
    config: Config,
    *,
    name: str,
    items: str,
    folder: Path,
    report: Reporter,
    inputs: Any = None,
    steps: int | None = None,
) -> Objective[Any, Any]:
    """The objective of `spec`, trained, in evaluation mode; its product, which is changed, is `product`.

    Args:
        product: what is trained.
        corpus: what it learns from.
        spec: the objective's settings.
        config: of training, and the budget.
        name: of the objective in the settings.
        items: what a batch counts, for people.
        folder: where the plan, the log and snapshots are kept.
        report: where progress is reported.
        inputs: what the product made of the corpus, where the objective reads that.
        steps: how many; else the budget decides, once, in `plan.json`.

    Raises:
        SourceError: the corpus has nothing to learn from.
        ConfigError: the budget does not pay for one step.
        DivergedError: the loss or a weight is not a finite number.
    """
    if not len(spec.examples(corpus)):
        raise SourceError(f"The sources have nothing to learn from: expected {spec.needs}.")

    def training(of: Product, into: Path, until: int) -> Training:
        return Training.build(
            spec,
            corpus=corpus,
            inputs=inputs,
            product=of,
            targets=None,
            config=loop_config(spec, config, name=name, steps=until, precision=product.precision),
            folder=into,
            snapshot_seconds=config.train.snapshot_seconds,
        )

    if steps is None:
        steps = _planned(lambda: training(product.copy(), folder / "trial", 1), corpus, spec, config, name, folder)
    whole = training(product, folder, steps)
    report.say(f"finetune: {steps} steps of {spec.batch} {items}, {product.precision}")
    taken = watched(advance(whole, until=steps), expected=None, total=steps, name=name, say=report.say)
    for _ in report.track(taken, done=0, total=steps, name=name):
        pass
    refuse_diverged(whole)
    whole.objective.eval()
    whole.objective.zero_grad(set_to_none=True)
    return whole.objective


def _planned(trial: Callable[[], Training], corpus: Corpus, spec: Spec, config: Config, name: str, folder: Path) -> int:
    """The steps that the budget pays for, decided once."""
    path, key = folder / "plan.json", key_of(kind="plan", config=spec.model_dump(), parents={"corpus": corpus.digest})
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and (plan := read_json(path, dict)).get("key") == key and isinstance(plan.get("steps"), int):
        return int(plan["steps"])
    begun = time.perf_counter()
    timed = time_training(trial())
    limits, examples = config.limits(), len(spec.examples(corpus))
    left = None if limits.time is None else limits.time - (time.perf_counter() - begun) - timed.save_seconds
    affordable = (limits.tokens or 0) / timed.tokens if left is None else left / timed.seconds
    steps = min(int(affordable), spec.most_steps(examples))
    if steps < 1:
        raise ConfigError(f"The budget {config.budget} does not pay for one step of {name!r}. Give a larger one.")
    write_text(path, json.dumps({"key": key, "steps": steps}))
    return steps
