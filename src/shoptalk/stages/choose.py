"""Choose: a short pilot of every candidate, measured; the best goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

from shoptalk import decide
from shoptalk.evaluate import labelfree
from shoptalk.evaluate.bench import Measured
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.elimination import eliminating
from shoptalk.stages.entry import Entry, train_to
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World


@dataclass(frozen=True)
class Chosen:
    """What the pilots have shown."""

    entries: list[Entry]
    """Of every pilot that could be measured."""
    ranking: tuple[str, ...]
    """The candidate that goes on, then those that would in its place, best first."""
    eliminated: dict[str, str]
    """Candidates that diverged or cannot run here, and why."""


def choose_stage(world: World, prepared: Prepared, baseline: Baseline) -> Chosen:
    """Successive halving over the candidates' pilots. A candidate that fails is eliminated, and the run goes on."""
    names = list(prepared.plan.candidates)
    if len(names) == 1:
        return Chosen([], tuple(names), {})
    world.report.say(f"choose: a short pilot of {', '.join(names)}")
    entries: list[Entry] = []
    eliminated: dict[str, str] = {}
    for name in names:
        with eliminating(eliminated, name):
            pilot = prepared.plan.candidates[name].pilot
            entries.append(train_to(world, prepared, baseline, name, pilot, earlier=[]))
        if name in eliminated:
            world.report.say(f"choose: {name} is out, {eliminated[name]}")
    scores = {entry.candidate: _score(entry.measured, baseline) for entry in entries}
    if not scores:
        return Chosen([], (), eliminated)
    survivors: Sequence[str] = list(scores)
    for keep in prepared.plan.keep:
        survivors = decide.halve({name: scores[name] for name in survivors}, keep)
    by_score = sorted(scores.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{name} {score:+.2f}" for name, score in by_score)
    world.report.say(f"choose: {survivors[0]} goes on (against the base: {listed})")
    world.report.chosen(survivors[0])
    ranking = (survivors[0], *(name for name, _ in by_score if name != survivors[0]))
    return Chosen(entries, ranking, eliminated)


def _score(measured: Measured, baseline: Baseline) -> float:
    """The gain that pilots are ranked by: in what looks measure, without a judge what the label-free rule expects.

    Of too few texts the rule says nothing, and all are alike: the candidate that was named first goes on.
    """
    before, after = baseline.measured.values(), measured.values()
    judge = baseline.bench.judge
    if judge is None:
        return after.get(labelfree.KEY, 0.0)
    return (-1 if judge.measure.lower_is_better else 1) * (after[judge.key] - before[judge.key])
