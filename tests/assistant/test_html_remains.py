"""What is left of web pages in documents."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.assistant.html_remains import without_remains
from shoptalk.assistant.sections import passages_of
from shoptalk.records import Document


def told(text: str) -> list[str]:
    passages = passages_of(Document(id="page.md", source="page.md", text=text))
    return [line.text for passage in passages for line in passage.lines]


def test_scripts_styles_and_navigation_of_a_page_are_told_to_nobody() -> None:
    page = (
        '<div class="nav"><a href="/x">Home</a> &gt; <b>Shop</b></div><nav><ul><li>Cart</li></ul></nav>'
        "<script>alert(1)</script><style>p {color: red}</style><noscript>No script.</noscript>"
        "<template><p>A stencil.</p></template><!-- to do -->\n<p>Our&nbsp;shop is open from 9 to 17&nbsp;h.</p>"
    )
    (passage,) = passages_of(Document(id="page.md", source="page.md", text=page))
    assert [line.text for line in passage.lines] == ["Our shop is open from 9 to 17 h."]
    assert "alert" not in passage.text


def test_of_a_header_and_a_footer_links_go_and_hours_stay() -> None:
    page = '<header><a href="/">Home</a> <p>Boats.</p></header><footer>Open 9 to 5 h. <a href="/i">Imprint</a></footer>'
    assert told(page) == ["Boats.", "Open 9 to 5 h."]


def test_blocks_of_a_page_part_sentences_though_no_full_stop_does() -> None:
    assert told("<h1>Shop</h1>\n<div>Boats</div><ul><li>Kayaks<li>Canoes</ul>We <b>rent</b> both") == [
        "Boats",
        "Kayaks",
        "Canoes",
        "We rent both",
    ]


def test_rows_of_a_pages_table_are_told_as_rows() -> None:
    table = (
        "<table class='prices'>\n<caption>Prices</caption>\n<thead><tr><th>What</th>\n<th>A day</th></tr></thead>\n"
        "<tbody><tr>\n<td>Rental</td>\n<td><p>5 euros</p></td>\n</tr>\n<tr><td>Boat<td>9 | 10</tr></tbody></table>"
        "After."
    )
    assert told(table) == ["Prices", "Rental – A day: 5 euros", "Boat – A day: 9 / 10", "After."]
    assert told("<table><tr><td>Rental</td><td>5 euros</td></tr></table>") == ["Rental – 5 euros"]


def test_a_table_that_lays_out_a_page_is_read_as_its_paragraphs() -> None:
    cell = "".join(f"<p>Paragraph {n} tells of boats, and of the weather.</p>" for n in range(20))
    assert len(told(f"<table><tr><td>{cell}</td></tr></table>")) == 20


@pytest.mark.parametrize(
    "text",
    [
        "```html\n<script>alert(1)</script>\n<p>Hi</p><p>you</p>\n```\n",
        "~~~\n<nav>Home</nav>\n",
        "Put `<script>` before `</script>`, and `<nav>` above.",
        "5 < 6 and 7 > 6, see <https://example.org>.",
        "A <nav> that nothing closes, and a <!-- comment.",
    ],
)
def test_code_that_shows_marks_of_html_stays_as_it_is(text: str) -> None:
    assert without_remains(text) == text


PIECES = ["<nav>", "</nav>", "<table>", "<tr>", "<td>", "</table>", "<th>", "</tr>", "<caption>", "</caption>", "<p>"]
PIECES += ["<script>", "</script>", "<!--", "-->", "```\n", "`", "\n", "word. ", "|", "<a href=x>", "</a>", "<header>"]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_places_in_what_is_shown_are_places_in_the_text(text: str) -> None:
    shown = without_remains(text)
    assert len(shown) == len(text)
    assert all(a == b or b in " \n|/" for a, b in zip(text, shown, strict=True))
    passages_of(Document(id="page.md", source="page.md", text=text))


@pytest.mark.parametrize(
    "piece", ["<nav>", "<!--", "<table><tr><td>", "<header>", "<a>", "`", '<div class="nav ', "<p>"]
)
def test_reading_marks_takes_a_time_that_grows_as_the_text_does(piece: str) -> None:
    begun = time.perf_counter()
    without_remains(piece * 20_000)
    assert time.perf_counter() - begun < 10
