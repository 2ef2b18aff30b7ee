"""Training of picture encoders for the benchmarks, by the repository's own loop, and what the encoders are worth."""

import copy
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Row, say
from shoptalk.config import load
from shoptalk.image.pixels import Pixels
from shoptalk.nn.heads.logistic import fit
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.product import Embedder
from shoptalk.objectives import make_spec
from shoptalk.probes.collapse import collapsed, collapsed_terms
from shoptalk.probes.knn import knn_predict
from shoptalk.probes.rank import rank_of
from shoptalk.stages.world import best_device
from shoptalk.text.corpus import Corpus
from shoptalk.training.advance import Training
from shoptalk.training.loop import loop_config, observing, train

BASES = {
    "simclr": "scratch:resnet-mini", "moco": "scratch:resnet-mini", "byol": "scratch:resnet-mini",
    "dino": "scratch:resnet-mini", "mae": "scratch:vit-nano",
}  # fmt: skip
NEIGHBOURS = 20
SEED = 0
_TIMED = 8
"""Steps from which the length of a training is forecast; the first three are warm-up."""
_WATCHED = 512
"""Pictures whose vectors say whether they have collapsed."""


@dataclass(frozen=True)
class Options:
    """What every part is given."""

    minutes: float
    quick: bool
    repeats: int
    threads: int | None
    precision: Precision
    base: str | None
    settings: dict[str, Any]
    objectives: tuple[str, ...] = ()
    """Of the parts that compare some; each part's own without it."""

    def base_of(self, objective: str) -> str:
        """The base that the objective trains."""
        return self.base or BASES[objective]


def row(what: str, value: float, unit: str, **more: Any) -> Row:
    """A row of the table."""
    return Row("pictures", what, value, unit, **more)


@dataclass(frozen=True)
class Trained:
    """How a training went."""

    steps: int
    batch: int
    seconds: float
    input_seconds: float
    """Of them, what making batches took."""
    alarm: int | None
    """The first step at which the collapse alarm went off, by RankMe or by a term of the loss; None where none did."""
    least_rank: float
    """The lowest RankMe that was seen, in per cent of the most it could be."""
    loss: float

    @property
    def pictures_per_second(self) -> float:
        """Pictures, not views."""
        return self.steps * self.batch / self.seconds

    @property
    def input_share(self) -> float:
        """Of the time of a step, in per cent."""
        return 100 * self.input_seconds / self.seconds


class Clock:
    """A collate that counts the seconds that it takes."""

    def __init__(self, collate: Callable[..., Any]) -> None:
        self.collate, self.seconds = collate, 0.0

    def __call__(self, *words: Any) -> Any:
        begun = time.perf_counter()
        batch = self.collate(*words)
        self.seconds += time.perf_counter() - begun
        return batch


