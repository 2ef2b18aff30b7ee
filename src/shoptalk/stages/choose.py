"""Choose: a short pilot of every candidate, measured; the best goes on."""

from collections.abc import Sequence

from shoptalk import decide
from shoptalk.evaluate import labelfree
from shoptalk.evaluate.menu import Measured
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.entry import Entry, train_to
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World


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
    world.report.chosen(survivors[0])
    return entries, survivors[0]


def _score(measured: Measured, baseline: Baseline) -> float:
    """The gain that pilots are ranked by: k-shot accuracy in points, without labels what the label-free rule expects.

    Of too few texts the rule says nothing, and all are alike: the candidate that was named first goes on.
    """
    before, after = baseline.measured.values(), measured.values()
    if baseline.bench.labelled is not None:
        name = f"{baseline.bench.labelled.shots}-shot accuracy"
        return after[name] - before[name]
    return after.get(labelfree.NAME, 0.0)
