"""Every figure on the page is a reading: it points into the facts, and says what stands there."""

import copy
from typing import Any

import pytest

from shoptalk.report import render
from tests.report.report_facts import facts, unlabelled
from tests.report.report_pages import full_page, parse, untraced


def on_a_test_set() -> dict[str, Any]:
    changed = facts()
    changed["verdict"] |= {"on_test": True, "n_draws": 0, "labels_needed": 1200, "choice": "inconclusive"}
    return changed


def with_strange_keys() -> dict[str, Any]:
    changed = facts()
    for row in changed["label_free"]:
        row["values"] = {f"a/b ~{n} /c": value for n, value in enumerate(row["values"].values())}
    changed["skipped"] = {"x / y": "it needs 2 of them"}
    return changed


@pytest.mark.parametrize(
    "given",
    [facts(), unlabelled(), on_a_test_set(), with_strange_keys()],
    ids=["whole", "no labels", "test set", "strange keys"],
)
def test_every_figure_resolves_to_the_value_that_it_shows(given: dict[str, Any]) -> None:
    assert untraced(render(given), given) == []


def test_the_page_has_many_figures_and_every_part_of_the_facts_is_read() -> None:
    readings = [
        node.attributes["data-reading"] or "" for node in parse(full_page()).all() if "data-reading" in node.attributes
    ]
    assert len(readings) > 600
    parts = {reading.split("/")[1] for reading in readings}
    drawn = {"losses"}  # lines without numbers of their own
    assert facts().keys() - drawn == parts - drawn


def test_a_figure_that_is_not_the_facts_is_found() -> None:
    assert untraced(full_page().replace(">+2.3<", ">+2.4<", 1), facts())
    assert untraced(full_page().replace("What it cost", "What 7 cost", 1), facts())
    changed = copy.deepcopy(facts())
    changed["cost"]["waste"] = 0.09
    assert untraced(full_page(), changed) == ["/cost/waste: '8.0 %' is not '9.0 %'"]
