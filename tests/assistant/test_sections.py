import re
import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.assistant.document_facts import facts_of
from shoptalk.assistant.sections import _ENDS, CHARACTERS, passages_of
from shoptalk.records import Document, Turn
from tests.assistant.small_run import documents_of_harbour, row

TARIFF = """# Tariffs

All prices are in crowns.

## Vehicles and bicycles

| What | Oster Quay | Marrow |
|---|---|---|
| Car up to 5 m | 48 | 96 |
| **Bicycle** | 4 | 4 |

Measure it, e.g. the tow bar, first. *Is it longer than 5 m?* Ask at the counter.

```
# no heading
```

### On board

- Brakes on
- Two straps, see [the rules](https://example.org)
"""


def markdown(text: str) -> Document:
    return Document(id="tariffs.md", source="tariffs.md", text=text)


def test_each_passage_has_the_headings_above_it_and_its_place_in_the_text() -> None:
    passages = passages_of(markdown(TARIFF))
    assert [(p.title, p.section) for p in passages] == [
        ("Tariffs", ""),
        ("Tariffs", "Vehicles and bicycles"),
        ("Tariffs", "Vehicles and bicycles > On board"),
    ]
    for passage in passages:
        assert TARIFF[passage.start : passage.end] == passage.text
        for line in passage.lines:
            assert passage.start <= line.start < line.end <= passage.end


def test_a_row_is_told_with_its_header_and_found_with_its_heading() -> None:
    passage = passages_of(markdown(TARIFF))[1]
    rows = [line for line in passage.lines if line.row]
    assert [line.text for line in rows] == [
        "Car up to 5 m – Oster Quay: 48; Marrow: 96",
        "Bicycle – Oster Quay: 4; Marrow: 4",
    ]
    assert passage.sought_line(rows[1]) == "Vehicles and bicycles: Bicycle – Oster Quay: 4; Marrow: 4"
    assert TARIFF[rows[1].start : rows[1].end] == "| **Bicycle** | 4 | 4 |"


def test_abbreviations_end_no_sentence_and_a_question_keeps_its_answer() -> None:
    told = [line.text for passage in passages_of(markdown(TARIFF)) for line in passage.lines]
    assert "Measure it, e.g. the tow bar, first." in told
    assert "Is it longer than 5 m? Ask at the counter." in told
    assert "Two straps, see the rules" in told


def test_a_long_table_is_cut_between_rows_and_each_row_keeps_its_header() -> None:
    rows = "\n".join(f"| Quay {n} | {n} crowns | {n} minutes |" for n in range(100))
    passages = passages_of(markdown(f"# Buses\n\n| Quay | Price | Time |\n|---|---|---|\n{rows}\n"))
    assert len(passages) > 5
    assert all(len(passage.sought) <= CHARACTERS + 100 for passage in passages)
    told = [line.text for passage in passages for line in passage.lines]
    assert told == [f"Quay {n} – Price: {n} crowns; Time: {n} minutes" for n in range(100)]


def test_headings_of_html_are_headings_too() -> None:
    text = "<h1>Rules</h1>\n<p>Be kind.</p>\n<h2>Dogs</h2>\nOn a <b>lead</b>."
    passages = passages_of(Document(id="r.txt", source="r.txt", text=text))
    assert [(p.heading, [line.text for line in p.lines]) for p in passages] == [
        ("Rules", ["Be kind."]),
        ("Rules – Dogs", ["On a lead."]),
    ]


def test_every_line_of_harbour_s_tables_is_a_row_of_some_passage() -> None:
    for document in documents_of_harbour("tariffs.md", "timetable-holidays.md", "tariffs-parcels.md"):
        found = [document.text[x.start : x.end] for p in passages_of(document) for x in p.lines if x.row]
        rows = [r for r in document.text.splitlines() if r.startswith("|")]
        separators = [n for n, r in enumerate(rows) if set(r) <= set("|-: ")]
        assert found == [r for n, r in enumerate(rows) if n not in separators and n + 1 not in separators]


def test_a_conversation_and_an_empty_text_have_no_passages() -> None:
    assert passages_of(Document(id="c", source="c.jsonl", turns=(Turn(role="user", text="hi"),))) == []
    assert passages_of(markdown("  \n")) == []


