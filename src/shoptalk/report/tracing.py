"""The trace: what entered, what changed in the model, what became visible in the result, as one picture.

Every artifact is a node with the start of its hash; the whole hash shows while a node is pointed at or focused, and
stands in the table that it links to.
"""

from collections import defaultdict
from dataclasses import dataclass

from shoptalk.report import wording
from shoptalk.report.charts import Number, figure, line, write
from shoptalk.report.figures import Fact, fig, keyed, named, told
from shoptalk.report.markup import Child, Html, disclosure, el, join, note, table
from shoptalk.report.nouns import Nouns, nouns_of
from shoptalk.report.tracepanels import Panel, panels

_COLUMN = {
    "source": 0, "base": 1, "corpus": 1, "baseline": 2, "targets": 2, "entry": 3, "decision": 4, "candidate": 4,
    "encoder": 4, "head": 5,
}  # fmt: skip
_STAGES = ("What entered", "What changed in the model", "What became visible")
_MOST_SOURCES = 4
_WORDS = {
    "source": "what was given",
    "base": "base model",
    "corpus": "curated items",
    "baseline": "base, measured",
    "targets": "targets",
    "entry": "checkpoint",
    "encoder": "model",
    "head": "classifier",
    "evidence": "for this page",
    "decision": "verdict",
}
"""What an artifact of a kind is, in words that need no manual."""
_WIDTH, _HEIGHT, _PITCH = 122, 56, 142
_GROUP = 2 * _PITCH  # a stage of the trace is two columns wide


@dataclass(frozen=True)
class _Box:
    """A node and where it is drawn."""

    node: Fact
    column: int
    x: float
    y: float


def trace(facts: Fact) -> Html | None:
    """The picture, and tables of everything in it; None where nothing was traced."""
    nodes = list(facts.trace.nodes)
    if not nodes:
        return None
    shown = _shown(nodes)
    parts = panels(facts)

    def draw(width: Number, suffix: str) -> Html:
        boxes, bottom = _wide(shown) if width > 500 else _narrow(shown)
        content, height = _panels_below(parts, width, bottom + 66)
        return el(
            "svg",
            *(_headings(width) if width > 500 else ()),
            *_edges(boxes, bottom, down=width <= 500),
            *(_drawn(box, bottom, width) for box in boxes.values()),
            *content,
            role="group",
            aria_label="Artifacts of the run, each linked to its row in the table of artifacts",
            viewBox=f"0 0 {width} {height:g}",
            width=width,
            height=height,
            class_=f"trace {suffix}",
        )

    hidden = len(nodes) - len(shown)
    return join(
        figure(draw),
        note(
            "Each box is an artifact with the first eight digits of its hash; point at one, or move to it with the "
            "tabulator key, to see all of it. ",
            "Sources that are not drawn are in the table." if hidden else None,
        ),
        disclosure("All artifacts with their hashes", _table(nodes)),
        _layers(facts.layers, facts.moved, nouns_of(facts)),
    )


def _shown(nodes: list[Fact]) -> list[Fact]:
    sources = [node for node in nodes if node.kind.value == "source"]
    left_out = {node.pointer for node in sources[_MOST_SOURCES:]}
    return [node for node in nodes if node.pointer not in left_out]


def _columns(nodes: list[Fact]) -> list[list[Fact]]:
    columns = defaultdict(list)
    for node in nodes:
        columns[_COLUMN.get(node.kind.value, 5)].append(node)
    return [columns[column] for column in range(6)]


def _wide(nodes: list[Fact]) -> tuple[dict[str, _Box], float]:
    columns = _columns(nodes)
    step = _HEIGHT + 14
    tall = max(len(column) for column in columns) * step
    boxes = {}
    for place, column in enumerate(columns):
        top = 40 + (tall - len(column) * step) / 2
        for row, node in enumerate(column):
            boxes[node.id.value] = _Box(node, place, 1.0 + place * _PITCH, top + row * step)
    return boxes, 40.0 + tall


