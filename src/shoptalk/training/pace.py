"""Whether training is still as fast as the plan assumed: other work may have begun on the machine since.

The plan, and not the clock, governs a run, so it is not changed. But the user, who was promised a time, is notified.
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


def watched(
    steps: Iterable[Step], *, expected: float | None, total: int, name: str, say: Callable[[str], None]
) -> Iterator[Step]:
    """Pass the steps through; where they have become much slower than `expected` seconds, say so.

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
