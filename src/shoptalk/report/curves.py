"""Gain against training for every candidate, eliminated ones too, and what their losses did."""

from shoptalk.report import sentences, wording
from shoptalk.report.figures import Fact, fig, named
from shoptalk.report.lines import Frame, Series, line_chart, loss_panel, read_curve
from shoptalk.report.markup import Child, Html, disclosure, el, join, note, paragraphs
from shoptalk.report.nouns import nouns_of
from shoptalk.report.units import units_of


def curves(facts: Fact) -> Html | None:
    """The probe curves with their bands; the training losses are folded away below them. None where nothing was
    trained.
    """
    if not facts.verdict.candidates and not facts.losses:
        return None
    return join(_gains(facts), _losses(facts))


def _gains(facts: Fact) -> Html:
    lines = [
        Series(curve.objective, points, index, dashed=bool(curve.eliminated))
        for index, curve in enumerate(facts.curves)
        if (points := read_curve(curve, over_another=_other_base(facts) is not None))
    ]
    if not lines:
        return paragraphs(_no_gain(facts))
    base, reached = facts.ceiling.base, facts.ceiling.accuracy
    smallest, units, counted = facts.verdict.smallest_gain, units_of(facts.verdict), nouns_of(facts).units
    said: list[Child] = ["Each line is a candidate, its band the interval at each checkpoint.", *_start(facts)]
    references = []
    if any(line.dashed for line in lines):
        said.append(" Dashed lines were eliminated: their training was ended before its time.")
    if facts.verdict.heads:
        said.append(f" {sentences.SAME_HEAD}")
    if smallest.number:
        references.append((smallest.number, "worth having"))
        said += [" The smallest gain worth having is ", fig(units.change, smallest), "."]
    if reached.number is not None and base.number is not None:
        references.append((reached.number - base.number, "ceiling"))
        said += [
            f" {sentences.CEILING} It lies ",
            fig(wording.apart, reached, base),
            f" {units.difference} from the base model.",
        ]
    frame = Frame(
        "gain",
        f"Gain against training {counted}",
        "A line for each candidate; their numbers are in the table of everything that was tried.",
        f"training {counted}",
        f"gain in {units.difference}",
        references,
    )
    return join(line_chart(frame, lines), note(*said))


def _other_base(facts: Fact) -> Fact | None:
    """The base that was trained, where it is not the one that gains are over."""
    first = next(iter(facts.verdict.bases), None)
    return None if first is None or first.best.value else first.base


def _start(facts: Fact) -> list[Child]:
    """Where the lines start, and what gains are over."""
    trained, start = _other_base(facts), next((curve.start for curve in facts.curves if curve.start), None)
    if trained is None:
        return [" All start at the base model, at no gain."]
    over: list[Child] = [
        " Gains are over ",
        named(facts.verdict.base_model),
        ", the best of the bases; what was trained is ",
    ]
    if start is None:
        return [
            *over,
            named(trained),
            ", which an earlier version did not hold against it: lines begin at a checkpoint.",
        ]
    units = units_of(facts.verdict)
    level: list[Child] = [fig(units.change, start.gain), f" {units.difference}"]
    return [*over, named(trained), ", so all start there, at ", *level, "."]


def _no_gain(facts: Fact) -> str:
    if not wording.gained(facts.verdict.value):
        return f"{sentences.NO_JUDGE} So there is no curve of gains."
    return "No gain was measured while training went on; the table below has the final ones."


def _losses(facts: Fact) -> Html:
    panels, broken = [], False
    order = {curve.objective.value: index for index, curve in enumerate(facts.curves)}
    for index, curve in enumerate(facts.losses):
        logged = curve.points.value
        points = [(float(step), float(loss)) for step, loss in logged if wording.number(loss) is not None]
        broken = broken or len(points) < len(logged)
        if points:
            colour = order.get(curve.objective.value, index)
            panels.append(el("div", el("h3", named(curve.objective)), loss_panel(f"loss-{index}", points, colour)))
    if not panels:
        return paragraphs("No training step was logged.")
    failed = note("Left out: ", fig(wording.not_finite, facts.losses), " logged losses that are not finite numbers.")
    return disclosure(
        "Training losses",
        el("div", *panels, class_="panels"),
        note("Loss against training steps. Losses of different objectives cannot be compared: each has its own scale."),
        failed if broken else None,
    )