def _narrow(nodes: list[Fact]) -> tuple[dict[str, _Box], float]:
    boxes, y = {}, 4.0
    for depth, column in enumerate(_columns(nodes)):
        for first in range(0, len(column), 2):
            for place, node in enumerate(column[first : first + 2]):
                alone = len(column) - first == 1
                x = 111.0 if alone else 40 + place * 142.0
                boxes[node.id.value] = _Box(node, depth, x, y)
            y += _HEIGHT + (8 if first + 2 < len(column) else 26 if column else 0)
    return boxes, y - 12


def _headings(width: Number) -> list[Html]:
    parts = []
    for place, title in enumerate(_STAGES):
        left, right = 1 + place * _GROUP, 1 + place * _GROUP + 264.0
        parts += [write((left + right) / 2, 14, title, anchor="middle", class_="heading")]
        parts += [line(left, 24, min(right, width), 24, "axis")]
    return parts


def _edges(boxes: dict[str, _Box], bottom: float, *, down: bool) -> list[Html]:
    """A curve from each artifact to those that were made from it; one that skips a column goes round on a lane."""
    parts: list[Html] = []
    lanes: dict[str, int] = {}  # those to the same artifact share one
    for box in boxes.values():
        for start in _nearest(box, boxes):
            skips = box.column - start.column > 1 or (down and _between(start, box, boxes))
            lane = (bottom, lanes.setdefault(box.node.pointer, len(lanes) + 1)) if skips else None
            parts.append(el("path", d=(_down if down else _across)(start, box, lane), class_="edge"))
    return parts


def _nearest(box: _Box, boxes: dict[str, _Box]) -> list[_Box]:
    """The drawn parents of an artifact, but for those that another of them comes from anyway."""
    parents = [boxes[name] for name in box.node.parents.value if name in boxes]
    earlier = {name for parent in parents for name in _ancestors(parent, boxes)}
    return [parent for parent in parents if parent.node.id.value not in earlier]


def _ancestors(box: _Box, boxes: dict[str, _Box]) -> set[str]:
    """All artifacts that one was made from."""
    found: set[str] = set()
    todo = list(box.node.parents.value)
    while todo:
        name = todo.pop()
        if name in boxes and name not in found:
            found.add(name)
            todo += boxes[name].node.parents.value
    return found


def _between(start: _Box, box: _Box, boxes: dict[str, _Box]) -> bool:
    """Whether a third artifact stands on the way down."""
    return any(start.y < other.y < box.y for other in boxes.values())


def _across(start: _Box, box: _Box, lane: tuple[float, int] | None) -> str:
    x1, y1, x2, y2 = start.x + _WIDTH, start.y + _HEIGHT / 2, box.x, box.y + _HEIGHT / 2
    if lane is None:
        return f"M{x1:.0f},{y1:.0f}C{x1 + 14:.0f},{y1:.0f} {x2 - 14:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"
    y, off = lane[0] + 6 * lane[1] - 8, 3 * lane[1]
    return f"M{x1:.0f},{y1:.0f}h{2 + off:.0f}V{y - 6:.0f}q0,6 6,6H{x2 - 10 - off:.0f}q6,0 6,-6V{y2:.0f}H{x2:.0f}"


def _down(start: _Box, box: _Box, lane: tuple[float, int] | None) -> str:
    x1, y1, x2, y2 = start.x + _WIDTH / 2, start.y + _HEIGHT, box.x + _WIDTH / 2, box.y
    if lane is None:
        return f"M{x1:.0f},{y1:.0f}C{x1:.0f},{y1 + 14:.0f} {x2:.0f},{y2 - 14:.0f} {x2:.0f},{y2:.0f}"
    left = box.x + start.x <= 222
    x = 34.0 - 4 * lane[1] if left else 310.0 + 4 * lane[1]
    out, into = (start.x, box.x) if left else (start.x + _WIDTH, box.x + _WIDTH)
    return f"M{out:.0f},{start.y + _HEIGHT / 2 + 6:.0f}H{x:.0f}V{box.y + _HEIGHT / 2 - 6:.0f}H{into:.0f}"


