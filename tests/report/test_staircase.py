"""The ladder on the page: every step with its level and its gain, and nothing that was not measured."""

from itertools import pairwise
from typing import Any

import pytest

from shoptalk.report import render, render_markdown
from tests.report.report_facts import earlier, facts
from tests.report.report_pages import Node, parse, untraced, visible


def kept() -> dict[str, Any]:
    """The last step was measured and is not adopted; it may be chance."""
    told = facts()
    told["verdict"] |= {
        "choice": "inconclusive",
        "in_all": {"step": "unlabelled text", "gain": 16.6, "interval": [14.7, 18.5]},
    }
    told["verdict"]["ladder"][-1] |= {"value": 78.5, "gain": 0.4, "interval": [-0.7, 1.5]}
    return told


def of_two() -> dict[str, Any]:
    """A task without heads, of which less is better, and training made it worse."""
    told = facts()
    told["verdict"]["measure"] |= {"unit": "bits", "difference": "bits", "lower_is_better": True, "decimals": 3}
    told["verdict"] |= {
        "choice": "keep_base",
        "metric": "cost@10",
        "in_all": {"step": "base model", "gain": None, "interval": None},
    }
    told["verdict"]["ladder"] = [
        {"step": "base model", "value": 1.202, "unit": "bits", "gain": None, "interval": None},
        {"step": "adapted encoder", "value": 1.252, "unit": "bits", "gain": -0.05, "interval": [-0.06, -0.04]},
    ]
    return told


def drawn(told: dict[str, Any], width: str = "wide") -> Node:
    """The picture of the ladder at a width."""
    pictures = parse(render(told)).all("svg")
    return next(svg for svg in pictures if any(n.attributes.get("id") == f"ladder-{width}-title" for n in svg.all()))


def bars(told: dict[str, Any], width: str = "wide") -> list[Node]:
    return [node for node in drawn(told, width).all("rect") if node.has("stair")]


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_each_step_stands_in_the_picture_with_its_level_its_gain_and_its_interval(width: str) -> None:
    said = [node.text for node in drawn(facts(), width).all("text")]
    everything = " ".join(said)
    for words in ("plain head", "+ labels' names", "+ unlabelled text", "+ adapted encoder", "in all"):
        assert words in said
    for words in ("61.5 %", "+11.5", "+10.3 to +12.7", "+18.9", "+17.0 to +20.8"):
        assert words in everything
    assert len(bars(facts(), width)) == 4  # three steps, and all of them together


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_bars_meet_and_the_whole_is_as_long_as_they_are_together(width: str) -> None:
    *steps, whole = [
        (float(bar.attributes["x"] or 0), float(bar.attributes["width"] or 0)) for bar in bars(facts(), width)
    ]
    for (left, long), (following, _) in pairwise(steps):
        assert left + long == pytest.approx(following, abs=0.01)
    assert whole[0] == pytest.approx(steps[0][0]) and whole[1] == pytest.approx(
        sum(long for _, long in steps), abs=0.01
    )


def test_a_step_that_is_not_adopted_or_may_be_chance_looks_otherwise_and_is_named_in_words() -> None:
    *_, names, text, training, whole = bars(kept())
    assert all(bar.has("rise") and not bar.has("unshipped") for bar in (names, text, whole))
    assert training.has("open") and training.has("unshipped")
    seen = visible(render(kept()))
    assert "measured, not adopted" in seen and "A bar without colour may be chance." in seen
    assert "may be chance" not in visible(render(facts())) and "not adopted" not in visible(render(facts()))


def test_a_loss_points_to_where_less_is_better_and_one_step_alone_has_no_sum() -> None:
    (bar,) = bars(of_two())
    assert bar.has("loss") and bar.has("unshipped")
    dots = [float(node.attributes["cx"] or 0) for node in drawn(of_two()).all("circle")]
    assert dots[1] > dots[0]  # more bits
    assert "in all" not in [node.text for node in drawn(of_two()).all("text")]
    assert "−0.050" in visible(render(of_two())) and "1.252 bits" in visible(render(of_two()))


@pytest.mark.parametrize("told", [facts(), kept(), of_two()], ids=["adopted", "kept", "two steps"])
def test_every_number_of_the_ladder_is_traced(told: dict[str, Any]) -> None:
    assert untraced(render(told), told) == []


def test_a_run_of_a_version_that_measured_no_ladder_shows_the_single_interval() -> None:
    page = render(earlier())
    assert "ladder-wide" not in page and "verdict-wide" in page
    assert "What each step brings" not in page and "| in all |" not in render_markdown(earlier())
    assert untraced(page, earlier()) == []


def test_the_markdown_has_the_steps_as_a_table() -> None:
    made = render_markdown(kept())
    for row in (
        "| plain head | 61.5 % |  |  |  |",
        "| labels' names | 73.0 % | +11.5 | +10.3 to +12.7 |  |",
        "| adapted encoder | 78.5 % | +0.4 | −0.7 to +1.5 | measured, not adopted |",
        "| in all |  | +16.6 | +14.7 to +18.5 |  |",
    ):
        assert row in made
    assert made.index("| plain head |") < made.index("## ")
