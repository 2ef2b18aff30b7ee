"""The report page and its Markdown: complete, escaped, self-contained, and honest about what is missing."""

import copy
import functools
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from tests.evaluate.report_facts import curve, facts, unlabelled

from shoptalk.evaluate.report import render, render_markdown

ATTACK = "<script>alert('x')</script>"


@functools.cache
def full_page() -> str:
    return render(facts())


class Page(HTMLParser):
    """Checks that elements nest, and collects what the tests ask about."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def visible(source: str) -> str:
    """The page's text, without elements."""
    return re.sub("<[^>]*>", " ", re.sub("<style>.*?</style>", "", source, flags=re.S))


def test_the_page_is_well_formed_and_every_id_is_used_once() -> None:
    page = Page(full_page())
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(name) or "").split()) <= set(ids)
        assert (attributes.get("href") or "#")[1:] in {"", *ids}


def test_the_verdict_comes_first_and_the_sections_follow_in_order() -> None:
    page = Page(full_page())
    assert page.headings[:4] == [
        "Adopt the adapted model",
        "What it cost",
        "Gain as training went on",
        "Everything that was tried",
    ]
    assert page.headings[-1] == "How to reproduce this"
    source = full_page()
    assert source.index("Adopt neighbours@180") < source.index("The gain and its interval") < source.index("8 min 40 s")


def test_the_page_needs_no_network_and_runs_no_script() -> None:
    source = full_page()
    page = Page(source)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert not [
        name for _, attributes in page.tags for name in attributes if name in {"src", "style"} or name[:2] == "on"
    ]
    assert "url(" not in source and "@import" not in source and "http:" not in source and "https:" not in source
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy and "script-src" not in policy


