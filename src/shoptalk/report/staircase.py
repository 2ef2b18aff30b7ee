"""The ladder as a picture: a staircase of what each step adds, and what the shipped ones bring in all."""

import re
from dataclasses import dataclass

from shoptalk.report import sentences, wording
from shoptalk.report.charts import Axis, Number, figure, line, make_axis, picture, scale_below, text_width, write
from shoptalk.report.figures import Fact, fig, told
from shoptalk.report.markup import Child, Html, disclosure, el, join, note, table
from shoptalk.report.units import Units, units_of

_HALF = 9.0  # of a bar's height
ANOTHER_BASE = "another base"
"""The step that changes the base (`decide.ladder`)."""


@dataclass(frozen=True)
class Stair:
    """A row of the picture: a bar from one level to another, with the interval of the difference at its end."""

    name: Html
    level: Html | None
    """As text; None where the row has none of its own."""
    start: float | None
    """The level before; None for the first step, which stands on the ground."""
    end: float
    ends: tuple[float, float] | None
    """The interval, as levels."""
    change: Fact
    interval: Fact
    aside: Html | None = None
    """A remark below the name."""
    shipped: bool = True
    whole: bool = False
    """Whether this is the row of all steps together."""

    @property
    def kind(self) -> str:
        """The class of the bar, by what is known of the difference."""
        start, (low, high) = self.start or 0.0, self.ends or (0.0, 0.0)
        proven = not min(low, high) <= start <= max(low, high)
        gain = self.change.number or 0.0
        known = "loss" if proven and gain < 0 else "rise" if proven else "open"
        return f"stair {known}{'' if self.shipped else ' unshipped'}"


def ladder_picture(verdict: Fact) -> Html | None:
    """The measured steps one below the other on one axis of levels, and their numbers; None where there is no step to
    compare with another.
    """
    if len(verdict.ladder) < 2:
        return None
    units = units_of(verdict)
    stairs = _stairs(verdict, units)
    unit = verdict.ladder[0].unit.value
    title = join(
        fig(wording.words, verdict.metric, tag="tspan"),
        f" in {unit}" if unit and unit not in str(verdict.metric.value).split() else None,
    )

    def draw(width: Number, suffix: str) -> Html:
        return _Staircase(stairs, width, title, units).drawn(suffix)

    shown = figure(draw, *_caption(verdict, stairs))
    return join(shown, disclosure("The numbers of this picture", _numbers(verdict, units), note(sentences.AT_ONCE)))


def shipped_place(verdict: Fact) -> int:
    """The place of the step that is shipped."""
    names = [step.step.value for step in verdict.ladder]
    shipped = verdict.in_all.step.value
    return names.index(shipped) if shipped in names else 0


def _stairs(verdict: Fact, units: Units) -> list[Stair]:
    sign, shipped = -1.0 if verdict.measure.lower_is_better.value else 1.0, shipped_place(verdict)
    steps = list(verdict.ladder)
    levels = [step["value"].number or 0.0 for step in steps]

    def ends(start: float, interval: Fact) -> tuple[float, float] | None:
        return None if interval.pair is None else (start + sign * interval.pair[0], start + sign * interval.pair[1])

    stairs = []
    for place, step in enumerate(steps):
        start = levels[place - 1] if place else None
        stairs.append(
            Stair(
                name=join("+ " if place else "", fig(wording.step_name, step.step, tag="tspan")),
                level=join(fig(units.level, step["value"], tag="tspan"), units.unit),
                start=start,
                end=levels[place],
                ends=None if start is None else ends(start, step.interval),
                change=step.gain,
                interval=step.interval,
                aside=_aside(verdict, place, shipped),
                shipped=place <= shipped,
            )
        )
    whole = verdict.in_all
    if shipped > 1:  # of one step alone, the same would be said twice
        stairs.append(
            Stair(
                name=join("in all"),
                level=None,
                start=levels[0],
                end=levels[shipped],
                ends=ends(levels[0], whole.interval),
                change=whole.gain,
                interval=whole.interval,
                whole=True,
            )
        )
    return stairs


def _aside(verdict: Fact, place: int, shipped: int) -> Html | None:
    """Below the first step the base that it stands on, below another base its name, and below those that are not
    shipped that they are not.
    """
    if place > shipped:
        return join("measured, not adopted")
    if place == 0 and (verdict.bases or verdict.base_model):
        base = verdict.bases[0].base if verdict.bases else verdict.base_model
        return join("on ", fig(wording.step_name, base, tag="tspan"))
    if verdict.ladder[place].step.value == ANOTHER_BASE:
        return fig(wording.step_name, verdict.base_model, tag="tspan")
    return None


