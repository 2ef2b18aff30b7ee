"""What a training step on pictures is spent on: `benchmarks/pictures.py` runs it as the part `profile`.

torch.profiler's events on the CPU, each with the time that no event inside it took, are put into groups:

- by the part of the step they fall into: making batches, the teacher (its passes, its average and queues), the
  optimizer (clipping included), and the loss, which is what the objective computes outside its networks;
- inside the networks by operator: convolutions and matmuls (attention, too), normalisation and activations, and
  everything else (sums, copies to other types and layouts, new memory, Python).

A backward operator belongs where the forward operator stands whose number it has. The groups add up to the whole step.
"outside operators" is NumPy and Python between them. The profiler itself takes some time for every operator, so that
small batches look worse than they are.
"""

import functools
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import picture_sets
from benchmarks.emoji import BASE, VENDORS
from benchmarks.picture_training import BASES, SEED, Options, row
from benchmarks.timing import Row
from shoptalk.config import load
from shoptalk.nn.bases import open_base
from shoptalk.nn.teacher import Teacher
from shoptalk.objectives import make_spec
from shoptalk.text.corpus import Corpus
from shoptalk.training.advance import Training
from shoptalk.training.loop import LoopConfig, loop_config, train

OBJECTIVES = (*BASES, "clip")
BATCHES, MATMULS, NORMS = "making batches", "convolutions and matmuls", "normalisation and activations"
LOSS, OPTIMIZER, TEACHER, REST = "the loss", "the optimizer", "the teacher and its queue", "everything else"
GROUPS = (BATCHES, MATMULS, NORMS, LOSS, OPTIMIZER, TEACHER, REST)
_STEP, _FORWARD, _NETWORK = "a step", "the forward pass", "a network"
_RANGES = {_STEP, _FORWARD, _NETWORK, BATCHES, TEACHER}
_OWN_GROUP = {BATCHES: BATCHES, TEACHER: TEACHER, _FORWARD: LOSS}
"""Ranges all of whose events are of one group, whatever the operator."""
_OPERATORS = {
    MATMULS: re.compile(
        r"conv(olution|\dd)|scaled_dot_product|::(addmm|mm|bmm|baddbmm|matmul|linear)$|(^|\W)(add|b|badd)?mmbackward",
        re.I,
    ),
    NORMS: re.compile(r"(batch|layer)_?norm|relu|gelu|threshold_backward|::clamp_min$", re.I),
}
_CALLED_BY_NAME = ("hidden", "encode_pictures", "encode_texts", "project_texts")
"""Passes through a network that objectives call otherwise than as the module itself."""
WARM_UP, PROFILED = 3, 6
_EACH, _CONCEPTS = 200, 200
"""Pictures of each class of CIFAR-10, and emoji: a few batches are all that is needed."""


@dataclass(frozen=True)
class Profile:
    """Where the time of some steps went."""

    seconds: float
    """A step, the median, while the profiler counts."""
    plain: float
    """A step without it."""
    shares: dict[str, Counter[str]]
    """Of each operator of each group, in per cent of all steps."""


def profiles(options: Options) -> Iterator[Row]:
    """Of each objective, what its steps are spent on."""
    warm_up, profiled = (1, 2) if options.quick else (WARM_UP, PROFILED)
    for name in options.objectives or OBJECTIVES:
        spec: Any = make_spec(name, options.settings | ({"batch": 16} if options.quick else {}))
        ref = BASE if name == "clip" else options.base_of(name)
        config = loop_config(spec, load(), name=name, steps=warm_up + profiled, precision=options.precision)
        measured = profile_of(spec, open_base(ref, seed=SEED), pictures_for(name, options), config, warm_up=warm_up)
        setting = f"{ref}, batch {spec.batch}, {options.precision}"
        yield from profile_rows(name, measured, note=f"{setting}; {profiled} steps after {warm_up}")


def profile_rows(name: str, measured: Profile, *, note: str) -> Iterator[Row]:
    """The time of a step, and the share of each group with its largest operators."""
    note += f"; {1000 * measured.plain:,.0f} ms without the profiler"
    yield row(f"profile, {name}: a step", 1000 * measured.seconds, "ms", note=note)
    for group in GROUPS:
        operators = measured.shares[group]
        yield row(
            f"profile, {name}: {group}, share of a step",
            operators.total(),
            "%",
            note=", ".join(
                f"{operator} {share:.1f} %" for operator, share in operators.most_common(3) if share >= 0.05
            ),
        )


