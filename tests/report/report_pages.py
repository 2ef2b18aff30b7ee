"""Report pages taken apart: elements as a tree, and every figure walked back to the facts."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from shoptalk.records import Published
from shoptalk.report import render, sentences, wording
from shoptalk.report.reading import as_facts
from tests.report.report_facts import facts

VOID = {"meta", "wbr", "input", "img"}
UNSEEN = {"style", "script"}
# Sentences of ours that hold a number which is no reading of the run.
FIXED = tuple(sentences.MEASURES.values())


@functools.cache
def full_page() -> str:
    return render(facts())


@dataclass
class Node:
    """An element, with its attributes and what is inside it."""

    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    children: "list[Node | str]" = field(default_factory=list)

    def all(self, *tags: str) -> "Iterator[Node]":
        """Every element below this one that has one of the tags; without tags, every element."""
        for child in self.children:
            if isinstance(child, Node):
                if not tags or child.tag in tags:
                    yield child
                yield from child.all(*tags)

    @property
    def text(self) -> str:
        """What a reader sees, spaces as written."""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return "" if self.tag in UNSEEN else "".join(parts)

    def has(self, class_: str) -> bool:
        return class_ in (self.attributes.get("class") or "").split()


class _Parser(HTMLParser):
    """Builds the tree; elements must nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("#page")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(source: str) -> Node:
    """The page as a tree. Fails where elements do not nest or are left open."""
    parser = _Parser()
    parser.feed(source)
    parser.close()
    assert len(parser.open) == 1
    return parser.open[0]


def row_of(source: str, name: str) -> list[str]:
    """The cells of the first row of a table whose head is that name."""
    rows = (row for row in parse(source).all("tr") if any(head.text.strip() == name for head in row.all("th")))
    return [cell.text.strip() for cell in next(rows).all("td")]


def visible(source: str) -> str:
    """The page's text on one line."""
    body = next(parse(source).all("body"))
    spaced = re.sub(r"(?=</(?:p|h\d|li|dt|dd|td|th|text|caption|summary)>)", " ", source)
    body = next(parse(spaced).all("body"))
    return re.sub(r"\s+", " ", body.text)


# --- traceability -------------------------------------------------------------------------------------------------


def resolve(facts: Any, pointer: str) -> Any:
    """What stands at a JSON pointer (RFC 6901), in JSON or in records. Raises LookupError where nothing does."""
    assert pointer.startswith("/")
    for step in pointer[1:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(facts, Published):
            fields = {field.serialization_alias or name: name for name, field in type(facts).model_fields.items()}
            facts = getattr(facts, fields[key])
        else:
            facts = facts[int(key)] if isinstance(facts, list | tuple) else facts[key]
    return facts


def expected(node: Node, facts: Any) -> str:
    """What an element with `data-reading` must say."""
    pointers = re.split(" (?=/)", node.attributes["data-reading"] or "")
    values = [resolve(facts, pointer) for pointer in pointers]
    form = node.attributes["data-as"] or ""
    if form.startswith("key "):
        values = [pointers[0].rpartition("/")[2].replace("~1", "/").replace("~0", "~")]
        form = form.removeprefix("key ")
    return str(wording.clean(getattr(wording, form)(*values)))


def untraced(source: str, facts: Any) -> list[str]:
    """Every text of the page that is not what the facts say, and every number that points to none of them."""
    return list(_untraced(parse(source), as_facts(facts), in_picture=False))


def _untraced(node: Node, facts: Any, *, in_picture: bool) -> Iterator[str]:
    if node.tag in UNSEEN:
        return
    if "data-reading" in node.attributes:
        if node.text != expected(node, facts):
            yield f"{node.attributes['data-reading']}: {node.text!r} is not {expected(node, facts)!r}"
        return
    in_picture = in_picture or node.tag == "svg"
    if in_picture and node.has("tick"):
        return
    for child in node.children:
        if isinstance(child, Node):
            yield from _untraced(child, facts, in_picture=in_picture)
        elif re.search(r"\d", child) and child.strip() not in FIXED:
            yield f"no reading: {child!r} in {node.tag}"