def every_text_attacked(value: Any, key: str = "") -> Any:
    """The facts with markup in every string but the verdict's choice."""
    if isinstance(value, dict):
        return {
            f"{k}{ATTACK}" if key in {"versions", "hardware", "values"} else k: every_text_attacked(v, k)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [every_text_attacked(item, key) for item in value]
    return f'{value}{ATTACK}"><img src=x onerror=y>' if isinstance(value, str) and key != "choice" else value


def test_markup_in_a_label_or_a_sample_is_shown_and_not_obeyed() -> None:
    attacked = facts()
    attacked["per_class"][0]["label"] = ATTACK
    attacked["drops"][0]["samples"][0]["sample"] = ATTACK
    source = render(attacked)
    assert "<script" not in source
    assert source.count("&lt;script&gt;alert('x')&lt;/script&gt;") >= 2


def test_no_string_of_the_facts_reaches_the_page_as_markup() -> None:
    source = render(every_text_attacked(facts()))
    page = Page(source)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    markdown, _, _command = render_markdown(every_text_attacked(facts())).partition("```")
    assert "script" in markdown and not re.search(r"(?<!\\)<", markdown)


def test_control_characters_and_lone_surrogates_can_still_be_written_as_utf8() -> None:
    odd = facts()
    odd["drops"][0]["samples"][0]["sample"] = "a\x00b\ud800c\x1b[31m"
    source = render(odd)
    assert "a\ufffdb\ufffdc\ufffd[31m" in source
    source.encode("utf-8")


def test_a_right_to_left_label_keeps_its_direction_to_itself() -> None:
    odd = facts()
    odd["per_class"][0]["label"] = "\u202ebackwards"
    assert "<bdi>\u202ebackwards</bdi>" in render(odd)


def test_every_picture_has_a_title_and_a_description_or_is_hidden_from_readers() -> None:
    source = full_page()
    pictures = re.findall(r"<svg[^>]*>.*?</svg>", source, flags=re.S)
    assert len(pictures) > 8
    for svg in pictures:
        if 'aria-hidden="true"' not in svg:
            assert 'role="img"' in svg
            assert re.search(r"<title [^>]*>[^<]+</title><desc [^>]*>[^<]+</desc>", svg)


def test_every_table_has_a_caption_and_row_and_column_headers() -> None:
    tables = re.findall("<table>.*?</table>", full_page(), flags=re.S)
    assert len(tables) == 9
    for made in tables:
        assert re.search("<caption>.+?</caption>", made) and 'scope="col"' in made and 'scope="row"' in made


def test_lines_are_told_apart_without_colour() -> None:
    source = full_page()
    chart = next(svg for svg in re.findall(r"<svg[^>]*>.*?</svg>", source, flags=re.S) if "gain-wide-title" in svg)
    dashed = re.findall(r'class="line c\d dashed"', chart)
    assert len(dashed) == 2
    shapes = set(re.findall(r'<path d="([^"]*)" transform', chart))
    assert len(shapes) == 3
    for name in ("neighbours", "simcse", "mlm"):
        assert re.search(rf'<text[^>]*class="halo name c\d"[^>]*>{name}</text>', chart)


def test_the_gain_chart_names_the_ceiling_and_the_smallest_gain() -> None:
    source = visible(full_page())
    assert "It lies +5.3 points from the base" in source and "worth having is +0.5" in source
    assert "with the index at hand" in source
    assert "ceiling" not in visible(render(facts() | {"ceiling": None}))


@pytest.mark.parametrize(
    ("term", "meaning"),
    [
        ("interval", "range of gains"),
        ("guard", "limit on what may get worse"),
        ("RankMe", "dimensions that the encoder really uses"),
        ("MRR", "mean reciprocal rank"),
        ("ceiling", "training targets of neighbours"),
    ],
)
def test_a_term_is_explained(term: str, meaning: str) -> None:
    assert meaning in visible(full_page()), term


PARTS = [name for name in facts() if name not in {"run", "created"}]
LACKING = [{name: value for name, value in facts().items() if name != absent} for absent in PARTS]
LACKING += [dict.fromkeys(facts()), {name: type(value)() for name, value in facts().items()}]


@pytest.mark.parametrize("lacking", LACKING, ids=[*PARTS, "all null", "all empty"])
def test_a_missing_part_leaves_a_whole_page(lacking: dict[str, Any]) -> None:
    source = render(lacking)
    assert Page(source).open == []
    assert "None" not in visible(source) and "nan" not in visible(source)
    assert render_markdown(lacking).startswith("# ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("curves", "No gain was measured while training went on"),
        ("losses", "No training step was logged."),
        ("per_class", "No class was measured"),
        ("label_free", "No such measure was taken"),
        ("guards", "No guard was read"),
        ("drops", "Nothing was left out."),
        ("reproduce", "was not recorded"),
        ("verdict", "This run has not come to a verdict yet."),
    ],
)
def test_the_page_says_why_a_part_is_missing(name: str, sentence: str) -> None:
    assert sentence in visible(render(facts() | {name: None}))
    assert sentence not in visible(full_page())


