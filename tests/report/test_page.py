"""The report page: complete, escaped, self-contained, and honest about what is missing."""

import base64
import copy
import hashlib
import json
import math
import re
from itertools import pairwise
from typing import Any

import pytest

from shoptalk.errors import ArtifactError
from shoptalk.report import render, render_markdown
from shoptalk.report.reading import as_facts
from shoptalk.tasks.language_model import MEASURE
from tests.report.report_facts import curve, dose, facts, unlabelled
from tests.report.report_pages import Node, full_page, parse, row_of, untraced, visible

ATTACK = "<script>alert('x')</script>"


def headings(source: str) -> list[str]:
    return [node.text for node in parse(source).all("h1", "h2")]


def pictures(source: str) -> list[Node]:
    return list(parse(source).all("svg"))


def picture(source: str, ident: str) -> Node:
    """The picture whose title has this id."""
    return next(svg for svg in pictures(source) if any(n.attributes.get("id") == f"{ident}-title" for n in svg.all()))


def test_the_page_is_well_formed_and_every_id_is_used_once() -> None:
    nodes = list(parse(full_page()).all())
    ids = [node.attributes["id"] for node in nodes if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in nodes:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((node.attributes.get(name) or "").split()) <= set(ids)
        assert (node.attributes.get("href") or "#")[1:] in {"", *ids}


def test_the_verdict_comes_first_and_the_sections_follow_in_order() -> None:
    assert headings(full_page()) == [
        "✓Adopt the adapted model",
        "The gain, measure by measure",
        "Gain as training went on",
        "Everything that was tried",
        "What changed per class",
        "Labels and traffic",
        "Texts that changed sides",
        "The map, before and after",
        "How much is enough",
        "Forgetting and guards",
        "What it cost",
        "Measures that need no labels",
        "Where the text came from",
        "The trace, from text to verdict",
        "How to reproduce this",
        "What to try next",
    ]


def test_the_first_screen_says_what_was_tried_whether_to_ship_it_how_sure_and_what_it_cost() -> None:
    header = next(parse(full_page()).all("header"))
    answers = {next(row.all("dt")).text: next(row.all("dd")).text for row in header.all("div") if any(row.all("dt"))}
    assert (
        "3 kinds of training" in answers["What was tried"] and "neighbours came furthest" in answers["What was tried"]
    )
    assert answers["Ship it?"].startswith("Yes")
    assert "+1.3 to +3.3" in answers["How sure"] and "all of it above the +0.5 worth having" in answers["How sure"]
    assert (
        "8 min 40 s" in answers["What it cost"]
        and "23 % of the time went to candidates that did not go on" in answers["What it cost"]
    )
    assert any(svg.tag == "svg" for svg in header.all("svg"))


@pytest.mark.parametrize(
    ("interval", "sure"),
    [
        ([0.6, 1.0], "all of it above the +0.5 worth having"),
        ([0.1, 1.0], "above no gain, but not all above"),
        ([-0.4, 1.0], "it reaches from a loss to more than the +0.5"),
        ([-2.0, 0.1], "all of it below the +0.5 worth having"),
    ],
)
def test_the_first_screen_says_where_the_interval_lies(interval: list[float], sure: str) -> None:
    changed = facts()
    changed["verdict"] |= {"interval": interval}
    assert sure in visible(render(changed))


def allowed(source: str, kind: str) -> str:
    """What the page's policy allows of a kind."""
    meta = next(node for node in parse(source).all("meta") if "http-equiv" in node.attributes)
    rules = dict(rule.split(" ", 1) for rule in (meta.attributes["content"] or "").split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    return rules[kind]


def test_the_page_needs_no_network_and_runs_only_its_own_script() -> None:
    source = full_page()
    nodes = list(parse(source).all())
    assert not {node.tag for node in nodes} & {"link", "img", "iframe", "object", "image", "use", "base", "form"}
    assert not [name for node in nodes for name in node.attributes if name in {"src", "style"} or name[:2] == "on"]
    for address in re.findall("https?:[^\"']*", source):
        assert address == "http://www.w3.org/2000/svg"
    assert "url(" not in source and "@import" not in source
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        (body,) = (node for node in nodes if node.tag == tag and not node.attributes.get("type"))
        digest = base64.b64encode(hashlib.sha256(str(body.children[0]).encode()).digest()).decode()
        assert allowed(source, kind) == f"'sha256-{digest}'"


def test_the_script_writes_text_and_never_markup() -> None:
    (code,) = (node for node in parse(full_page()).all("script") if not node.attributes.get("type"))
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert forbidden not in str(code.children[0])


def map_data(source: str) -> Any:
    (data,) = (node for node in parse(source).all("script") if node.attributes.get("type") == "application/json")
    return json.loads(str(data.children[0]))


@pytest.mark.parametrize("evil", [ATTACK, "</script><b>", "<!-- <script>", "a\u2028b"])
def test_a_text_on_the_map_stays_inside_its_data(evil: str) -> None:
    odd = facts()
    odd["map"]["text"][3] = evil
    source = render(odd)
    source.encode("utf-8")
    assert map_data(source)["text"][3] == evil
    assert sum(node.tag == "script" for node in parse(source).all()) == 2


def every_text_attacked(value: Any, key: str = "") -> Any:
    """The facts with markup in every string but the verdict's choice."""
    if isinstance(value, dict):
        return {
            f"{k}{ATTACK}" if key in {"versions", "hardware", "values"} else k: every_text_attacked(v, k)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [every_text_attacked(item, key) for item in value]
    named = key in {"choice", "kind", "law", "shots"}
    return f'{value}{ATTACK}"><img src=x onerror=y>' if isinstance(value, str) and not named else value


def test_markup_in_a_label_or_a_sample_is_shown_and_not_obeyed() -> None:
    attacked = facts()
    attacked["per_class"][0]["label"] = ATTACK
    attacked["drops"][0]["samples"][0]["sample"] = ATTACK
    source = render(attacked)
    assert source.count("&lt;script&gt;alert('x')") >= 2
    assert sum(node.tag == "script" for node in parse(source).all()) == 2


def test_no_string_of_the_facts_reaches_the_page_as_markup() -> None:
    nodes = list(parse(render(every_text_attacked(facts()))).all())
    assert sum(node.tag == "script" for node in nodes) == 2
    assert "img" not in {node.tag for node in nodes}
    assert not [name for node in nodes for name in node.attributes if name.startswith("on")]
    markdown, _, _command = render_markdown(every_text_attacked(facts())).partition("```")
    assert "script" in markdown and not re.search(r"(?<!\\)<", markdown)


def test_control_characters_can_still_be_shown_and_lone_surrogates_are_refused_with_their_place() -> None:
    odd = facts()
    odd["drops"][0]["samples"][0]["sample"] = "a\x00bc\x1b[31m"
    source = render(odd)
    assert "a\ufffdbc\ufffd[31m" in source
    source.encode("utf-8")
    odd["drops"][0]["samples"][0]["sample"] = "b\ud800c"
    with pytest.raises(ArtifactError, match="half a character"):
        render(odd)


def test_a_right_to_left_label_keeps_its_direction_to_itself() -> None:
    odd = facts()
    odd["per_class"][0]["label"] = "\u202ebackwards"
    assert re.search("<bdi[^>]*>\u202ebackwards</bdi>", render(odd))


def test_every_picture_has_a_title_and_a_description_or_is_hidden_from_readers() -> None:
    found = pictures(full_page())
    assert len(found) > 20
    for svg in found:
        if svg.attributes.get("role") == "group":
            assert svg.attributes["aria-label"]
        elif svg.attributes.get("aria-hidden") != "true":
            assert svg.attributes["role"] == "img"
            assert next(svg.all("title")).text and next(svg.all("desc")).text


def test_every_table_has_a_caption_and_row_and_column_headers() -> None:
    tables = list(parse(full_page()).all("table"))
    assert len(tables) == 20
    for made in tables:
        scopes = {node.attributes["scope"] for node in made.all("th")}
        assert next(made.all("caption")).text and scopes == {"col", "row"}


def test_lines_are_told_apart_without_colour() -> None:
    chart = picture(full_page(), "gain-wide")
    lines = [node for node in chart.all("path") if node.has("line")]
    assert len(lines) == 3 and sum(node.has("dashed") for node in lines) == 2
    assert len({node.attributes["d"] for node in chart.all("path") if node.has("marker")}) == 3
    names = {node.text for node in chart.all("text") if node.has("name")}
    assert names == {"neighbours", "simcse", "mlm"}


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


MAY_BE_ABSENT = ["gains", "gains_note", "changed", "map", "layers", "moved", "traffic", "dose"]
MAY_BE_NULL = ["gains_note", "changed", "map", "moved", "traffic", "dose", "ceiling"]
MAY_BE_EMPTY = [
    "curves",
    "losses",
    "per_class",
    "label_free",
    "guards",
    "drops",
    "remarks",
    "sources",
    "gains",
    "layers",
    "next",
]
LACKING = [{name: value for name, value in facts().items() if name != absent} for absent in MAY_BE_ABSENT]
LACKING += [{name: value for name, value in facts().items() if name not in MAY_BE_ABSENT}]
LACKING += [facts() | dict.fromkeys(MAY_BE_NULL), facts() | {name: [] for name in MAY_BE_EMPTY}]


@pytest.mark.parametrize("lacking", LACKING, ids=[*MAY_BE_ABSENT, "all absent", "all null", "all empty"])
def test_a_part_that_a_run_need_not_have_leaves_a_whole_page(lacking: dict[str, Any]) -> None:
    source = render(lacking)
    said = visible(source).replace("None.", "")
    assert "None" not in said and "nan" not in said
    assert render_markdown(lacking).startswith("# ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("curves", "No gain was measured while training went on"),
        ("losses", "No training step was logged."),
        ("drops", "Nothing was left out."),
    ],
)
def test_the_page_says_why_a_part_is_missing(name: str, sentence: str) -> None:
    assert sentence in visible(render(facts() | {name: []}))
    assert sentence not in visible(full_page())


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("per_class", "What changed per class"),
        ("label_free", "Measures that need no labels"),
        ("guards", "Forgetting and guards"),
    ],
)
def test_a_section_that_would_hold_nothing_is_not_there(name: str, heading: str) -> None:
    assert heading in headings(full_page())
    told = facts() | {name: []}
    assert heading not in headings(render(told)) and heading not in [link.text for link in parse(render(told)).all("a")]


