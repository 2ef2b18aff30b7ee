"""Whether training still goes as fast as the plan was told: other work may have begun on the machine since.

The plan, and not the clock, governs a run: it is not changed. But people who were promised six minutes are told.
"""

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from shoptalk.quantities import span
from shoptalk.training.loop import Step

SLOWER = 1.5
"""So many times the forecast is told: steps differ by their texts' lengths, and forecasts of them are means."""
STEPS, SECONDS = 8, 20.0
"""What is judged: the median of the last steps, so many and so long together."""


def slowdown_notice(seconds: float, expected: float, *, left: int, timed: bool = True) -> str | None:
    """One line where steps take much longer than they should; None where they do not.

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
        f"left where {span(left * expected)} were forecast. The plan stays; other programs that compute slow it down."
    )


def watched(
    steps: Iterable[Step], *, expected: float | None, total: int, name: str, say: Callable[[str], None]
) -> Iterator[Step]:
    """Pass the steps through; where they have become much slower than `expected` seconds, say so.

    It is said again only when it has become so much slower once more, or when it had been as fast as expected between.

    Args:
        steps: of one training; the first that this process takes does not count (it also pays for warming up).
        expected: seconds of a step by the plan; without, those of the first steps that are judged.
        total: the number of the last step.
        name: of the training, for the line.
        say: where the line goes.
    """
    timed = expected is not None
    recent: deque[float] = deque(maxlen=STEPS)
    said = 1.0
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
            said = 1.0
        elif usual / expected >= SLOWER * said:
            said = usual / expected
            say(f"{name}: {notice}")
