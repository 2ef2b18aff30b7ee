"""Lines with bands: gains against tokens, texts or labels, and training losses; each named at its end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from shoptalk.report.charts import (
    COLOURS,
    Axis,
    Number,
    figure,
    line,
    make_axis,
    marker,
    path,
    picture,
    text_width,
    write,
)
from shoptalk.report.figures import Fact, fig
from shoptalk.report.markup import Html, el, join
from shoptalk.report.wording import picture_name, short, signed

_MOST_POINTS = 150


class Point(NamedTuple):
    """A measured place on a line."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """Points in order, with the name to write at their end (a fact of the run, or a word of ours)."""

    name: Fact | str
    points: tuple[Point, ...]
    colour: int = 0
    dashed: bool = False
    marked: bool = True
    """Whether each point has a marker, and the whole a band."""

    @property
    def label(self) -> str:
        """What is written in the picture."""
        return self.name if isinstance(self.name, str) else picture_name(self.name.value)

    @property
    def written(self) -> Html:
        """The same as markup."""
        return join(self.name) if isinstance(self.name, str) else fig(picture_name, self.name, tag="tspan")


@dataclass(frozen=True)
class Frame:
    """What a line chart is of: its titles, its size, and values to draw a dotted line at, with their names."""

    ident: str
    title: str
    description: str
    x_title: str
    y_title: str
    references: Sequence[tuple[Number, str]] = field(default_factory=tuple)
    height: Number = 360
    log: bool = False
    plus: bool = True
    """Whether values are differences, written with their sign, and 0 is one of them."""


def read_curve(curve: Fact, *, over_another: bool = False) -> tuple[Point, ...]:
    """A candidate's measured checkpoints from the base on, which has seen no tokens and gains nothing, or is itself
    measured against the base that gains are over. Where that is `over_another` and was not measured (earlier versions
    did not), the curve begins at the first checkpoint.
    """
    points, start = list[Point](), curve.start
    if start:
        points.append(Point(0.0, start.gain.value, start.low.value, start.high.value))
    elif not over_another:
        points.append(Point(0.0, 0.0, 0.0, 0.0))
    begun = len(points)
    for row in curve.points:
        tokens, gain = row.tokens.number, row.gain.number
        if tokens is not None and gain is not None:
            low, high = row.low.number, row.high.number
            points.append(Point(tokens, gain, gain if low is None else low, gain if high is None else high))
    return tuple(sorted(points)) if len(points) > begun else ()


def line_chart(frame: Frame, lines: Sequence[Series], *caption: Html | str) -> Html:
    """Values with a band around each line; dashed ones stand back."""
    values = [value for one in lines for point in one.points for value in point[1:]]
    values += [value for value, _ in frame.references] + ([0.0] if frame.plus else [])
    xs = [point.x for one in lines for point in one.points]
    labels = [*(one.label for one in lines), *(name for _, name in frame.references)]

    def draw(width: Number, suffix: str) -> Html:
        end = width - max(map(text_width, labels)) - 14
        if frame.log:
            x = Axis(min(xs), max(xs), 56, end, _some(sorted(set(xs)), 9 if width > 500 else 6), log=True)
        else:
            x = make_axis(min(0.0, *xs), max(xs), 44, end, most=5 if width > 500 else 3, widen=False)
        y = make_axis(min(values), max(values), frame.height - 46, 26, most=6)
        parts = [_grid(x, y, frame)]
        parts += [line(x.start, y(value), x.end, y(value), "worth") for value, _ in frame.references]
        parts += [_band(one, x, y) for one in lines if one.marked]
        parts += [_drawn(one, x, y) for one in lines]
        parts += _labels(lines, frame.references, x, y)
        return picture(f"{frame.ident}-{suffix}", frame.title, frame.description, width, frame.height, *parts)

    return figure(draw, *caption)


def _some(values: Sequence[float], most: int) -> tuple[float, ...]:
    """At most `most` of the values, the first and the last among them."""
    every = math.ceil((len(values) - 1) / (most - 1)) if len(values) > 1 else 1
    return (*values[:-1:every], values[-1])


def _grid(x: Axis, y: Axis, frame: Frame) -> Html:
    parts = [write(0, 12, frame.y_title, class_="soft")]
    for tick in y.ticks:
        said = signed(tick, y.digits) if frame.plus else f"{tick:.{y.digits}f}"
        parts += [line(x.start, y(tick), x.end, y(tick), "zero" if tick == 0 and frame.plus else "grid")]
        parts += [write(x.start - 6, y(tick) + 4, said, anchor="end", class_="tick")]
    for tick in x.ticks:
        parts += [line(x(tick), y.start, x(tick), y.start + 5, "axis")]
        parts += [write(x(tick), y.start + 19, short(tick), anchor="middle", class_="tick")]
    return join(*parts, write((x.start + x.end) / 2, frame.height - 6, frame.x_title, anchor="middle", class_="soft"))


def _band(one: Series, x: Axis, y: Axis) -> Html:
    top = [(x(point.x), y(point.high)) for point in one.points]
    bottom = [(x(point.x), y(point.low)) for point in reversed(one.points)]
    return path(top + bottom, f"band c{one.colour % COLOURS}{_dash(one)}", close=True)


def _drawn(one: Series, x: Axis, y: Axis) -> Html:
    points = [(x(point.x), y(point.y)) for point in one.points]
    marks = [marker(*at, one.colour) for at, point in zip(points, one.points, strict=True) if point.x != 0]
    return join(path(points, f"line c{one.colour % COLOURS}{_dash(one)}"), *(marks if one.marked else ()))


def _dash(one: Series) -> str:
    return " dashed" if one.dashed else ""


def _labels(lines: Sequence[Series], references: Sequence[tuple[Number, str]], x: Axis, y: Axis) -> list[Html]:
    """Each name beside the end of its line, and of references right of the axes, moved to where it covers least."""
    paths = [[(x(point.x), y(point.y)) for point in one.points] for one in lines]
    taken: list[tuple[float, float, float]] = []
    parts = []

    def clearance(left: Number, at: Number, width: Number) -> float:
        """Pixels to the nearest label or line that a text at this height would meet; 14 is as good as free."""
        right = left + width
        met = [other for start, end, other in taken if left < end and start < right]
        met += [height for points in paths for height in _passes(points, left, right)]
        return min([14.0, *(abs(at - other) for other in met)])

    ends = [
        (*points[-1], one.label, one.written, f"name c{one.colour % COLOURS}")
        for one, points in zip(lines, paths, strict=True)
    ]
    ends += [(float(x.end) - 5, y(value), name, join(name), "soft") for value, name in references]
    for px, py, text, written, class_ in sorted(ends, key=lambda end: end[1]):
        left, width = px + 9, text_width(text)
        shifted = sorted((py + 4 * step for step in range(-30, 31)), key=lambda at: abs(at - py))
        at = max((at for at in shifted if y.end <= at <= y.start), key=lambda at: clearance(left, at, width))
        taken.append((left, left + width, at))
        if abs(at - py) > 9:
            parts.append(line(px + 4, py, left - 1, at, "leader"))
        parts.append(write(left, at + 4, written, class_=f"halo {class_}"))
    return parts


def _passes(points: Sequence[tuple[float, float]], left: Number, right: Number) -> list[float]:
    """The heights at which a line of points runs between `left` and `right`, every few pixels."""
    heights = []
    for (x1, y1), (x2, y2) in pairwise(points):
        first, last = max(left, x1), min(right, x2)
        if first < last:
            begin, end = (y1 + (y2 - y1) * (place - x1) / (x2 - x1) for place in (first, last))
            steps = 1 + int(abs(end - begin) / 8)
            heights += [begin + (end - begin) * step / steps for step in range(steps + 1)]
    return heights


# --- losses -------------------------------------------------------------------------------------------------------


def loss_panel(ident: str, points: Sequence[tuple[float, float]], colour: int) -> Html:
    """One objective's training loss against steps, on its own scale. `points` are finite and in order."""
    width, height = 260.0, 160.0
    shown = thin(points)
    values = [value for _, value in shown]
    x = make_axis(points[0][0], points[-1][0], 44, width - 14, most=3, widen=False)
    y = make_axis(min(values), max(values), height - 26, 12, most=4)
    parts = []
    for tick in y.ticks:
        parts += [line(x.start, y(tick), x.end, y(tick), "grid")]
        parts += [write(x.start - 5, y(tick) + 4, f"{tick:g}", anchor="end", class_="tick")]
    parts += [write(x(tick), height - 8, short(tick), anchor="middle", class_="tick") for tick in x.ticks]
    drawn = [(x(step), y(value)) for step, value in shown]
    parts += [path(drawn, f"line c{colour % COLOURS}") if len(drawn) > 1 else marker(*drawn[0], colour)]
    fell = "falls" if shown[-1][1] < shown[0][1] else "does not fall"
    described = f"The loss {fell} from the first step to the last."
    return picture(ident, "Training loss", described, width, height, el("g", *parts))


def thin(points: Sequence[tuple[float, float]], most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: means over equal stretches of neighbours where there are more."""
    if len(points) <= most:
        return list(points)
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    parts = [points[first:last] for first, last in pairwise(edges)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