def pictures_for(name: str, options: Options) -> Corpus:
    """A few of the pictures that the objective's own part trains on."""
    if name == "clip":
        seen = [concept for concept in picture_sets.emoji(VENDORS) if concept.split == "train"]
        return picture_sets.captioned(seen[: 40 if options.quick else _CONCEPTS], VENDORS)
    known = picture_sets.labelled("images/cifar10_jpeg/train_20k.zip")
    return picture_sets.corpus_of(picture_sets.first_of_each(known, 10 if options.quick else _EACH).pictures)


def profile_of(spec: Any, product: Any, corpus: Corpus, config: LoopConfig, *, warm_up: int) -> Profile:
    """Train on the CPU for the steps of the config, the first of them without the profiler."""
    with tempfile.TemporaryDirectory() as folder:
        training = Training.build(
            spec,
            corpus=corpus,
            inputs=product.inputs(corpus),
            product=product,
            targets=spec.prepare(corpus, product),
            config=config,
            folder=Path(folder),
            snapshot_seconds=float("inf"),
        )
        mark(training.objective)
        steps = train(training.objective, training.data, ranged(BATCHES, training.collate), config)
        plain = [next(steps).seconds for _ in range(warm_up)]
        seconds = []
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(config.steps - warm_up):
                with record_function(_STEP):
                    seconds.append(next(steps).seconds)
    times = grouped(profiler.events() or [])
    whole = sum(times.values())
    shares: dict[str, Counter[str]] = {group: Counter() for group in GROUPS}
    for (group, operator), spent in times.items():
        shares[group][operator] += 100 * spent / whole
    return Profile(median(seconds), median(plain[-2:]), shares)


# The parts of a step -----------------------------------------------------------------------------------------------


def ranged(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose calls the profiler sees under this name."""

    @functools.wraps(function)
    def call(*words: Any, **named: Any) -> Any:
        with record_function(what):
            return function(*words, **named)

    return call


def mark(objective: Any) -> None:
    """Let the profiler see when the objective, its networks, and what its teacher needs are at work."""
    network: nn.Module = objective.product.network
    for part in (network, *objective.children()):
        part.forward = ranged(TEACHER if isinstance(part, Teacher) else _NETWORK, part.forward)
    for name in _CALLED_BY_NAME:
        if name in dir(network):
            setattr(network, name, ranged(_NETWORK, getattr(network, name)))
    objective.forward = ranged(_FORWARD, objective.forward)
    objective.after_step = ranged(TEACHER, objective.after_step)


# Events ------------------------------------------------------------------------------------------------------------


def grouped(events: Iterable[Any]) -> Counter[tuple[str, str]]:
    """Microseconds by group and operator, of the events within steps."""
    events = sorted(events, key=lambda event: event.time_range.start)
    forwards = {}  # the last event with a number is the one that a backward event of that number belongs to
    for event in events:
        if event.sequence_nr >= 0 and not _is_backward(_path(event)) and _range_of(_path(event)) is not None:
            forwards[event.sequence_nr] = _range_of(_path(event))
    times: Counter[tuple[str, str]] = Counter()
    for event in events:
        path = _path(event)
        if path[-1].name == _STEP:
            operator = "outside operators" if event.name in _RANGES else event.name.removeprefix("aten::")
            times[group_of(path, forwards), operator] += event.self_cpu_time_total
    return times


def group_of(path: list[Any], forwards: dict[int, str | None]) -> str:
    """The group of the first event of the path, of which each is inside the next."""
    inside = _range_of(path)
    if _is_backward(path):
        inside = next((forwards[event.sequence_nr] for event in path if event.sequence_nr in forwards), _NETWORK)
    if inside in _OWN_GROUP:
        return _OWN_GROUP[inside]
    if inside == _STEP:  # neither forward nor backward: gradients are clipped, and weights updated
        return REST if path[0].name == _STEP else OPTIMIZER
    operators = (group for event in path for group, names in _OPERATORS.items() if names.search(event.name))
    return next(operators, REST)


def _path(event: Any) -> list[Any]:
    """The event, that which it is inside of, and so on."""
    path = [event]
    while path[-1].cpu_parent is not None:
        path.append(path[-1].cpu_parent)
    return path


def _range_of(path: list[Any]) -> str | None:
    """The innermost range; the teacher's networks are the teacher's."""
    names = [event.name for event in path if event.name in _RANGES]
    return TEACHER if TEACHER in names else next(iter(names), None)


def _is_backward(path: list[Any]) -> bool:
    return any(event.name.startswith("autograd::engine") for event in path)
