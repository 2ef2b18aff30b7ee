"""Where the curves of gains begin: at the base that was trained, which may be far below the one that gains are over."""

from collections.abc import Sequence

from shoptalk import decide
from shoptalk.evaluate.base_choice import MeasuredBase, looks_over_best
from shoptalk.report.facts_json import CurveStart, GainCurve
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.decide import all_bases
from shoptalk.stages.entry import Entry
from shoptalk.stages.world import World


def from_start(
    curves: tuple[GainCurve, ...], world: World, baseline: Baseline, entries: Sequence[Entry], best: MeasuredBase
) -> tuple[GainCurve, ...]:
    """The curves, each with where it begins if `best`, which gains are over, is not the base that was trained."""
    bases, judge = all_bases(world, baseline), baseline.bench.judge
    if judge is None or not entries or best.name == world.base_name:
        return curves
    looks = looks_over_best(best, bases, judge, {entry.name: entry.measured for entry in entries})
    estimate = decide.estimate(looks, seed=world.config.seed)  # the verdict's, so that the intervals are alike
    place = estimate.entries.index(world.base_name)
    start = CurveStart(
        gain=float(estimate.gain[place]), low=float(estimate.low[place]), high=float(estimate.high[place])
    )
    return tuple(curve.model_copy(update={"start": start}) for curve in curves)
