"""What may have got worse: forgetting and the other guards; and the measures that need no labels."""

from shoptalk.report import sentences, wording
from shoptalk.report.charts import Axis, against_limit, make_axis
from shoptalk.report.figures import Fact, fig, keyed, named, told
from shoptalk.report.markup import Child, Html, el, join, note, paragraphs, table


def guards(facts: Fact) -> Html | None:
    """Every guard that was read, its value against its limit; None where no entry came far enough for one."""
    found = facts.guards
    if not found:
        return None
    values = [number for row in found for number in (row.change.number, row.limit.number) if number is not None]
    low, high = min([0.0, *values]), max([0.0, *values])
    scale = make_axis(low - 0.15 * (high - low), high, 6, 128, widen=False) if values else None
    head: list[Child] = ["Entry and guard", el("span", "Picture", class_="desk"), "Value", "Limit", "Result"]
    forgetting = sentences.FORGETTING
    if facts.kind.value == "lm":
        asked = f" {sentences.FORGETTING_CLOZE}" if facts.verdict.general_cloze else ""
        forgetting = f"{sentences.FORGETTING_LM}{asked}"
    return join(
        paragraphs(f"{sentences.GUARD} {forgetting}"),
        table("What must not fall below its limit", head, [_guard(row, scale) for row in found], words={1, 4}),
        note("In the pictures the dotted line is the limit, and the shaded part lies beyond it."),
    )


def _guard(row: Fact, scale: Axis | None) -> list[Child]:
    value, limit = row.change.number, row.limit.number
    drawn = against_limit(value, limit, scale) if scale and value is not None and limit is not None else None
    inside, in_points = row.inside.value, row.unit.value in (None, "points")
    unit: list[Child] = [] if in_points else [", in ", told(row.unit)]
    return [
        join(named(row.entry), " ", el("small", told(row.name), *unit)),
        el("span", drawn, class_="desk"),
        fig(wording.places_2 if in_points else wording.signed_3, row.change),
        fig(wording.places_2 if in_points else wording.signed_3, row.limit),
        el("span", wording.inside(inside), class_="yes" if inside else "no"),
    ]


def label_free(facts: Fact) -> Html | None:
    """What can be said of the models without labels, the change against the base beside it; None where nothing is."""
    found = facts.label_free
    names = wording.measures(found.value)
    if not names:
        return None
    first = found[0]
    made: list[list[Child]] = [
        [named(row.entry), *(_change(row, first, measure) for measure in names)] for row in found
    ]
    explained = wording.explained(names)
    heads: list[Child] = ["Entry", *(el("span", _measure(found, measure), class_="measure") for measure in names)]
    return join(
        paragraphs(sentences.LABEL_FREE_LM if facts.kind.value == "lm" else sentences.LABEL_FREE),
        el("ul", *(el("li", said) for said in explained)) if explained else None,
        table("Measures", heads, made),
        note("Small numbers are the change against ", named(first.entry), "."),
    )


def _measure(found: Fact, measure: str) -> Html:
    """A measure's name, as the first row that has it calls it."""
    return next(keyed(row.values[measure]) for row in found if measure in row.values.value)


def _change(row: Fact, first: Fact, measure: str) -> Html:
    value, base = row.values[measure], first.values[measure]
    said = fig(wording.plain_value, value)
    if row == first or value.number is None or base.number is None:
        return said
    return join(said, " ", el("small", fig(wording.difference, value, base)))
