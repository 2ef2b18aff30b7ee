"""The house style of the report's pictures: axes, marks and intervals, as SVG.

Colour never carries a meaning alone: lines differ in dash, marker and label too. Text in an SVG shrinks with it, so a
picture with text is drawn at the width it is shown at: `figure` draws it twice, for desks and for phones, and the style
sheet shows one of the two. A tick's number belongs to the scale (class `tick`); every other number is a `fig`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shoptalk.report.figures import Fact, fig
from shoptalk.report.markup import Child, Html, el, join
from shoptalk.report.units import ACCURACY, Units
from shoptalk.report.wording import signed

Number = int | float  # the run-time checker takes no int for a float
WIDE, NARROW = 832, 344
COLOURS = 10
_LETTER = 7.4  # width of a letter of the 12 px text, at most: the widest common system font
MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",  # circle
    "M-3.6,-3.6h7.2v7.2h-7.2z",  # square
    "M0,-4.8l4.6,8.2h-9.2z",  # triangle
    "M0,-5.2l5.2,5.2l-5.2,5.2l-5.2,-5.2z",  # diamond
    "M0,4.8l4.6,-8.2h-9.2z",  # triangle on its point
    "M-4.5,-1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3z",  # plus
    "M-5,-1.8h10v3.6h-10z",  # lying bar
    "M-1.8,-5h3.6v10h-3.6z",  # standing bar
    "M-4.6,-4.6l4.6,3l4.6,-3l-3,4.6l3,4.6l-4.6,-3l-4.6,3l3,-4.6z",  # star of four points
    "M-4,3.6v-7.2l4,3l4,-3v7.2z",  # crown
)
"""One for each colour, centred on 0, about 9 pixels wide; relative but for where it begins, so the map can move it."""


# --- axes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` laid out from pixel `start` to pixel `end`, with ticks at round numbers."""

    low: Number
    high: Number
    start: Number
    end: Number
    ticks: tuple[float, ...]
    log: bool = False

    def __call__(self, value: Number) -> float:
        """The pixel of a value."""
        low, high, value = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    @property
    def digits(self) -> int:
        """Decimals that tell the ticks apart."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        return max(0, -math.floor(math.log10(step) + 1e-9))


def round_step(span: Number, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides `span` into at most `most` steps."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most * (1 + 1e-9))


def make_axis(low: Number, high: Number, start: Number, end: Number, *, most: int = 5, widen: bool = True) -> Axis:
    """An axis that holds both values, at most `most` + 2 ticks. With `widen` it begins and ends at a tick."""
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-3):
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, high + pad
    step = round_step(high - low, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if widen:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        low, high = first * step, last * step
    ticks = tuple(float(f"{index * step:.12g}") for index in range(first, last + 1))
    return Axis(low, high, start, end, ticks)


# --- marks --------------------------------------------------------------------------------------------------------


def figure(draw: Callable[[Number, str], Html], *caption: Child) -> Html:
    """A picture at both widths; `draw` gets the width in pixels and a suffix that keeps its ids unique."""
    return el(
        "figure",
        el("div", draw(WIDE, "wide"), class_="wide"),
        el("div", draw(NARROW, "narrow"), class_="narrow"),
        el("figcaption", *caption) if caption else None,
    )


def picture(ident: str, title: Child, description: str, width: Number, height: Number, *content: Html) -> Html:
    """An SVG that a screen reader announces as one image. Its numbers must stand beside it too, as text."""
    return el(
        "svg",
        el("title", title, id=f"{ident}-title"),
        el("desc", description, id=f"{ident}-desc"),
        *content,
        role="img",
        aria_labelledby=f"{ident}-title",
        aria_describedby=f"{ident}-desc",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
    )


def write(x: Number, y: Number, text: Child, *, anchor: str = "start", class_: str | None = None) -> Html:
    """Text at its baseline's `anchor`: start, middle or end."""
    return el("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=class_)


def line(x1: Number, y1: Number, x2: Number, y2: Number, class_: str) -> Html:
    """A straight line."""
    return el("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str, *, close: bool = False) -> Html:
    """A line through points."""
    steps = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return el("path", d=f"M{steps}{'z' if close else ''}", class_=class_)


def marker(x: Number, y: Number, index: int, *, class_: str = "marker") -> Html:
    """The sign of the series `index`."""
    shape = MARKERS[index % len(MARKERS)]
    return el("path", d=shape, transform=f"translate({x:.1f},{y:.1f})", class_=f"{class_} c{index % COLOURS}")


def text_width(text: str) -> float:
    """Pixels that a text takes at most; m and w are the letters that are wider than the others by half."""
    return _LETTER * (len(text) + sum(text.count(wide) for wide in "mwMW") / 2)


def scale_below(axis: Axis, y: Number, title: Child, *, top: Number | None = None, plus: bool = True) -> Html:
    """A horizontal axis with its ticks and title under it; with `top`, a grid line from there at each tick."""
    parts = []
    for tick in axis.ticks:
        if top is not None and tick:
            parts.append(line(axis(tick), top, axis(tick), y, "grid"))
        said = signed(tick, axis.digits) if plus else f"{tick:,.{axis.digits}f}"
        parts += [
            line(axis(tick), y, axis(tick), y + 5, "axis"),
            write(axis(tick), y + 19, said, anchor="middle", class_="tick"),
        ]
    parts += [line(axis.start, y, axis.end, y, "axis")]
    return join(*parts, write((axis.start + axis.end) / 2, y + 38, title, anchor="middle", class_="soft"))


# --- intervals ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A gain with its interval, as facts."""

    gain: Fact
    ends: Fact

    @property
    def known(self) -> tuple[float, float, float] | None:
        """Gain, low, high where all are numbers."""
        gain, pair = self.gain.number, self.ends.pair
        return None if gain is None or pair is None else (gain, *pair)


def span_of(intervals: Sequence[Interval], *others: float | None) -> tuple[float, float]:
    """The range that holds all of them, and 0."""
    values = [0.0, *(value for value in others if value is not None)]
    values += [value for one in intervals for value in one.known or ()]
    return min(values), max(values)


def interval_mark(one: Interval, axis: Axis, y: Number, *, big: bool = False) -> Html:
    """The interval as a bar with ends, the gain as a dot."""
    if one.known is None:
        return join()
    gain, low, high = (axis(value) for value in one.known)
    half = 7 if big else 5
    return join(
        line(low, y, high, y, "interval" if big else "interval thin"),
        line(low, y - half, low, y + half, "end"),
        line(high, y - half, high, y + half, "end"),
        el("circle", cx=gain, cy=float(y), r="6" if big else "4.5", class_="gain"),
    )


def interval_picture(one: Interval, smallest: Fact, units: Units) -> Html:
    """The gain and its interval against zero and the smallest gain worth having."""
    worth = smallest.number
    description = (
        "A dot for the gain and a bar for its interval, against a line at no gain"
        f"{' and a dotted one at the smallest gain worth having' if worth else ''}; the numbers are in the text."
    )

    def draw(width: Number, suffix: str) -> Html:
        low, high = span_of([one], worth)
        axis = make_axis(low, high, 60, width - 52, most=6 if width > 500 else 4, widen=False)
        gain, left, right = (axis(value) for value in one.known or (0.0, 0.0, 0.0))
        y = 62
        parts = [scale_below(axis, 88, f"gain in {units.difference}"), line(axis(0), 18, axis(0), 88, "zero")]
        parts += [write(axis(0) - 5, 28, "no gain", anchor="end", class_="halo")]
        if worth:
            parts.insert(0, _zone(axis, worth, 18, 88))
            parts += [line(axis(worth), 4, axis(worth), 88, "worth"), _worth(axis(worth), smallest, width, units)]
        parts += [
            interval_mark(one, axis, y, big=True),
            write(left - 7, y + 4, fig(units.change, one.ends[0], tag="tspan"), anchor="end", class_="halo"),
            write(right + 7, y + 4, fig(units.change, one.ends[1], tag="tspan"), class_="halo"),
            write(gain, y - 13, fig(units.change, one.gain, tag="tspan"), anchor="middle", class_="halo strong"),
        ]
        return picture(f"verdict-{suffix}", "The gain and its interval", description, width, 130, *parts)

    return figure(draw)


def _zone(axis: Axis, worth: Number, top: Number, bottom: Number) -> Html:
    """The part of a chart where gains are worth having."""
    left = axis(worth)
    return el("rect", x=left, y=top, width=max(0.0, axis.end - left), height=bottom - top, class_="zone")


def _worth(x: Number, smallest: Fact, width: Number, units: Units = ACCURACY) -> Html:
    said = join("worth having: ", fig(units.change, smallest, tag="tspan"))
    fits = x + 5 + text_width("worth having: +0.5") < width
    return write(x + 5 if fits else x - 5, 13, said, anchor="start" if fits else "end", class_="halo")


@dataclass(frozen=True)
class IntervalRow:
    """A row of an interval chart: its name (and how wide that is, in letters) and its interval."""

    name: Html
    letters: int
    interval: Interval


def interval_rows(ident: str, title: str, rows: Sequence[IntervalRow], smallest: Fact, units: Units = ACCURACY) -> Html:
    """Gains with their intervals, one below the other on one axis, against zero and the smallest gain."""
    low, high = span_of([row.interval for row in rows], smallest.number)
    worth = smallest.number

    def draw(width: Number, suffix: str) -> Html:
        beside = width > 500
        left = 20 + text_width("m" * min(34, max(row.letters for row in rows))) * 0.85 if beside else 16
        step, top = (30, 26) if beside else (46, 26)
        bottom = top + step * len(rows) + 4
        axis = make_axis(low, high, left + 8, width - (60 if beside else 54), most=6 if beside else 4, widen=False)
        label = f"gain in {units.difference}"
        parts = [scale_below(axis, bottom, label, top=top), line(axis(0), top - 4, axis(0), bottom, "zero")]
        if worth:
            parts.insert(0, _zone(axis, worth, top, bottom))
            parts += [line(axis(worth), 16, axis(worth), bottom, "worth"), _worth(axis(worth), smallest, width)]
        for place, row in enumerate(rows):
            y = top + step * place + (18 if beside else 32)
            parts.append(interval_mark(row.interval, axis, y))
            if not beside:
                parts.append(
                    el(
                        "rect",
                        x="0",
                        y=y - 25.0,
                        width=0.9 * text_width("m" * row.letters),
                        height="16",
                        class_="ground",
                    )
                )
            parts.append(write(0, y + 4 if beside else y - 13, row.name, class_="halo"))
            if row.interval.known is not None:
                end = axis(max(row.interval.known)) + 8
                parts.append(write(end, y + 4, fig(signed, row.interval.gain, tag="tspan"), class_="halo name"))
        description = "A dot for each gain and a bar for its interval; the table below has the numbers."
        return picture(f"{ident}-{suffix}", title, description, width, bottom + 42, *parts)

    return figure(draw)


# --- small pictures for tables ------------------------------------------------------------------------------------


def small_interval(one: Interval, scale: Axis) -> Html:
    """A row's interval for a table, all rows on one scale; the row's numbers say the same, so readers skip it."""
    parts = [line(scale(0), 0, scale(0), 18, "zero"), interval_mark(one, scale, 9)]
    return el("svg", *parts, aria_hidden="true", width=scale.end + 6, height="18", class_="small")


def against_limit(value: float, limit: float, scale: Axis) -> Html:
    """A value against the limit below which it must not fall."""
    parts = [
        el("rect", x=scale.start, y="2", width=max(0.0, scale(limit) - scale.start), height="14", class_="beyond"),
        line(scale(limit), 0, scale(limit), 18, "worth"),
        line(scale(0), 0, scale(0), 18, "zero"),
        el("circle", cx=scale(value), cy="9", r="4.5", class_="gain"),
    ]
    return el("svg", *parts, aria_hidden="true", width=scale.end + 6, height="18", class_="small")


def bar(value: Number, largest: Number) -> Html:
    """A bar to the right (gain) or to the left (loss) of a middle line; the number stands beside it."""
    half = 100 * abs(value) / largest if largest else 0.0
    start = float(100 if value > 0 else 100 - half)
    parts = [
        el("rect", x=start, y="2", width=half, height="10", class_="up" if value > 0 else "down"),
        line(100, 0, 100, 14, "zero"),
    ]
    return el("svg", *parts, aria_hidden="true", viewBox="0 0 200 14", preserveAspectRatio="none", class_="bar")


def meter(share: Number) -> Html:
    """A bar from the left for a share between 0 and 1."""
    width = 200 * min(max(share, 0.0), 1.0)
    parts = [
        el("rect", x="0", y="2", width="200", height="10", class_="rest"),
        el("rect", x="0", y="2", width=float(width), height="10", class_="part"),
    ]
    return el("svg", *parts, aria_hidden="true", viewBox="0 0 200 14", preserveAspectRatio="none", class_="bar")
