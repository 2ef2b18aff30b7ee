"""The map of the embedding space before and after; without the script two plain pictures, with it a tool.

The script (`report.js`) takes over what is drawn here: search, hover, other classes, one panel that moves.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from shoptalk.report import wording
from shoptalk.report.charts import COLOURS, MARKERS, Number
from shoptalk.report.figures import Fact, embedded, fig, named, told
from shoptalk.report.markup import Child, Html, el, join, note
from shoptalk.report.nouns import TEXTS, Nouns, nouns_of

_SIDE, _EDGE = 400, 12
_COLUMNS = ("classes", "sources", "text", "class", "source", "before", "after")


def maps(facts: Fact) -> Html | None:
    """Both panels, their legend, and the data for the script."""
    found, nouns = facts.map, nouns_of(facts)
    if not found:
        return None
    kind = "class" if any(label is not None for label in found.class_.value) else "source"
    groups = _groups(facts, kind)
    held: dict[str, Any] = {name: found[name].value for name in _COLUMNS}
    held |= {"kind": kind, "groups": groups, "side": _SIDE, "edge": _EDGE, "shapes": [_split(m) for m in MARKERS]}
    held |= {} if nouns == TEXTS else {"one": nouns.one, "many": nouns.many}
    names = found["classes" if kind == "class" else "sources"]
    return join(
        _about(found, kind, nouns),
        el(
            "div",
            _controls(nouns),
            el(
                "div",
                _panel("before", "Before: the base model", found.before.value, found[kind].value, groups, nouns),
                _panel("after", "After: the adapted model", found.after.value, found[kind].value, groups, nouns),
                el("div", class_="tip", hidden=""),
                class_="panels-2",
            ),
            el("ul", *(el("li", _chip(names[group], place)) for place, group in enumerate(groups)), class_="legend"),
            el("div", class_="results", hidden=""),
            class_="map",
        ),
        Html(f'<script type="application/json" id="map-data">{embedded(held)}</script>'),
    )


def _about(found: Fact, kind: str, nouns: Nouns) -> Html:
    drawn = join(
        fig(wording.how_many, found.before), " of ", fig(wording.count, found.n_all), f" {nouns.many} are drawn."
    )
    which = " Coloured are the classes that changed most." if kind == "class" else ""
    return note(
        f"Each mark is a {nouns.one}; near ones mean similar things to the encoder. ",
        drawn,
        which,
        " ",
        told(found.method, wording.sentence),
    )


def _controls(nouns: Nouns) -> Html:
    """What the script brings to life; hidden without it."""
    views = (("both", "Both"), ("before", "Before"), ("after", "After"))
    buttons = (el("button", said, type="button", data_view=view, aria_pressed="false") for view, said in views)
    return el(
        "div",
        el(
            "label",
            "Search ",
            el(
                "input",
                type="search",
                placeholder="words of a text" if nouns == TEXTS else "a part of a name",
                autocomplete="off",
            ),
        ),
        el("label", "Colour by ", el("select", data_pick="kind")),
        el("label", "Also show ", el("select", data_pick="group")),
        el("div", *buttons, role="group", aria_label="Which map", class_="views"),
        class_="controls",
        hidden="",
    )


def _groups(facts: Fact, kind: str) -> list[int]:
    """At most as many classes or sources as there are colours: those that changed most, then the largest."""
    found = facts.map
    sizes = Counter(group for group in found[kind].value if group is not None)
    names = found["classes" if kind == "class" else "sources"]
    change = {}
    if kind == "class":
        change = {row.label.value: abs(row.gain.number or 0.0) for row in facts.per_class}
    ranked = sorted(sizes, key=lambda group: (-change.get(names[group].value, 0.0), -sizes[group], group))
    return ranked[:COLOURS]


def _panel(
    side: str,
    title: str,
    points: Sequence[Sequence[Number]],
    member: Sequence[int | None],
    groups: list[int],
    nouns: Nouns,
) -> Html:
    place = {group: index for index, group in enumerate(groups)}
    rest: list[str] = []
    drawn: list[list[str]] = [[] for _ in range(COLOURS)]
    for (x, y), group in zip(points, member, strict=True):
        at = (_EDGE + x * (_SIDE - 2 * _EDGE), _EDGE + y * (_SIDE - 2 * _EDGE))
        if group in place:
            drawn[place[group]].append(_placed(MARKERS[place[group]], *at))
        else:
            rest.append(f"M{at[0]:.1f},{at[1]:.1f}h0")
    coloured = (el("path", d="".join(marks), class_=f"mark c{index}") for index, marks in enumerate(drawn))
    return el(
        "figure",
        el("figcaption", title),
        el(
            "svg",
            el("title", title, id=f"map-{side}-title"),
            el(
                "desc",
                f"A cloud of {nouns.many}. The list below it names {nouns.many} and says where they moved.",
                id=f"map-{side}-desc",
            ),
            el("path", d="".join(rest), class_="dots"),
            *coloured,
            el("g", class_="rings"),
            role="img",
            aria_labelledby=f"map-{side}-title",
            aria_describedby=f"map-{side}-desc",
            viewBox=f"0 0 {_SIDE} {_SIDE}",
        ),
        data_side=side,
    )


def _split(shape: str) -> tuple[float, float, str]:
    """Where a marker begins, and its relative rest."""
    match = re.fullmatch(r"M(-?[\d.]+),(-?[\d.]+)(.*)", shape)
    assert match is not None
    return float(match[1]), float(match[2]), match[3]


def _placed(shape: str, x: Number, y: Number) -> str:
    dx, dy, rest = _split(shape)
    return f"M{x + dx:.1f},{y + dy:.1f}{rest}"


def _chip(name: Fact, place: int) -> Html:
    sign = el(
        "svg",
        el("path", d=MARKERS[place], class_=f"mark c{place}"),
        viewBox="-6 -6 12 12",
        width="14",
        height="14",
        aria_hidden="true",
    )
    parts: list[Child] = [sign, " ", named(name)]
    return join(*parts)
