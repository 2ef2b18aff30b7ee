"""The page: the verdict on the first screen, then the evidence, then how to go on.

`report/facts_json.py` has the record that it is made from. Parts that are absent, null or empty are left out, or a
sentence says why they are missing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from shoptalk.report import again, album_panels, changes, costs, curves, data, doses, gains, guards, maps, tracing
from shoptalk.report.facts_json import RunFacts
from shoptalk.report.figures import Fact, fig
from shoptalk.report.frame import Section, contents, document, sectioned
from shoptalk.report.markup import Html, el
from shoptalk.report.nouns import TEXTS, nouns_of
from shoptalk.report.reading import as_facts
from shoptalk.report.verdict import verdict
from shoptalk.report.wording import page_title

__all__ = ["render"]

_SECTIONS: tuple[tuple[str, str, Callable[[Fact], Html | None]], ...] = (
    ("gains", "The gain, measure by measure", gains.gains),
    ("curves", "Gain as training went on", curves.curves),
    ("entries", "Everything that was tried", gains.entries),
    ("classes", "What changed per class", changes.classes),
    ("traffic", "Labels and traffic", changes.traffic),
    ("texts", "{Many} that changed sides", changes.texts),
    ("captions", "Captions that are found", album_panels.captions),
    ("near", "What lies near, and where it looks", album_panels.looks),
    ("views", "What training saw", album_panels.training),
    ("map", "The map, before and after", maps.maps),
    ("dose", "How much is enough", doses.doses),
    ("guards", "Forgetting and guards", guards.guards),
    ("cost", "What it cost", costs.costs),
    ("label-free", "Measures that need no labels", guards.label_free),
    ("data", "Where the {source} came from", data.data),
    ("trace", "The trace, from {source} to verdict", tracing.trace),
    ("again", "How to reproduce this", again.again),
    ("next", "What to try next", again.next_steps),
)


def render(facts: RunFacts | Mapping[str, Any]) -> str:
    """The report as one HTML page. Everything in `facts` is escaped.

    Raises:
        ArtifactError: a mapping is not what the JSON of facts holds; the message says what is wrong at which place.
    """
    top = Fact(as_facts(facts))
    sections: list[Section] = []
    many = nouns_of(top).many
    source = "text" if many == TEXTS.many else many
    for ident, heading, section in _SECTIONS:
        content = section(top)
        if content is not None:
            sections.append((ident, heading.format(many=many, Many=many.capitalize(), source=source), content))
    title = fig(page_title, top.verdict.choice, top.verdict.served_unproven, top.run, tag="title")
    skip = el("a", "Skip to the evidence", href="#evidence", class_="skip")
    main = el("main", sectioned(sections), id="evidence", tabindex="-1")
    return document(title, skip, el("header", verdict(top)), contents(sections), main)
