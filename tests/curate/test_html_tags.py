"""Which texts count as HTML, and from how many on somebody is told."""

import pytest

from shoptalk.curate.html_tags import HtmlTags
from shoptalk.records import Document, Drop, Turn


def remark_on(*texts: str) -> str | None:
    tags = HtmlTags()
    documents = [Document(id=str(i), source="s", text=text) for i, text in enumerate(texts)]
    assert list(tags.counted(documents)) == documents
    return tags.remark()


@pytest.mark.parametrize(
    "text",
    [
        "<p>Hello</p>",
        "We open<br/>at 9",
        "<BR>",
        'see <a href="https://example.org">here</a>',
        '<div class="x">one</div>',
        "</td>",
        "<a class='b' href='https://example.org'>here</a>",
        "here</a>",
    ],
)
def test_tags_are_seen(text: str) -> None:
    assert "1 of 1 documents have tags of HTML" in str(remark_on(text))


@pytest.mark.parametrize(
    "text",
    ["a < b and c > d", "<name> is what <placeholder> stands for", "I <3 you", "x<y", "mail <a@b.example>", "<a>", ""],
)
def test_what_only_looks_like_tags_is_none(text: str) -> None:
    assert remark_on(text) is None


def test_a_few_are_not_worth_a_word_and_turns_count_with_their_conversation() -> None:
    assert remark_on("<p>one</p>", *["plain"] * 19) is None
    assert "2 of 20" in str(remark_on("<p>one</p>", "<p>two</p>", *["plain"] * 18))
    tags = HtmlTags()
    turns = tuple(Turn(role="user", text=text) for text in ("hello", "<p>you</p>", "<p>too</p>"))
    drop = Drop(id="d", source="s", reason="empty", detail="no text")
    chat = Document(id="c", source="s", turns=turns)
    assert list(tags.counted([chat, drop])) == [chat, drop]
    assert "1 of 1" in str(tags.remark())


def test_nothing_read_is_nothing_told() -> None:
    assert remark_on() is None
