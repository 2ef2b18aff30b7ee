"""What candidates and looks will cost, from a few steps timed on this machine."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shoptalk import decide
from shoptalk.config import Config
from shoptalk.evaluate import projection, shot_gains
from shoptalk.nn.heads.kinds import FEWEST_IN_POOL, KINDS
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import Product
from shoptalk.objective import Material
from shoptalk.objectives.recipe import Recipe
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.candidate import PreparedCandidate
from shoptalk.stages.curate import Curated
from shoptalk.stages.world import open_product
from shoptalk.text.corpus import Corpus
from shoptalk.training.advance import Training
from shoptalk.training.forecast import Timed, time_training
from shoptalk.training.loop import loop_config
from shoptalk.training.plan import Cost

STAND_IN = 1_000
"""Texts on which the second phase of a curriculum is timed where it has targets to prepare: those that it will train on
need the encoder that its first phase leaves."""


@dataclass(frozen=True)
class CandidateTiming:
    """What a candidate's steps cost, and what each of its menu entries costs besides training and measuring."""

    cost: Cost
    entry_seconds: float
    """Opening the base, writing and reading a snapshot, writing the encoder."""
    timed: Timed


def time_candidate(
    candidate: PreparedCandidate, corpus: Corpus, inputs: Any, config: Config, precision: Precision
) -> CandidateTiming:
    """Time a few real steps of a candidate on a copy of the base that is thrown away, and what saving takes."""
    begun = time.perf_counter()
    product = open_product(config)
    opening = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        product.save(Path(folder) / "encoder", card="")
        saving = time.perf_counter() - begun
        training = Training.build(
            candidate.spec,
            corpus=corpus,
            inputs=inputs,
            product=product,
            targets=candidate.targets,
            config=loop_config(
                candidate.spec, config, name=Recipe.parse(candidate.name).phases[0].name, steps=1, precision=precision
            ),
            folder=Path(folder),
            snapshot_seconds=float("inf"),
            general=candidate.general,
        )
        timed = time_training(training)
    # A step's share of the snapshots that are written while training goes on.
    snapshots = timed.save_seconds * min(1.0, timed.seconds / config.train.snapshot_seconds)
    cost = Cost(
        seconds=timed.seconds + snapshots,
        tokens=timed.tokens,
        most_steps=candidate.spec.most_steps(len(training.data)),
    )
    return CandidateTiming(cost, entry_seconds=opening + 2 * timed.save_seconds + saving, timed=timed)


def time_second(
    candidate: PreparedCandidate,
    corpus: Corpus,
    inputs: Any,
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
    if not spec.prepares or not len(spec.examples(part)):
        part = corpus
    begun = time.perf_counter()
    targets = spec.prepare(part, product)
    seconds = (time.perf_counter() - begun) * len(corpus) / len(part)
    most = spec.most_steps(len(spec.drawn_from(Material(corpus, product, inputs, None))))
    if len(part) < len(corpus):
        inputs = product.inputs(part)
    phase = PreparedCandidate(Recipe.parse(candidate.name).phases[1].name, spec, targets, general=candidate.general)
    timing = time_candidate(phase, part, inputs, config, precision)
    return replace(timing, cost=timing.cost.model_copy(update={"most_steps": most})), seconds


def judging_seconds(baseline: Baseline, *, seed: int) -> float:
    """What one estimate of gains takes: timed on stand-ins, four entries that differ from the base here and there."""
    judge = baseline.bench.judge
    if judge is None:
        return 0.0
    base, rng = baseline.measured.scores[judge.key], np.random.default_rng(seed)
    rows = np.stack([base, *(np.where(rng.random(base.shape) < 0.05, base.max(), base) for _ in range(4))])
    begun = time.perf_counter()
    decide.estimate(
        decide.Scores(("a", "b", "c", "d"), rows, judge.tested_by_looks, judge.cluster, judge.measure), seed=seed
    )
    return time.perf_counter() - begun


def verdict_looks(curated: Curated, candidates: Mapping[str, PreparedCandidate]) -> float:
    """How many measurements of the labelled texts the verdict takes: two for a supplied test, one for a ceiling."""
    if not curated.examples:
        return 0.0
    ceilings = any(one.spec.has_ceiling for one in candidates.values())
    return 2 * (1 + len(curated.tests) / len(curated.examples)) * bool(curated.tests) + ceilings


def evidence_seconds(baseline: Baseline, *, judging: float) -> float:
    """What gathering the evidence takes (`telling/evidence.py`), estimated and not timed.

    Fitting a head is taken to cost as much for each example that it learns from as the baseline's heads did, of which
    those of self-training learned from the pool again and again. `judging` is what one estimate of gains takes.
    """
    pool, judge = baseline.bench.pool, baseline.bench.judge
    classes = judge.classes if judge is not None else None
    if classes is None or baseline.final is None:
        if not baseline.pool_tokens:
            return 0.0
        tokens = 2 * baseline.pool_tokens  # once with each encoder
        return tokens / max(1.0, baseline.tokens_per_second) + projection.SECONDS_A_POINT * min(
            len(pool), projection.MOST
        )
    n, n_classes = len(classes.items), len(classes.names)
    draws, size = shot_gains.DRAWS, n - n // decide.FOLDS
    rounds = [kind.rounds for kind in KINDS.values()] if len(pool) >= FEWEST_IN_POOL else [0]
    learned_from = len(baseline.final.scores) * sum((1 + more) * size + more * len(pool) for more in rounds)
    seconds = baseline.final_seconds / learned_from
    shots = [k for k in shot_gains.SHOTS if k * n_classes <= 0.8 * n]  # about as many as there are rows
    learned = draws * n_classes * sum(shots) + (decide.FOLDS - 1) * n
    points = min(n + len(pool), projection.MOST)
    return float(2 * learned * seconds + (len(shots) + 1) * judging + projection.SECONDS_A_POINT * points)
