"""Verdicts of tasks that are not accuracies are written in their own units, on one run's page and among others."""

import copy
from typing import Any

import pytest

from shoptalk.report import render
from shoptalk.report.markdown import render_markdown
from shoptalk.report.reading import as_facts
from shoptalk.report.runs import FinishedRun, compared
from shoptalk.report.side_by_side import comparison_markdown, render_comparison
from tests.report.report_facts import facts
from tests.report.report_pages import untraced, visible

BITS = {
    "name": "bits per letter",
    "unit": "bits",
    "difference": "bits",
    "finding": "needs {adapted} against {base}",
    "examples": "texts",
    "lower_is_better": True,
    "decimals": 3,
}


def in_bits() -> dict[str, Any]:
    told = copy.deepcopy(facts())
    told["verdict"] |= {"metric": "bits per letter", "measure": BITS, "base": 4.9412, "adapted": 1.2694, "gain": 3.6718}
    told["verdict"] |= {"interval": [3.6572, 3.6871]}
    return told


def runs() -> list[FinishedRun]:
    return [
        FinishedRun(name, as_facts(told), {"base": "minilm", "seed": 0}, {"labels": "1a" * 32}, {})
        for name, told in (("a", in_bits()), ("b", in_bits()), ("c", facts()))
    ]


def test_a_page_has_the_units_of_its_task_and_every_figure_on_it_is_traced() -> None:
    page = render(as_facts(in_bits()))
    seen = visible(page)
    for words in ("+3.672 bits", "+3.657 to +3.687 bits", "4.941 bits", "1.269 bits", "gain in bits"):
        assert words in seen
    assert "gain in points" not in seen.partition("What changed per class")[0].partition("measure by measure")[0]
    assert untraced(page, in_bits()) == []


def test_markdown_has_as_many_decimals_as_the_task_asks_for() -> None:
    text = render_markdown(as_facts(in_bits()))
    assert "+0.700" in text or "+2.300" in text  # the menu's gains


@pytest.mark.parametrize("form", [render_comparison, comparison_markdown])
def test_runs_side_by_side_are_each_in_their_own_units(form: Any) -> None:
    text = form(compared(runs()))
    seen = visible(text) if "<html" in text else text
    assert "+3.672" in seen and "1.269 bits" in seen and "%" in seen


def test_no_axis_is_shared_by_two_units_and_findings_have_them() -> None:
    seen = visible(render_comparison(compared(runs())))
    assert "gain in bits" in seen and "gain in points" in seen
    findings = " ".join(compared(runs()).findings)
    assert "a (+3.672 bits, +3.657 to +3.687) and b (+3.672, +3.657 to +3.687) cannot be told apart" in findings
    assert "their metrics differ (bits per letter and accuracy)" in findings
