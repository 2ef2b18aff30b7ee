"""Several finished runs side by side: what may be said of them together, and what may not."""

import copy
import dataclasses
import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from shoptalk.report import side_by_side as forms
from shoptalk.report import wording as report_text
from shoptalk.report.reading import as_facts
from shoptalk.report.runs import FinishedRun, compared
from shoptalk.report.side_by_side import comparison_markdown, render_comparison
from tests.report.report_facts import facts, unlabelled
from tests.report.report_pages import resolve

LABELS, OTHER, TEST, BASE = "1a" * 32, "2b" * 32, "3c" * 32, "4d" * 32


def run(name: str, gain: float | None = 2.3, half: float = 1.0, **more: Any) -> FinishedRun:
    """A finished run; `more` are its settings, `parents` its inputs."""
    told = copy.deepcopy(facts() if gain is not None else unlabelled())
    if gain is not None:
        adapted = told["verdict"]["base"] + gain
        told["verdict"] |= {"gain": gain, "interval": [gain - half, gain + half], "adapted": adapted}
    parents = {"labels": LABELS, "base": BASE, "chats.jsonl": OTHER} | more.pop("parents", {})
    shots = more.pop("shots", 5)
    told["verdict"] |= {"shots": shots} | ({"candidates": more.pop("candidates")} if "candidates" in more else {})
    settings = {"base": "minilm", "seed": 0, "shots": shots, "objectives": {"mlm": {"lr": 2e-5}}} | more
    known = {name: value for name, value in parents.items() if value is not None}
    return FinishedRun(name, as_facts(told), settings, known, {"torch": "2.13.0"})


def said(*runs: FinishedRun) -> str:
    return " ".join(compared(runs).findings)


def test_runs_measured_alike_whose_intervals_overlap_cannot_be_told_apart() -> None:
    told = said(run("a", 2.3), run("b", 1.0))
    assert (
        told == "a (+2.3 points, +1.3 to +3.3) and b (+1.0, 0.0 to +2.0) cannot be told apart: their intervals overlap."
    )


def test_runs_whose_intervals_do_not_overlap_are_ranked_whatever_their_order() -> None:
    for order in (("a", 0.5, "b", 9.0), ("b", 9.0, "a", 0.5)):
        told = said(run(order[0], order[1]), run(order[2], order[3]))
        assert "can be told apart: b gains more" in told
        assert "a gains more" not in told


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (run("b", 9.0, parents={"labels": OTHER}), "their labels files differ (SHA-256 1a1a1a1a and SHA-256 2b2b2b2b)"),
        (run("b", 9.0, parents={"test": TEST}), "their test sets differ (none was given and SHA-256 3c3c3c3c)"),
        (run("b", 9.0, shots=10), "they were measured with 5 and 10 labels per class"),
        (run("b", 9.0, base="other", parents={"base": OTHER}), "they start from different bases (minilm and other)"),
    ],
)
def test_runs_that_were_measured_otherwise_are_not_ranked_and_the_reason_is_said(other: FinishedRun, why: str) -> None:
    found = compared([run("a", 0.5), other])
    told = " ".join(found.findings)
    assert "b may not be ranked with a:" in told and why in told
    assert "gains more" not in told and found.groups == ((0,), (1,))


def test_where_only_the_base_differs_the_accuracies_are_told_instead() -> None:
    other = run("b", 1.0, base="other", parents={"base": OTHER})
    assert "a 80.4 % and b 79.1 % (no interval was made for that difference)" in said(run("a", 2.3), other)
    both = run("b", 1.0, base="other", parents={"base": OTHER, "labels": OTHER})
    assert "no interval was made" not in said(run("a", 2.3), both)


def test_runs_without_a_gain_are_named_with_the_reason_and_left_out_of_the_ranking() -> None:
    nothing = run("c", 1.0, candidates=[])
    found = compared([run("a"), run("b", None, parents={"labels": None}), nothing])
    assert found.findings[:2] == (
        "b has no gain to compare: it had no labels.",
        "c has no gain to compare: nothing was trained.",
    )
    assert found.groups == ((0,),)


def test_of_three_runs_only_those_measured_alike_are_ranked() -> None:
    found = compared([run("a", 0.5), run("b", 9.0), run("c", 9.0, shots=1)])
    assert found.groups == ((0, 1), (2,))
    assert any(line.startswith("c may not be ranked with a and b:") for line in found.findings)
    assert sum("can be told apart" in line for line in found.findings) == 1


def test_other_random_label_sets_are_told_as_a_source_of_chance() -> None:
    assert "the random label sets differ" in said(run("a"), run("b", seed=1))
    assert "the random label sets differ" not in said(run("a"), run("b"))


