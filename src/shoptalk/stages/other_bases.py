"""Other bases (`--bases a,b`): measured as the first is, on the same bench; nothing of them is trained.

What adapting the first base brings is compared with the best of them all, so that no training is credited with what
another base gives for nothing.
"""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.evaluate.bench import Bench, Measured, finite, load_measured, measure, refuse_other, save_measured
from shoptalk.nn.digests import base_digest
from shoptalk.nn.product import CALLED, Embedder, Kind, Product
from shoptalk.nn.scratch import size_of
from shoptalk.readback import as_written, read_record
from shoptalk.records import Frozen
from shoptalk.stages.world import World, open_product
from shoptalk.tasks.judge import Final, load_final, refuse_other_final

TIMED, WARMED = 32, 4
"""Messages that are timed one by one, and those before them that are not counted."""


class Price(Frozen):
    """What it takes to use a model, whatever it brings."""

    ms_per_message: float | None
    """Median time of embedding one message alone, on this machine; None of what embeds nothing."""
    megabytes: float
    """Of the weights as they are shipped, in float32; a million bytes each."""
    threads: int
    """That were used for it."""


@dataclass(frozen=True)
class MeasuredBase:
    """A base as it is, measured on a run's bench."""

    name: str
    """The reference that opens it."""
    artifact: Artifact
    measured: Measured
    final: Final | None
    """As it would be shipped, where there is a judge."""
    seconds: float
    """What measuring it took."""
    final_seconds: float
    price: Price


class Timing(Frozen):
    """`timing.json` of another base."""

    seconds: float
    final_seconds: float
    price: Price


def check_bases(config: Config) -> None:
    """Refuse other bases that cannot be compared, before anything is read or measured.

    Raises:
        ConfigError: one has random weights, or is the first under another name.
        BaseModelError: one cannot be found.
    """
    if not config.other_bases:
        return
    digests = {} if size_of(config.base) else {base_digest(config.base): config.base}
    for ref in config.other_bases:
        if size_of(ref) is not None:
            raise ConfigError(
                f"bases: {ref!r} is random weights, which are worth nothing before they are trained, and only the "
                "first base is. Leave it out, or put it first."
            )
        weights = base_digest(ref)
        if weights in digests:
            raise ConfigError(f"bases: {ref!r} and {digests[weights]!r} have the same weights. Leave one of them out.")
        digests[weights] = ref


def measure_others(world: World, bench: Bench, kind: Kind, *, beside: Final | None) -> dict[str, MeasuredBase]:
    """Each other base's measurements, by its name; leaves `RUN/bases/<number>`.

    Without a judge there is nothing to choose a base by, and a line says that they are left out.

    Raises:
        BaseModelError: one is a product of another kind than the first.
    """
    refs = world.config.other_bases
    if refs and bench.judge is None:
        world.report.say(f"baseline: nothing to compare bases by without labels; {', '.join(refs)} left out")
        return {}
    return {ref: _measured(world, bench, kind, ref, number, beside) for number, ref in enumerate(refs, start=2)}


def _measured(world: World, bench: Bench, kind: Kind, ref: str, number: int, beside: Final | None) -> MeasuredBase:
    folder, judge = world.run / "bases" / str(number), bench.judge
    first = open_artifact(world.run / "baseline")
    assert first is not None and judge is not None
    settings: dict[str, Any] = {"base": ref}
    parents = {"base": base_digest(ref), "baseline": first.content}
    key = key_of(kind="other-base", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        product = open_product(world.config, ref)
        if product.kind != kind:
            raise BaseModelError(
                f"bases: {ref!r} is one of the {CALLED[product.kind]}, and {world.base_name!r} one of the "
                f"{CALLED[kind]}. Give bases of one kind."
            )
        world.report.say(f"baseline: measuring {ref} as it is")
        begun = time.perf_counter()
        measured = measure(product, bench)
        seconds, begun = time.perf_counter() - begun, time.perf_counter()
        final = judge.final(product, beside=beside)
        finite(final.scores, judge)
        timing = Timing(
            seconds=seconds, final_seconds=time.perf_counter() - begun, price=price_of(product, bench.sample)
        )
        with create(folder, kind="other-base", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            final.save(inside / "final")
            write_text(inside / "timing.json", timing.model_dump_json())
    artifact = open_artifact(folder)
    assert artifact is not None
    timing = read_record(folder / "timing.json", Timing)
    with as_written(folder):
        measured, final = load_measured(folder), load_final(folder / "final")
        refuse_other(measured, bench)
        refuse_other_final(final, judge)
    return MeasuredBase(ref, artifact, measured, final, timing.seconds, timing.final_seconds, timing.price)


def price_of(product: Product, messages: tuple[Any, ...]) -> Price:
    """Time messages one by one, as an assistant gets them, and weigh the weights."""
    weights = sum(parameter.numel() for parameter in product.network.parameters())
    times = []
    if isinstance(product, Embedder):
        for message in messages[: WARMED + TIMED]:
            begun = time.perf_counter()
            product.embed([message])
            times.append(1000 * (time.perf_counter() - begun))
    # Of too few messages, all are counted.
    counted = times[WARMED:] or times
    return Price(
        ms_per_message=round(statistics.median(counted), 2) if counted else None,
        megabytes=round(4 * weights / 1e6, 3),
        threads=torch.get_num_threads(),
    )
