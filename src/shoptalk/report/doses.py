"""How much is enough: the dose curves of tokens, texts and, where the task has them, labels."""

from shoptalk.report import sentences, wording
from shoptalk.report.figures import Fact, fig, listed, told
from shoptalk.report.lines import Frame, Point, Series, line_chart
from shoptalk.report.markup import Child, Html, disclosure, el, join, note, paragraphs, table
from shoptalk.report.nouns import dosed_nouns
from shoptalk.report.units import Units, units_of

_TITLES = {"tokens": "Of training", "texts": "Of {unit}", "labels": "Of labels"}


def doses(facts: Fact) -> Html | None:
    """A chart and a sentence for each curve."""
    decision, many = facts.verdict, dosed_nouns(facts.kind.value)
    if not facts.dose:
        if not wording.gained(decision.value):
            return None  # what is drawn are gains
        more = (
            f"more training, more {many} and more labels"
            if decision.value.labelled
            else f"more training and more {many}"
        )
        command = el("code", "shoptalk dose RUN")
        return paragraphs(
            join("Not measured yet. ", command, f" measures what {more} would bring, and renders this page again.")
        )
    looked = facts.dose.looked
    about = el(
        "p",
        "Every point is the gain over the base",
        *([", in the first two curves" if facts.dose.curves.labels else "", " in ", told(looked)] if looked else []),
        ". The dashed part says what twice as much would bring, where a law fitted to the smaller doses predicted the "
        "largest one.",
        sentences.DOSES_SHORT if facts.kind.value == "lm" else sentences.DOSES_LOOKED,
    )
    units = units_of(decision)
    return join(about, *(_curve(name, curve, units) for name, curve in facts.dose.curves.items() if curve))


def _curve(name: str, curve: Fact, units: Units) -> Html:
    points = _points(curve.points, "gain")
    if not points:
        return join()
    unit = curve.unit.value
    log = name == "labels" and min(point.x for point in points) > 0 and len(points) > 1
    lines = [Series("gain", points)]
    twice = _twice(curve, points[-1])
    if twice:
        lines.append(Series("twice", twice, 0, dashed=True))
    frame = Frame(
        f"dose-{name}",
        f"Gain against {unit}",
        "The numbers are in the table below.",
        unit,
        f"gain in {units.difference}",
        height=250,
        log=log,
    )
    return join(
        el("h3", _TITLES[name].format(unit=unit)),
        line_chart(frame, lines),
        note(told(curve.sentence, wording.sentence)),
        _left_out(curve.left_out) if name == "texts" else None,
        _accuracies(curve.accuracy, unit, log) if name == "labels" else None,
        disclosure("The numbers of this picture", _table(curve.points, unit, units)),
    )


def _points(rows: Fact, of: str) -> tuple[Point, ...]:
    found = []
    for row in rows:
        x, y, ends = row.dose.number, row[of].number, row.interval.pair
        if x is not None and y is not None:
            found.append(Point(x, y, *(ends or (y, y))))
    return tuple(found)


def _twice(curve: Fact, last: Point) -> tuple[Point, ...]:
    """From the largest dose to twice of it, where a law allows to say so."""
    twice = curve.twice
    x, change, ends = twice.dose.number, twice.change.number, twice.interval.pair
    if x is None or change is None or ends is None:
        return ()
    low, high = ends
    return (last._replace(low=last.y, high=last.y), Point(x, last.y + change, last.y + low, last.y + high))


def _accuracies(arms: Fact, unit: str, log: bool) -> Html:
    """Base and adapted, both against labels: where the gap closes, labels do what adapting did."""
    lines = [
        Series(name, points, index, dashed=name == "base")
        for index, (name, arm) in enumerate(reversed(arms.items()))
        if (points := _points(arm.points, "gain"))
    ]
    if not lines:
        return join()
    frame = Frame(
        "dose-accuracy",
        f"Accuracy against {unit}",
        "The numbers are in the table below.",
        unit,
        "accuracy in %",
        height=250,
        log=log,
        plus=False,
    )
    return line_chart(frame, lines)


def _left_out(left: Fact) -> Html | None:
    if not left:
        return None
    return note("Left out by the budget: ", listed([told(part) for part in left]), " of the corpus.")


def _table(rows: Fact, unit: str, units: Units) -> Html:
    head: list[Child] = [unit.capitalize(), "Base", "Adapted", "Gain", "Interval"]
    return table(
        f"Gain by {unit}, in {units.difference}",
        head,
        [
            [
                fig(wording.count, row.dose),
                join(fig(units.level, row.base), units.unit),
                join(fig(units.level, row.adapted), units.unit),
                fig(units.change, row.gain),
                fig(units.ends, row.interval),
            ]
            for row in rows
        ],
    )