def test_settings_inputs_and_versions_are_listed_only_where_they_differ() -> None:
    other = run("b", seed=1, price_per_hour=3.0, objectives={"mlm": {"lr": 1e-4}}, parents={"chats.jsonl": TEST})
    other.versions["torch"] = "2.14.0"  # type: ignore[index]
    differ = {row.setting: list(row.values) for row in compared([run("a"), other]).settings}
    assert differ == {
        "seed": [0, 1],
        "objectives.mlm.lr": [2e-5, 1e-4],
        "SHA-256 of chats.jsonl": ["2b2b2b2b", "3c3c3c3c"],
        "version of torch": ["2.13.0", "2.14.0"],
    }


def test_many_source_files_that_differ_are_counted_and_not_listed() -> None:
    other = run("b", parents={"labels": TEST} | {f"notes/{number}.md": TEST for number in range(50)})
    differ = {row.setting: list(row.values) for row in compared([run("a"), other]).settings}
    assert differ == {"SHA-256 of labels": ["1a1a1a1a", "3c3c3c3c"], "source files": [1, 51]}


def test_the_comparison_is_plain_json_with_what_each_run_cost() -> None:
    found = json.loads(json.dumps(compared([run("a"), run("b")]).told()))
    row = found["runs"][0]
    assert (row["seconds"], row["tokens"], row["euros"], row["texts"]) == (520.0, 812345, 0.1733, 731)
    assert found["smallest_gain"] == 0.5


# --- on a page and as Markdown ------------------------------------------------------------------------------------


class Readings(HTMLParser):
    """Every element that says which reading it is: the pointer, the form, and the text shown."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str, str] | None] = []
        self.found: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        reading = known.get("data-reading")
        if tag not in ("meta", "wbr"):
            self.open.append(None if reading is None else (reading, known["data-as"] or "", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag != "wbr" and (one := self.open.pop()) is not None:
            self.found.append(one)

    def handle_data(self, data: str) -> None:
        if self.open and (one := self.open[-1]) is not None:
            self.open[-1] = (one[0], one[1], one[2] + data)


def test_every_figure_of_the_page_is_the_reading_that_it_names() -> None:
    found = compared([run("runs/a"), run("runs/b", 9.0, shots=10), run("c", None, parents={"labels": None})])
    page = Readings()
    page.feed(render_comparison(found))
    assert len(page.found) > 50
    for pointers, form, shown in page.found:
        how = getattr(forms, form, None) or getattr(report_text, form)
        assert how(*(resolve(found, pointer) for pointer in pointers.split(" "))) == shown


def test_the_page_says_first_what_may_not_be_ranked_and_keeps_those_measured_alike_together_on_one_axis() -> None:
    page = render_comparison(compared([run("first"), run("other", shots=10), run("second")]))
    words = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert words.index("may not be ranked") < words.index("Gains on one axis")
    picture = page[page.index('id="gains-wide-title"') : page.index('id="gains-narrow-title"')]
    assert picture.index(">first<") < picture.index(">second<") < picture.index(">other<")
    assert page.startswith("<!doctype html>") and "<script" not in page and "http://" not in page


def test_names_are_escaped_on_the_page_and_in_markdown() -> None:
    found = compared([run("<b>x</b>"), run("a|b")])
    assert "<b>x</b>" not in render_comparison(found)
    assert "a\\|b" in comparison_markdown(found)


def test_a_page_of_runs_without_any_gain_says_why_there_is_no_axis() -> None:
    page = render_comparison(compared([run("a", None, parents={"labels": None}), run("b", None)]))
    assert "None of these runs has a gain" in page


def test_the_markdown_has_a_line_for_each_run_and_for_each_setting_that_differs() -> None:
    told = comparison_markdown(compared([run("a"), run("b", seed=7)]))
    assert "# 2 runs compared" in told and "cannot be told apart" in told
    row = next(line for line in told.splitlines() if line.startswith("| a "))
    assert "minilm" in row and "+2.3" in row and "+1.3 to +3.3" in row and "8 min 40 s" in row and "731" in row
    assert "| seed | 0 | 7 |" in told


def test_runs_on_pictures_are_counted_in_patches_beside_runs_on_texts_in_both() -> None:
    texts, pictures = run("a"), run("b")
    pictures = dataclasses.replace(pictures, facts=pictures.facts.model_copy(update={"kind": "image"}))
    alone, both = compared([pictures, pictures]), compared([texts, pictures])
    assert "Training patches" in render_comparison(alone) and "Training tokens or patches" in render_comparison(both)
    assert "| patches |" in comparison_markdown(alone) and "token" not in comparison_markdown(alone)
    assert "| texts or pictures |" in comparison_markdown(both)


def test_the_title_of_a_page_of_runs_holds_no_markup() -> None:
    title = re.search("<title>(.*?)</title>", render_comparison(compared([run("a"), run("b")])), re.DOTALL)
    assert title and title[1] == "Shoptalk: 2 runs compared"