def test_a_run_that_trained_nothing_has_no_sections_about_what_training_brought() -> None:
    bare = facts() | {name: [] for name in ("curves", "losses", "per_class", "guards", "label_free", "gains")}
    bare["verdict"] |= {"choice": "keep_base", "objective": None, "entry": None, "candidates": []}
    bare["verdict"] |= {"gain": None, "interval": None}
    found = headings(render(bare))
    assert found[:2] == ["=Keep the base model", "Everything that was tried"]
    assert not {"What changed per class", "Forgetting and guards", "Gain as training went on"} & set(found)


def whole(value: Any) -> Any:
    """JSON as another writer gives it: 2 for 2.0."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


def test_whole_numbers_are_numbers() -> None:
    parse(render(whole(facts())))


def test_each_base_stands_with_its_gain_its_time_for_a_message_and_its_weights() -> None:
    told = facts()
    told["verdict"]["bases"] = [
        {"base": "minilm", "head": "linear", "value": 78.1, "gain": None, "interval": None, "best": False,
         "ms_per_message": 6.24, "megabytes": 91.0, "threads": 2},
        {"base": "mpnet", "head": "smoothed", "value": 79.4, "gain": 1.3, "interval": [0.2, 2.4], "best": True,
         "ms_per_message": 31.5, "megabytes": 438.0, "threads": 2},
    ]  # fmt: skip
    bases = next(node for node in parse(render(told)).all("table") if "their price" in node.text)
    rows = [[cell.text for cell in row.all("th", "td")] for row in bases.all("tr")][1:]
    assert rows == [
        ["minilm", "linear", "78.1 %", "–", "–", "6.2 ms", "91 MB"],
        ["mpnet", "smoothed", "79.4 %", "+1.3", "+0.2 to +2.4", "31.5 ms", "438 MB"],
    ]
    assert "their price" not in full_page()


def over_another_base(start: dict[str, float] | None) -> str:
    told = facts()
    told["verdict"]["base_model"] = "hog"
    told["verdict"]["bases"] = [
        {"base": name, "head": "linear", "value": value, "gain": gain, "interval": None, "best": best,
         "ms_per_message": None, "megabytes": None, "threads": None}
        for name, value, gain, best in (("scratch:resnet-mini", 25.3, None, False), ("hog", 51.9, 26.6, True))
    ]  # fmt: skip
    told["curves"] = [curve("simclr", {16: -24.5, 31: -23.3}, False)]
    if start is not None:
        told["curves"][0]["start"] = start
    return visible(render(told))


def test_curves_over_a_base_that_was_not_trained_start_at_what_the_trained_one_gains_over_it() -> None:
    page = over_another_base({"gain": -26.6, "low": -35.8, "high": -17.4})
    assert "Gains are over hog, the best of the bases; what was trained is scratch:resnet-mini" in page
    assert "so all start there, at −26.6 points." in page and "All start at" not in page
    assert "lines begin at a checkpoint" in over_another_base(None)
    assert "All start at the base model, at no gain." in full_page()


def test_a_page_about_random_weights_that_nothing_replaced_says_that_neither_is_worth_serving() -> None:
    told = facts()
    told["verdict"] |= {"choice": "inconclusive", "base_model": "scratch:resnet-mini+minilm"}
    page = visible(render(told))
    assert "Neither is worth serving yet: the base's weights are random" in page and "Stay with the base" not in page


def test_a_page_about_a_base_that_began_with_random_weights_does_not_advise_to_stay_with_it() -> None:
    told = facts()
    told["verdict"] |= {"choice": "keep_base", "base_model": "runs/young", "base_began_as": "scratch:mini"}
    page = visible(render(told))
    assert "whether it is worth serving: its weights, or some of them, began at random" in page
    assert "Stay with the base" not in page


@pytest.mark.parametrize("choice", ["keep_base", "inconclusive"])
def test_a_page_about_a_challenger_that_is_served_unproven_says_so_and_not_that_nothing_is_worth_serving(
    choice: str,
) -> None:
    told = facts()
    told["verdict"] |= {"choice": choice, "base_model": "scratch:mini", "served_unproven": True}
    source = render(told)
    page = visible(source)
    assert "Served unproven" in page and "As you asked, the folder “encoder” holds neighbours@180" in page
    assert (
        "worth serving" not in page and "Stay with the base" not in page and "keep the base model for now" not in page
    )
    assert row_of(source, "neighbours@180180 steps, 720k tokens")[-1] == "best challenger, served unproven"
    assert not untraced(source, told)
    assert "the challenger is served" in render_markdown(told).splitlines()[0]


def test_without_measures_that_need_no_labels_nothing_points_to_them() -> None:
    assert "“Measures that need no labels”" in visible(render(unlabelled()))
    assert "Measures that need no labels" not in visible(render(unlabelled() | {"label_free": []}))


def test_a_run_without_labels_has_no_gains_and_says_so() -> None:
    source = visible(render(unlabelled()))
    assert "There was nothing to measure a gain on. So there is no curve of gains." in source
    assert "Not measured" in source
    assert "Inconclusive: keep the base model for now" in source
    assert "The gain and its interval" not in source
    assert "RankMe" in source and "Forgetting" in source
    assert "interval" not in source.lower()
    assert "There was nothing to measure a gain on." in render_markdown(unlabelled())


def test_a_run_that_trained_nothing_says_so() -> None:
    bare = facts() | {"curves": [], "losses": [], "per_class": [], "guards": []}
    bare["verdict"] |= {
        "choice": "keep_base",
        "objective": None,
        "entry": None,
        "candidates": [],
        "gain": 0.0,
        "interval": [0.0, 0.0],
    }
    source = visible(render(bare))
    assert "Keep the base model" in source and "Nothing was trained" in source
    assert "The gain and its interval" not in source


def test_what_was_left_out_is_not_counted_as_texts_for_it_holds_files_and_rows_of_labels() -> None:
    page = visible(full_page())
    assert "12 left out: files, documents, rows" in page
    assert "Files, documents, passages, turns and rows count here, those of labels and tests too." in page
    assert "how many files, documents, turns or rows" in render_markdown(facts())


def test_losses_that_are_not_finite_are_counted_and_not_drawn() -> None:
    source = visible(full_page())
    assert "Left out: 1 logged losses that are not finite numbers." in source
    assert "nan" not in source.lower()


def test_long_names_and_many_candidates_stay_inside_the_picture() -> None:
    many = facts()
    many["curves"] = [curve(f"objective_with_a_long_name_{i}", {60: 0.1 * i, 120: 0.1 * i}, i > 2) for i in range(11)]
    source = render(many)
    for svg in pictures(source):
        for text in svg.all("text"):
            width, height = (float(size) for size in (svg.attributes["viewbox"] or "").split()[2:])
            x, y = float(text.attributes["x"] or 0), float(text.attributes["y"] or 0)
            assert -1 <= x <= width and 0 <= y <= height
    names = [node for node in picture(source, "gain-wide").all("text") if node.has("name")]
    heights = sorted(float(node.attributes["y"] or 0) for node in names)
    assert len(heights) == 11
    assert min(b - a for a, b in pairwise(heights)) > 11


def large() -> dict[str, Any]:
    """As much as the facts ever hold: they cap the map, the texts, the sources and the samples."""
    made = facts()
    n = 2500
    names = [f"a_class_with_a_rather_long_name_{i}" for i in range(150)]
    made["map"] |= {
        "classes": names,
        "text": ["a message of the usual length in a chat " * 3] * n,
        "class": [i % 150 for i in range(n)],
        "source": [i % 2 for i in range(n)],
        "before": [[round(i % 997 / 997, 4), round(i % 89 / 89, 4)] for i in range(n)],
        "after": [[round(i % 991 / 991, 4), round(i % 83 / 83, 4)] for i in range(n)],
    }
    made["per_class"] = [{"label": name, "n": 30, "base": 71.0, "adapted": 78.0, "gain": 7.0} for name in names]
    made["sources"] *= 25
    for side in ("gained", "lost"):
        made["changed"][side] = [row | {"text": "long " * 48} for row in made["changed"][side][:1] * 20]
    made["losses"] = [{"objective": f"o{i}", "points": [[s, 1 / (s + 1)] for s in range(5000)]} for i in range(5)]
    made["trace"]["nodes"] *= 4
    return made


def test_the_page_of_a_large_run_is_under_three_megabytes() -> None:
    assert len(render(large()).encode()) < 3e6


def test_rendering_leaves_the_facts_as_they_were() -> None:
    given_facts = unlabelled()
    before = copy.deepcopy(given_facts)
    render(given_facts)
    render_markdown(given_facts)
    assert given_facts == before


def test_forecast_and_fact_stand_side_by_side_in_time_tokens_memory_and_euros() -> None:
    made, page = render_markdown(facts()), visible(full_page())
    for row in (
        "| Time | 9 min | 8 min 40 s | 0.96 |",
        "| Training tokens | 850,000 | 812,345 | 0.96 |",
        "| Peak memory | 1.8 GB | 1.9 GB | 1.06 |",
        "| Cost | 0.18 EUR | 0.17 EUR | 0.96 |",
    ):
        assert row in made
        assert all(cell.strip() in page for cell in row.strip("| ").split("|"))


def test_the_parts_of_a_stage_stand_below_it_with_their_share_of_the_whole_run() -> None:
    made, page = render_markdown(facts()), visible(full_page())
    assert "| pretrain | 6 min 40 s |\n| \u2013 training | 5 min 50 s |\n| \u2013 looks | 30.0 s |" in made
    assert "pretrain 6 min 40 s" in page and "\u2013 training 5 min 50 s 87.2 %" in page
    bare = facts()
    for stage in bare["cost"]["stages"]:
        stage.pop("parts", None)  # as earlier runs have them
    assert "\u2013 training" not in render_markdown(bare) + render(bare)


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
    idle["verdict"]["spent"] |= {"seconds": 5.0, "tokens": 0, "forecast": None, "ratio": None}
    assert "Forecast and fact" not in render(idle)
    assert "5.0 s" in render(idle)


def test_what_people_answered_stands_beside_what_the_labels_said_and_every_figure_of_it_is_traced() -> None:
    told = facts()
    told["verdict"] |= {
        "choice": "adopt",
        "asked": {
            "systems": ["base", "adapted"], "choice": "adopt", "before": "inconclusive", "gain": 2.4,
            "interval": [0.6, 4.1], "on_bank": [1.1, 3.9], "asked": 48, "right": 37, "wrong": 4, "neither": 7,
            "disagree": 180, "bank": 3080, "twice": 2, "same": 2, "more": 0, "answered_by": ["Ann"],
            "sentence": "They differ on 180 of 3,080 messages.",
        },
    }  # fmt: skip
    page = render(told)
    assert untraced(page, told) == []
    shown = " ".join(visible(page).split())
    assert "What people answered" in shown
    assert "Settled by 48 answers" in shown
    assert "+0.6 to +4.1 points on messages to come; the labels alone said: Inconclusive" in shown
    markdown = render_markdown(told)
    assert "Settled by 48 answers: +0.6 to +4.1 points on messages to come" in markdown
    told["verdict"] |= {"choice": "inconclusive", "labels_needed": 1600, "answers_needed": 48, "bank_needed": 3080}
    del told["verdict"]["asked"]
    page = render(told)
    assert untraced(page, told) == []
    assert "about 48 answers of a person (shoptalk ask)" in " ".join(visible(page).split())
    assert "About 48 answers of a person would settle it" in render_markdown(told)
    assert "About 1,600 labels in all would settle it" in " ".join(visible(page).split())
    told["verdict"] |= {"gain": None, "interval": None}
    shown = " ".join(visible(render(told)).split())
    assert "About 1,600 labels would measure it." in shown and "as large as said above" not in shown


def test_the_page_of_a_language_model_speaks_of_a_model_and_of_documents_and_not_of_labels() -> None:
    of_model = facts() | {"kind": "lm", "per_class": [], "dose": None, "next": []}
    of_model["verdict"] = of_model["verdict"] | {
        "metric": MEASURE.name,
        "measure": MEASURE.told(),
        "heads": None,
        "shots": None,
    }
    said = visible(render(of_model))
    assert "the range of gains that these documents leave plausible" in said
    assert "8 is blind guessing, and less is better" in said
    assert "this table compares its entries with each other, and not with the verdict" in said
    assert "They describe the model" in said and "They describe the encoder" not in said
    assert "What changed per class" not in headings(render(of_model))
    assert "shoptalk dose RUN measures what more training and more documents would bring" in said
    assert "the range of gains that these documents leave plausible" in render_markdown(of_model)


def test_the_cloze_on_general_text_is_a_row_among_the_guards_and_pages_of_runs_without_it_say_nothing_of_it() -> None:
    of_model = facts() | {"kind": "lm", "per_class": [], "dose": None}
    earlier = render(of_model)
    assert "forgetting (cloze)" not in visible(earlier)
    assert as_facts(of_model).verdict.general_cloze is None
    read = {"metric": "cloze probability in general text", "base": 50.8, "adapted": 46.1, "gain": -4.7,
            "interval": [-6.9, -2.5], "n_examples": 69, "n_gaps": 102, "limit": -2.0, "inside": False,
            "sentence": "It fell."}  # fmt: skip
    of_model["verdict"] = of_model["verdict"] | {"general_cloze": read}
    row = {"entry": "simcse@40", "name": "forgetting (cloze)", "value": -4.7, "limit": -4.2, "inside": False}
    of_model["guards"] = [*of_model["guards"], row]
    source = render(of_model)
    section = next(part for part in parse(source).all("section") if part.attributes.get("id") == "guards")
    assert "outside only where its whole interval lies below the guard" in section.text
    assert untraced(source, of_model) == [] and "-4.70" in section.text.replace("−", "-")


def test_dose_curves_of_a_language_model_are_drawn_in_bits_and_none_of_labels() -> None:
    measured = dose() | {"task": "language_model", "measure": MEASURE.told(), "looked": MEASURE.name}
    del measured["curves"]["labels"], measured["shots"]
    measured["curves"]["texts"]["unit"] = "unlabelled documents"
    of_model = facts() | {"kind": "lm", "per_class": [], "dose": measured}
    of_model["verdict"] = of_model["verdict"] | {"metric": MEASURE.name, "measure": MEASURE.told(), "heads": None}
    source = render(of_model)
    assert untraced(source, of_model) == []
    section = next(part for part in parse(source).all("section") if part.attributes.get("id") == "dose")
    assert "Every point is the gain over the base in bits per byte." in section.text
    assert "compare points with each other, and not with its gain" in section.text
    assert "gain in bits" in section.text and "gain in points" not in section.text
    titles = [part.text for part in section.all("h3")]
    assert titles == ["Of training", "Of unlabelled documents"]
    assert "78.100 bits" in section.text and "+2.300" in section.text
    assert "labels" not in render_markdown(of_model).partition("## How much is enough")[2].partition("\n## ")[0]


def test_a_command_that_replaces_the_verdict_is_said_to_do_so() -> None:
    told = facts()
    step = {"say": "Ask again with more time.", "command": "shoptalk adapt chats --budget 20m --out runs/acme --force"}
    replacing = told | {"next": [*told["next"], step]}
    for shown in (render, render_markdown):
        assert "take the place of" in shown(replacing) and "take the place of" not in shown(told)
