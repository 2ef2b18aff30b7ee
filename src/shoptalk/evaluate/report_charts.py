"""The report's pictures, as SVG. Colour never carries a meaning alone: lines differ in dash, marker and label too.

Text in an SVG shrinks with it, so a picture with text is drawn at the width it is shown at: `figure` draws it twice,
for desks and for phones, and the style sheet shows one of the two.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from shoptalk.evaluate.report_markup import Html, el, join
from shoptalk.evaluate.report_text import interval, number, short, signed

Number = int | float  # the run-time checker takes no int for a float
WIDE, NARROW = 720, 340
_LETTER = 7.4  # width of a letter of the 12 px text, at most: the widest common system font
_COLOURS = 6
_MOST_POINTS = 150
_MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",  # circle
    "M-3.6,-3.6h7.2v7.2h-7.2z",  # square
    "M0,-4.8L4.6,3.4H-4.6z",  # triangle
    "M0,-5.2L5.2,0L0,5.2L-5.2,0z",  # diamond
    "M0,4.8L4.6,-3.4H-4.6z",  # triangle on its point
    "M-4.5,-1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3z",  # plus
)


# --- axes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` laid out from pixel `start` to pixel `end`, with ticks at round numbers."""

    low: Number
    high: Number
    start: Number
    end: Number
    ticks: tuple[float, ...]

    def __call__(self, value: Number) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


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


# --- parts --------------------------------------------------------------------------------------------------------


def figure(draw: Callable[[Number, str], Html], *caption: Html | str) -> Html:
    """A picture at both widths; `draw` gets the width in pixels and a suffix that keeps its ids unique."""
    return el(
        "figure",
        el("div", draw(WIDE, "wide"), class_="wide"),
        el("div", draw(NARROW, "narrow"), class_="narrow"),
        el("figcaption", *caption) if caption else None,
    )


def picture(ident: str, title: str, description: str, width: Number, height: Number, *content: Html) -> Html:
    """An SVG that a screen reader announces as one image with a title and a description."""
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


