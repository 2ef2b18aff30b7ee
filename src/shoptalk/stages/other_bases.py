"""Other bases (`--bases a,b`): measured as the first is, on the same bench; nothing of them is trained.

What adapting the first base brings is compared with the best of them all, so that no training is credited with what
another base gives for nothing.
"""

import time
from dataclasses import replace
from typing import Any

from shoptalk.artifact import create, key_of, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.evaluate.base_choice import MeasuredBase, Price, price_of
from shoptalk.evaluate.base_folder import load_base, save_base
from shoptalk.evaluate.bench import Bench, finite, measure
from shoptalk.evaluate.other_tasks import other_finals
from shoptalk.nn.bases import from_seed
from shoptalk.nn.digests import base_digest
from shoptalk.nn.product import CALLED, Embedder, Kind
from shoptalk.nn.scratch import size_of
from shoptalk.probes.once import Once
from shoptalk.readback import as_written, read_record
from shoptalk.records import Frozen
from shoptalk.stages.world import World, open_product
from shoptalk.tasks.judge import Final


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
        if size_of(ref) is not None or from_seed(ref):
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
    bench = replace(bench, general=None)  # what is not trained forgets nothing
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
        observed = Once(product) if isinstance(product, Embedder) else product  # what a look embeds, heads see again
        measured = measure(observed, bench)
        seconds, begun = time.perf_counter() - begun, time.perf_counter()
        final = judge.final(observed, beside=beside)
        finite(final.scores, judge)
        final_seconds, other_tasks = time.perf_counter() - begun, other_finals(bench, observed)
        timing = Timing(seconds=seconds, final_seconds=final_seconds, price=price_of(product, bench.sample))
        with create(folder, kind="other-base", config=settings, parents=parents, readings=measured.values()) as inside:
            save_base(inside, measured, final, other_tasks)
            write_text(inside / "timing.json", timing.model_dump_json())
    timing = read_record(folder / "timing.json", Timing)
    with as_written(folder):
        loaded, shipped, others = load_base(folder, bench)
    return MeasuredBase(ref, ref, loaded, shipped, timing.seconds, timing.final_seconds, timing.price, others)
