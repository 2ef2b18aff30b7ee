"""What a base cannot read is left out with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.curate.readable import expected, readable, refuse_unreadable
from shoptalk.errors import InputError
from shoptalk.records import Document, Drop, Example, Picture, Turn

PICTURE = Picture(path="/somewhere/boat.png", sha256="0" * 64)
TEXT = Document(id="t", source="t.txt", text="Where is the ferry?")
ALONE = Document(id="p", source="p.zip", picture=PICTURE)
CAPTIONED = Document(id="c", source="c.csv", picture=PICTURE, turns=(Turn(role="caption", text="a boat"),))


def kept(kind: str, *documents: Document) -> tuple[list[Document], list[Drop]]:
    items = list(readable(documents, kind))
    return [one for one in items if isinstance(one, Document)], [one for one in items if isinstance(one, Drop)]


@pytest.mark.parametrize("kind", ["text", "lm"])
def test_a_base_that_reads_texts_leaves_pictures_out_with_their_captions(kind: str) -> None:
    documents, drops = kept(kind, TEXT, ALONE, CAPTIONED)
    assert documents == [TEXT]
    assert [(drop.id, drop.reason) for drop in drops] == [("p", "not-read"), ("c", "not-read")]
    assert "the base reads texts" in drops[0].detail
    assert [drop.sample for drop in drops] == ["boat.png", "a boat"]


def test_a_base_that_reads_pictures_reads_them_without_their_captions() -> None:
    documents, drops = kept("image", TEXT, ALONE, CAPTIONED)
    assert [one.id for one in documents] == ["p", "c"]
    assert not any(one.turns for one in documents)
    assert [(drop.id, drop.sample) for drop in drops] == [("t", "Where is the ferry?"), ("c#captions", "a boat")]
    assert drops[1].detail == "its caption: image encoders read pictures alone"


def test_a_base_that_reads_both_needs_both() -> None:
    documents, drops = kept("pair", TEXT, ALONE, CAPTIONED)
    assert documents == [CAPTIONED]
    assert [drop.detail.partition(",")[0] for drop in drops] == [
        "a text without a picture",
        "a picture without a caption",
    ]


@given(
    st.lists(st.sampled_from([TEXT, ALONE, CAPTIONED]), max_size=20), st.sampled_from(["text", "image", "pair", "lm"])
)
def test_every_document_is_kept_or_dropped(documents: list[Document], kind: str) -> None:
    left, drops = kept(kind, *documents)
    assert len(left) + sum("#captions" not in drop.id for drop in drops) == len(documents)


def test_what_was_dropped_before_is_passed_on() -> None:
    drop = Drop(id="x", source="x.txt", reason="empty")
    assert list(readable([drop], "image")) == [drop]


def test_where_nothing_is_left_it_says_what_such_a_base_reads() -> None:
    drop = Drop(id="photos.zip/1.png", source="photos.zip", reason="not-read", detail="a picture without a caption")
    told = expected("pair", [drop])
    assert "photos.zip/1.png: a picture without a caption" in told and "columns image,text" in told
    assert "not the labelled" in expected("image", []) and "Give pictures: their files" in expected("image", [drop])


def test_labels_that_the_base_cannot_read_are_refused() -> None:
    text = Example(id="labels.csv#2", text="hello", label="greeting")
    picture = Example(id="labels.csv#3", text="", label="boat", picture=PICTURE)
    refuse_unreadable([text], "text", "labels.csv")
    refuse_unreadable([picture], "image", "labels.csv")
    with pytest.raises(InputError, match=r"1 labelled texts, such as labels\.csv#2, and the base reads pictures"):
        refuse_unreadable([text, picture], "image", "labels.csv")
    with pytest.raises(InputError, match=r"1 labelled pictures, such as labels\.csv#3, and the base reads texts"):
        refuse_unreadable([text, picture], "text", "labels.csv")


@pytest.mark.parametrize("kind", ["image", "pair"])
def test_a_row_that_names_a_picture_in_the_web_says_that_addresses_are_not_fetched(kind: str) -> None:
    row = TEXT.model_copy(update={"metadata": {"image": "https://example.com/a.jpg?w=9"}})
    _, (drop,) = kept(kind, row)
    assert "https://example.com/a.jpg?w=9: addresses are not fetched, so download the picture" in drop.detail
    assert "addresses" not in kept(kind, TEXT)[1][0].detail