def _text(x: Number, y: Number, text: str, *, anchor: str = "start", class_: str | None = None) -> Html:
    return el("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=class_)


def _line(x1: Number, y1: Number, x2: Number, y2: Number, class_: str) -> Html:
    return el("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def _path(points: Sequence[tuple[float, float]], class_: str, *, close: bool = False) -> Html:
    steps = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return el("path", d=f"M{steps}{'z' if close else ''}", class_=class_)


def _marker(x: Number, y: Number, index: int) -> Html:
    shape = _MARKERS[index % len(_MARKERS)]
    return el("path", d=shape, transform=f"translate({x:.1f},{y:.1f})", class_=f"marker c{index % _COLOURS}")


def _width(text: str) -> float:
    return _LETTER * len(text)


def cut(text: str, most: int = 22) -> str:
    """A name short enough to stand in a picture."""
    return text if len(text) <= most else text[: most - 1] + "…"


# --- one interval -------------------------------------------------------------------------------------------------


def interval_picture(gain: Number, ends: tuple[float, float], smallest: Number | None) -> Html:
    """The gain and its interval against zero and the smallest gain worth having, in points."""
    low, high = ends
    worth = "" if smallest is None else f" The smallest gain worth having is {signed(smallest)}."
    description = f"A gain of {signed(gain)} points with the interval {interval(ends)}.{worth}"

    def draw(width: Number, suffix: str) -> Html:
        known = [0.0, low, high, gain] + ([] if smallest is None else [smallest])
        axis = make_axis(min(known), max(known), 64, width - 64, most=6 if width > 500 else 4, widen=False)
        bar = 66
        parts = [_line(40, 92, width - 40, 92, "axis")]
        for tick in axis.ticks:
            parts += [_line(axis(tick), 92, axis(tick), 97, "axis")]
            parts += [_text(axis(tick), 111, signed(tick, _digits(axis)), anchor="middle")]
        parts += [_text(width / 2, 130, "gain in points", anchor="middle", class_="soft")]
        parts += [
            _line(axis(0), 22, axis(0), 92, "zero"),
            _text(axis(0) - 5, 32, "no gain", anchor="end", class_="halo"),
        ]
        if smallest:
            parts += [
                _line(axis(smallest), 4, axis(smallest), 92, "worth"),
                _worth_label(axis(smallest), smallest, width),
            ]
        parts += [
            _line(axis(low), bar, axis(high), bar, "interval"),
            _line(axis(low), bar - 7, axis(low), bar + 7, "end"),
            _line(axis(high), bar - 7, axis(high), bar + 7, "end"),
            el("circle", cx=axis(gain), cy=float(bar), r="6", class_="gain"),
            _text(axis(low) - 7, bar + 4, signed(low), anchor="end", class_="halo"),
            _text(axis(high) + 7, bar + 4, signed(high), class_="halo"),
            _text(axis(gain), bar - 13, signed(gain), anchor="middle", class_="halo strong"),
        ]
        return picture(f"verdict-{suffix}", "The gain and its interval", description, width, 136, *parts)

    return figure(draw)


def _worth_label(x: Number, smallest: Number, width: Number) -> Html:
    text = f"worth having: {signed(smallest)}"
    if x + 5 + _width(text) > width:
        return _text(x - 5, 14, text, anchor="end", class_="halo")
    return _text(x + 5, 14, text, class_="halo")


def _digits(axis: Axis) -> int:
    """Decimals that tell an axis's ticks apart."""
    step = axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else 1.0
    return max(0, -math.floor(math.log10(step) + 1e-9))


def small_interval(gain: Number | None, ends: tuple[float, float] | None, scale: Axis) -> Html:
    """A row's interval for a table, all rows on one scale; the row's numbers say the same, so readers skip it."""
    parts = [_line(scale(0), 0, scale(0), 18, "zero")]
    if gain is not None and ends is not None:
        parts += [_line(scale(ends[0]), 9, scale(ends[1]), 9, "interval thin")]
        parts += [el("circle", cx=scale(gain), cy="9", r="4", class_="gain")]
    return el("svg", *parts, aria_hidden="true", width=scale.end + 6, height="18", class_="small")


def bar(value: Number, largest: Number) -> Html:
    """A bar to the right (gain) or to the left (loss) of a middle line; the number stands beside it."""
    half = 100 * abs(value) / largest if largest else 0.0
    parts = [
        el(
            "rect",
            x=float(100 if value > 0 else 100 - half),
            y="2",
            width=half,
            height="10",
            class_="up" if value > 0 else "down",
        ),
        _line(100, 0, 100, 14, "zero"),
    ]
    return el("svg", *parts, aria_hidden="true", viewBox="0 0 200 14", preserveAspectRatio="none", class_="bar")


# --- gain against training tokens ---------------------------------------------------------------------------------


class Point(NamedTuple):
    """One checkpoint on a curve."""

    tokens: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A candidate's checkpoints in order of training."""

    name: str
    eliminated: bool
    points: tuple[Point, ...]


def read_curves(curves: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The curves that have a measured point; each starts at the base, which has seen no tokens and gains nothing."""
    found = []
    for curve in curves:
        points = [Point(0.0, 0.0, 0.0, 0.0)]
        for row in curve.get("points") or ():
            tokens, gain = number(row.get("tokens")), number(row.get("gain"))
            if tokens is not None and gain is not None:
                low, high = number(row.get("low")), number(row.get("high"))
                points.append(Point(tokens, gain, gain if low is None else low, gain if high is None else high))
        if len(points) > 1:
            found.append(Curve(str(curve.get("objective")), bool(curve.get("eliminated")), tuple(sorted(points))))
    return found


def gain_chart(curves: Sequence[Curve], *, ceiling: Number | None, smallest: Number | None) -> Html:
    """Gain in points against training tokens, a band around each line; eliminated candidates are dashed."""
    described = "; ".join(
        f"{curve.name}{' (eliminated)' if curve.eliminated else ''} ends at {signed(curve.points[-1].gain)} points, "
        f"interval {interval(curve.points[-1][2:])}, after {short(curve.points[-1].tokens)} tokens"
        for curve in curves
    )
    values = [value for curve in curves for point in curve.points for value in point[1:]]
    values += [value for value in (ceiling, smallest) if value is not None]

    references = [(value, name) for value, name in ((ceiling, "ceiling"), (smallest, "worth having")) if value]

    def draw(width: Number, suffix: str) -> Html:
        height, names = 360.0, [cut(curve.name, 14) for curve in curves]
        room = max(_width(label) for label in [*names, *(label for _, label in references)]) + 14
        x = make_axis(
            0,
            max(curve.points[-1].tokens for curve in curves),
            40,
            width - room,
            most=5 if width > 500 else 3,
            widen=False,
        )
        y = make_axis(min(values), max(values), height - 46, 26, most=6)
        parts = [_grid(x, y, height), *(_line(x.start, y(value), x.end, y(value), "worth") for value, _ in references)]
        parts += [_band(curve, index, x, y) for index, curve in enumerate(curves)]
        parts += [_curve(curve, index, x, y) for index, curve in enumerate(curves)]
        parts += _labels(curves, names, references, x, y)
        return picture(f"gain-{suffix}", "Gain against training tokens", f"{described}.", width, height, *parts)

    return figure(draw)


def _grid(x: Axis, y: Axis, height: Number) -> Html:
    parts = [_text(0, 12, "gain in points", class_="soft")]
    for tick in y.ticks:
        parts += [_line(x.start, y(tick), x.end, y(tick), "zero" if tick == 0 else "grid")]
        parts += [_text(x.start - 6, y(tick) + 4, signed(tick, _digits(y)), anchor="end")]
    for tick in x.ticks:
        parts += [_line(x(tick), y.start, x(tick), y.start + 5, "axis")]
        parts += [_text(x(tick), y.start + 19, short(tick), anchor="middle")]
    return join(*parts, _text((x.start + x.end) / 2, height - 6, "training tokens", anchor="middle", class_="soft"))


def _band(curve: Curve, index: int, x: Axis, y: Axis) -> Html:
    top = [(x(point.tokens), y(point.high)) for point in curve.points]
    bottom = [(x(point.tokens), y(point.low)) for point in reversed(curve.points)]
    return _path(top + bottom, f"band c{index % _COLOURS}{_dash(curve)}", close=True)


def _curve(curve: Curve, index: int, x: Axis, y: Axis) -> Html:
    points = [(x(point.tokens), y(point.gain)) for point in curve.points]
    return join(
        _path(points, f"line c{index % _COLOURS}{_dash(curve)}"), *(_marker(px, py, index) for px, py in points[1:])
    )


def _dash(curve: Curve) -> str:
    return " dashed" if curve.eliminated else ""


def _labels(
    curves: Sequence[Curve], names: Sequence[str], references: Sequence[tuple[Number, str]], x: Axis, y: Axis
) -> list[Html]:
    """Each name beside the end of its line, and of references right of the axes, moved to where it covers least."""
    lines = [[(x(point.tokens), y(point.gain)) for point in curve.points] for curve in curves]
    taken: list[tuple[float, float, float]] = []
    parts = []

    def clearance(left: Number, at: Number, width: Number) -> float:
        """Pixels to the nearest label or line that a text at this height would meet; 14 is as good as free."""
        right = left + width
        met = [other for start, end, other in taken if left < end and start < right]
        met += [height for line in lines for height in _passes(line, left, right)]
        return min([14.0, *(abs(at - other) for other in met)])

    ends: list[tuple[float, float, str, int | None]] = []
    ends += [(*line[-1], name, index) for index, (line, name) in enumerate(zip(lines, names, strict=True))]
    ends += [(float(x.end) - 5, y(value), name, None) for value, name in references]
    for px, py, text, index in sorted(ends, key=lambda end: end[1]):
        left, width = px + 9, _width(text)
        shifted = sorted((py + 4 * step for step in range(-30, 31)), key=lambda at: abs(at - py))
        at = max((at for at in shifted if y.end <= at <= y.start), key=lambda at: clearance(left, at, width))
        taken.append((left, left + width, at))
        if abs(at - py) > 9:
            parts.append(_line(px + 4, py, left - 1, at, "leader"))
        parts.append(
            _text(left, at + 4, text, class_="halo soft" if index is None else f"halo name c{index % _COLOURS}")
        )
    return parts


def _passes(line: Sequence[tuple[float, float]], left: Number, right: Number) -> list[float]:
    """The heights at which a line of points runs between `left` and `right`, every few pixels."""
    heights = []
    for (x1, y1), (x2, y2) in pairwise(line):
        first, last = max(left, x1), min(right, x2)
        if first < last:
            begin, end = (y1 + (y2 - y1) * (place - x1) / (x2 - x1) for place in (first, last))
            steps = 1 + int(abs(end - begin) / 8)
            heights += [begin + (end - begin) * step / steps for step in range(steps + 1)]
    return heights


# --- losses -------------------------------------------------------------------------------------------------------


def loss_panel(name: str, points: Sequence[tuple[float, float]], index: int, colour: int) -> Html:
    """One objective's training loss against steps, on its own scale.

    `points` are finite and in order; `index` makes the ids unique.
    """
    width, height = 260.0, 160.0
    shown = thin(points)
    values = [value for _, value in shown]
    x = make_axis(points[0][0], points[-1][0], 44, width - 14, most=3, widen=False)
    y = make_axis(min(values), max(values), height - 26, 12, most=4)
    parts = []
    for tick in y.ticks:
        parts += [_line(x.start, y(tick), x.end, y(tick), "grid")]
        parts += [_text(x.start - 5, y(tick) + 4, f"{tick:g}", anchor="end")]
    parts += [_text(x(tick), height - 8, short(tick), anchor="middle") for tick in x.ticks]
    line = [(x(step), y(value)) for step, value in shown]
    parts += [_path(line, f"line c{colour % _COLOURS}") if len(line) > 1 else _marker(*line[0], colour)]
    first, last = shown[0][1], shown[-1][1]
    described = f"From {first:.3g} at step {points[0][0]:g} to {last:.3g} at step {points[-1][0]:g}."
    return picture(f"loss-{index}", f"Training loss of {name}", described, width, height, *parts)


def thin(points: Sequence[tuple[float, float]], most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: means over equal stretches of neighbours where there are more."""
    if len(points) <= most:
        return list(points)
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    parts = [points[first:last] for first, last in pairwise(edges)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