@given(st.text(alphabet="ab .?!#|-*\n1`[]()<>h/é", max_size=400))
def test_passages_hold_any_text_in_order_and_never_overlap_across_sections(text: str) -> None:
    end = 0
    for passage in passages_of(markdown(text)):
        assert passage.lines
        assert passage.start <= passage.end <= len(text)
        assert passage.lines[0].start >= end or passage.lines[0].end <= end  # a long sentence may be cut into pieces
        end = passage.lines[-1].end


def test_front_matter_says_title_link_and_days_and_is_not_read_as_text() -> None:
    text = (
        "---\ntitle: Summer\nurl: https://example.org/s\nfrom: 2026-05-01\nuntil: 2026-09-30\n---\n# Boats\n\nHourly."
    )
    (passage,) = passages_of(markdown(text))
    assert (passage.title, passage.facts.link) == ("Summer", "https://example.org/s")
    assert passage.text == "Hourly."
    assert passage.facts.holds(date(2026, 9, 30))
    assert not passage.facts.holds(date(2026, 10, 1))
    assert not passage.facts.holds(date(2026, 4, 30))


def test_a_row_s_other_columns_say_the_same() -> None:
    facts, begin = facts_of(row("faq.csv#2", "Yes.", question="May I?", official="yes", until="2026-13-01"))
    assert (facts.official, facts.question, begin) == (True, "May I?", 0)
    assert facts.unread == ("until: 2026-13-01",)


@pytest.mark.parametrize("value", ["no", "false", "0", ""])
def test_only_a_yes_makes_an_answer_official(value: str) -> None:
    assert not facts_of(row("a", "b", official=value))[0].official


@pytest.mark.parametrize("sign", ["[", "?", "...", "*a ", "_a ", "[](", "<a", "|", ") "])
@pytest.mark.parametrize("name", ["odd.md", "odd.txt"])
def test_a_document_of_one_sign_repeated_is_cut_in_a_time_that_grows_as_it_does(sign: str, name: str) -> None:
    began = time.monotonic()
    passages_of(Document(id=name, source=name, text=sign * (100_000 // len(sign)) + " end"))
    assert time.monotonic() - began < 4  # a minute and more, where the time grows with the square


@given(st.text(alphabet='ab .?!…)"*_]\n。', max_size=40))
def test_a_sentence_ends_where_its_last_sign_has_a_blank_behind_it(text: str) -> None:
    by_the_rule = re.compile(r"[.!?…]+[\"'”’»)\]*_]*(?=\s)|[。！？]")
    assert [end.span() for end in _ENDS.finditer(text)] == [end.span() for end in by_the_rule.finditer(text)]


def told(text: str) -> list[tuple[str, str]]:
    """Sections with their sentences as they are told."""
    return [(passage.section, line.text) for passage in passages_of(markdown(text)) for line in passage.lines]


def test_a_table_without_outer_bars_is_read_as_one() -> None:
    text = "Item | Oster Quay | Marrow\n--- | :---: | ---:\nSurfboard | 6 | 7\nSail | 60 | 70\n\nAsk us | or not.\n"
    assert told(text) == [
        ("", "Surfboard – Oster Quay: 6; Marrow: 7"),
        ("", "Sail – Oster Quay: 60; Marrow: 70"),
        ("", "Ask us | or not."),
    ]


def test_underlined_headings_are_headings_and_rules_are_none() -> None:
    text = (
        "Rates\n=====\n\nFor kayaks.\n\nBy sea\n------\n\nNine crowns.\n\n---\n\nFirst line\nsecond line\n---\nTen.\n"
    )
    assert told(text) == [
        ("", "For kayaks."),
        ("By sea", "Nine crowns."),
        ("By sea", "First line second line --- Ten."),
    ]


def test_marks_of_html_that_part_words_leave_a_blank_and_entities_are_read() -> None:
    text = "<p>Parking <b>c</b>osts 12&nbsp;crowns<br>a day.</p>"
    text += "<details><summary>More</summary>Skis &amp; poles.</details>"
    assert [line for _, line in told(text)] == ["Parking costs 12 crowns a day.", "More Skis & poles."]


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "data:text/html,x", "/page", "https://", "HTTPS://x.example/a b"]
)
def test_a_link_that_leads_to_no_web_page_is_passed_over(link: str) -> None:
    facts, _ = facts_of(markdown(f"---\nlink: {link}\n---\nText.\n"))
    assert facts.link is None and facts.unread == (f"link: {link}",)
    facts, _ = facts_of(markdown("---\nlink: https://x.example/a?b=1#c\n---\nText.\n"))
    assert facts.link == "https://x.example/a?b=1#c"
