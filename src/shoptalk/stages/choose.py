"""Choose: a short pilot of every candidate, measured; the best goes on, and who is clearly behind is soon out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from shoptalk import decide
from shoptalk.evaluate import labelfree
from shoptalk.evaluate.bench import Measured, beyond
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.decide import guarded
from shoptalk.stages.entry import Entry, train_to
from shoptalk.stages.entry import scores as looked
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World
from shoptalk.training.elimination import eliminating


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
    plans, names = prepared.plan.candidates, list(prepared.plan.candidates)
    if len(names) == 1:
        return Chosen([], tuple(names), {})
    world.report.say(f"choose: a short pilot of {', '.join(names)}")
    eliminated: dict[str, str] = {}
    heats = _trained(world, prepared, baseline, {name: plans[name].heat for name in names}, {}, eliminated)
    left = _ahead(world, baseline, heats) if heats else [name for name in names if name not in eliminated]
    last = dict(heats)
    if not heats or len(left) > 1:  # who is alone need not be compared: its pilot's end is one of its checkpoints
        last |= _trained(world, prepared, baseline, {name: plans[name].pilot for name in left}, heats, eliminated)
    scores = {name: _score(entry.measured, baseline) for name, entry in last.items() if name not in eliminated}
    if not scores:
        return Chosen([], (), eliminated)
    compared = [name for name in left if name in scores] or list(scores)
    survivors: Sequence[str] = compared
    order, why, figures = scores, "against the base", {name: f"{score:+.2f}" for name, score in scores.items()}
    if any(one.general is not None for one in prepared.candidates.values()):  # replayed, to stay inside the guards
        outside = guarded(baseline, [last[name] for name in compared])
        inside = [name for name in compared if last[name].name not in outside]
        survivors = inside or compared
        if not inside:
            limits = {name: beyond(baseline.bench.guards, baseline.measured, last[name].measured) for name in scores}
            order = {name: -over for name, over in limits.items()}
            why = "all are outside their guards, by so many limits, or points where a guard allows nothing"
            figures = {name: f"{over:.1f}" if isfinite(over) else "collapsed" for name, over in limits.items()}
    ranking = tuple(sorted(scores, key=lambda name: (name not in survivors, -order[name])))
    for keep in prepared.plan.keep:
        survivors = decide.halve({name: order[name] for name in survivors}, keep)
    winner = survivors[0]
    world.report.say(f"choose: {winner} goes on ({why}: {', '.join(f'{name} {figures[name]}' for name in ranking)})")
    world.report.chosen(winner)
    entries = {entry.name: entry for entry in (*heats.values(), *last.values())}
    # The winner's come last, as those that it is still to be trained to do.
    return Chosen(sorted(entries.values(), key=lambda one: one.candidate == winner), ranking, eliminated)


def _trained(
    world: World,
    prepared: Prepared,
    baseline: Baseline,
    steps: Mapping[str, int | None],
    earlier: Mapping[str, Entry],
    eliminated: dict[str, str],
) -> dict[str, Entry]:
    """The entry of each candidate at its step, where it has one; those that fail go into `eliminated`."""
    entries = {}
    for name, step in steps.items():
        if step is None:
            continue
        with eliminating(eliminated, name):
            before = [earlier[name]] if name in earlier else []
            entries[name] = train_to(world, prepared, baseline, name, step, earlier=before)
        if name in eliminated:
            world.report.say(f"choose: {name} is out, {eliminated[name]}")
    return entries


def _ahead(world: World, baseline: Baseline, heats: Mapping[str, Entry]) -> list[str]:
    """The candidates that are not clearly behind after their heats."""
    judge = baseline.bench.judge
    if judge is None or len(heats) < 2:
        return list(heats)
    behind = decide.behind(looked(baseline, judge, list(heats.values())), seed=world.config.seed)
    for sentence in behind.values():
        world.report.say(f"choose: {sentence}. Its pilot ends here.")
    return [name for name, entry in heats.items() if entry.name not in behind]


def _score(measured: Measured, baseline: Baseline) -> float:
    """The gain that pilots are ranked by: in what looks measure, without a judge what the label-free rule expects.

    Of too few texts the rule says nothing, and all are alike: the candidate that was named first goes on.
    """
    before, after, judge = baseline.measured.values(), measured.values(), baseline.bench.judge
    if judge is None:
        return after.get(labelfree.KEY, 0.0)
    return (-1 if judge.measure.lower_is_better else 1) * (after[judge.key] - before[judge.key])