class _Staircase:
    """The stairs at one width: names and numbers beside the bars on a desk, above them on a phone."""

    def __init__(self, stairs: list[Stair], width: Number, title: Html, units: Units) -> None:
        self.stairs, self.width, self.title, self.units = stairs, width, title, units
        self.beside = width > 500
        self.tops = [self._top(place) for place in range(len(stairs) + 1)]
        self.bottom = self.tops[-1]
        self.axis = self._axis()

    def _top(self, place: int) -> float:
        """Where a row begins; on a phone the first has no gain to write above its dot."""
        if self.beside:
            return 6.0 + 44 * place
        return 0.0 if place == 0 else 38.0 + 58 * (place - 1)

    def _middle(self, place: int) -> float:
        """The height of a row's bar."""
        return self.tops[place] + (22.0 if self.beside else 28.0 if place == 0 else 44.0)

    def _axis(self) -> Axis:
        values = [value for one in self.stairs for value in (one.end, *(one.ends or ()))]
        margin = 0.05 * (max(values) - min(values)) or 0.5
        left, right = (196, 596) if self.beside else (12, self.width - 12)
        return make_axis(
            min(values) - margin, max(values) + margin, left, right, most=6 if self.beside else 4, widen=False
        )

    def drawn(self, suffix: str) -> Html:
        """The whole picture."""
        parts = [scale_below(self.axis, self.bottom, self.title, top=4, plus=False), *self._guides()]
        for place, one in enumerate(self.stairs):
            parts += [self._bar(one, self._middle(place)), *self._words(one, place)]
        description = (
            "A staircase of levels: a bar for what each step adds to the one above it, a line for its interval, and "
            "a dot for the level; the table below has the numbers."
        )
        return picture(f"ladder-{suffix}", "What each step brings", description, self.width, self.bottom + 42, *parts)

    def _guides(self) -> list[Html]:
        """From each level down to the step that is built on it, and from both ends of the whole to its bar."""
        guides = []
        for place, one in enumerate(self.stairs[1:], start=1):
            if one.start is None or one.whole:
                continue
            x = self.axis(one.start)
            guides.append(line(x, self._middle(place - 1), x, self._middle(place) + _HALF, "leader"))
        whole = self.stairs[-1]
        if self.beside and whole.whole and whole.start is not None:  # on a phone they would cross all texts
            last = next(place for place, one in enumerate(self.stairs) if one.shipped and one.end == whole.end)
            for first, level in ((0, whole.start), (last, whole.end)):
                x = self.axis(level)
                guides.append(line(x, self._middle(first), x, self._middle(len(self.stairs) - 1) + _HALF, "worth"))
        return guides

    def _bar(self, one: Stair, y: float) -> Html:
        end, parts = self.axis(one.end), []
        if one.start is not None:
            start = self.axis(one.start)
            left, long = min(start, end), max(2.0, abs(end - start))
            parts.append(el("rect", x=left, y=y - _HALF, width=long, height=2 * _HALF, class_=one.kind))
        if one.ends is not None:
            low, high = (self.axis(value) for value in one.ends)
            parts += [
                line(low, y, high, y, "interval thin"),
                line(low, y - 5, low, y + 5, "end"),
                line(high, y - 5, high, y + 5, "end"),
            ]
        dot = "gain" if one.shipped else "gain hollow"
        return join(*parts, el("circle", cx=end, cy=y, r="5", class_=dot))

    def _words(self, one: Stair, place: int) -> list[Html]:
        """A row's name and numbers."""
        change = fig(self.units.change, one.change, tag="tspan") if one.change.value is not None else None
        interval = fig(self.units.ends, one.interval, tag="tspan") if one.interval.value is not None else None
        weight = "strong-line" if one.whole else None
        if self.beside:
            y = self._middle(place)
            parts = [write(0, y + (4 if one.aside is None else -2), one.name, class_=weight)]
            parts += [write(0, y + 13, one.aside, class_="soft")] if one.aside is not None else []
            parts += [write(612, y + 4, one.level, class_="name")] if one.level is not None else []
            parts += [write(700, y + (4 if interval is None else -2), change, class_="name")] if change else []
            return [*parts, *([write(700, y + 13, interval, class_="soft")] if interval else [])]
        top, aside = self.tops[place], one.aside if place else None
        gains = "" if change is None else f"{_inside(change)} ({'' if interval is None else _inside(interval)})"
        parts = [
            *_ground(0, top, max(text_width(_inside(one.name)), text_width(gains)), lines=2 if gains else 1),
            write(0, top + 14, one.name, class_=weight),
        ]
        if one.level is not None:
            parts += [
                *_ground(self.width, top, -text_width(_inside(one.level))),
                write(self.width, top + 14, one.level, anchor="end", class_="name"),
            ]
        if change is not None:
            between = join(" (", interval, ")") if interval is not None else None
            parts.append(write(0, top + 30, join(el("tspan", change, class_="name"), between), class_="soft"))
        if aside is not None:
            parts += [
                *_ground(self.width, top + 17, -text_width(_inside(aside))),
                write(self.width, top + 30, aside, anchor="end", class_="soft"),
            ]
        return parts


def _ground(x: Number, top: Number, long: float, *, lines: int = 1) -> list[Html]:
    """The page's own colour behind a text, so that no line runs through it; to the left where `long` is below 0."""
    left, right = sorted((x, x + 0.9 * long))
    return [
        el("rect", x=float(left), y=float(top + 2), width=float(right - left), height=16.0 * lines, class_="ground")
    ]


def _inside(markup: Html) -> str:
    """The text of markup, to tell how long it is."""
    return re.sub("<[^>]*>", "", markup.text)


def _caption(verdict: Fact, stairs: list[Stair]) -> list[Child]:
    sure = fig(wording.confidence, verdict.confidence)
    sentence_parts: list[Child] = [
        "A bar is what a step adds, in ",
        units_of(verdict).difference,
        ", and the line on it the ",
        sure,
        " interval.",
    ]
    if any("open" in one.kind for one in stairs if one.ends is not None):
        sentence_parts.append(" A bar without colour may be chance.")
    return sentence_parts


def _numbers(verdict: Fact, units: Units) -> Html:
    shipped = shipped_place(verdict)
    rows: list[list[Child]] = [
        [
            told(step.step),
            join(fig(units.level, step["value"]), units.unit),
            fig(units.change, step.gain),
            fig(units.ends, step.interval),
            "yes" if place <= shipped else "no",
        ]
        for place, step in enumerate(verdict.ladder)
    ]
    if verdict.in_all.gain.value is not None:
        whole = verdict.in_all
        rows.append(["in all", "", fig(units.change, whole.gain), fig(units.ends, whole.interval), ""])
    head: list[Child] = ["Step", told(verdict.metric), f"Gain in {units.difference}", "Interval", "Adopted"]
    return table("What each step brings", head, rows, words={4})
