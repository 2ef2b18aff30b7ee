"""The interval of a gain as it narrows, answer by answer."""

from collections.abc import Sequence
from itertools import pairwise

from shoptalk.report.charts import NARROW, Axis, Number, line, make_axis, path, picture, text_width, write
from shoptalk.report.markup import Html, disclosure, el, join, table
from shoptalk.report.question_json import StandingShown
from shoptalk.report.wording import interval, short, signed

_BESIDE = 446
"""Width where the picture stands beside the question."""
_HEIGHT = 250
_MOST_ROWS = 60


def narrowing(path_: Sequence[StandingShown], smallest_gain: float, what: str = "messages") -> Html | None:
    """A picture of the intervals after each answer, and their numbers; None before the first answer. `what` is asked
    about.
    """
    steps = sorted(path_, key=lambda one: one.asked)
    if not steps or steps[-1].asked == 0:
        return None
    drawn = (
        el("div", _picture(steps, smallest_gain, _BESIDE, "wide"), class_="wide"),
        el("div", _picture(steps, smallest_gain, NARROW, "narrow"), class_="narrow"),
    )
    caption = el(
        "figcaption",
        f"The band is the 95 % interval of the gain on future {what}, the broken lines that on these {what} alone. "
        "It is settled once the band lies on one side of what is worth having.",
        " Where it widens, questions that were asked twice or skipped have made it less sure."
        if _widens(steps)
        else None,
    )
    return join(el("figure", *drawn, caption), disclosure("The numbers of this picture", _numbers(steps)))


def _widens(steps: Sequence[StandingShown]) -> bool:
    """Whether the interval was once narrower than later."""
    return any(after.low < before.low or after.high > before.high for before, after in pairwise(steps))


def _picture(steps: Sequence[StandingShown], smallest_gain: float, width: Number, suffix: str) -> Html:
    now = steps[-1]
    values = [value for one in steps for value in (one.low, one.high, one.bank_low, one.bank_high)]
    x_end = max(10, now.asked + (0 if now.settled else min(now.more or 0, 3 * now.asked + 20)))
    right = width - text_width(signed(-10.0)) - 12
    x = make_axis(0, x_end, 44, right, most=5 if width > 400 else 4)
    y = make_axis(min(0.0, smallest_gain, *values), max(0.0, smallest_gain, *values), _HEIGHT - 46, 26, most=6)
    upper = [(x(one.asked), y(one.high)) for one in steps]
    lower = [(x(one.asked), y(one.low)) for one in steps]
    bank = (
        [(x(one.asked), y(one.bank_high)) for one in steps],
        [(x(one.asked), y(one.bank_low)) for one in steps],
    )
    parts = [_grid(x, y), *_worth(smallest_gain, x.end), path([*upper, *reversed(lower)], "band c0", close=True)]
    parts += [path(points, "line thin dashed c1") for points in bank]
    parts += [path(points, "line c0") for points in (upper, lower)]
    parts += [line(x.start, y(smallest_gain), x.end, y(smallest_gain), "worth")]
    parts += _now(now, x, y)
    return picture(
        f"narrowing-{suffix}",
        f"The interval of the gain after {now.asked} answer{'' if now.asked == 1 else 's'}",
        described(steps, smallest_gain),
        width,
        _HEIGHT,
        *parts,
    )


def described(steps: Sequence[StandingShown], smallest_gain: float) -> str:
    """The picture in words."""
    first, now = steps[0], steps[-1]
    began = f"It went from {interval((first.low, first.high))} points at first. " if now.asked > first.asked else ""
    return (
        f"{began}Now it goes from {interval((now.low, now.high))} points on future messages, and from "
        f"{interval((now.bank_low, now.bank_high))} on these messages; {signed(smallest_gain)} is worth having."
    )


def _grid(x: Axis, y: Axis) -> Html:
    parts = [write(0, 12, "gain in points", class_="soft")]
    for tick in y.ticks:
        parts += [line(x.start, y(tick), x.end, y(tick), "zero" if tick == 0 else "grid")]
        parts += [write(x.start - 6, y(tick) + 4, signed(tick, y.digits), anchor="end", class_="tick")]
    for tick in x.ticks:
        parts += [line(x(tick), y.start, x(tick), y.start + 5, "axis")]
        parts += [write(x(tick), y.start + 19, short(tick), anchor="middle", class_="tick")]
    return join(*parts, write((x.start + x.end) / 2, _HEIGHT - 6, "answers", anchor="middle", class_="soft"))


def _now(now: StandingShown, x: Axis, y: Axis) -> list[Html]:
    """The present interval, with its ends written beside it."""
    at, high, low = x(now.asked), y(now.high), y(now.low)
    parts = [line(at, low, at, high, "interval thin")]
    parts += [line(at - 5, end, at + 5, end, "end") for end in (low, high)]
    if now.gain is not None:
        parts.append(el("circle", cx=at, cy=y(now.gain), r="4.5", class_="gain"))
    apart = max(0.0, 13.0 - (low - high)) / 2
    return [
        *parts,
        write(at + 9, high + 4 - apart, signed(now.high), class_="halo name"),
        write(at + 9, low + 4 + apart, signed(now.low), class_="halo name"),
    ]


def _worth(smallest_gain: float, right: Number) -> list[Html]:
    """What the dotted line is, above the picture, where nothing else is written."""
    words = f"worth having: {signed(smallest_gain)}"
    left = right - text_width(words)
    return [line(left - 28, 8, left - 6, 8, "worth"), write(left, 12, words, class_="soft")]


def _numbers(steps: Sequence[StandingShown]) -> Html:
    every = -(-len(steps) // _MOST_ROWS)
    shown = [*steps[:-1][::every], steps[-1]]
    rows = [
        [
            f"{one.asked:,}",
            signed(one.gain) if one.gain is not None else "–",
            interval((one.low, one.high)),
            interval((one.bank_low, one.bank_high)),
        ]
        for one in reversed(shown)
    ]
    head = ["Answers", "Gain", "On future messages", "On these"]
    return table("Intervals of the gain, in points", head, rows)
