"""Baseline: the number that everything is compared with."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.evaluate.best_head import POOL, Seen, kind_answers, load_heads, save_heads
from shoptalk.evaluate.menu import SAMPLE, Bench, Labelled, Measured, load_measured, measure, save_measured
from shoptalk.nn.digests import base_digest
from shoptalk.nn.heads.names import EXAMPLES
from shoptalk.probes.retrieval import choose_pairs
from shoptalk.records import Reading
from shoptalk.stages.curate import Curated
from shoptalk.stages.world import World, open_product
from shoptalk.text.corpus import Corpus
from shoptalk.text.order import permuted

HEADS_SHARE = 0.3
"""Of a time budget, at most this much goes into trying kinds of heads; they are then tried on the first draws alone."""
REST_SHARE = 0.25
"""Of a time budget, at most this much goes, at the end, into the other draws with the kinds that were chosen."""
TIMED_DRAWS, FEWEST_DRAWS = 2, 5


@dataclass(frozen=True)
class Baseline:
    """The unadapted base's measurements; nothing later is believed without them."""

    artifact: Artifact
    bench: Bench
    measured: Measured
    seconds: float
    """What measuring took: the forecast of every later look."""
    tokens_per_second: float
    """Of embedding, real tokens."""
    kinds: Mapping[str, np.ndarray]
    """With labels, each kind of head's answers on the draws of `tried` [T, N], as label numbers."""
    kinds_seconds: float
    """What those took: the forecast of the same for the challenger."""
    n_judged: int
    """Draws on which the verdict compares heads, those of `tried` among them: all, or what a time budget pays for."""
    seen: Seen | None = None
    """With labels, the vectors that the heads saw."""
    pool_tokens: int = 0
    """Of the unlabelled texts that heads may learn from."""

    @property
    def judged(self) -> Labelled:
        """The label set with the draws on which the verdict compares heads."""
        assert self.bench.labelled is not None
        return self.bench.labelled.first(self.n_judged)

    @property
    def tried(self) -> Labelled:
        """The label set with the draws on which the kinds of heads are chosen: the first of `judged`."""
        assert self.bench.labelled is not None
        return self.bench.labelled.first(len(next(iter(self.kinds.values()))))

    @property
    def rest_seconds(self) -> float:
        """At most what the draws of `judged` that are not in `tried` take, with base and challenger: as if all kinds
        were chosen.
        """
        n_tried = len(next(iter(self.kinds.values()), ()))
        return 2 * self.kinds_seconds / n_tried * (self.n_judged - n_tried) if n_tried else 0.0


def baseline_stage(world: World, curated: Curated) -> Baseline:
    """Measure the base on everything that entries will be measured on; leaves `RUN/baseline`."""
    config = world.config
    labelled = None
    if curated.examples:
        labelled = Labelled.draw(curated.examples, shots=config.shots, n_draws=config.draws, seed=config.seed)
        if (sentence := labelled.fewer_shots(config.shots)) is not None:
            world.report.say(f"baseline: {sentence}")
    size = len(curated.train)
    places = permuted(size, range(min(size, SAMPLE)), seed=config.seed, epoch=0)
    bench = Bench(
        labelled,
        sample=tuple(curated.train.texts[i] for i in places),
        pairs=tuple(choose_pairs(curated.held_out, seed=config.seed)),
        held_out=tuple(curated.held_out.texts[:SAMPLE]),
        pool=pool_of(curated.train, seed=config.seed),
    )
    settings: dict[str, Any] = {
        "shots": config.shots,
        "draws": config.draws,
        "seed": config.seed,
        "base": world.base_name,
    }
    if labelled is None:
        settings["vectors"] = len(bench.sample)  # kept beside the readings, so a baseline without them is another
    else:
        settings["answers"] = len(bench.pool)  # and the heads' vectors likewise
        settings["names"] = EXAMPLES  # what a label's name counts as
        if config.limits().time is not None:
            settings["seconds"] = config.limits().time  # as many draws as it pays for
    parents = {"corpus": curated.artifact.content, "base": base_digest(config.base)}
    folder, key = world.run / "baseline", key_of(kind="baseline", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        world.report.say(f"baseline: measuring {world.base_name} as it is")
        product = open_product(config)
        texts = [*bench.sample, *(labelled.texts if labelled else ()), *(text for pair in bench.pairs for text in pair)]
        begun = time.perf_counter()
        measured = measure(product, bench)
        seconds = time.perf_counter() - begun
        rate = product.units(texts) / seconds
        begun, seen, n_judged = time.perf_counter(), None, 0
        kinds: dict[str, np.ndarray] = {}
        if labelled is not None:
            seen = Seen.by(product, labelled.texts, bench.pool, labels=labelled.names)
            kinds, n_judged = _answers(seen, labelled, budget=config.limits().time)
        detail = {
            "tokens_per_second": rate,
            "pool_tokens": product.units(bench.pool),
            "kinds_seconds": time.perf_counter() - begun,
            "n_judged": n_judged,
        }
        timing = Reading(name="baseline", value=seconds, unit="s", n=1, detail=detail)
        with create(folder, kind="baseline", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            save_heads(inside, kinds, seen)
            write_text(inside / "timing.json", timing.model_dump_json())
    artifact = open_artifact(folder)
    assert artifact is not None
    timing = Reading.model_validate_json((folder / "timing.json").read_text(encoding="utf-8"))
    kinds, seen = load_heads(folder)
    return Baseline(
        artifact,
        bench,
        load_measured(folder),
        timing.value,
        float(timing.detail["tokens_per_second"]),
        kinds=kinds,
        kinds_seconds=float(timing.detail["kinds_seconds"]),
        n_judged=int(timing.detail["n_judged"]),
        seen=seen,
        pool_tokens=int(timing.detail["pool_tokens"]),
    )


def _answers(seen: Seen, labelled: Labelled, *, budget: float | None) -> tuple[dict[str, np.ndarray], int]:
    """What each kind of head answers on the draws, of a time budget (seconds) on as many as it pays for; and how many
    draws the kinds that are chosen will answer in the end.

    Two draws are timed first. Heads are tried three times: on the base, on the challenger, and for what is shipped.
    """
    training = labelled.draws.training
    if budget is None:
        return kind_answers(seen, labelled.labels, training), len(training)
    begun = time.perf_counter()
    first = kind_answers(seen, labelled.labels, training[:TIMED_DRAWS])
    a_draw = (time.perf_counter() - begun) / len(training[:TIMED_DRAWS])
    n_draws = min(len(training), max(FEWEST_DRAWS, int(HEADS_SHARE * budget / (3 * a_draw))))
    rest = kind_answers(seen, labelled.labels, training[TIMED_DRAWS:n_draws])
    n_judged = min(len(training), n_draws + int(REST_SHARE * budget / (2 * a_draw)))
    return {kind: np.concatenate([first[kind], rest[kind]]) for kind in first}, n_judged


def pool_of(corpus: Corpus, *, seed: int) -> tuple[str, ...]:
    """Unlabelled texts for the run's heads: a random sample, each wording once."""
    return tuple(pool_places(corpus, seed=seed))


def pool_places(corpus: Corpus, *, seed: int) -> dict[str, int]:
    """The same texts with where each stands in the corpus, the first place that was drawn."""
    found: dict[str, int] = {}
    for place in permuted(len(corpus), range(min(len(corpus), 2 * POOL)), seed=seed, epoch=1).tolist():
        found.setdefault(corpus.texts[place], place)
    return dict(itertools.islice(found.items(), POOL))