def whole(value: Any) -> Any:
    """JSON as another writer gives it: 2 for 2.0."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


def test_whole_numbers_are_numbers() -> None:
    assert Page(render(whole(facts()))).open == []


def test_facts_that_hold_nothing_still_make_a_page() -> None:
    assert Page(render({})).headings[0] == "No verdict"
    assert render_markdown({}).startswith("# No verdict\n")


def test_a_run_without_labels_has_no_gains_and_says_so() -> None:
    source = visible(render(unlabelled()))
    assert "There were no labelled messages to measure a gain on. So there is no curve of gains." in source
    assert "Inconclusive: keep the base model for now" in source
    assert "The gain and its interval" not in source
    assert "RankMe" in source and "Forgetting" in source
    assert "Interval" not in source
    assert "no labelled messages" in render_markdown(unlabelled())


def test_a_run_that_trained_nothing_says_so() -> None:
    bare = facts() | {"curves": [], "losses": [], "per_class": [], "guards": []}
    bare["verdict"] |= {"choice": "keep_base", "objective": None, "candidates": [], "gain": 0.0, "interval": [0.0, 0.0]}
    source = visible(render(bare))
    assert "Keep the base model" in source and "Nothing was trained" in source
    assert "The gain and its interval" not in source


def test_losses_that_are_not_finite_are_counted_and_not_drawn() -> None:
    source = full_page()
    assert "Left out: 1 logged losses that are not finite numbers." in source
    assert "nan" not in visible(source).lower().replace("mean", "")


def test_long_names_and_many_candidates_stay_inside_the_picture() -> None:
    many = facts()
    many["curves"] = [curve(f"objective_with_a_long_name_{i}", {60: 0.1 * i, 120: 0.1 * i}, i > 2) for i in range(11)]
    source = render(many)
    for svg in re.findall(r"<svg[^>]*>.*?</svg>", source, flags=re.S):
        size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
        if size is None or "<text" not in svg:
            continue
        for x, y in re.findall(r'<text x="([-\d.]+)" y="([-\d.]+)"', svg):
            assert 0 <= float(x) <= float(size[1]) and 0 <= float(y) <= float(size[2])
    chart = next(svg for svg in re.findall(r"<svg[^>]*>.*?</svg>", source, flags=re.S) if "gain-wide-title" in svg)
    heights = sorted(float(y) for y in re.findall(r'<text x="[^"]*" y="([^"]*)"[^>]*class="halo name', chart))
    assert len(heights) == 11
    assert min(b - a for a, b in pairwise(heights)) > 11


def test_rendering_leaves_the_facts_as_they_were() -> None:
    given_facts = unlabelled()
    before = copy.deepcopy(given_facts)
    render(given_facts)
    render_markdown(given_facts)
    assert given_facts == before


def test_the_markdown_has_the_verdict_the_entries_and_the_command() -> None:
    made = render_markdown(facts())
    assert made.startswith(
        "# Adopt the adapted model\n\nRun runs/acme, 22 November 2026, 10:00 UTC\n\nAdopt neighbours@180"
    )
    assert "| neighbours@180 | +2.3 | +1.3 to +3.3 | −0.2 | adopted |" in made
    assert "| mlm@60 | −2.0 | −3.0 to −1.0 | −0.2 | eliminated: forgetting −1.8 points |" in made
    assert "| card_lost | 30 | 71.0 % | 78.0 % | +7.0 |" in made
    assert "```sh\nshoptalk adapt ./conversations --out runs/acme\n```" in made


def test_a_label_cannot_break_a_markdown_table() -> None:
    odd = facts()
    odd["per_class"][0]["label"] = "a|b\n| *c*"
    assert "| a\\|b \\| \\*c\\* | 30 |" in render_markdown(odd)


def test_a_command_with_backticks_stays_in_its_fence() -> None:
    odd = facts()
    odd["reproduce"]["command"] = "echo ```\n# not a heading"
    assert render_markdown(odd).endswith("````sh\necho ```\n# not a heading\n````\n")


def test_forecast_and_fact_stand_side_by_side_in_time_tokens_memory_and_euros() -> None:
    made = render_markdown(facts())
    for row in (
        "| Time | 9 min | 8 min 40 s | 0.96 |",
        "| Training tokens | 850,000 | 812,345 | 0.96 |",
        "| Peak memory | 1.8 GB | 1.9 GB | 1.06 |",
        "| Cost | 0.18 EUR | 0.17 EUR | 0.96 |",
    ):
        assert row in made
        assert all(cell.strip() in full_page() for cell in row.strip("| ").split("|"))


def test_a_run_without_a_price_shows_no_euros() -> None:
    free = facts()
    spent = free["verdict"]["spent"]
    spent |= {"euros": None, "price_per_hour": None}
    for part in ("forecast", "ratio"):
        spent[part] |= {"euros": None}
    assert "EUR" not in render(free) + render_markdown(free)
    assert "Peak memory" in render(free)


def test_a_run_that_trained_nothing_has_a_cost_and_no_forecast() -> None:
    idle = facts()
    idle["verdict"]["spent"] = {"seconds": 5.0, "tokens": 0, "memory_bytes": 10**9, "forecast": None, "ratio": None}
    assert "Forecast and fact" not in render(idle)
    assert "5.0 s" in render(idle)
