"""The report in a browser: nothing complains, everything can be reached, and the map does what it says."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoptalk.report import render
from tests.chromium import open_chromium, without_chromium
from tests.report.report_facts import facts, unlabelled
from tests.report.report_pages import untraced

pytestmark = without_chromium
PHONE, TABLET, DESK = 390, 820, 1440


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(facts()), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def desk(browser: Any, address: str) -> Iterator[Any]:
    """The report on a wide screen without motion; afterwards the console must be empty."""
    yield from opened(browser, address, DESK, reduced_motion="reduce")


def opened(browser: Any, address: str, width: int, **settings: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": 844}, **settings)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend([request.url] if request.url != address else []))
    page.goto(address)
    yield page
    context.close()
    assert complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (TABLET, "dark"), (DESK, "light")])
def test_nothing_complains_and_nothing_scrolls_sideways(browser: Any, address: str, width: int, scheme: str) -> None:
    for page in opened(browser, address, width, color_scheme=scheme):
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_the_first_screen_of_a_phone_holds_the_verdict_and_its_ladder_and_the_answers_follow(
    browser: Any, address: str
) -> None:
    for page in opened(browser, address, PHONE):
        ladder = page.locator("header figure .narrow svg").bounding_box()
        assert ladder["y"] + ladder["height"] < 800
        assert page.locator("header").bounding_box()["height"] < 1000
        for answer in page.locator(".answers div").all():
            assert answer.is_visible()


@pytest.mark.slow
def test_pointing_at_the_map_shows_the_text_with_its_reading(desk: Any) -> None:
    panel = desk.locator("[data-side=before] svg")
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    x, y = facts()["map"]["before"][7]
    inside = [(12 + place * 376) / 400 for place in (x, y)]
    desk.mouse.move(box["x"] + inside[0] * box["width"], box["y"] + inside[1] * box["height"])
    tip = desk.locator(".tip")
    assert tip.is_visible()
    text = tip.locator(".text")
    assert text.inner_text() == facts()["map"]["text"][7] and text.get_attribute("data-reading") == "/map/text/7"
    assert desk.locator("[data-side=after] .active").count() == 1
    desk.keyboard.press("Escape")
    assert not tip.is_visible()


@pytest.mark.slow
def test_search_marks_what_it_finds_and_lists_it(desk: Any) -> None:
    desk.get_by_label("Search").fill("CARD 5")
    found = [text for text in facts()["map"]["text"] if "card" in text and "5" in text]
    assert sorted(desk.locator(".results .text").all_inner_texts()) == sorted(found)
    assert desk.locator("[data-side=before] .hit").count() == len(found)
    desk.get_by_label("Search").fill("nothing like it")
    assert desk.get_by_role("status").inner_text() == "No text on the map has these words"


@pytest.mark.slow
def test_what_the_script_writes_is_a_reading_too(desk: Any) -> None:
    desk.get_by_label("Search").fill("up")
    desk.get_by_role("button", name="After", exact=True).click()
    desk.locator(".legend button").first.click()
    assert desk.locator(".results [data-reading]").count() > 10
    assert untraced(desk.content(), facts()) == []


@pytest.mark.slow
def test_every_text_of_the_map_can_be_reached_by_keyboard(desk: Any) -> None:
    desk.get_by_label("Search").focus()
    desk.keyboard.type("number 31")
    for _ in range(20):
        desk.keyboard.press("Tab")
        if desk.evaluate("document.activeElement.closest('.results') !== null"):
            break
    focused = desk.evaluate("document.activeElement.innerText")
    assert "lost card number 31" in focused and "class: top_up" in focused and "moved" in focused
    assert desk.locator("[data-side=before] .active").count() == 1


@pytest.mark.slow
def test_every_control_link_and_scrolling_region_takes_the_focus(desk: Any) -> None:
    desk.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    wanted = "a, button, input, select, summary, [tabindex='0']"
    count = desk.evaluate(
        f"[...document.querySelectorAll(`{wanted}`)].filter((one) => one.checkVisibility() && !one.disabled).length"
    )
    desk.evaluate("document.activeElement.blur()")
    seen = set()
    for _ in range(count + 20):
        desk.keyboard.press("Tab")
        at = f"[...document.querySelectorAll(`{wanted}`)].indexOf(document.activeElement)"
        seen.add(desk.evaluate(at))
    assert len(seen - {-1}) >= count


@pytest.mark.slow
def test_the_map_turns_from_before_to_after(desk: Any) -> None:
    marks = desk.locator("[data-side=before] .mark.c0")
    before, goal = marks.get_attribute("d"), desk.locator("[data-side=after] .mark.c0").get_attribute("d")
    desk.get_by_role("button", name="After", exact=True).click()
    assert marks.get_attribute("d") == goal != before
    assert not desk.locator("[data-side=after]").is_visible()
    assert desk.locator("[data-side=before] figcaption").inner_text() == "After: the adapted model"


@pytest.mark.slow
def test_the_map_moves_unless_motion_is_not_wanted(browser: Any, address: str) -> None:
    for page in opened(browser, address, DESK):
        marks = page.locator("[data-side=before] .mark.c0")
        goal = page.locator("[data-side=after] .mark.c0").get_attribute("d")
        page.get_by_role("button", name="After", exact=True).click()
        assert marks.get_attribute("d") != goal
        page.wait_for_function("goal => document.querySelector('.mark.c0').getAttribute('d') === goal", arg=goal)


@pytest.mark.slow
def test_colours_follow_sources_and_chosen_classes(desk: Any) -> None:
    desk.get_by_label("Colour by").select_option("source")
    assert desk.locator(".legend button").all_inner_texts() == ["conversations.jsonl", "documents/tariffs.md"]
    desk.locator(".legend button").nth(1).click()
    assert desk.locator(".legend button").nth(1).get_attribute("aria-pressed") == "true"
    assert desk.locator(".results button").count() == sum(facts()["map"]["source"])


@pytest.mark.slow
def test_a_box_of_the_trace_shows_its_whole_hash_and_leads_to_its_row(desk: Any) -> None:
    box = desk.locator("svg.trace.wide a").first
    whole = box.locator(".whole")
    assert not whole.is_visible()
    box.focus()
    assert whole.is_visible() and whole.text_content() == facts()["trace"]["nodes"][0]["hash"]
    desk.keyboard.press("Enter")
    assert desk.locator("#artifact-0").is_visible()


@pytest.mark.slow
def test_the_page_is_whole_without_its_script(browser: Any, address: str) -> None:
    for page in opened(browser, address, DESK, java_script_enabled=False):
        assert page.locator("[data-side=after] svg").is_visible()
        assert page.locator(".legend li").all_inner_texts() == ["card_lost", "top_up"]
        assert not page.get_by_label("Search").is_visible()


@pytest.mark.slow
def test_paper_shows_what_the_screen_folds_away(desk: Any) -> None:
    desk.emulate_media(media="print")
    assert not desk.locator("nav").is_visible() and not desk.locator(".controls").is_visible()
    folded = desk.get_by_role("table", name="Accuracy per class")
    assert folded.bounding_box()["height"] > 50


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESK, "dark")])
def test_axe_finds_no_serious_violation(browser: Any, address: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    for page in opened(browser, address, width, color_scheme=scheme, reduced_motion="reduce"):
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        found = axe.Axe().run(page).response["violations"]
        bad = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in {"serious", "critical"}]
        assert bad == []


@functools.cache
def bare() -> str:
    return render(unlabelled() | {"map": None})


@pytest.mark.slow
def test_a_page_without_a_map_runs_its_script_too(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "bare.html"
    file.write_text(bare(), encoding="utf-8")
    for page in opened(browser, file.as_uri(), DESK):
        assert page.locator(".map").count() == 0
