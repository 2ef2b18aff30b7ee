"""The report as Markdown: what the page says, in short, and nothing of the user's that Markdown obeys."""

from shoptalk.report import render, render_markdown
from tests.report.report_facts import facts
from tests.report.report_pages import visible


def test_the_markdown_has_the_verdict_the_entries_and_the_command() -> None:
    made = render_markdown(facts())
    assert made.startswith(
        "# Adopt the adapted model\n\nRun runs/acme, 22 November 2026, 10:00 UTC\n\nAdopt neighbours@180"
    )
    assert "| neighbours@180 | +2.3 | +1.3 to +3.3 | −0.2 | adopted |" in made
    assert "| mlm@60 | −2.0 | −3.0 to −1.0 | −0.2 | eliminated: forgetting −1.8 points |" in made
    assert "| card_lost | 30 | 71.0 % | 78.0 % | +7.0 |" in made
    assert "```sh\nshoptalk adapt ./conversations --out runs/acme\n```" in made


def test_a_number_is_rounded_as_the_page_rounds_it() -> None:
    told = facts()
    told["gains"][0] |= {"base": 4.25, "adapted": 100.0}
    bits = {"name": "bits fewer than xz", "entry": "clm@60", "value": -0.0312, "limit": 0.0, "unit": "bits"}
    told["guards"].append(bits | {"inside": False})
    made, page = render_markdown(told), visible(render(told))
    for number in ("4.2 %", "100.0 %", "−0.031", "−0.20", "−1.80"):
        assert number in made and number in page
    assert "| bits fewer than xz, clm@60, in bits | −0.031 | 0.000 | ✗ outside |" in made


def test_a_label_cannot_break_a_markdown_table() -> None:
    odd = facts()
    odd["per_class"][0]["label"] = "a|b\n| *c*"
    assert "| a\\|b \\| \\*c\\* | 30 |" in render_markdown(odd)


def test_a_command_with_backticks_stays_in_its_fence() -> None:
    odd = facts()
    odd["reproduce"]["command"] = "echo ```\n# not a heading"
    assert "\n````sh\necho ```\n# not a heading\n````\n" in render_markdown(odd)


def test_the_markdown_tells_of_every_part_of_the_page() -> None:
    made = render_markdown(facts())
    for row in (
        "| intent, 5 labels per class | accuracy | 78.1 % | 80.4 % | +2.3 | +1.4 to +3.2 |",
        "| gained | It vanished 0 days ago \\& I can't pay | card_lost | top_up (10 %) | card_lost (90 %) |",
        "Your labels hold 5 % card_lost where your traffic has about 21 % (17 to 25).",
        "| card_lost | 5.0 % | 21.0 % | 17.0 % to 25.0 % |",
        "- The gain is +2.3 with 731 unlabelled texts.",
        "| all that lost | 1 min 59 s | 22.9 % | 92,345 |  |",
        "| conversations.jsonl | 90.3 % | 80 | 660 |",
        "Median cosine between a text's vector before and after: 0.95.",
        "| decision | 86ae35d5 | adopt |",
        "1. Label about 400 more messages of the 3 classes that lost.",
        "```sh\nshoptalk dose runs/acme\n```",
    ):
        assert row in made
