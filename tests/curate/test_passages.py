from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.curate.passages import is_markdown, passages

BLOCKS = st.sampled_from(
    [
        "# A",
        "## Two words",
        "### Three words here",
        "---",
        "|---|---|",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "A sentence of some length that says little. " * 3,
        "ok",
        "- one\n- two",
        "```\ncode\n```",
        "x" * 90,
        "éé 漢字 👍",
    ]
)
TEXTS = st.lists(st.one_of(BLOCKS, st.text(max_size=120)), max_size=12).map("\n\n".join)


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_paragraphs_are_passages() -> None:
    assert passages("one\nstill one\n \t\n\n two ", 80) == ["one\nstill one", "two"]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    sentence = "The ferry leaves at eight. "
    found = passages(sentence * 10, 90)
    assert len(found) > 1
    assert all(len(passage) <= 90 and passage.endswith(".") for passage in found)


def test_a_long_markdown_table_is_cut_between_rows() -> None:
    table = "\n".join(["| who | price |", "|---|---|", *(f"| person {i} | {i} |" for i in range(20))])
    found = passages(table, 100, markdown=True)
    assert all(line.startswith("|") and line.endswith("|") for passage in found for line in passage.splitlines())


def test_short_headings_and_rules_join_the_next_passage_of_markdown_only() -> None:
    text = "# Tariffs\n\n---\n\nAll prices are in crowns.\n\n## What a dog costs\n\nSix."
    assert passages(text, 80, markdown=True) == [
        "# Tariffs\n---\nAll prices are in crowns.",
        "## What a dog costs",
        "Six.",
    ]
    assert passages(text, 80)[:2] == ["# Tariffs", "---"]


def test_a_heading_before_a_long_paragraph_joins_its_first_part() -> None:
    found = passages("# Dogs\n\n" + "A dog pays six crowns. " * 9, 80, markdown=True)
    assert found[0].startswith("# Dogs\nA dog pays")


def test_a_heading_at_the_end_is_kept() -> None:
    assert passages("Text that is long enough.\n\n# End", 80, markdown=True) == ["Text that is long enough.", "# End"]


def test_headings_without_end_do_not_make_one_endless_passage() -> None:
    found = passages("\n\n".join(["# A"] * 60), 80, markdown=True)
    assert len(found) > 1
    assert all(len(passage) <= 80 for passage in found)


def test_no_text_is_no_passage() -> None:
    assert passages(" \n\n ", 80) == []


def test_markdown_is_told_by_the_source() -> None:
    assert [is_markdown(name) for name in ("a.md", "docs/A.MD.gz", "a.txt", "md")] == [True, True, False, False]


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(40, 200), st.booleans())
def test_nothing_but_whitespace_is_lost_and_no_passage_is_too_long(text: str, size: int, markdown: bool) -> None:
    found = passages(text, size, markdown=markdown)
    assert squeezed("".join(found)) == squeezed(text)
    assert all(passage and len(passage) <= size for passage in found)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(40, 200), st.booleans(), st.randoms(use_true_random=False))
def test_leaving_passages_out_does_not_change_the_others(text: str, size: int, markdown: bool, random: object) -> None:
    found = passages(text, size, markdown=markdown)
    kept = [passage for passage in found if random.random() < 0.6]  # type: ignore[attr-defined]
    assert passages("\n\n".join(kept), size, markdown=markdown) == kept


def test_a_number_sign_alone_on_its_line_is_no_heading_of_the_next() -> None:
    kept = ["#\n0", "# A"]
    assert passages("\n\n".join(kept), 40, markdown=True) == kept