def _drawn(box: _Box, bottom: float, width: Number) -> Html:
    """A node: its kind, name and short hash; its whole hash in the line under all nodes."""
    node = box.node
    kind = _WORDS[node.kind.value]
    if width > 500:
        whole: list[Html] = [write(1, bottom + 36, fig(wording.words, node.hash, tag="tspan"), class_="whole")]
    else:
        whole = [
            write(1, bottom + 18, fig(wording.hash_start, node.hash, tag="tspan"), class_="whole"),
            write(1, bottom + 34, fig(wording.hash_end, node.hash, tag="tspan"), class_="whole"),
        ]
    return el(
        "a",
        fig(wording.words, node.says, tag="title") if node.says else None,
        el("rect", x=box.x, y=box.y, width=float(_WIDTH), height=float(_HEIGHT), rx="5", class_="node"),
        write(box.x + 8, box.y + 15, kind, class_="soft"),
        write(box.x + 8, box.y + 31, fig(wording.node_name, node.id, tag="tspan"), class_="called"),
        write(box.x + 8, box.y + 47, fig(wording.short_hash, node.hash, tag="tspan"), class_="hash"),
        *whole,
        href=f"#{_row_id(node)}",
    )


def _row_id(node: Fact) -> str:
    return "artifact-" + node.pointer.rpartition("/")[2]


def _panels_below(parts: list[Panel], width: Number, top: float) -> tuple[list[Html], float]:
    """The panels in a row under the nodes, or one below the other where it is narrow."""
    drawn, y, tallest = [], top, 0.0
    for place, panel in enumerate(parts):
        x = 1 + place * _GROUP if width > 500 else 1.0
        wide = 264.0 if width > 500 else width - 2.0
        content, height = panel(wide)
        if width <= 500:
            content = join(write(0, 0, _STAGES[place], class_="heading"), el("g", content, transform="translate(0,8)"))
        drawn.append(el("g", content, transform=f"translate({x:.1f},{y:.1f})"))
        tallest = max(tallest, height)
        if width <= 500:
            y += height + 40
    return drawn, (y if width <= 500 else top + tallest) + 8


def _table(nodes: list[Fact]) -> Html:
    head: list[Child] = ["Artifact", "What it is", "Folder", "Time", "Hash"]
    names = {node.id.value: node for node in nodes}
    made: list[list[Child]] = []
    for node in nodes:
        parents = [names[one].id for one in node.parents.value if one in names]
        source = join(" from ", *(part for one in parents for part in (named(one), " "))) if parents else None
        made.append(
            [
                el("span", named(node.id), id=_row_id(node)),
                join(told(node.says, wording.sentence), el("small", source)),
                named(node.folder),
                fig(wording.duration, node.seconds),
                el("span", told(node.hash), class_="hash"),
            ]
        )
    return table("Every artifact, and what it was made from", head, made, words={1, 2, 4})


def _layers(layers: Fact, moved: Fact, nouns: Nouns) -> Html | None:
    """The numbers of the middle panel."""
    if not layers and not moved:
        return None
    made: list[list[Child]] = [[named(layer.name), fig(wording.change, layer.change)] for layer in layers]
    spread: list[list[Child]] = [["Mean", fig(wording.cosine, moved.mean)]]
    for _, place in moved.quantiles.items():
        spread.append(
            [join(keyed(place, wording.key_share), f" of the {nouns.many} lie below"), fig(wording.cosine, place)]
        )
    return disclosure(
        "The numbers of the model's change",
        table("How much of its weights each part changed", ["Part", "Change"], made) if made else None,
        table(f"Cosine between a {nouns.one}'s vector before and after", [f"Of all {nouns.many}", "Cosine"], spread)
        if moved
        else None,
    )
