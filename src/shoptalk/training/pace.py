"""Whether training is still as fast as the plan assumed, and computed as it began: the machine may not be as it was.

The plan, and not the clock, governs a run, so it is not changed. But the user, who was promised a time, and that a run
that was stopped goes on bit for bit, is notified where that does not hold.
"""

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from shoptalk.quantities import span
from shoptalk.training.loop import Step

SLOWER = 1.5
"""A slowdown by this factor is reported. Less is not: steps differ by the lengths of their texts, and the forecast is
their mean."""
STEPS, SECONDS = 8, 20.0
"""The median of the last steps is judged, once there are this many and they took this many seconds together."""


def slowdown_notice(seconds: float, expected: float, *, left: int, timed: bool = True) -> str | None:
    """One line for the user where steps take much longer than they should; None where they do not.

    Args:
        seconds: of a step, lately.
        expected: of a step.
        left: steps that are still to come.
        timed: whether `expected` was timed before the training; else it is what its first steps took.
    """
    ratio = seconds / expected
    if ratio < SLOWER or left == 0:
        return None
    since = "when it was timed" if timed else "when this training began"
    return (
        f"this machine has become {ratio:.1f} times slower than {since}: about {span(left * seconds)} of training are "
        f"left, where {span(left * expected)} were forecast. The plan stays as it is. Other programs that compute slow "
        "training down."
    )


def change_notice(step: Step) -> str | None:
    """One line for the user where this step is computed otherwise than those before it; None where it is not."""
    if step.computed_before in {"", step.computed}:
        return None
    return (
        f"from step {step.number} on it is computed by {step.computed}, and was by {step.computed_before} before. "
        "They round differently and draw different dropout masks, if the model has any: the weights will be no worse, "
        "but not, bit for bit, those of a run without a stop. log.jsonl records the step. To have those, stop before "
        f"the next snapshot and {_way_back(step)}."
    )


def _way_back(step: Step) -> str:
    """What makes the same command compute as before this step."""
    if step.computed_before.startswith("compiled"):
        return (
            "give the command again on a CPU, where there is a C++ compiler, without SHOPTALK_NATIVE=0 or train.shard"
        )
    if step.computed_before.endswith("cpu"):
        return "give the command again on a CPU, with SHOPTALK_NATIVE=0"
    return f"give the command again with {step.computed_before}"


def watched(
    steps: Iterable[Step], *, expected: float | None, total: int, name: str, say: Callable[[str], None]
) -> Iterator[Step]:
    """Pass the steps through; where they have become much slower than `expected` seconds, or are computed otherwise
    than those before, say so.

    It is said again only when the steps have become `SLOWER` times slower once more, or after they have been as fast as
    expected in between.

    Args:
        steps: of one training; the first that this process takes does not count (it also pays for warming up).
        expected: seconds of a step by the plan; without, those of the first steps that are judged.
        total: the number of the last step.
        name: of the training, for the line.
        say: where the line goes.
    """
    timed = expected is not None
    recent: deque[float] = deque(maxlen=STEPS)
    reported = 1.0
    for number, step in enumerate(steps):
        if changed := change_notice(step):
            say(f"{name}: {changed}")
        yield step
        if number == 0:
            continue
        recent.append(step.seconds)
        if len(recent) < STEPS or sum(recent) < SECONDS:
            continue
        usual = statistics.median_low(recent)
        if expected is None:
            expected = usual
        notice = slowdown_notice(usual, expected, left=total - step.number, timed=timed)
        if notice is None:
            reported = 1.0
        elif usual / expected >= SLOWER * reported:
            reported = usual / expected
            say(f"{name}: {notice}")
