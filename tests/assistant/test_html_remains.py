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
        '<nav><a href="/x">Home</a> &gt; <b>Shop</b><script>x = "</nav>"</script><nav>Cart</nav><!-- <nav> --></nav>'
        "<script>alert(1)</script><style>p {color: red}</style><noscript>No script.</noscript>"
        "<template><p>A stencil.</p></template><!-- to do -->\n<p>Our&nbsp;shop is open from 9 to 17&nbsp;h.</p>"
    )
    (passage,) = passages_of(Document(id="page.md", source="page.md", text=page))
    assert [line.text for line in passage.lines] == ["Our shop is open from 9 to 17 h."]
    assert "alert" not in passage.text


@pytest.mark.parametrize(
    "page",
    [
        '<div class="tab-content" id="nav-tabContent"><div id="nav-hours"><p>Open 9 to 5.</p></div></div>',
        '<body class="no-nav"><div class="page nav-open" role="main"><p>Open 9 to 5.</p></div></body>',
        "<footer>Open 9 to 5.</footer>",
    ],
)
def test_what_a_page_only_calls_navigation_is_told(page: str) -> None:
    assert told(page) == ["Open 9 to 5."]


def test_contacts_and_titles_that_are_links_are_told() -> None:
    page = '<header><h2><a href="/p">Returns</a></h2></header>\n<footer>Call <a href="tel:+491">+49 1</a> now.</footer>'
    (passage,) = passages_of(Document(id="page.md", source="page.md", text=page))
    assert "Returns" in passage.heading and [line.text for line in passage.lines] == ["Call +49 1 now."]


def test_code_in_the_cells_of_a_table_is_told() -> None:
    table = "<table><tr><th>Flag</th><th>Meaning</th></tr><tr><td>`--port`</td><td>the port</td></tr></table>"
    (line,) = told(table)
    assert "--port" in line and "the port" in line


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
        "The <nav> element holds links. Close it with </nav>. Ok.",
        "Write <!-- to begin a comment. Prices are 5 euros. Write --> to end it.",
        "Scripts go in <script>, styles in <style>, and both </style> and </script> end them.",
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


@given(st.lists(st.sampled_from(["<p>", "</p>", "\n", "word. ", "<td>", "<nav", "<b>"]), max_size=9).map("".join))
def test_code_between_backticks_stays_whatever_stands_before_it(before: str) -> None:
    text = before + "\n\n`<script>a</script>` word."
    assert without_remains(text).endswith("`<script>a</script>` word.")


@pytest.mark.parametrize("piece", ["<nav>", "<nav></nav>", "<!--", "<script>", "\n ", "<table><tr><td>", "`", "<p>"])
def test_reading_marks_takes_a_time_that_grows_as_the_text_does(piece: str) -> None:
    begun = time.perf_counter()
    without_remains(piece * 20_000)
    assert time.perf_counter() - begun < 10