def train_for(
    product: Any,
    objective: str,
    settings: Mapping[str, Any],
    corpus: Corpus,
    inputs: Any,
    *,
    precision: Precision,
    minutes: float | None = None,
    steps: int | None = None,
    watched: np.ndarray | None = None,
    every: int = 100,
) -> Trained:
    """Train `product` in place, for as many steps as fit into the minutes by a forecast, or for `steps`.

    Args:
        product: what is trained.
        objective: its name in the registry.
        settings: of the objective, by name.
        corpus: of the pictures, with their captions where the objective reads them.
        inputs: what the product made of the corpus.
        precision: of the layers.
        minutes: of the training itself, without forecast and looks.
        steps: instead of minutes.
        watched: pictures in memory, of which a look every `every` steps says whether their vectors have collapsed.
        every: see there.
    """
    spec = make_spec(objective, dict(settings))
    product.network.to(best_device())
    targets = spec.prepare(corpus, product)

    def training(model: Any, count: int, folder: str) -> Training:
        return Training.build(
            spec,
            corpus=corpus,
            inputs=inputs,
            product=model,
            targets=targets,
            config=loop_config(spec, load(), name=objective, steps=count, precision=precision),
            folder=Path(folder),
            snapshot_seconds=float("inf"),
        )

    with tempfile.TemporaryDirectory() as folder:
        if steps is None:
            trial = training(copy.deepcopy(product), _TIMED, folder)
            pace = [step.seconds for step in train(trial.objective, trial.data, trial.collate, trial.config)]
            steps = max(2, round(60 * (minutes or 0) / median(pace[3:])))
            say(f"{objective}: {median(pace[3:]):.3f} s a step, so {steps} steps of {spec.batch} pictures")
        real = training(product, steps, folder)
        clock = Clock(real.collate)
        seconds, ranks, alarm, loss = 0.0, [], None, float("nan")
        for step in train(real.objective, real.data, clock, real.config):
            seconds, loss = seconds + step.seconds, step.loss
            if collapsed_terms(step.terms) and alarm is None:
                alarm = step.number
            if watched is not None and (step.number % every == 0 or step.last):
                with observing(real.objective) as seen:
                    vectors = seen.embed_pixels(watched[:_WATCHED], precision="float32")
                reading = rank_of(vectors)
                ranks.append(100 * reading.value / min(vectors.shape))
                if collapsed(reading) and alarm is None:
                    alarm = step.number
            if step.number % 200 == 0:
                told = f", RankMe {ranks[-1]:.0f} %" if ranks else ""
                say(f"{objective}: step {step.number} of {steps}, loss {loss:.3f}{told}, {seconds / 60:.1f} min")
    least = min(ranks, default=float("nan"))
    return Trained(steps, spec.batch, seconds, clock.seconds, alarm, least, loss)


# What an encoder is worth ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures in memory, to learn a head from and to test it on."""

    known: Pixels
    known_classes: Int[np.ndarray, " N"]
    tests: Pixels
    test_classes: Int[np.ndarray, " M"]


def accuracies(product: Embedder, pictures: Pictures, *, probe: bool) -> tuple[float, float | None]:
    """Per cent of the test pictures that 20 nearest neighbours by cosine name, and that a linear head does: logistic
    regression with scikit-learn's C = 20 on unit vectors, where `probe` asks for it.
    """
    bank, queries = (_vectors(product, part) for part in (pictures.known, pictures.tests))
    predicted = knn_predict(queries, bank, pictures.known_classes, k=NEIGHBOURS)
    knn = 100 * float((predicted == pictures.test_classes).mean())
    if not probe:
        return knn, None
    head = fit(bank, pictures.known_classes)
    return knn, 100 * float((head.predict(queries) == pictures.test_classes).mean())


def _vectors(product: Any, pixels: Pixels) -> Float[np.ndarray, "N D"]:
    vectors: np.ndarray = product.embed_pixels(pixels.take(np.arange(len(pixels))))
    return vectors


# The backbone ------------------------------------------------------------------------------------------------------


def backbone_rate(network: Any, *, batch: int, precision: Precision) -> tuple[float, float, float]:
    """GFLOP/s of a forward and a backward pass of a batch, its seconds, and the GFLOP of a picture's forward pass.

    Floating-point operations are those of convolutions and matmuls, two a multiply-add, as torch counts them.
    """
    network = copy.deepcopy(network).to(best_device()).train()
    pixels = torch.randn(batch, 3, network.size, network.size, device=best_device())

    def forward() -> torch.Tensor:
        with autocast(precision, best_device()):
            return network(pixels).square().mean()

    with FlopCounterMode(display=False) as forwards:
        forward()
    with FlopCounterMode(display=False) as both:
        forward().backward()
    times = []
    for _ in range(7):
        network.zero_grad(set_to_none=True)
        begun = time.perf_counter()
        forward().backward()
        if best_device().type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    seconds = median(times[2:])
    return both.get_total_flops() / seconds / 1e9, seconds, forwards.get_total_flops() / batch / 1e9
