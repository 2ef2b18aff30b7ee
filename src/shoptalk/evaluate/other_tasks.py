"""What training changes at the tasks beside the one that must gain: the base and the challenger as they would be
shipped, with the interval of the difference.

Guards go by looks, which read little. Here each model is read once more, as for a verdict, so that people may know
whether a change is one.
"""

from collections.abc import Iterable
from typing import Any

from shoptalk import decide
from shoptalk.evaluate.bench import Bench, finite, shipped_over
from shoptalk.nn.product import Product
from shoptalk.tasks.judge import Judge


def other_changes(bench: Bench, models: Iterable[Product], *, seed: int) -> list[dict[str, Any]]:
    """A row of `verdict.json` for each other task whose draws teach nothing. The others, which fit heads on every draw,
    would take as long as the verdict itself.

    Args:
        bench: the run's judges.
        models: the one that training is compared with, and the challenger; read only where there is such a task.
        seed: of the interval's resamples.
    """
    judges = [one for one in bench.judges.values() if one is not bench.judge and len(one.tested) == 1]
    both = tuple(models) if judges else ()
    return [_change(judge, *both, seed=seed) for judge in judges]


def _change(judge: Judge, base_model: Product, challenger: Product, *, seed: int) -> dict[str, Any]:
    before, after = judge.final(base_model), judge.final(challenger)
    finite(after.scores, judge)
    change, measure = decide.estimate(shipped_over(before, "adapted", after, judge), seed=seed), judge.measure
    base, adapted, gain = change.base, float(change.adapted[0]), float(change.gain[0])
    low, high = float(change.low[0]), float(change.high[0])
    finding = measure.finding.format(adapted=measure.shown(adapted), base=measure.shown(base))
    difference = f"{measure.change(gain)} {measure.difference}, {measure.change(low)} to {measure.change(high)}"
    return {
        "task": judge.key,
        "metric": measure.name,
        "base": base,
        "adapted": adapted,
        "gain": gain,
        "interval": [low, high],
        "n_examples": change.n_examples,
        "sentence": f"Beside it, trained, {measure.who} {finding} ({difference}).",
    }
