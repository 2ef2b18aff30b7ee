"""The three small pictures under the trace: what entered, how far the model moved, what became visible."""

from collections.abc import Callable

from shoptalk.report import sentences, wording
from shoptalk.report.charts import Interval, Number, interval_mark, line, make_axis, span_of, write
from shoptalk.report.figures import Fact, fig
from shoptalk.report.markup import Child, Html, el, join
from shoptalk.report.nouns import nouns_of
from shoptalk.report.units import units_of

Panel = Callable[[Number], tuple[Html, Number]]
"""Draws itself at a width; gives the markup and its height."""
_ROW = 18
_MOST_LAYERS = 26
_MOST_SOURCES = 5


def panels(facts: Fact) -> list[Panel]:
    """One for each part of the trace, from left to right."""
    return [
        lambda width: _entered(facts, width),
        lambda width: _changed(facts, width),
        lambda width: _visible(facts, width),
    ]


def _lines(said: list[Html], top: Number) -> tuple[list[Html], Number]:
    return [write(0, top + 14 + _ROW * place, one) for place, one in enumerate(said)], top + _ROW * len(said)


def _value(how: Callable[..., str], *places: Fact) -> Html:
    return fig(how, *places, tag="tspan")


def _entered(facts: Fact, width: Number) -> tuple[Html, Number]:
    kept, drops = facts.kept, facts.drops
    said = [
        join(
            _value(wording.count, kept.texts),
            f" {nouns_of(facts).kept} from ",
            _value(wording.count, kept.documents),
            " documents",
        )
    ]
    if drops:
        said.append(join(_value(wording.summed_counts, drops), " left out: files, documents, rows"))
    parts, y = _lines(said, 0.0)
    for row in list(facts.sources)[:_MOST_SOURCES]:
        y += _ROW
        parts.append(write(0, y + 6, _value(wording.source_name, row.source)))
        parts += _bar(146, y - 4, width - 146 - 50, row.share.number or 0.0)
        parts.append(write(width, y + 6, _value(wording.hundred, row.share), anchor="end"))
    return join(*parts), y + 12


def _bar(x: Number, y: Number, room: Number, share: Number) -> list[Html]:
    filled = max(1.0, room * min(1.0, share))
    return [el("rect", x=x, y=y, width=filled, height="11", class_="part")]


def _changed(facts: Fact, width: Number) -> tuple[Html, Number]:
    layers, moved = list(facts.layers)[:_MOST_LAYERS], facts.moved
    parts: list[Html] = []
    y = 0.0
    if layers:
        parts.append(write(0, 14, "change of the weights, part by part", class_="soft"))
        largest = max((layer.change.number or 0.0 for layer in layers), default=0.0) or 1.0
        y = 16.0
        for layer in layers:
            y += _ROW
            parts.append(write(0, y + 3, _value(wording.picture_name, layer.name)))
            parts += _bar(96, y - 7, width - 96 - 50, (layer.change.number or 0.0) / largest)
            parts.append(write(width, y + 3, _value(wording.change, layer.change), anchor="end"))
        y += 14
    if moved:
        content, height = _moved(moved, width, nouns_of(facts).one)
        parts.append(el("g", content, transform=f"translate(0,{y:.0f})"))
        y += height
    if not parts:
        parts, y = _lines([join("not measured in this run")], 0.0)
    return join(*parts), y


def _moved(moved: Fact, width: Number, one: str) -> tuple[Html, Number]:
    """How far the items moved, each called `one`: the middle half as a bar, nine in ten as a line, the median a dot."""
    known = {key: place.number for key, place in moved.quantiles.items()}
    parts = [write(0, 14, f"cosine of a {one} before and after", class_="soft")]
    ends = [known.get(key) for key in ("0.05", "0.25", "0.5", "0.75", "0.95")]
    if any(end is None for end in ends):
        parts.append(write(0, 32, join("mean ", _value(wording.cosine, moved.mean))))
        return join(*parts), 40
    low, first, middle, last, high = (float(end) for end in ends if end is not None)
    axis = make_axis(min(low, 0.9), 1.0, 16, width - 16, most=4, widen=True)
    y = 40
    parts += [
        line(axis.start, y + 14, axis.end, y + 14, "axis"),
        line(axis(low), y, axis(high), y, "end"),
        line(axis(first), y, axis(last), y, "interval"),
        el("circle", cx=axis(middle), cy=float(y), r="5", class_="gain"),
        write(
            axis(middle), y - 10, _value(wording.cosine, moved.quantiles["0.5"]), anchor="middle", class_="halo name"
        ),
    ]
    for tick in axis.ticks:
        parts += [line(axis(tick), y + 14, axis(tick), y + 19, "axis")]
        parts += [write(axis(tick), y + 32, f"{tick:.{axis.digits}f}", anchor="middle", class_="tick")]
    return join(*parts), 78


def _visible(facts: Fact, width: Number) -> tuple[Html, Number]:
    found, changed = facts.verdict, facts.changed
    one, units = Interval(found.gain, found.interval), units_of(found)
    parts: list[Html] = []
    y = 0.0
    if one.known is not None and found.candidates:
        axis = make_axis(*span_of([one], found.smallest_gain.number), 10, width - 14, most=4, widen=False)
        parts += [write(0, 14, f"gain in {units.difference}", class_="soft"), line(axis(0), 22, axis(0), 56, "zero")]
        parts += [interval_mark(one, axis, 44), line(axis.start, 56, axis.end, 56, "axis")]
        said = join(_value(units.change, found.gain), " (", _value(units.ends, found.interval), ")")
        parts += [write(width, 14, said, anchor="end", class_="name")]
        for tick in axis.ticks:
            parts += [line(axis(tick), 56, axis(tick), 61, "axis")]
            parts += [write(axis(tick), 74, wording.signed(tick, axis.digits), anchor="middle", class_="tick")]
        y = 84.0
    lines: list[Html] = []
    if facts.per_class:
        every = facts.per_class
        lines.append(
            join("classes: ", _value(wording.gaining, every), " better, ", _value(wording.losing, every), " worse")
        )
    if changed:
        lines.append(
            join(
                f"{nouns_of(facts).many}: ",
                _value(wording.count, changed.n_gained),
                " gained, ",
                _value(wording.count, changed.n_lost),
                " lost",
            )
        )
    decided = sentences.VERDICTS[found.choice.value].partition(":")[0]
    last: Child = "Served unproven" if found.served_unproven.value else decided
    lines.append(join(el("tspan", last, class_="strong-line")))
    more, end = _lines(lines, y)
    return join(*parts, *more), end + 6
